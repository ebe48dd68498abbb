/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/machine.h"

#include <assert.h>
#include <stdio.h>

#include "core/backoff.h"
#include "core/deps.h"
#include "core/group.h"

struct dh_event dh_machine_event(struct dh_sup *sup, enum dh_event_kind kind, struct dh_worker *w) {
    return (struct dh_event){
        .kind = kind,
        .worker = w,
        .at_ns = dh_machine_now(sup),
        .run = w->run,
        .streak = w->streak,
        .delay_ns = DH_NEVER,
    };
}

void dh_machine_emit(struct dh_sup *sup, enum dh_event_kind kind, struct dh_worker *w,
                     const char *reason) {
    struct dh_event ev = dh_machine_event(sup, kind, w);

    ev.reason = reason;
    sup->env->emit(sup->env, &ev);
}

void dh_machine_emit_stop(struct dh_sup *sup, struct dh_worker *w) {
    const struct dh_group *g = dh_group_of(w);
    char reason[DH_NAME_MAX + 32];

    if (g == NULL || !w->extra->is_failing) {
        dh_machine_emit(sup, DH_EVENT_STOP, w, NULL);
        return;
    }
    w->extra->is_failing = false;
    snprintf(reason, sizeof reason, "its group %.*s has failed", (int)g->spec.name.len, g->text);
    dh_machine_emit(sup, DH_EVENT_STOP, w, reason);
}

void dh_machine_mark(struct dh_sup *sup, struct dh_worker *w) {
    if (w->is_dirty) {
        return;
    }
    w->is_dirty = true;
    w->next_dirty = NULL;
    if (sup->dirty_last != NULL) {
        sup->dirty_last->next_dirty = w;
    } else {
        sup->dirty_first = w;
    }
    sup->dirty_last = w;
}

struct dh_worker *dh_machine_take(struct dh_sup *sup) {
    struct dh_worker *w = sup->dirty_first;

    if (w != NULL) {
        sup->dirty_first = w->next_dirty;
        if (sup->dirty_first == NULL) {
            sup->dirty_last = NULL;
        }
        w->next_dirty = NULL;
        w->is_dirty = false;
    }
    return w;
}

void dh_machine_put_aside(struct dh_sup *sup, struct dh_worker *w) {
    w->is_dirty = true;
    w->next_dirty = sup->unarmed_first;
    sup->unarmed_first = w;
}

void dh_machine_requeue_unarmed(struct dh_sup *sup) {
    struct dh_worker *w = sup->unarmed_first;

    sup->unarmed_first = NULL;
    while (w != NULL) {
        struct dh_worker *next = w->next_dirty;
        w->is_dirty = false;
        dh_machine_mark(sup, w);
        w = next;
    }
}

static void drop_deadlines(struct dh_sup *sup, struct dh_worker *w, enum dh_state to) {
    struct dh_extra *x = w->extra;

    /* the restart deadline is armed when the run ends and stays while what is left of it closes */
    if (!(w->state == DH_CLOSING && to == DH_BACKOFF)) {
        if (to != DH_CLOSING) { /* else dh_life_on_ended moves it, or drops it */
            sup->env->disarm(sup->env, &w->timer);
        }
        w->is_due = false;
        w->is_unarmed = false;
    }
    if (w->state == DH_RUNNING && x != NULL) {
        sup->env->disarm(sup->env, &x->start_timer);
        sup->env->disarm(sup->env, &x->beat_timer);
        x->is_start_due = false;
        x->is_beat_due = false;
    }
}

void dh_machine_move(struct dh_sup *sup, struct dh_worker *w, enum dh_state to, uint64_t since_ns) {
    enum dh_state from = w->state;
    bool was_satisfying = dh_machine_is_satisfying(w);
    bool was_alive = dh_state_is_alive(from);
    struct dh_event ev;

    assert(dh_state_may_become(from, to));
    drop_deadlines(sup, w, to);
    sup->counts[from]--;
    sup->counts[to]++;
    w->state = (uint8_t)to;
    w->since_ns = since_ns;
    w->is_ready = false;
    if (to != DH_BACKOFF) {
        w->is_retry_asked = false;
    }
    if (w->extra != NULL) {
        w->extra->is_blocked = false;
    }

    ev = dh_machine_event(sup, DH_EVENT_STATE, w);
    ev.from = from;
    ev.to = to;
    if (to == DH_BACKOFF) {
        ev.delay_ns = w->retry_at_ns > ev.at_ns ? w->retry_at_ns - ev.at_ns : 0;
    }
    if (dh_machine_is_satisfying(w) != was_satisfying) {
        dh_deps_on_ready(sup, w, !was_satisfying);
    }
    if (dh_state_is_alive(to) != was_alive) {
        dh_deps_on_alive(sup, w, !was_alive);
    }
    if (dh_state_is_final(to)) {
        dh_group_set_gate(sup, w, DH_GATE_NONE);
        dh_deps_on_rest(sup, w);
    }
    dh_machine_mark(sup, w);
    sup->env->emit(sup->env, &ev); /* last: a hook may declare what depends on w */
}

