/* Preloaded into the gateway: lets system calls on the file of a trail fail as the test orders, and passes on all others. With
 * AUDIT_FAULTS_FILE it is another file: the vault's.
 *
 * The orders are numbers in a file that both map (AUDIT_FAULTS names it); faults.rs writes them in this order. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct orders {
    uint32_t write_error; /* what write(2) fails with */
    uint32_t write_times; /* how many times from here on */
    uint32_t short_times; /* how many times it takes half of what it is given, before it fails */
    uint32_t sync_error;  /* what fdatasync(2) fails with */
    uint32_t sync_times;
    uint32_t sync_pause;  /* how long each fdatasync(2) takes, in milliseconds */
    uint32_t failed;      /* how many calls have failed so far, on the test's order */
};

static struct orders *orders;
static const char *concerned = "/audit.jsonl";
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void map_orders(void) {
    const char *path = getenv("AUDIT_FAULTS");
    const char *other = getenv("AUDIT_FAULTS_FILE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) {
        return;
    }
    if (other) {
        concerned = other;
    }
    void *mapped = mmap(NULL, sizeof(struct orders), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED) {
        orders = mapped;
    }
}

/* Whether the descriptor is a file that a trail is written to: audit.jsonl, under that name or the one it was moved to. */
static int concerns(int fd) {
    char link[64], path[4096];
    pthread_once(&once, map_orders);
    if (orders == NULL) {
        return 0;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) {
        return 0;
    }
    path[length] = 0;
    return strstr(path, concerned) && !strstr(path, ".lock") && !strstr(path, ".checkpoints") && !strstr(path, ".zst");
}

/* Whether this call is one of those that are left on the order. */
static int taken(uint32_t *times) {
    uint32_t left = __atomic_load_n(times, __ATOMIC_SEQ_CST);
    while (left > 0) {
        if (__atomic_compare_exchange_n(times, &left, left - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            return 1;
        }
    }
    return 0;
}

static int fails(uint32_t *times, uint32_t *error) {
    if (!taken(times)) {
        return 0;
    }
    __atomic_add_fetch(&orders->failed, 1, __ATOMIC_SEQ_CST);
    errno = (int)__atomic_load_n(error, __ATOMIC_SEQ_CST);
    return 1;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    if (fd > 2 && concerns(fd)) {
        if (count > 1 && taken(&orders->short_times)) {
            count /= 2;
        } else if (fails(&orders->write_times, &orders->write_error)) {
            return -1;
        }
    }
    return syscall(SYS_write, fd, bytes, count);
}

static int sync_fails(int fd) {
    if (concerns(fd)) {
        uint32_t pause = __atomic_load_n(&orders->sync_pause, __ATOMIC_SEQ_CST);
        struct timespec time = {pause / 1000, (long)(pause % 1000) * 1000000};
        nanosleep(&time, NULL);
        return fails(&orders->sync_times, &orders->sync_error);
    }
    return 0;
}

int fdatasync(int fd) {
    return sync_fails(fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
    return sync_fails(fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

/* SQLite writes by this one, where it was built so. */
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    if (fd > 2 && concerns(fd) && fails(&orders->write_times, &orders->write_error)) {
        return -1;
    }
    return syscall(SYS_pwrite64, fd, bytes, count, at);
}
