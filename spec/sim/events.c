/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The observer: what it sees, and whether that may be. */
#include "core/backoff.h"
#include "seen.h"
#include "spec/core/check.h"

/* --- limits ----------------------------------------------------------------------------------- */

static void add_stamp(struct stamps *stamps, uint64_t at_ns) {
    if (stamps->count == STAMPS) {
        memmove(stamps->at_ns, stamps->at_ns + 1, sizeof stamps->at_ns - sizeof stamps->at_ns[0]);
        stamps->count--;
    }
    stamps->at_ns[stamps->count++] = at_ns;
}

static uint32_t count_stamps(const struct stamps *stamps, uint64_t at_ns, uint64_t within_ns) {
    uint32_t n = 0;

    for (int i = 0; i < stamps->count; i++) {
        /* the ends of runs that are reported together come in any order */
        n += at_ns < stamps->at_ns[i] || at_ns - stamps->at_ns[i] <= within_ns;
    }
    return n;
}

/* --- dependencies ----------------------------------------------------------------------------- */

/* Is what this slot bears there for those who wait for it? Not if it is about to go. */
static bool is_satisfying(const struct seen *d) {
    bool is_here = d->is_ready ? d->is_wanted : d->state == DH_DONE && !d->is_wanted;

    return is_there(d) && is_here && !d->is_replaced && !d->is_removing;
}

static void check_dependencies(const struct observer *o, const struct seen *s) {
    for (int i = 0; i < o->slots; i++) {
        CHECK(!has_dependency(s, i) || is_satisfying(&o->seen[i]));
    }
}

/* Nobody is stopped by an order before what depends on it and is to go, too. */
static void check_dependants(const struct observer *o, int slot) {
    for (int i = 0; i < o->slots; i++) {
        const struct seen *s = &o->seen[i];
        if (is_there(s) && has_dependency(s, slot) && dh_state_is_alive(s->state)) {
            CHECK(!is_leaving(s));
            CHECK(!o->is_shutting_down);
        }
    }
}

static bool has_all(const struct observer *o, const struct seen *s) {
    for (int i = 0; i < o->slots; i++) {
        if (has_dependency(s, i) &&
            (!is_satisfying(&o->seen[i]) || is_gated(&o->seen[i].body->w))) {
            return false;
        }
    }
    return true;
}

/* Whoever depends on a worker that is there again need not wait for his deadline, and if that was
** the last that was missing he does not. */
static void wake_dependants(struct observer *o, int slot) {
    for (int i = 0; i < o->slots; i++) {
        struct seen *s = &o->seen[i];
        if (is_there(s) && has_dependency(s, slot)) {
            s->is_excused = true;
            s->is_awake |= s->state == DH_BACKOFF && has_all(o, s);
        }
    }
}

/* Whom a worker has woken that is gone again before they could start need not hurry. */
static void calm_dependants(struct observer *o, int slot) {
    for (int i = 0; i < o->slots; i++) {
        struct seen *s = &o->seen[i];
        s->is_awake = s->is_awake && (!has_dependency(s, slot) || has_all(o, s));
    }
}

/* --- groups ----------------------------------------------------------------------------------- */

/* A member is to be restarted: with whom? */
static void take_along(struct observer *o, int slot) {
    struct seen_group *g = group_of(o, &o->seen[slot]);
    bool is_after = false;

    if (g == NULL || g->strategy == DH_ONE_FOR_ONE) {
        return;
    }
    for (struct dh_worker *w = dh_sup_first(&o->world.sup); w != NULL; w = dh_sup_next(w)) {
        struct seen *s = &o->seen[observer_slot(w)];
        if (group_of(o, s) == g && (is_after || g->strategy == DH_ONE_FOR_ALL)) {
            s->is_taken_along = true;
            s->rank = -1; /* it may be told before the others */
        }
        is_after |= observer_slot(w) == slot;
    }
}

/* A member will be restarted. Who fails in the same step as the one whose restart the group has
** begun, and before its gate has opened, is not counted. */
static void count_group_restart(struct observer *o, struct seen_group *g, uint64_t ended_ns) {
    uint32_t step = o->world.sup.step_count;

    if (g->strategy != DH_ONE_FOR_ONE && g->group->coming > 0 && g->restart_step == step) {
        return;
    }
    g->restart_step = step;
    add_stamp(&g->stamps, ended_ns);
    CHECK(count_stamps(&g->stamps, ended_ns, g->within_ns) <= g->max_restarts ||
          o->was_short_of_memory);
}

