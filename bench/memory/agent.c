/* The agents of the memory scenarios.
 *
 *   agent NAME SLOTS SLOT beat MB                    holds MB, allocates a little and beats every 50 ms
 *   agent NAME SLOTS SLOT grow COUNT FROM TO RATE REST
 *       waits until its slot says that it shall grow; then COUNT processes, each from FROM to TO MB at RATE MB/s; above
 *       one: children. One that is started again after it grew holds REST MB, and so does one whose slot says "over".
 *
 * SLOTS is a file that all map. A slot is three doubles and four numbers, see struct slot. CLOCK_MONOTONIC throughout.
 * At a refusal of memory or of a process it waits and tries again.
 */
#include <fcntl.h>
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
    volatile double last, longest;  /* beat; gap in seconds since it was set to 0 */
    volatile double begin;          /* when it grows; 0: not yet */
    volatile unsigned long beats, starts, grew, over;
};

static const size_t MB = 1024 * 1024;
enum { PAGE = 4096, BEATS_PER_S = 20, SLOTS = 128 };

static struct slot *own;

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

static int beat(size_t bytes) {
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

static void hold(size_t bytes) {
    touch(take(bytes), 0, bytes);
    for (;;) rest(3600);
}

static void grow(char *block, size_t done, size_t to, double per_s, size_t resting) {
    double begun = now();
    size_t from = done;
    while (!own->over) {
        size_t due = from + (size_t)((now() - begun) * per_s);
        if (due > to) due = to;
        due = due / PAGE * PAGE;
        while (done < due && !own->over) {
            size_t next = due - done > MB ? done + MB : due;
            touch(block, done, next);
            done = next;
        }
        rest(to - done < PAGE ? 0.05 : 0.005);
    }
    munmap(block, to);
    hold(resting);
}

int main(int count, char **words) {
    if (count < 6) return 2;
    prctl(PR_SET_NAME, words[1]);
    int fd = open(words[2], O_RDWR | O_CLOEXEC);
    struct slot *slots = mmap(NULL, SLOTS * sizeof *slots, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || slots == MAP_FAILED) return 2;
    own = &slots[atoi(words[3])];
    own->starts++;
    if (!strcmp(words[4], "beat")) return beat((size_t)atoi(words[5]) * MB);
    if (count < 10 || strcmp(words[4], "grow")) return 2;
    int children = atoi(words[5]);
    size_t from = (size_t)atoi(words[6]) * MB, to = (size_t)atoi(words[7]) * MB, resting = (size_t)atoi(words[9]) * MB;
    double per_s = atof(words[8]) * MB;
    if (own->grew) hold(resting);
    char *block = children == 1 ? take(to) : NULL;
    if (block) touch(block, 0, from);
    while (own->begin == 0 || now() < own->begin) rest(own->begin == 0 ? 0.05 : 0.002);
    own->grew = 1;
    if (block) grow(block, from, to, per_s, resting);
    for (int begun = 0; begun < children;) {
        pid_t pid = fork();
        if (pid == 0) {
            block = take(to);
            touch(block, 0, from);
            grow(block, from, to, per_s, resting / (size_t)children);
        }
        if (pid > 0) begun++;
        else rest(0.05);
    }
    for (;;)
        if (wait(NULL) < 0) rest(3600);
}
