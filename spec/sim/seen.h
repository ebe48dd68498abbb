/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the files of the observer share. */
#ifndef DH_SPEC_SEEN_H
#define DH_SPEC_SEEN_H

#include "core/backoff.h"
#include "observer.h"

static inline bool is_there(const struct seen *s) {
    return s->body != NULL;
}

/* The slot of "w12"; the name ends at a zero, too. */
static inline int slot_named(const char *name, size_t len) {
    int slot = 0;

    for (size_t i = 1; i < len && name[i] != '\0'; i++) {
        slot = slot * 10 + (name[i] - '0');
    }
    return slot;
}

/* On its way down, as far as can be known. */
static inline bool is_leaving(const struct seen *s) {
    return !s->is_wanted || s->is_replaced || s->is_removing;
}

static inline bool has_dependency(const struct seen *s, int slot) {
    return (s->declared.after >> slot) & 1;
}

static inline struct seen_group *group_of(struct observer *o, const struct seen *s) {
    return s->declared.group >= 0 ? &o->groups[s->declared.group] : NULL;
}

/* Does it wait for one that only an order can start? */
static inline bool lacks_for_good(const struct observer *o, const struct seen *s) {
    for (int i = 0; i < o->slots; i++) {
        const struct seen *d = &o->seen[i];
        bool is_at_rest = is_there(d) && dh_state_is_final(d->state);
        bool is_over = !is_there(d) || (is_at_rest && (d->state != DH_DONE || d->is_removing) &&
                                        !d->body->w.is_start_asked);
        if (has_dependency(s, i) && is_over) {
            return true;
        }
    }
    return false;
}

/* Does it take part in a restart of its group that has not come to its end? */
static inline bool is_gated(const struct dh_worker *w) {
    return w->extra != NULL && w->extra->gate != DH_GATE_NONE;
}

/* Did its run last reset_after, if it ended then? */
static inline bool has_lasted(const struct seen *s, uint64_t ended_ns) {
    uint64_t reset_after = s->declared.policy.reset_after_ns;

    return reset_after != DH_NEVER && ended_ns >= s->started_ns &&
           ended_ns - s->started_ns >= reset_after;
}

/* Of its run; becoming ready is one, too. */
static inline uint64_t last_beat(const struct seen *s) {
    uint64_t ns = s->started_ns > s->ready_ns ? s->started_ns : s->ready_ns;

    return s->body->beat_ns > ns ? s->body->beat_ns : ns;
}

/* From when on does the time of a watch count that began at from_ns? */
static inline uint64_t watch_from(const struct seen_watch *v, uint64_t from_ns) {
    return v->from_ns == from_ns ? from_ns + v->lost_ns : from_ns;
}

/* events.c: world->on_event */
void observer_on_event(struct world *world, const struct dh_event *ev);

/* observer.c: what was announced is in force now. */
void observer_apply_change(struct seen *s);

/* observer.c: the host stops, whoever began it. */
void observer_note_shutdown(struct observer *o);

#endif
