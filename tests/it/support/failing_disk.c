/*
 * A disk that fails when a test says so: loaded before the C library (LD_PRELOAD), it stands
 * between a program and the files whose path begins with FAILING_DISK_PREFIX.
 *
 * What it does stands in the file FAILING_DISK_CONTROL, numbers of 32 bits that test and program
 * share (see the enum):
 * - Syncs or writes fail with an error, as many as are left. A write that fails for want of room
 *   has written half of what it should, as disks do.
 * - Each sync can take longer.
 * - With REMEMBER it knows what was written and not yet synced, and what stood there before. A sync
 *   that fails then loses that, as Linux does; later ones succeed as if nothing had been. POWER
 *   ends the program as a power failure does: all that was not synced is lost (1), or the later
 *   half of it (2). This is for programs of one process.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    SYNC_ERROR, SYNCS_LEFT, WRITE_ERROR, WRITES_LEFT, SYNC_DELAY, SYNCS_SEEN, FAILED, REMEMBER,
    POWER, NUMBERS
};

/* A write that is not synced: what stood there before. */
struct entry {
    struct entry *older;
    uint64_t number;
    dev_t device;
    ino_t inode;
    int file;
    off_t at, size_before;
    size_t length;
    char before[];
};

static volatile uint32_t *control;
static const char *prefix;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *newest;
static uint64_t entries;

/* A file by a descriptor of our own. It stays open: to close it would end the program's locks. */
static struct opened {
    dev_t device;
    ino_t inode;
    int file;
} opened[256];
static size_t files;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAILING_DISK_CONTROL");
    prefix = getenv("FAILING_DISK_PREFIX");
    if (!path || !prefix) return;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) {
        perror("failing disk: FAILING_DISK_CONTROL");
        _exit(99);
    }
    void *map = mmap(NULL, NUMBERS * sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (map == MAP_FAILED) {
        perror("failing disk: mmap");
        _exit(99);
    }
    control = map;
}

/* Puts back what stood there before a write. */
static void undo(const struct entry *it) {
    if (it->length && REAL(pwrite)(it->file, it->before, it->length, it->at) < 0) abort();
    struct stat now;
    if (!fstat(it->file, &now) && now.st_size > it->size_before
        && REAL(ftruncate)(it->file, it->size_before))
        abort();
}

/* Drops the entries of a file up to a number; those that are lost are undone, newest first. */
static void drop(const struct stat *of, uint64_t up_to, int lost) {
    struct entry **link = &newest;
    while (*link) {
        struct entry *it = *link;
        if (it->number > up_to || it->device != of->st_dev || it->inode != of->st_ino) {
            link = &it->older;
            continue;
        }
        if (lost) undo(it);
        *link = it->older;
        free(it);
    }
}

static void power_failure(void) {
    uint64_t count = 0, left;
    for (struct entry *it = newest; it; it = it->older) count++;
    left = control[POWER] == 1 ? count : (count + 1) / 2;
    for (struct entry *it = newest; it && left; it = it->older, left--) undo(it);
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Whether a file is on this disk. */
static int ours(int file) {
    if (!control) return 0;
    char link[64], path[4096];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0) return 0;
    path[length] = 0;
    if (strncmp(path, prefix, strlen(prefix))) return 0;
    /* SQLite's shared memory: nobody relies on it after an end. */
    if (length > 4 && !strcmp(path + length - 4, "-shm")) return 0;
    if (control[POWER]) {
        pthread_mutex_lock(&lock);
        power_failure();
    }
    return 1;
}

/* Takes one of the failures that are left. */
static int fails(int error, int left) {
    if (!control[error]) return 0;
    uint32_t now = __atomic_load_n(&control[left], __ATOMIC_SEQ_CST);
    do {
        if (!now) return 0;
    } while (!__atomic_compare_exchange_n(&control[left], &now, now - 1, 0, __ATOMIC_SEQ_CST,
                                          __ATOMIC_SEQ_CST));
    __atomic_fetch_add(&control[FAILED], 1, __ATOMIC_SEQ_CST);
    return (int)control[error];
}

static int fail(int error) {
    errno = error;
    return -1;
}

