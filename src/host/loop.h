/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The libuv loop of one Lua state, with the two handles that are the host's own: the deadline
** timer and the wake-up that signals and other threads use.
**
** Times are monotonic nanoseconds (uv_hrtime). libuv's own clock is cached and counts
** milliseconds, so it is never asked for the time.
*/
#ifndef DH_HOST_LOOP_H
#define DH_HOST_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "host/deadline.h"

/* Signals that the host takes, see signals.h. */
#define DH_LOOP_WATCHERS 5

struct dh_loop {
    uv_loop_t uv;
    struct dh_deadline deadline;
    uv_async_t wake;
    uv_signal_t watchers[DH_LOOP_WATCHERS]; /* of signals that are shared with libuv */
    void (*on_wake)(struct dh_loop *loop);
    void (*on_polled)(struct dh_loop *loop); /* dh_loop_poll is about to return; or NULL */
    uint64_t next_timer_ns;                  /* of libuv's own timers ... */
    bool is_touched;                         /* ... that may have changed */
    bool is_polling;                         /* inside of dh_loop_poll */
    bool must_not_wait;                      /* somebody is there for the poll itself */
};

/* Returns 0 or a libuv error code; on failure nothing is left to close. */
int dh_loop_init(struct dh_loop *loop);

/* Close the host's own handles and the loop. Everybody else's must be closed already. Returns what
** uv_loop_close says: 0, or UV_EBUSY when somebody left a handle open. */
int dh_loop_close(struct dh_loop *loop);

/* Fresh time, whatever libuv has cached. */
uint64_t dh_loop_now(void);

/* Let libuv work: callbacks of what is ready are called. Waits at most until a little later than
** deadline_ns (deadline.h): 0 does not wait, DH_NEVER waits for an event however long it takes. */
void dh_loop_poll(struct dh_loop *loop, uint64_t deadline_ns);

/* Somebody became ready: dh_loop_poll, if that is where we are, must not wait now. libuv 1.44 calls
** timers *before* it waits for events, too, and then waits as if they had brought nothing about.
** Cheap; for this thread only. */
void dh_loop_interrupt(struct dh_loop *loop);

/* When the first of libuv's own timers is due; DH_NEVER: none. In the past if something else of
** libuv's must not wait. */
uint64_t dh_loop_next_timer(struct dh_loop *loop);

/* A function of libuv's was called that may have started or stopped a timer. */
static inline void dh_loop_touch(struct dh_loop *loop) {
    loop->is_touched = true;
}

/* Make the current or next dh_loop_poll return. Safe from signal handlers and other threads. */
void dh_loop_wake(struct dh_loop *loop);

/* Number of handles that are not the host's own and not closing. */
unsigned dh_loop_count_handles(struct dh_loop *loop);

/* Is this handle one of the host's own? */
bool dh_loop_owns(const struct dh_loop *loop, const uv_handle_t *handle);

#endif
