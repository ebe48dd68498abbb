/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The clocks that the control plane reads: the host's own, and what people have on the wall.
*/
#ifndef DH_CONTROL_CLOCK_H
#define DH_CONTROL_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t dh_clock_read(clockid_t clock) {
    struct timespec ts = {0, 0};
    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* As dh_loop_now. */
static inline uint64_t dh_clock_now(void) {
    return dh_clock_read(CLOCK_MONOTONIC);
}

/* Nanoseconds since 1970. */
static inline uint64_t dh_clock_wall(void) {
    return dh_clock_read(CLOCK_REALTIME);
}

#endif