static int synced(int file, int (*next)(int)) {
    if (!ours(file)) return next(file);
    struct stat of;
    if (fstat(file, &of)) return -1;
    __atomic_fetch_add(&control[SYNCS_SEEN], 1, __ATOMIC_SEQ_CST);
    pthread_mutex_lock(&lock);
    uint64_t up_to = entries;
    pthread_mutex_unlock(&lock);
    uint32_t delay = control[SYNC_DELAY];
    if (delay) {
        struct timespec time = {delay / 1000, (long)(delay % 1000) * 1000000};
        while (nanosleep(&time, &time) && errno == EINTR) {}
    }
    int error = fails(SYNC_ERROR, SYNCS_LEFT);
    int result = error ? -1 : next(file);
    if (!error && result) return result;
    pthread_mutex_lock(&lock);
    drop(&of, up_to, error != 0);
    pthread_mutex_unlock(&lock);
    return error ? fail(error) : result;
}

static int own(int file, const struct stat *of) {
    for (size_t i = 0; i < files; i++)
        if (opened[i].inode == of->st_ino && opened[i].device == of->st_dev) return opened[i].file;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    int again = open(link, O_RDWR | O_CLOEXEC);
    if (again < 0 || files == sizeof opened / sizeof *opened) abort();
    opened[files++] = (struct opened){of->st_dev, of->st_ino, again};
    return again;
}

/* Notes what stands where a write is about to go. The lock is held. */
static void remember(int file, size_t length, off_t at) {
    struct stat of;
    struct entry *it = malloc(sizeof *it + length);
    if (!it || fstat(file, &of)) abort();
    it->file = own(file, &of);
    ssize_t there = pread(it->file, it->before, length, at);
    if (there < 0) abort();
    it->length = (size_t)there;
    it->device = of.st_dev;
    it->inode = of.st_ino;
    it->at = at;
    it->size_before = of.st_size;
    it->number = ++entries;
    it->older = newest;
    newest = it;
}

/* How much of a write is done, -1 for none of it. The lock is held where this remembers. */
static ssize_t allowed(int file, size_t count, off_t at) {
    int error = fails(WRITE_ERROR, WRITES_LEFT);
    if (error == ENOSPC && count > 1)
        count /= 2;
    else if (error)
        return fail(error);
    if (control[REMEMBER]) remember(file, count, at);
    return (ssize_t)count;
}

#define NEXT(name) \
    static __typeof__(&name) next; \
    if (!next) next = REAL(name)

#define SYNC(name) \
    int name(int file) { \
        NEXT(name); \
        return synced(file, next); \
    }

SYNC(fsync)
SYNC(fdatasync)

#define WRITE(position, ...) \
    if (!ours(file)) return next(file, bytes, count, ##__VA_ARGS__); \
    pthread_mutex_lock(&lock); \
    ssize_t part = allowed(file, count, position); \
    if (part >= 0) part = next(file, bytes, (size_t)part, ##__VA_ARGS__); \
    pthread_mutex_unlock(&lock); \
    return part

ssize_t write(int file, const void *bytes, size_t count) {
    NEXT(write);
    WRITE(lseek(file, 0, SEEK_CUR));
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    NEXT(pwrite);
    WRITE(at, at);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    NEXT(pwrite64);
    WRITE(at, at);
}

/* These are not remembered: what they wrote is taken as synced. */
#define PWRITEV(name, offset_t) \
    ssize_t name(int file, const struct iovec *parts, int count, offset_t at) { \
        NEXT(name); \
        int error = ours(file) ? fails(WRITE_ERROR, WRITES_LEFT) : 0; \
        return error ? fail(error) : next(file, parts, count, at); \
    }

PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

#define ALLOCATE(name, offset_t) \
    int name(int file, offset_t at, offset_t length) { \
        NEXT(name); \
        int error = ours(file) ? fails(WRITE_ERROR, WRITES_LEFT) : 0; \
        return error ? error : next(file, at, length); \
    }

ALLOCATE(posix_fallocate, off_t)
ALLOCATE(posix_fallocate64, off64_t)

/* A file that is cut keeps what was written before. */
#define CUT(name, offset_t) \
    int name(int file, offset_t length) { \
        NEXT(name); \
        struct stat of; \
        if (!ours(file) || fstat(file, &of)) return next(file, length); \
        pthread_mutex_lock(&lock); \
        drop(&of, entries, 0); \
        int result = next(file, length); \
        pthread_mutex_unlock(&lock); \
        return result; \
    }

CUT(ftruncate, off_t)
CUT(ftruncate64, off64_t)
