/* LD_PRELOAD: shows one memory cgroup (BENCH_NODE, either version) as the machine to a program that reads
 * /proc/meminfo through stdio, afresh after each rewind. So a killer made for machines can be measured in a group. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct view {
    char text[1024];
    size_t length, at;
};

static FILE *(*real_fopen)(const char *, const char *);

static long long value(const char *name, const char *key) {
    char path[4096], line[256];
    const char *node = getenv("BENCH_NODE");
    long long found = -1;
    snprintf(path, sizeof path, "%s/%s", node ? node : "", name);
    FILE *file = real_fopen(path, "re");
    if (!file) return -1;
    while (found < 0 && fgets(line, sizeof line, file)) {
        size_t length = key ? strlen(key) : 0;
        if (!key) found = atoll(line);
        else if (!strncmp(line, key, length) && line[length] == ' ') found = atoll(line + length);
    }
    fclose(file);
    return found;
}

static long long either(const char *v2, const char *v2_key, const char *v1, const char *v1_key) {
    long long found = value(v2, v2_key);
    if (found < 0) found = value(v1, v1_key);
    return found < 0 ? 0 : found;
}

static void look(struct view *view) {
    long long total = either("memory.max", NULL, "memory.limit_in_bytes", NULL);
    long long used = either("memory.current", NULL, "memory.usage_in_bytes", NULL);
    int v2 = value("memory.current", NULL) >= 0;
    long long files = value("memory.stat", v2 ? "inactive_file" : "total_inactive_file") +
                      value("memory.stat", v2 ? "active_file" : "total_active_file");
    long long anonymous = value("memory.stat", v2 ? "anon" : "total_rss");
    long long left = total > used ? total - used : 0;
    int length = snprintf(view->text, sizeof view->text,
                          "MemTotal: %lld kB\nMemFree: %lld kB\nMemAvailable: %lld kB\nBuffers: 0 kB\nCached: %lld kB\n"
                          "SwapCached: 0 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\nAnonPages: %lld kB\nShmem: 0 kB\n",
                          total >> 10, left >> 10, (left + files) >> 10, files >> 10, anonymous >> 10);
    view->length = length > 0 ? (size_t)length : 0;
    view->at = 0;
}

static ssize_t give(void *cookie, char *buffer, size_t size) {
    struct view *view = cookie;
    if (view->at == 0) look(view);
    size_t left = view->length - view->at, part = size < left ? size : left;
    memcpy(buffer, view->text + view->at, part);
    view->at += part;
    return (ssize_t)part;
}

static int seek(void *cookie, off64_t *offset, int whence) {
    struct view *view = cookie;
    if (whence != SEEK_SET || *offset < 0 || (size_t)*offset > view->length) return -1;
    view->at = (size_t)*offset;
    return 0;
}

static int end(void *cookie) {
    free(cookie);
    return 0;
}

FILE *fopen(const char *path, const char *mode) {
    if (!real_fopen) real_fopen = (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen");
    size_t length = strlen(path);
    if (!getenv("BENCH_NODE") || length < 8 || strcmp(path + length - 8, "/meminfo")) return real_fopen(path, mode);
    struct view *view = calloc(1, sizeof *view);
    cookie_io_functions_t functions = {give, NULL, seek, end};
    FILE *file = view ? fopencookie(view, "r", functions) : NULL;
    if (file) setvbuf(file, NULL, _IONBF, 0);
    return file;
}

FILE *fopen64(const char *path, const char *mode) { return fopen(path, mode); }