void dh_machine_set_ready(struct dh_sup *sup, struct dh_worker *w) {
    w->is_ready = true;
    dh_deps_on_ready(sup, w, true);
    if (w->extra != NULL) {
        sup->env->disarm(sup->env, &w->extra->start_timer);
        w->extra->is_start_due = false;
        w->extra->beat_ns = dh_machine_now(sup);
    }
    dh_machine_emit(sup, DH_EVENT_READY, w, NULL);
}

/* Is t armed for the deadline, or due, or is there none? If memory is out and the deadline has passed
** meanwhile, it becomes due here. */
static bool ensure(struct dh_sup *sup, struct dh_timer *t, uint64_t deadline_ns, bool *is_due) {
    if (*is_due || deadline_ns == DH_NEVER || dh_timer_is_armed(t)) {
        return true;
    }
    if (sup->env->arm(sup->env, t, deadline_ns) == 0) {
        return true;
    }
    *is_due = deadline_ns <= dh_machine_now(sup);
    return *is_due;
}

static bool ensure_running(struct dh_sup *sup, struct dh_worker *w) {
    const struct dh_policy *p = w->policy;
    struct dh_extra *x = w->extra;
    bool is_due = w->is_due;
    bool is_armed = true;

    if (w->streak > 0 || dh_machine_is_on_trial(w)) {
        is_armed = ensure(sup, &w->timer, dh_time_add(w->started_ns, p->reset_after_ns), &is_due);
        w->is_due = is_due;
    }
    if (x != NULL && !w->is_ready) {
        is_armed &= ensure(sup, &x->start_timer, dh_time_add(x->start_ns, p->start_timeout_ns),
                           &x->is_start_due);
    }
    if (x != NULL) {
        is_armed &=
            ensure(sup, &x->beat_timer, dh_time_add(x->beat_ns, p->watchdog_ns), &x->is_beat_due);
    }
    return is_armed;
}

void dh_machine_arm_deadlines(struct dh_sup *sup, struct dh_worker *w) {
    bool is_due = w->is_due;

    if (w->state == DH_RUNNING) {
        w->is_unarmed = !ensure_running(sup, w);
    } else { /* the only other deadline that can lack memory: a stop_timeout that does kills at once */
        w->is_unarmed = !ensure(sup, &w->timer, w->retry_at_ns, &is_due);
        w->is_due = is_due;
    }
}

void dh_machine_arm_restart(struct dh_sup *sup, struct dh_worker *w) {
    if (dh_timer_is_armed(&w->timer)) {
        sup->env->arm(sup->env, &w->timer, w->retry_at_ns); /* it is armed: cannot fail */
    } else {
        dh_machine_arm_deadlines(sup, w);
    }
}

void dh_machine_clear_history(struct dh_sup *sup, struct dh_worker *w) {
    w->streak = 0;
    if (w->extra != NULL) {
        w->extra->has_outage = false;
        dh_window_clear(&w->extra->window);
        dh_group_on_order(w);
    }
    if (w->state == DH_RUNNING && !dh_machine_is_on_trial(w)) {
        sup->env->disarm(sup->env, &w->timer);
        w->is_due = false;
    }
}

bool dh_machine_is_on_trial(const struct dh_worker *w) {
    return w->extra != NULL && w->extra->is_on_trial;
}

void dh_machine_prove(struct dh_sup *sup, struct dh_worker *w) {
    if (dh_machine_is_on_trial(w)) {
        w->extra->is_on_trial = false;
        sup->env->disarm(sup->env, &w->timer);
        dh_machine_emit(sup, DH_EVENT_PROVEN, w, NULL);
    }
}

void dh_machine_end_streak(struct dh_sup *sup, struct dh_worker *w) {
    struct dh_extra *x = w->extra;
    struct dh_event ev;

    if (w->streak == 0) {
        return;
    }
    ev = dh_machine_event(sup, DH_EVENT_RECOVERED, w);
    if (x != NULL && x->has_outage && w->started_ns > x->outage_since_ns) {
        ev.outage_ns = w->started_ns - x->outage_since_ns;
    }
    w->streak = 0;
    if (x != NULL) {
        x->has_outage = false;
    }
    sup->env->disarm(sup->env, &w->timer);
    sup->env->emit(sup->env, &ev);
}
