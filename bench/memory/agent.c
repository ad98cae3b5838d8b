/* The agents of the memory scenarios.
 *
 *   agent NAME beat SLOT MB              holds MB, allocates a little and beats every 50 ms into its slot of descriptor 3
 *   agent NAME grow COUNT FROM TO RATE   COUNT processes, each from FROM to TO MB at RATE MB/s; above one: children
 *
 * A slot is three doubles and one number: time of the last beat, longest gap in seconds since it was set to 0, process
 * time, beats. CLOCK_MONOTONIC throughout. At a refusal of memory or of a process it waits and tries again.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct slot {
    volatile double last, longest, cpu;
    volatile unsigned long beats;
};

static const size_t MB = 1024 * 1024;
enum { PAGE = 4096, BEATS_PER_S = 20 };

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static void rest(double seconds) {
    struct timespec span = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    nanosleep(&span, NULL);
}

static char *take(size_t bytes) {
    for (;;) {
        char *block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (block != MAP_FAILED) return block;
        rest(0.05);
    }
}

static void touch(char *block, size_t from, size_t to) {
    for (size_t at = from; at < to; at += PAGE) block[at] = (char)(at >> 12 | 1);
}

static int beat(int number, size_t bytes) {
    struct slot *slots = mmap(NULL, 64 * sizeof *slots, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0);
    if (slots == MAP_FAILED) return 2;
    struct slot *own = &slots[number];
    char *block = take(bytes);
    touch(block, 0, bytes);
    own->last = now();
    for (unsigned long turn = 0;; turn++) {
        rest(1.0 / BEATS_PER_S);
        size_t part = bytes / BEATS_PER_S, from = turn % BEATS_PER_S * part;
        touch(block, from / PAGE * PAGE, from + part);
        char *fresh = take(MB / 4);
        touch(fresh, 0, MB / 4);
        munmap(fresh, MB / 4);
        double at = now(), gap = at - own->last;
        if (gap > own->longest) own->longest = gap;
        own->last = at;
        own->beats++;
    }
}

static void grow(size_t from, size_t to, double per_s) {
    char *block = take(to);
    size_t done = from;
    double begun = now();
    touch(block, 0, from);
    while (done < to) {
        size_t due = from + (size_t)((now() - begun) * per_s);
        if (due > to) due = to;
        due = due / PAGE * PAGE;
        touch(block, done, due);
        if (due > done) done = due;
        if (to - done < PAGE) break;
        rest(0.005);
    }
    for (;;) rest(3600);
}

int main(int count, char **words) {
    if (count < 5) return 2;
    prctl(PR_SET_NAME, words[1]);
    if (!strcmp(words[2], "beat")) return beat(atoi(words[3]), (size_t)atoi(words[4]) * MB);
    if (count < 7 || strcmp(words[2], "grow")) return 2;
    int children = atoi(words[3]);
    size_t from = (size_t)atoi(words[4]) * MB, to = (size_t)atoi(words[5]) * MB;
    double per_s = atof(words[6]) * MB;
    if (children == 1) grow(from, to, per_s);
    for (int begun = 0; begun < children;) {
        pid_t pid = fork();
        if (pid == 0) grow(from, to, per_s);
        if (pid > 0) begun++;
        else rest(0.05);
    }
    for (;;)
        if (wait(NULL) < 0) rest(3600);
}
