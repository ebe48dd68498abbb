/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/life.h"

#include <stdio.h>
#include <string.h>

#include "core/backoff.h"
#include "core/change.h"
#include "core/group.h"
#include "core/machine.h"

#define NS_PER_SECOND 1000000000.0

static void increment(uint32_t *counter) {
    *counter += *counter < UINT32_MAX;
}

/* --- begin ------------------------------------------------------------------------------------ */

/* There is no run to close: as if it had ended and closed in the same moment. */
static void fail_to_start(struct dh_sup *sup, struct dh_worker *w, int code) {
    struct dh_outcome outcome;
    char reason[DH_REASON_MAX];

    snprintf(reason, sizeof reason, "cannot start: %s", dh_error_text(code));
    dh_outcome_init(&outcome, DH_RAISED, dh_machine_now(sup));
    outcome.start_failure = reason;
    dh_life_on_ended(sup, w, &outcome);
    w->has_closed = true;
}

void dh_life_begin(struct dh_sup *sup, struct dh_worker *w) {
    uint64_t now = dh_machine_now(sup);
    int rc;

    /* after 2^32 runs the numbers begin again: a restart every millisecond gets there in 50 days */
    w->run = w->run < UINT32_MAX ? w->run + 1 : 1;
    w->is_start_asked = false;
    w->has_ended = false;
    w->has_closed = false;
    w->has_reported_ready = false;
    dh_machine_move(sup, w, DH_RUNNING, now);
    w->started_ns = now;
    if (w->is_automatic) {
        w->is_automatic = false;
        increment(&w->restarts);
        dh_machine_emit(sup, DH_EVENT_RESTART, w, NULL);
    }
    dh_machine_emit(sup, DH_EVENT_START, w, NULL);
    if (w->extra != NULL) {
        w->extra->is_failing = false;
        w->extra->cause = DH_CAUSE_ORDER;
        w->extra->start_ns = now;
        w->extra->beat_ns = now;
    }
    dh_machine_arm_deadlines(sup, w);
    rc = sup->env->start_run(sup->env, w);
    if (rc < 0) {
        fail_to_start(sup, w, rc);
    }
}

/* --- stop ------------------------------------------------------------------------------------- */

/* Kill its run, if that has not been done yet: because it takes too long, or because it is to be. */
static void kill(struct dh_sup *sup, struct dh_worker *w, const char *reason) {
    if (!w->is_killed) {
        w->is_killed = true;
        dh_machine_emit(sup, DH_EVENT_KILL, w, reason);
        sup->env->kill_run(sup->env, w);
        dh_machine_forget_now(sup);
    }
}

void dh_life_kill(struct dh_sup *sup, struct dh_worker *w) {
    char reason[DH_REASON_MAX];

    snprintf(reason, sizeof reason, "it has not ended within its stop_timeout of %.6g s",
             (double)w->policy->stop_timeout_ns / NS_PER_SECOND);
    kill(sup, w, sup->is_forced ? NULL : reason);
}

void dh_life_stop(struct dh_sup *sup, struct dh_worker *w, enum dh_cause cause) {
    uint64_t now = dh_machine_now(sup);
    uint64_t timeout = w->policy->stop_timeout_ns;

    if (w->extra != NULL) {
        w->extra->cause = (uint8_t)cause;
    }
    w->is_killed = false;
    dh_machine_move(sup, w, DH_STOPPING, now);
    if (timeout == 0 || sup->is_forced) {
        kill(sup, w, NULL);
        return;
    }
    if (timeout != DH_NEVER && sup->env->arm(sup->env, &w->timer, dh_time_add(now, timeout)) < 0) {
        kill(sup, w, NULL); /* nobody would do it later */
        return;
    }
    sup->env->cancel_run(sup->env, w);
}

/* --- the end: what does it mean? -------------------------------------------------------------- */

/* What a crash leads to. */
struct verdict {
    bool will_restart;
    uint64_t delay_ns;
    uint32_t window_count;
    uint32_t max_restarts;
    bool has_group_failed;
    bool is_rejected;
    char reason[DH_REASON_MAX]; /* why not */
};

static void describe_limit(struct verdict *v, const char *whose, uint32_t limit,
                           uint64_t within_ns) {
    size_t n;

    v->will_restart = false;
    snprintf(v->reason, sizeof v->reason, "%smore than %u restart%s", whose, limit,
             limit == 1 ? "" : "s");
    n = strlen(v->reason);
    if (within_ns != DH_NEVER) {
        snprintf(v->reason + n, sizeof v->reason - n, " within %.6g s",
                 (double)within_ns / NS_PER_SECOND);
    }
}

