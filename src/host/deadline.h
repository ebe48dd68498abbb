/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The one timer that ends the wait of a loop.
**
** On Linux a timerfd in the loop's epoll: it fires within microseconds of its time. libuv's own
** timers, which serve elsewhere, count whole milliseconds and are late by one on average. Neither
** fires early.
**
** It is armed again only for an earlier time than it is armed for; else it fires in vain once and
** is armed then. So a server whose earliest deadline moves with each request makes a system call
** every now and then, not with each request.
*/
#ifndef DH_HOST_DEADLINE_H
#define DH_HOST_DEADLINE_H

#include <stdint.h>
#include <uv.h>

struct dh_deadline {
#ifdef __linux__
    uv_poll_t handle;
    int fd;
#else
    uv_timer_t handle;
#endif
    uint64_t armed_ns; /* what it is armed for, DH_NEVER: nothing */
    void (*on_due)(struct dh_deadline *deadline);
};

/* It does not keep the loop alive. on_due is called from inside uv_run. Returns 0 or a libuv error
** code; on failure nothing is left to close. */
int dh_deadline_init(struct dh_deadline *deadline, uv_loop_t *loop,
                     void (*on_due)(struct dh_deadline *deadline));

/* The memory may be reused once the loop has turned. */
void dh_deadline_close(struct dh_deadline *deadline);

/* Fire at at_ns (uv_hrtime's clock, not 0) at the latest. */
void dh_deadline_arm(struct dh_deadline *deadline, uint64_t at_ns);

#endif