/* --- events ----------------------------------------------------------------------------------- */

/* One that could not start has none. */
static bool has_outcome(const struct seen *s) {
    return s->body->run == s->run && s->body->has_ended;
}

/* When the run that is ending or has ended did so. */
static uint64_t end_of(const struct observer *o, const struct seen *s) {
    return has_outcome(s) ? s->body->outcome.ended_ns : o->world.now_ns;
}

/* Who may be stopped, and for what? */
static void on_stopping(struct observer *o, int slot, const struct dh_event *ev) {
    struct seen *s = &o->seen[slot];
    const struct dh_policy *p = &s->declared.policy;
    char why[DH_REASON_MAX];

    if (dh_worker_is_at_fault(ev->worker, why, sizeof why)) {
        uint64_t start_ns = watch_from(&s->start, s->started_ns);
        uint64_t beat_ns = watch_from(&s->beat, last_beat(s));
        bool is_late = !s->is_ready && ev->at_ns >= dh_time_add(start_ns, p->start_timeout_ns);
        CHECK(is_late || ev->at_ns >= dh_time_add(beat_ns, p->watchdog_ns));
        return;
    }
    CHECK(is_leaving(s) || s->is_taken_along);
    if (!o->is_forced) {
        check_dependants(o, slot);
    }
    if (s->rank >= 0) {
        CHECK(s->rank < o->last_rank);
        o->last_rank = s->rank;
    }
}

/* It has ended by itself. */
static void on_closing(struct observer *o, int slot) {
    const struct seen *s = &o->seen[slot];
    const struct dh_worker *w = &s->body->w;

    if (has_outcome(s) && s->body->outcome.ending == DH_RETURNED && w->is_wanted &&
        !w->is_start_asked && s->declared.policy.restart == DH_RESTART_ALWAYS && !is_gated(w)) {
        take_along(o, slot); /* not a crash, but a restart all the same */
    }
}

static void on_state(struct observer *o, int slot, const struct dh_event *ev) {
    struct seen *s = &o->seen[slot];

    CHECK(ev->from == s->state);
    CHECK(dh_state_may_become(ev->from, ev->to));
    CHECK(ev->worker->is_wanted || (ev->to != DH_BACKOFF && ev->to != DH_WAITING));
    if (ev->to == DH_STOPPING) {
        on_stopping(o, slot, ev);
    }
    s->state = ev->to;
    s->since_ns = ev->at_ns;
    s->is_ready = false;
    s->is_awake = false;
    s->is_blocked = false;
    calm_dependants(o, slot);
    if (ev->from == DH_RUNNING && ev->to == DH_CLOSING) {
        on_closing(o, slot);
    }
    if (ev->to == DH_DONE) {
        s->is_wanted = false;
        wake_dependants(o, slot);
    }
    if (!dh_state_is_alive(ev->to)) {
        if (o->is_shutting_down) {
            CHECK(ev->at_ns <= s->gone_by_ns);
        }
        if (ev->to == DH_FAILED && s->declared.policy.is_essential && !o->is_shutting_down) {
            observer_note_shutdown(o);
        }
        if (s->has_change) {
            observer_apply_change(s);
        }
    }
}

static void on_start(struct observer *o, int slot, const struct dh_event *ev) {
    struct seen *s = &o->seen[slot];

    CHECK(s->state == DH_RUNNING);
    CHECK(ev->run == s->run + 1);
    CHECK(s->is_wanted && !s->is_removing);
    CHECK(!s->has_given_up);
    CHECK(!o->is_shutting_down);
    CHECK(s->is_excused || ev->at_ns >= s->not_before_ns);
    CHECK(s->is_restart_next || s->is_ordered || s->run == 0);
    check_dependencies(o, s);
    s->run = ev->run;
    s->started_ns = ev->at_ns;
    s->ready_ns = 0;
    s->is_restart_next = false;
    s->is_replaced = false;
    s->is_ordered = false;
    s->is_excused = false;
    s->is_taken_along = false;
    s->is_healthy = false;
    s->not_before_ns = 0;
}