static void count_failure(struct dh_sup *sup, struct dh_worker *w, uint64_t ended_ns,
                          struct verdict *v) {
    const struct dh_policy *p = w->policy;
    struct dh_group *g = dh_group_of(w);
    uint32_t in_group;

    v->max_restarts = p->max_restarts;
    if (p->max_restarts != DH_UNLIMITED) {
        struct dh_extra *x = dh_extra_get(sup, w);
        v->window_count = x == NULL ? 1
                                    : dh_window_add(&x->window, sup->env->alloc, ended_ns,
                                                    p->within_ns, p->max_restarts);
        if (v->window_count > p->max_restarts) {
            describe_limit(v, "", p->max_restarts, p->within_ns);
            return;
        }
    }
    in_group = dh_group_count_failure(sup, w, ended_ns);
    if (in_group > 0 && p->max_restarts == DH_UNLIMITED) {
        v->window_count = in_group;
        v->max_restarts = g->spec.max_restarts;
    }
    if (in_group > 0 && in_group > g->spec.max_restarts) {
        char whose[DH_REASON_MAX / 2];
        snprintf(whose, sizeof whose, "group %.*s: ", (int)g->spec.name.len, g->text);
        describe_limit(v, whose, g->spec.max_restarts, g->spec.within_ns);
        v->has_group_failed = true;
    }
}

static void judge(struct dh_sup *sup, struct dh_worker *w, const struct dh_outcome *outcome,
                  struct verdict *v) {
    const struct dh_policy *p = w->policy;

    *v = (struct verdict){
        .will_restart = true, .delay_ns = DH_NEVER, .max_restarts = p->max_restarts};
    if (outcome->is_fatal) {
        v->will_restart = false;
        snprintf(v->reason, sizeof v->reason, "the error is fatal");
    } else if (p->restart == DH_RESTART_NEVER) {
        v->will_restart = false;
        snprintf(v->reason, sizeof v->reason, "restart = \"never\"");
    } else {
        count_failure(sup, w, outcome->ended_ns, v);
    }
    if (v->will_restart) {
        uint64_t random = p->jitter > 0 ? sup->env->random(sup->env) : 0;
        v->delay_ns = outcome->retry_after_ns != DH_NEVER ? outcome->retry_after_ns
                                                          : dh_backoff_delay(p, w->streak, random);
    }
}

static void emit_crash(struct dh_sup *sup, struct dh_worker *w, const struct dh_outcome *outcome,
                       const char *reason, const struct verdict *v) {
    struct dh_event ev = dh_machine_event(sup, DH_EVENT_CRASH, w);

    ev.outcome = outcome->start_failure == NULL ? outcome : NULL;
    ev.reason = reason;
    if (v == NULL) {
        ev.is_stopping = true;
    } else {
        ev.will_restart = v->will_restart;
        ev.delay_ns = v->delay_ns;
        ev.window_count = v->window_count;
        ev.max_restarts = v->max_restarts;
        ev.is_rejected = v->is_rejected;
    }
    sup->env->emit(sup->env, &ev);
}

static void emit_give_up(struct dh_sup *sup, struct dh_worker *w, const struct dh_outcome *outcome,
                         const struct verdict *v) {
    struct dh_event ev = dh_machine_event(sup, DH_EVENT_GIVE_UP, w);

    ev.outcome = outcome->start_failure == NULL ? outcome : NULL;
    ev.reason = v->reason;
    ev.window_count = v->window_count;
    ev.max_restarts = v->max_restarts;
    sup->env->emit(sup->env, &ev);
}

/* after_closing and the deadline; the clock runs from the end of the run, closing included */
static void plan_restart(struct dh_sup *sup, struct dh_worker *w, uint64_t ended_ns,
                         uint64_t delay_ns) {
    w->after_closing = DH_BACKOFF;
    w->is_automatic = true;
    w->retry_at_ns = dh_time_add(ended_ns, delay_ns);
    dh_machine_arm_restart(sup, w);
    dh_group_restart(sup, w, delay_ns);
}

/* A crash on trial says nothing about the worker, only about its new declaration. */
static void reject(struct dh_sup *sup, struct dh_worker *w, const struct dh_outcome *outcome,
                   const char *reason) {
    struct verdict v = {.will_restart = true, .delay_ns = DH_TRIAL_DELAY_NS, .is_rejected = true};
    struct dh_event ev = dh_machine_event(sup, DH_EVENT_REJECTED, w);

    w->extra->is_on_trial = false;
    emit_crash(sup, w, outcome, reason, &v);
    ev.outcome = outcome->start_failure == NULL ? outcome : NULL;
    ev.reason = reason;
    sup->env->emit(sup->env, &ev);
    plan_restart(sup, w, outcome->ended_ns, v.delay_ns);
}

static void on_crash(struct dh_sup *sup, struct dh_worker *w, const struct dh_outcome *outcome,
                     const char *reason) {
    struct dh_extra *x = dh_extra_get(sup, w);
    struct verdict v;

    increment(&w->streak);
    if (x != NULL && !x->has_outage) {
        x->has_outage = true;
        x->outage_since_ns = outcome->ended_ns;
    }
    if (dh_machine_is_on_trial(w)) {
        reject(sup, w, outcome, reason);
        return;
    }
    judge(sup, w, outcome, &v);
    emit_crash(sup, w, outcome, reason, &v);
    if (v.will_restart) {
        plan_restart(sup, w, outcome->ended_ns, v.delay_ns);
        return;
    }
    w->after_closing = DH_FAILED;
    emit_give_up(sup, w, outcome, &v);
    if (v.has_group_failed) {
        dh_group_fail(sup, w, v.reason);
    }
}

