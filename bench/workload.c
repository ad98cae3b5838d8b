/* The agent that every supervisor is measured with.
 *
 * usage: workload NAME STARTS MODE [ARG...]
 * Its first act is to note CLOCK_MONOTONIC, its pid and NAME by one O_APPEND write into the file STARTS. Then:
 *   sleep              pause for ever
 *   print RATE BYTES   print RATE numbered lines of BYTES bytes a second (RATE 0: as fast as the reader reads)
 *   flood BYTES DONE GO  once the file GO exists, print BYTES bytes of 128-byte numbered lines in writes of 8 KiB, then
 *                      note the time in DONE
 *   http PORT [MS]     answer every request on 127.0.0.1:PORT with 200 and a small JSON body, keep-alive; with MS, also
 *                      say WATCHDOG=1 and the next X_CYCLE to NOTIFY_SOCKET each MS milliseconds
 *   beat US N TOLD GO  once the file GO exists, say X_CYCLE=1..N, one each US microseconds, then note in TOLD: N, how
 *                      many had to wait because the queue was full, and the longest wait in ns
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 16, LINE_MAX_BYTES = 4096 };

static int record_start(const struct timespec *now, const char *name, const char *path) {
    char line[160];
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0) return -1;
    int length = snprintf(line, sizeof line, "%lld %d %.100s\n",
                          (long long)now->tv_sec * 1000000000LL + now->tv_nsec, (int)getpid(), name);
    int written = (int)write(fd, line, (size_t)length);
    close(fd);
    return written == length ? 0 : -1;
}

static void print_lines(double rate, int bytes) {
    static char line[LINE_MAX_BYTES];
    if (bytes < 24) bytes = 24;
    if (bytes > LINE_MAX_BYTES) bytes = LINE_MAX_BYTES;
    memset(line, '.', (size_t)bytes);
    line[bytes - 1] = '\n';
    for (unsigned long long number = 1;; number++) {
        char digits[24];
        int length = snprintf(digits, sizeof digits, "%020llu ", number);
        memcpy(line, digits, (size_t)length);
        if (write(1, line, (size_t)bytes) < 0) _exit(3);
        if (rate > 0) {
            double period = 1.0 / rate;
            struct timespec pause_for = {(time_t)period, (long)((period - (double)(time_t)period) * 1e9)};
            nanosleep(&pause_for, NULL);
        }
    }
}

static void flood(long long total_bytes, const char *name, const char *done_path) {
    enum { LINE_BYTES = 128, WRITE_BYTES = 8192 };
    static char block[WRITE_BYTES];
    struct timespec now;
    memset(block, '.', sizeof block);
    for (long long sent = 0, number = 1; sent < total_bytes; sent += WRITE_BYTES) {
        for (int at = 0; at < WRITE_BYTES; at += LINE_BYTES, number++) {
            char digits[24];
            memcpy(block + at, digits, (size_t)snprintf(digits, sizeof digits, "%020lld ", number));
            block[at + LINE_BYTES - 1] = '\n';
        }
        for (int done = 0; done < WRITE_BYTES;) {
            ssize_t written = write(1, block + done, (size_t)(WRITE_BYTES - done));
            if (written < 0) _exit(3);
            done += (int)written;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    record_start(&now, name, done_path);
}

static long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int beat_socket(void) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || strlen(path) >= sizeof address.sun_path) return -1;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, (socklen_t)sizeof address)) return -1;
    return fd;
}

/* Returns how long it had to wait in ns; -1 when it was not taken at all. */
static long long say_cycle(int fd, long long cycle) {
    char text[64];
    size_t length = (size_t)snprintf(text, sizeof text, "WATCHDOG=1\nX_CYCLE=%lld", cycle);
    if (send(fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
    if (errno != EAGAIN) return -1;
    long long begun = now_ns();
    return send(fd, text, length, MSG_NOSIGNAL) < 0 ? -1 : now_ns() - begun;
}

static int beat(long long period_ns, long long count, const char *name, const char *told, const char *go) {
    long long waited = 0, longest = 0, lost = 0;
    while (access(go, F_OK)) usleep(100000);
    /* senders do not agree on a phase, unless the period is given with a minus: then all beat at the same instant */
    long long phase = period_ns < 0 ? 0 : ((long long)getpid() * 7919LL * 1000LL) % period_ns;
    period_ns = period_ns < 0 ? -period_ns : period_ns;
    long long begin = (now_ns() / 1000000000LL + 1) * 1000000000LL + phase;
    int fd = beat_socket();
    if (fd < 0) return 5;
    for (long long cycle = 1; cycle <= count; cycle++) {
        long long due = begin + (cycle - 1) * period_ns;
        struct timespec until = {(time_t)(due / 1000000000LL), (long)(due % 1000000000LL)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        long long wait = say_cycle(fd, cycle);
        lost += wait < 0;
        waited += wait > 0;
        if (wait > longest) longest = wait;
    }
    char line[200];
    int length = snprintf(line, sizeof line, "%.100s %lld %lld %lld %lld\n", name, count, waited, longest, lost);
    int out = open(told, O_WRONLY | O_APPEND | O_CLOEXEC);
    return out < 0 || write(out, line, (size_t)length) != length ? 6 : 0;
}

static void answer(int fd) {
    static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"ok\":true}";
    if (write(fd, reply, sizeof reply - 1) < 0) return;
}

static int serve_http(int port, int beat_ms) {
    int beats = beat_ms > 0 ? beat_socket() : -1;
    long long cycle = 0, due = now_ns();
    struct pollfd table[CONNECTIONS_MAX + 1];
    int count = 1, yes = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 8)) return 4;
    table[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (;;) {
        int patience = -1;
        if (beats >= 0) {
            if (now_ns() >= due) {
                say_cycle(beats, ++cycle);
                due += beat_ms * 1000000LL;
            }
            patience = (int)((due - now_ns()) / 1000000LL) + 1;
        }
        if (poll(table, (nfds_t)count, patience) <= 0) continue;
        for (int i = count - 1; i > 0; i--) {
            char request[2048];
            if (!table[i].revents) continue;
            ssize_t got = read(table[i].fd, request, sizeof request);
            if (got <= 0) {
                close(table[i].fd);
                table[i] = table[--count];
            } else if (got >= 4 && !memcmp(request + got - 4, "\r\n\r\n", 4)) {
                answer(table[i].fd);
            }
        }
        if (table[0].revents && count <= CONNECTIONS_MAX) {
            int fd = accept(listener, NULL, NULL);
            if (fd >= 0) table[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
        }
    }
}

int main(int argc, char **argv) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (argc < 4 || record_start(&now, argv[1], argv[2])) return 2;
    if (!strcmp(argv[3], "print") && argc >= 6) print_lines(atof(argv[4]), atoi(argv[5]));
    if (!strcmp(argv[3], "flood") && argc >= 7) {
        while (access(argv[6], F_OK)) usleep(10000);
        flood(atoll(argv[4]), argv[1], argv[5]);
    }
    if (!strcmp(argv[3], "beat") && argc >= 8) {
        int failed = beat(atoll(argv[4]) * 1000LL, atoll(argv[5]), argv[1], argv[6], argv[7]);
        if (failed) return failed;
    }
    if (!strcmp(argv[3], "http") && argc >= 5) return serve_http(atoi(argv[4]), argc >= 6 ? atoi(argv[5]) : 0);
    for (;;) pause();
}
