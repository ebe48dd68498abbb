/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The deadline queue: a 4-ary min-heap of (deadline, sequence), intrusive and owned by nobody.
**
** A timer is embedded in what it serves (a worker, a task) and knows its place in the heap, so
** that disarming costs O(log n) and needs no search. Times are monotonic nanoseconds. Timers with
** equal deadlines fire in the order in which they were armed.
*/
#ifndef DH_CORE_TIMERQ_H
#define DH_CORE_TIMERQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dh_alloc;

/* 'place' is 0 when idle, else 1 + index in the heap: a zeroed timer is an idle one. 'kind' is its
** owner's: it tells whoever pops the timer what to do with it. */
struct dh_timer {
    uint32_t place;
    uint32_t kind;
};

struct dh_timer_slot {
    uint64_t deadline_ns;
    uint64_t seq;
    struct dh_timer *timer;
};

struct dh_timerq {
    struct dh_timer_slot *slots;
    uint32_t count;
    uint32_t capacity;
    uint64_t next_seq;
    struct dh_alloc *alloc;
};

#define DH_NEVER UINT64_MAX

void dh_timerq_init(struct dh_timerq *q, struct dh_alloc *alloc);
void dh_timerq_fini(struct dh_timerq *q);

/* Arm t for deadline_ns; an armed timer moves (and counts as armed last). 0 or DH_ENOMEM, and then
** t is as before. Room once made stays until fini: re-arming one of n timers never fails. */
int dh_timerq_arm(struct dh_timerq *q, struct dh_timer *t, uint64_t deadline_ns);

/* Make t idle; nothing happens to an idle one. */
void dh_timerq_disarm(struct dh_timerq *q, struct dh_timer *t);

static inline bool dh_timer_is_armed(const struct dh_timer *t) {
    return t->place != 0;
}

/* Deadline of an armed timer, DH_NEVER for an idle one. */
uint64_t dh_timerq_deadline(const struct dh_timerq *q, const struct dh_timer *t);

/* The earliest deadline, or DH_NEVER. */
uint64_t dh_timerq_next(const struct dh_timerq *q);

/* Take out and return the first timer that is due at now_ns, or NULL. */
struct dh_timer *dh_timerq_pop(struct dh_timerq *q, uint64_t now_ns);

#endif
