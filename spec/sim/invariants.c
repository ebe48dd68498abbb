/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The observer: what must hold between turns, and in the end. */
#include "core/backoff.h"
#include "core/deps.h"
#include "seen.h"
#include "spec/core/check.h"

static void check_edges(const struct observer *o, const struct seen *s) {
    const struct dh_worker *w = &s->body->w;
    uint32_t missing = 0;
    uint32_t alive = 0;

    for (int i = 0; i < w->extra->edge_count; i++) {
        const struct dh_edge *e = &w->extra->edges[i];
        const struct seen *d = &o->seen[slot_named(e->name, e->name_len)];
        /* whoever bears the name is what is waited for */
        CHECK(e->to == (is_there(d) ? &d->body->w : NULL));
        missing += e->to == NULL || !(e->to->is_ready || e->to->state == DH_DONE);
    }
    for (const struct dh_edge *e = w->extra->in; e != NULL; e = e->in_next) {
        alive += dh_state_is_alive(e->from->state);
        CHECK(e->to == w);
    }
    CHECK(w->extra->missing == missing);
    CHECK(w->extra->alive_in == alive);
}

static void check_group(const struct dh_group *g) {
    uint32_t coming = 0;
    uint32_t arrived = 0;

    for (const struct dh_worker *w = g->first; w != NULL; w = w->extra->group_next) {
        coming += w->extra->gate == DH_GATE_COMING;
        arrived += w->extra->gate == DH_GATE_ARRIVED;
    }
    CHECK(g->coming == coming);
    CHECK(g->arrived == arrived);
    CHECK(coming > 0 || arrived == 0); /* an empty gate does not stay shut */
}

/* What it counts is what the events add up to. */
static void check_counters(const struct seen *s) {
    const struct dh_worker *w = &s->body->w;

    CHECK(w->state == s->state);
    CHECK(w->run == s->run);
    CHECK(w->restarts == s->restarts);
    CHECK(w->streak == s->streak);
    CHECK(w->is_ready == s->is_ready);
    CHECK(w->is_removing == s->is_removing);
    CHECK(dh_state_is_alive(w->state) == s->body->is_live);
    CHECK(!w->has_ended && !w->has_closed);
    CHECK(w->is_dirty == w->is_unarmed);
    /* it may be the policy, or its group, that does not want it any more */
    CHECK(w->is_wanted == s->is_wanted ||
          (!w->is_wanted && (s->state == DH_CLOSING || s->is_taken_along)));
}

/* Nothing that should have happened by now has not. */
static void check_running(const struct observer *o, const struct seen *s) {
    const struct dh_worker *w = &s->body->w;
    const struct dh_policy *p = &s->declared.policy;
    bool is_to_stop =
        !w->is_wanted || w->is_start_asked || (w->extra != NULL && w->extra->gate != DH_GATE_NONE);
    uint64_t now = o->world.now_ns;

    CHECK(is_to_stop || !s->is_taken_along);
    CHECK(!is_to_stop || dh_deps_is_held(&o->world.sup, w));
    if (w->is_unarmed) {
        return;
    }
    CHECK(!has_lasted(s, now) || (s->streak == 0 && !s->is_on_trial));
    if (!is_to_stop) {
        CHECK(s->is_ready ||
              now < dh_time_add(watch_from(&s->start, s->started_ns), p->start_timeout_ns));
        CHECK(now < dh_time_add(watch_from(&s->beat, last_beat(s)), p->watchdog_ns));
    }
}

static void check_worker(const struct observer *o, const struct seen *s) {
    const struct dh_worker *w = &s->body->w;
    uint64_t now = o->world.now_ns;

    check_counters(s);
    switch (s->state) {
        case DH_WAITING:
            CHECK(w->is_wanted);
            CHECK(is_gated(w) || !dh_deps_are_ready(w));
            CHECK(is_gated(w) || o->is_shutting_down || s->is_blocked || !lacks_for_good(o, s));
            CHECK(!dh_timer_is_armed(&w->timer));
            break;
        case DH_RUNNING:
            check_running(o, s);
            break;
        case DH_STOPPING:
            CHECK(w->is_killed || w->is_unarmed ||
                  now < dh_time_add(watch_from(&s->stop, s->since_ns),
                                    s->declared.policy.stop_timeout_ns));
            CHECK(w->is_killed == s->body->was_killed);
            break;
        case DH_CLOSING:
            break;
        case DH_BACKOFF:
            CHECK(w->is_wanted);
            CHECK(is_gated(w) || w->is_unarmed || dh_timer_is_armed(&w->timer));
            CHECK(is_gated(w) || w->is_unarmed || now < w->retry_at_ns);
            CHECK(is_gated(w) || w->is_unarmed || s->not_before_ns == 0 || now < s->not_before_ns);
            CHECK(is_gated(w) || !s->is_awake);
            break;
        case DH_DONE:
        case DH_FAILED:
        case DH_STOPPED:
            CHECK(!dh_timer_is_armed(&w->timer) && !is_gated(w) && !w->is_start_asked);
            CHECK(s->state == DH_FAILED || !w->is_wanted);
            CHECK(!s->is_removing);
            break;
    }
    if (w->extra != NULL) {
        check_edges(o, s);
    }
}

void observer_check(struct observer *o) {
    const struct dh_sup *sup = &o->world.sup;
    uint32_t counts[DH_STATE_COUNT] = {0};
    uint32_t workers = 0;

    for (int i = 0; i < o->slots; i++) {
        const struct seen *s = &o->seen[i];
        if (is_there(s)) {
            check_worker(o, s);
            counts[s->state]++;
            workers++;
        }
    }
    CHECK(memcmp(counts, sup->counts, sizeof counts) == 0);
    CHECK(sup->worker_count == workers);
    CHECK(sup->stale_reports == o->stale_reports);
    CHECK(sup->is_shutting_down == o->is_shutting_down);
    for (int i = 0; i < GROUPS; i++) {
        if (o->groups[i].group != NULL) {
            check_group(o->groups[i].group);
        }
    }
}

bool observer_should_run(const struct observer *o, int slot) {
    const struct seen *s = &o->seen[slot];

    if (!is_there(s) || !s->body->w.is_wanted || dh_state_is_final(s->state)) {
        return false;
    }
    for (int i = 0; i < slot; i++) { /* dependencies lead to lower slots */
        bool is_done = is_there(&o->seen[i]) && o->seen[i].state == DH_DONE;
        if (has_dependency(s, i) && !is_done && !observer_should_run(o, i)) {
            return false;
        }
    }
    return true;
}

uint64_t observer_longest_delay(const struct observer *o) {
    uint64_t longest = 0;

    for (int i = 0; i < o->slots; i++) {
        const struct seen *s = &o->seen[i];
        struct dh_status status;
        if (is_there(s)) {
            dh_sup_status(&o->world.sup, &s->body->w, o->world.now_ns, &status);
            if (status.next_retry_in_ns != DH_NEVER && status.next_retry_in_ns > longest) {
                longest = status.next_retry_in_ns;
            }
        }
    }
    return longest;
}
