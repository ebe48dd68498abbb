/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What ends the wait of a loop.
**
** On Linux timerfds in the loop's epoll: they fire within microseconds of their time, and a second one
** makes short waits that follow each other cheaper (alarms.h). libuv's own timers, which serve
** elsewhere, count whole milliseconds and are late by one on average. None fires early.
**
** They are armed again only where none will fire in time; else one fires in vain once and is armed
** then. So a server whose earliest deadline moves with each request makes a system call every now and
** then, not with each request.
*/
#ifndef DH_HOST_DEADLINE_H
#define DH_HOST_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "host/alarms.h"

#ifdef __linux__
struct dh_timerfd {
    uv_poll_t handle; /* first member */
    int fd;
};
#endif

struct dh_deadline {
#ifdef __linux__
    struct dh_timerfd timerfds[DH_ALARMS];
    struct dh_alarms alarms;
#else
    uv_timer_t handle;
#endif
    uint64_t armed_ns; /* the first one, DH_NEVER: nothing is armed */
    void (*on_due)(struct dh_deadline *deadline);
};

/* It does not keep the loop alive. on_due is called from inside uv_run. Returns 0 or a libuv error
** code; on failure nothing is left to close. */
int dh_deadline_init(struct dh_deadline *deadline, uv_loop_t *loop,
                     void (*on_due)(struct dh_deadline *deadline));

/* The memory may be reused once the loop has turned. */
void dh_deadline_close(struct dh_deadline *deadline);

/* Fire between at_ns (uv_hrtime's clock; neither 0 nor DH_NEVER) and the thread's slack and DH_GAP_NS
** later. It may also fire before. */
void dh_deadline_arm(struct dh_deadline *deadline, uint64_t at_ns);

/* Is this one of its handles? */
bool dh_deadline_owns(const struct dh_deadline *deadline, const uv_handle_t *handle);

#endif
