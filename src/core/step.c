/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** dh_sup_step: a handler for each state looks at what orders and reports have noted since and does
** the next move, if there is one. A move queues the worker again, so a handler never has to think
** further than one move, and all of them are idempotent: looking twice does no harm.
*/
#include "core/backoff.h"
#include "core/deps.h"
#include "core/group.h"
#include "core/life.h"
#include "core/machine.h"
#include "core/supervisor.h"
#include "core/watch.h"

static void stop_at_once(struct dh_sup *sup, struct dh_worker *w) {
    dh_machine_move(sup, w, DH_STOPPED, dh_machine_now(sup));
    dh_machine_emit_stop(sup, w);
}

static void in_waiting(struct dh_sup *sup, struct dh_worker *w) {
    if (!w->is_wanted) {
        stop_at_once(sup, w);
        return;
    }
    if (dh_machine_gate(w) != DH_GATE_NONE) {
        dh_group_set_gate(sup, w, DH_GATE_ARRIVED);
        return;
    }
    if (!sup->is_booted || sup->is_shutting_down) {
        return;
    }
    if (dh_deps_are_ready(w)) {
        dh_life_begin(sup, w);
    } else if (!w->extra->is_blocked && dh_deps_are_blocked(w)) {
        char reason[DH_WAITING_FOR_MAX];
        w->extra->is_blocked = true;
        dh_deps_describe(w, reason, sizeof reason);
        dh_machine_emit(sup, DH_EVENT_BLOCKED, w, reason);
    }
}

static void in_running(struct dh_sup *sup, struct dh_worker *w) {
    bool is_group_restart = dh_machine_gate(w) == DH_GATE_COMING;

    if (w->has_reported_ready) {
        w->has_reported_ready = false;
        dh_machine_set_ready(sup, w);
    }
    if (w->is_due) {
        w->is_due = false;
        dh_machine_end_streak(sup, w);
        dh_machine_prove(sup, w);
    }
    if (!w->is_wanted || w->is_start_asked || is_group_restart) {
        if (!dh_deps_is_held(sup, w)) {
            dh_life_stop(sup, w, is_group_restart ? DH_CAUSE_GROUP : DH_CAUSE_ORDER);
        }
        return;
    }
    dh_watch_check(sup, w);
}

static void in_stopping(struct dh_sup *sup, struct dh_worker *w) {
    if (w->is_due || sup->is_forced) {
        w->is_due = false;
        dh_life_kill(sup, w);
    }
}

static void in_closing(struct dh_sup *sup, struct dh_worker *w) {
    if (w->has_closed) {
        dh_life_on_closed(sup, w);
    }
}

static void in_backoff(struct dh_sup *sup, struct dh_worker *w) {
    if (!w->is_wanted) {
        stop_at_once(sup, w);
        return;
    }
    if (w->is_start_asked) {
        w->is_start_asked = false;
        w->is_automatic = false;
        w->is_due = true;
    }
    if (w->is_retry_asked) {
        w->is_retry_asked = false;
        w->is_due = true;
    }
    if (!w->is_due || sup->is_shutting_down) {
        return;
    }
    if (dh_machine_gate(w) != DH_GATE_NONE) {
        dh_group_set_gate(sup, w, DH_GATE_ARRIVED);
    } else if (dh_deps_are_ready(w)) {
        dh_life_begin(sup, w);
    } else {
        dh_machine_move(sup, w, DH_WAITING, dh_machine_now(sup));
    }
}

static void at_rest(struct dh_sup *sup, struct dh_worker *w) {
    if (w->is_removing) {
        dh_sup_forget(sup, w);
        return;
    }
    if (w->is_start_asked && !sup->is_shutting_down) {
        w->is_start_asked = false;
        w->is_automatic = false;
        dh_machine_move(sup, w, DH_WAITING, dh_machine_now(sup));
    }
}

/* w may be gone when this returns */
static void decide(struct dh_sup *sup, struct dh_worker *w) {
    static void (*const handlers[DH_STATE_COUNT])(struct dh_sup *, struct dh_worker *) = {
        [DH_WAITING] = in_waiting, [DH_RUNNING] = in_running, [DH_STOPPING] = in_stopping,
        [DH_CLOSING] = in_closing, [DH_BACKOFF] = in_backoff, [DH_DONE] = at_rest,
        [DH_FAILED] = at_rest,     [DH_STOPPED] = at_rest,
    };
    enum dh_state state = w->state;

    if (w->is_unarmed) {
        dh_machine_arm_deadlines(sup, w);
    }
    handlers[state](sup, w);
    if (!dh_state_is_final(state) && w->is_unarmed && !w->is_dirty) {
        dh_machine_put_aside(sup, w);
    }
}

static struct dh_outcome *take_ended(struct dh_sup *sup) {
    struct dh_outcome *outcome = sup->ended_first;

    if (outcome != NULL) {
        sup->ended_first = outcome->next;
        if (sup->ended_first == NULL) {
            sup->ended_last = NULL;
        }
        outcome->next = NULL;
    }
    return outcome;
}

/* The host stops: in reverse order, so that this is the order in which they are told. */
static void sweep(struct dh_sup *sup) {
    sup->must_sweep = false;
    for (struct dh_worker *w = sup->last; w != NULL; w = w->prev) {
        w->is_wanted = false;
        w->is_start_asked = false;
        w->is_retry_asked = false;
        dh_machine_mark(sup, w);
    }
}

void dh_sup_step(struct dh_sup *sup) {
    struct dh_outcome *outcome;
    struct dh_worker *w;

    if (sup->is_stepping) {
        return;
    }
    dh_machine_forget_now(sup);
    sup->is_stepping = true;
    sup->step_count++;
    dh_machine_requeue_unarmed(sup);
    for (uint32_t decisions = 1;; decisions++) {
        if (decisions % DH_DECISIONS_AT_ONCE == 0) {
            dh_machine_forget_now(sup);
        }
        /* how runs ended comes first: nobody is cancelled who has ended already */
        if ((outcome = take_ended(sup)) != NULL) {
            dh_life_on_ended(sup, outcome->worker, outcome);
        } else if ((w = dh_machine_take(sup)) != NULL) {
            decide(sup, w);
        } else if (sup->must_sweep) {
            sweep(sup);
        } else {
            break;
        }
    }
    sup->is_stepping = false;
}