static void check_delay(const struct seen *s, const struct dh_event *ev) {
    const struct dh_policy *p = &s->declared.policy;
    double max = (double)p->max_backoff_ns;
    double delay = (double)p->min_backoff_ns;

    if (ev->outcome != NULL && ev->outcome->retry_after_ns != DH_NEVER) {
        CHECK(ev->delay_ns == ev->outcome->retry_after_ns);
        return;
    }
    for (uint32_t n = 1; n < s->streak && delay < max; n++) {
        delay *= p->backoff_factor;
    }
    delay = delay < max ? delay : max;
    CHECK(ev->delay_ns <= p->max_backoff_ns);
    /* rounded to whole nanoseconds twice: what is to be spread, and what comes of it */
    CHECK((double)ev->delay_ns <= delay * (1 + p->jitter) + 2);
    CHECK((double)ev->delay_ns >= delay * (1 - p->jitter) - 2);
}

/* One that is not restarted for its own limit, or its group's. */
static void check_give_up(struct observer *o, struct seen *s, uint64_t ended_ns, uint32_t count) {
    struct seen_group *g = group_of(o, s);

    if (count > s->declared.policy.max_restarts) {
        return;
    }
    CHECK(g != NULL);
    if (g != NULL) {
        CHECK(count_stamps(&g->stamps, ended_ns, g->within_ns) >= g->max_restarts ||
              o->was_short_of_memory);
        add_stamp(&g->stamps, ended_ns);
    }
}

static void check_window(const struct observer *o, const struct seen *s, const struct dh_event *ev,
                         uint32_t count) {
    uint32_t limit = s->declared.policy.max_restarts;

    if (limit == DH_UNLIMITED) {
        return;
    }
    if (o->was_short_of_memory) {
        CHECK(ev->window_count <= count);
        return;
    }
    CHECK(ev->window_count == count || (count > limit && ev->window_count == limit + 1));
    CHECK(!ev->will_restart || count <= limit);
}

static void on_crash(struct observer *o, int slot, const struct dh_event *ev) {
    struct seen *s = &o->seen[slot];
    struct seen_group *g = group_of(o, s);
    const struct dh_policy *p = &s->declared.policy;
    uint64_t ended_ns = ev->outcome != NULL ? ev->outcome->ended_ns : ev->at_ns;
    uint32_t count;

    CHECK(s->state == DH_CLOSING);
    CHECK(ev->is_rejected == (s->is_on_trial && !ev->is_stopping));
    if (ev->is_stopping) {
        CHECK(!ev->will_restart);
        return;
    }
    CHECK(s->streak == 0 || !has_outcome(s) || !has_lasted(s, ended_ns));
    if (s->streak == 0) {
        s->outage_since_ns = ended_ns;
    }
    s->streak++;
    CHECK(ev->streak == s->streak);
    if (s->is_on_trial) {
        CHECK(ev->will_restart && ev->delay_ns == DH_TRIAL_DELAY_NS);
        s->is_condemned = true;
    } else if (p->restart == DH_RESTART_NEVER || (ev->outcome != NULL && ev->outcome->is_fatal)) {
        CHECK(!ev->will_restart);
        return;
    } else {
        if (p->max_restarts != DH_UNLIMITED) {
            add_stamp(&s->stamps, ended_ns);
        }
        count = count_stamps(&s->stamps, ended_ns, p->within_ns);
        check_window(o, s, ev, count);
        if (!ev->will_restart) {
            check_give_up(o, s, ended_ns, count);
            return;
        }
        check_delay(s, ev);
        if (g != NULL) {
            count_group_restart(o, g, ended_ns);
        }
    }
    s->not_before_ns = dh_time_add(ended_ns, ev->delay_ns);
    s->is_excused = false;
    take_along(o, slot);
}

static void on_recovered(const struct observer *o, struct seen *s, const struct dh_event *ev) {
    CHECK(s->streak > 0);
    CHECK(s->is_healthy || has_lasted(s, end_of(o, s)));
    CHECK(ev->outage_ns == s->started_ns - s->outage_since_ns || o->was_short_of_memory);
    s->streak = 0;
}

static void on_proven(const struct observer *o, struct seen *s) {
    CHECK(s->is_on_trial);
    CHECK(s->is_healthy || has_lasted(s, end_of(o, s)) ||
          (s->state == DH_CLOSING && s->body->outcome.ending == DH_RETURNED));
    s->is_on_trial = false;
}

