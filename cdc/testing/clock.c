/* Preloaded into a process, moves the wall clock that it sees; see clock.py.

   The offset, in seconds, is an int64 in the file that CDC_CLOCK names; it may change at any
   time. CLOCK_MONOTONIC stays as it is. Waits until a wall-clock time are given to the kernel
   with the offset taken off again: a process whose clock was moved waits as long as it means to. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

/* No machine has been up for so long: a later time is one of the wall clock. */
#define LONGEST_UPTIME 1000000000

static const volatile int64_t *shared;

__attribute__((constructor)) static void look(void) {
    const char *path = getenv("CDC_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof *shared, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        shared = mapped;
}

static int64_t offset(void) { return shared ? *shared : 0; }

static const struct timespec *real(const struct timespec *until, struct timespec *moved) {
    if (until == NULL || until->tv_sec < LONGEST_UPTIME)
        return until;
    *moved = *until;
    moved->tv_sec -= offset();
    return moved;
}

#define NEXT(name, version) \
    static typeof(&name) next; \
    if (next == NULL && (next = dlvsym(RTLD_NEXT, #name, version)) == NULL) \
        next = dlsym(RTLD_NEXT, #name)

int clock_gettime(clockid_t clock, struct timespec *now) {
    NEXT(clock_gettime, "GLIBC_2.17");
    int failed = next(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += offset();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    int failed = clock_gettime(CLOCK_REALTIME, &precise);
    if (!failed) {
        now->tv_sec = precise.tv_sec;
        now->tv_usec = precise.tv_nsec / 1000;
    }
    (void)zone;
    return failed;
}

time_t time(time_t *now) {
    struct timespec precise = {0};
    clock_gettime(CLOCK_REALTIME, &precise);
    if (now != NULL)
        *now = precise.tv_sec;
    return precise.tv_sec;
}

int timespec_get(struct timespec *now, int base) {
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    NEXT(pthread_cond_timedwait, "GLIBC_2.3.2");
    struct timespec moved;
    return next(condition, mutex, real(until, &moved));
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    NEXT(cnd_timedwait, "GLIBC_2.28");
    struct timespec moved;
    return next(condition, mutex, real(until, &moved));
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
    NEXT(pthread_mutex_timedlock, "GLIBC_2.2.5");
    struct timespec moved;
    return next(mutex, real(until, &moved));
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
    NEXT(sem_timedwait, "GLIBC_2.2.5");
    struct timespec moved;
    return next(semaphore, real(until, &moved));
}