static void on_return(struct dh_sup *sup, struct dh_worker *w, const struct dh_outcome *outcome) {
    uint64_t random;

    dh_machine_prove(sup, w);
    if (w->policy->restart != DH_RESTART_ALWAYS) {
        w->after_closing = DH_DONE;
        w->is_wanted = false;
        return;
    }
    /* Not a crash: it neither counts nor makes the streak longer; nor does it end it, for that
    ** takes a run of reset_after. It waits like after a first crash, or one that returns at once
    ** would spin. */
    random = w->policy->jitter > 0 ? sup->env->random(sup->env) : 0;
    plan_restart(sup, w, outcome->ended_ns, dh_backoff_delay(w->policy, 1, random));
}

/* Did it end because the host, a person or its group wanted it to? Then how is of no
** consequence. */
static bool was_asked_to_end(const struct dh_worker *w) {
    return !w->is_wanted || w->is_start_asked || dh_machine_gate(w) == DH_GATE_COMING;
}

bool dh_worker_is_at_fault(const struct dh_worker *w, char *text, size_t size) {
    const struct dh_policy *p = w->policy;
    enum dh_cause cause = w->state == DH_STOPPING && w->extra != NULL
                              ? (enum dh_cause)w->extra->cause
                              : DH_CAUSE_ORDER;

    if (cause == DH_CAUSE_NOT_READY) {
        snprintf(text, size, "not ready within %.6g s",
                 (double)p->start_timeout_ns / NS_PER_SECOND);
    } else if (cause == DH_CAUSE_NO_BEAT) {
        snprintf(text, size, "no beat within %.6g s", (double)p->watchdog_ns / NS_PER_SECOND);
    } else {
        return false;
    }
    return true;
}

static bool was_long_enough(const struct dh_worker *w, uint64_t ended_ns) {
    uint64_t reset_after = w->policy->reset_after_ns;

    return reset_after != DH_NEVER && ended_ns >= w->started_ns &&
           ended_ns - w->started_ns >= reset_after;
}

void dh_life_on_ended(struct dh_sup *sup, struct dh_worker *w, const struct dh_outcome *outcome) {
    char text[DH_REASON_MAX];
    const char *reason = outcome->start_failure;

    if (reason == NULL && dh_worker_is_at_fault(w, text, sizeof text)) {
        reason = text;
    }
    if (w->has_reported_ready) {
        dh_machine_set_ready(sup, w);
    }
    if ((w->state == DH_RUNNING && w->is_due) || was_long_enough(w, outcome->ended_ns)) {
        dh_machine_end_streak(sup, w);
        dh_machine_prove(sup, w);
    }
    w->has_ended = false;
    dh_machine_move(sup, w, DH_CLOSING, outcome->ended_ns);
    if (was_asked_to_end(w)) {
        w->after_closing = w->is_wanted ? DH_WAITING : DH_STOPPED;
        w->is_automatic = true; /* unless it was ordered: dh_life_on_closed */
        if (outcome->ending == DH_RAISED) {
            emit_crash(sup, w, outcome, reason, NULL);
        }
    } else if (outcome->ending == DH_RETURNED && reason == NULL) {
        on_return(sup, w, outcome);
    } else {
        on_crash(sup, w, outcome, reason);
    }
    if (w->after_closing != DH_BACKOFF) {
        sup->env->disarm(sup->env, &w->timer);
    }
}

/* --- closed ----------------------------------------------------------------------------------- */

void dh_life_fail_essential(struct dh_sup *sup) {
    sup->essential_failed = true;
    dh_sup_shutdown(sup);
}

void dh_life_on_closed(struct dh_sup *sup, struct dh_worker *w) {
    enum dh_state to = w->after_closing;

    w->has_closed = false;
    if (w->is_start_asked) {
        to = DH_WAITING;
        w->is_automatic = false;
        w->is_start_asked = false;
    } else if (!w->is_wanted && (to == DH_BACKOFF || to == DH_WAITING)) {
        to = DH_STOPPED;
    }
    dh_machine_move(sup, w, to, dh_machine_now(sup));
    if (to == DH_DONE) {
        dh_machine_emit(sup, DH_EVENT_DONE, w, NULL);
    } else if (to == DH_STOPPED) {
        dh_machine_emit_stop(sup, w);
    } else if (to == DH_FAILED && w->policy->is_essential) {
        dh_life_fail_essential(sup);
    }
    dh_change_apply(sup, w); /* all of the above is told as it was declared when the run began */
}