static void on_group_failed(struct observer *o, int slot) {
    const struct seen_group *g = group_of(o, &o->seen[slot]);
    bool is_essential = false;

    CHECK(g != NULL);
    for (int i = 0; i < o->slots; i++) {
        struct seen *s = &o->seen[i];
        if (i != slot && is_there(s) && group_of(o, s) == g && !dh_state_is_final(s->state)) {
            is_essential |= s->body->w.is_wanted && s->declared.policy.is_essential;
            s->is_wanted = false;
            s->is_replaced = false;
            s->is_ordered = false;
            s->rank = -1;
        }
    }
    if (is_essential && !o->is_shutting_down) {
        observer_note_shutdown(o);
    }
}

static void on_kill(const struct observer *o, const struct seen *s, const struct dh_event *ev) {
    uint64_t timeout = s->declared.policy.stop_timeout_ns;

    CHECK(s->state == DH_STOPPING && !s->body->was_killed);
    if (ev->reason != NULL) {
        CHECK(!o->is_forced &&
              ev->at_ns >= dh_time_add(watch_from(&s->stop, s->since_ns), timeout));
    } else {
        CHECK(o->is_forced || timeout == 0 || o->was_short_of_memory);
    }
}

static bool is_lost(const struct observer *o, enum dh_event_kind kind) {
    return (o->mutation == LOST_RESTART && kind == DH_EVENT_RESTART) ||
           (o->mutation == LOST_RECOVERED && kind == DH_EVENT_RECOVERED) ||
           (o->mutation == LOST_READY && kind == DH_EVENT_READY);
}

void observer_on_event(struct world *world, const struct dh_event *ev) {
    struct observer *o = (struct observer *)world;
    int slot = observer_slot(ev->worker);
    struct seen *s = &o->seen[slot];

    o->events++;
    CHECK(is_there(s));
    if (!is_there(s) || is_lost(o, ev->kind)) {
        return;
    }
    CHECK(!s->is_restart_next || ev->kind == DH_EVENT_START);
    CHECK(!s->is_condemned || ev->kind == DH_EVENT_REJECTED);
    switch (ev->kind) {
        case DH_EVENT_STATE:
            on_state(o, slot, ev);
            break;
        case DH_EVENT_RESTART:
            s->is_restart_next = true;
            s->restarts++;
            break;
        case DH_EVENT_START:
            on_start(o, slot, ev);
            break;
        case DH_EVENT_CRASH:
            on_crash(o, slot, ev);
            break;
        case DH_EVENT_GIVE_UP:
            CHECK(s->state == DH_CLOSING);
            s->has_given_up = true;
            break;
        case DH_EVENT_DONE:
            CHECK(s->state == DH_DONE);
            break;
        case DH_EVENT_STOP:
            CHECK(s->state == DH_STOPPED);
            CHECK(!s->is_wanted || s->is_taken_along);
            s->is_wanted = false; /* a group does not revive a member that is never restarted */
            break;
        case DH_EVENT_READY:
            CHECK(s->state == DH_RUNNING);
            CHECK(!s->is_ready);
            s->is_ready = true;
            s->ready_ns = ev->at_ns;
            wake_dependants(o, slot);
            break;
        case DH_EVENT_RECOVERED:
            on_recovered(o, s, ev);
            break;
        case DH_EVENT_GROUP_RESTART:
            CHECK(s->declared.group >= 0 && group_of(o, s)->strategy != DH_ONE_FOR_ONE);
            break;
        case DH_EVENT_GROUP_FAILED:
            on_group_failed(o, slot);
            break;
        case DH_EVENT_PROVEN:
            on_proven(o, s);
            break;
        case DH_EVENT_REJECTED:
            CHECK(s->is_condemned);
            s->is_condemned = false;
            s->is_on_trial = false;
            break;
        case DH_EVENT_KILL:
            on_kill(o, s, ev);
            break;
        case DH_EVENT_BLOCKED:
            CHECK(s->state == DH_WAITING && !s->is_blocked && lacks_for_good(o, s));
            s->is_blocked = true;
            break;
        case DH_EVENT_GONE:
            CHECK(dh_state_is_final(s->state) && s->is_removing);
            s->body = NULL;
            break;
    }
    if (o->on_event != NULL) {
        o->on_event(o, slot, ev);
    }
}
