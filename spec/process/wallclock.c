/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** For LD_PRELOAD: what people have on the wall goes as the file WALLCLOCK says: it holds the seconds
** to add, as eight bytes. The other clocks are the kernel's. For specs: a namespace has no
** CLOCK_REALTIME of its own.
*/
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *offset;

__attribute__((constructor)) static void open_offset(void) {
    const char *path = getenv("WALLCLOCK");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *page = fd >= 0 ? mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

    if (fd >= 0) {
        close(fd);
    }
    offset = page != MAP_FAILED ? page : NULL;
}

int clock_gettime(clockid_t clock, struct timespec *ts) {
    long result = syscall(SYS_clock_gettime, clock, ts);

    if (result == 0 && offset != NULL &&
        (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        ts->tv_sec += (time_t)*offset;
    }
    return (int)result;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
    struct timespec ts = {0, 0};

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &ts);
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *ret_time) {
    struct timespec ts = {0, 0};

    clock_gettime(CLOCK_REALTIME, &ts);
    if (ret_time != NULL) {
        *ret_time = ts.tv_sec;
    }
    return ts.tv_sec;
}
