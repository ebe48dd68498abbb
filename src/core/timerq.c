/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/timerq.h"

#include <assert.h>

#include "core/env.h"
#include "core/error.h"
#include "core/fetch.h"
#include "core/limits.h"

/* Four children instead of two: half the levels, and the children of one slot lie together. */
enum { ARITY = 4 };

static bool is_before(const struct dh_timer_slot *a, const struct dh_timer_slot *b) {
    if (a->deadline_ns != b->deadline_ns) {
        return a->deadline_ns < b->deadline_ns;
    }
    return a->seq < b->seq;
}

static void put(struct dh_timerq *q, uint32_t i, struct dh_timer_slot slot) {
    q->slots[i] = slot;
    slot.timer->place = i + 1;
}

static void sift_up(struct dh_timerq *q, uint32_t i, struct dh_timer_slot slot) {
    while (i > 0) {
        uint32_t parent = (i - 1) / ARITY;
        if (!is_before(&slot, &q->slots[parent])) {
            break;
        }
        put(q, i, q->slots[parent]);
        i = parent;
    }
    put(q, i, slot);
}

static void sift_down(struct dh_timerq *q, uint32_t i, struct dh_timer_slot slot) {
    for (;;) {
        uint64_t first = (uint64_t)i * ARITY + 1;
        uint64_t end = first + ARITY < q->count ? first + ARITY : q->count;
        /* the children of these, of which four are next: in a long queue they are in no cache */
        dh_fetch_bytes(&q->slots[first * ARITY + 1], ARITY * ARITY * sizeof *q->slots);
        uint32_t best = i;
        for (uint64_t c = first; c < end; c++) {
            const struct dh_timer_slot *least = best == i ? &slot : &q->slots[best];
            if (is_before(&q->slots[c], least)) {
                best = (uint32_t)c;
            }
        }
        if (best == i) {
            break;
        }
        put(q, i, q->slots[best]);
        i = best;
    }
    put(q, i, slot);
}

/* slot replaces what is at i; whichever way it has to go, one of the two loops stops at once */
static void settle(struct dh_timerq *q, uint32_t i, struct dh_timer_slot slot) {
    if (i > 0 && is_before(&slot, &q->slots[(i - 1) / ARITY])) {
        sift_up(q, i, slot);
    } else {
        sift_down(q, i, slot);
    }
}

void dh_timerq_init(struct dh_timerq *q, struct dh_alloc *alloc) {
    *q = (struct dh_timerq){.alloc = alloc};
}

void dh_timerq_fini(struct dh_timerq *q) {
    if (q == NULL) {
        return;
    }
    for (uint32_t i = 0; i < q->count; i++) {
        q->slots[i].timer->place = 0;
    }
    if (q->slots != NULL) {
        q->alloc->fn(q->alloc, q->slots, q->capacity * sizeof *q->slots, 0);
    }
    *q = (struct dh_timerq){.alloc = q->alloc};
}

static bool grow(struct dh_timerq *q) {
    uint32_t capacity = q->capacity == 0 ? DH_TIMERQ_FIRST : q->capacity * 2;
    struct dh_timer_slot *slots;

    if (capacity < q->capacity) {
        return false;
    }
    slots = q->alloc->fn(q->alloc, q->slots, q->capacity * sizeof *slots, capacity * sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    q->slots = slots;
    q->capacity = capacity;
    return true;
}

int dh_timerq_arm(struct dh_timerq *q, struct dh_timer *t, uint64_t deadline_ns) {
    struct dh_timer_slot slot = {deadline_ns, q->next_seq, t};

    if (dh_timer_is_armed(t)) {
        q->next_seq++;
        settle(q, t->place - 1, slot);
        return 0;
    }
    if (q->count == q->capacity && !grow(q)) {
        return DH_ENOMEM;
    }
    q->next_seq++;
    q->count++;
    sift_up(q, q->count - 1, slot);
    return 0;
}

void dh_timerq_disarm(struct dh_timerq *q, struct dh_timer *t) {
    uint32_t i;

    if (!dh_timer_is_armed(t)) {
        return;
    }
    i = t->place - 1;
    assert(i < q->count && q->slots[i].timer == t);
    t->place = 0;
    q->count--;
    if (i < q->count) {
        settle(q, i, q->slots[q->count]);
    }
}

uint64_t dh_timerq_deadline(const struct dh_timerq *q, const struct dh_timer *t) {
    return dh_timer_is_armed(t) ? q->slots[t->place - 1].deadline_ns : DH_NEVER;
}

uint64_t dh_timerq_next(const struct dh_timerq *q) {
    return q->count > 0 ? q->slots[0].deadline_ns : DH_NEVER;
}

struct dh_timer *dh_timerq_pop(struct dh_timerq *q, uint64_t now_ns) {
    struct dh_timer *t;

    if (q->count == 0 || q->slots[0].deadline_ns > now_ns) {
        return NULL;
    }
    t = q->slots[0].timer;
    dh_timerq_disarm(q, t);
    return t;
}
