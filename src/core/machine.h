/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What the files of the supervisor share: the queue of workers that something happened to, the one
** way from state to state, deadlines, history. Private to core.
*/
#ifndef DH_CORE_MACHINE_H
#define DH_CORE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/extra.h"
#include "core/supervisor.h"

/* What is decided at once happens at one moment: reading the clock costs as much as deciding. */
static inline uint64_t dh_machine_now(struct dh_sup *sup) {
    if (!sup->is_stepping) {
        return sup->env->now(sup->env);
    }
    if (!sup->is_now_known) {
        sup->is_now_known = true;
        sup->now_ns = sup->env->now(sup->env);
    }
    return sup->now_ns;
}

/* Time passes: other decisions, or code of a worker that runs inside of one. */
static inline void dh_machine_forget_now(struct dh_sup *sup) {
    sup->is_now_known = false;
}

/* Where w stands in a restart of its group. */
static inline enum dh_gate dh_machine_gate(const struct dh_worker *w) {
    return w->extra != NULL ? (enum dh_gate)w->extra->gate : DH_GATE_NONE;
}

/* May what depends on w run? One that has done its job is as good as one that runs. */
static inline bool dh_machine_is_satisfying(const struct dh_worker *w) {
    return w->is_ready || w->state == DH_DONE;
}

/* Does CLOSING lead to another run, as things stand? */
static inline bool dh_machine_will_start(const struct dh_worker *w) {
    return w->is_wanted &&
           (w->is_start_asked || w->after_closing == DH_BACKOFF || w->after_closing == DH_WAITING);
}

/* Queue w for the next round of dh_sup_step; twice is once. */
void dh_machine_mark(struct dh_sup *sup, struct dh_worker *w);

/* The first of the queue, taken out, or NULL. */
struct dh_worker *dh_machine_take(struct dh_sup *sup);

/* Keep w, which lacks an armed deadline, for the next step; until then it counts as queued. */
void dh_machine_put_aside(struct dh_sup *sup, struct dh_worker *w);

/* What was put aside goes back into the queue. */
void dh_machine_requeue_unarmed(struct dh_sup *sup);

/* The one way from state to state: checks the edge, counts, drops the deadlines of the old state,
** tells dependants, emits, queues. */
void dh_machine_move(struct dh_sup *sup, struct dh_worker *w, enum dh_state to, uint64_t since_ns);

/* RUNNING: w, which was not, is ready. */
void dh_machine_set_ready(struct dh_sup *sup, struct dh_worker *w);

/* Arm whatever w should have armed in its state and has not: recovered and watches while RUNNING,
** the restart in CLOSING and BACKOFF. Without memory it notes that it must be tried again; what has
** become due meanwhile is for the caller's next look at w. */
void dh_machine_arm_deadlines(struct dh_sup *sup, struct dh_worker *w);

/* CLOSING: the deadline of the run that ended, if one is still armed, becomes that of the restart. */
void dh_machine_arm_restart(struct dh_sup *sup, struct dh_worker *w);

/* Forget streak and window: somebody looked after it. */
void dh_machine_clear_history(struct dh_sup *sup, struct dh_worker *w);

/* The streak, if there is one, ended well: emits recovered. */
void dh_machine_end_streak(struct dh_sup *sup, struct dh_worker *w);

/* A trial, if w is on one, ended well: emits proven. */
void dh_machine_prove(struct dh_sup *sup, struct dh_worker *w);

/* Is w on trial? */
bool dh_machine_is_on_trial(const struct dh_worker *w);

/* An event about w with its common fields filled in. */
struct dh_event dh_machine_event(struct dh_sup *sup, enum dh_event_kind kind, struct dh_worker *w);

/* Everything of a declaration but the name and what it refers to. */
int dh_sup_check_spec(const struct dh_spec *spec, struct dh_error *err);

/* Take w, at rest and not queued, out of everything, and emit gone: its memory may be no more when
** this returns. */
void dh_sup_forget(struct dh_sup *sup, struct dh_worker *w);

/* Emit an event that has nothing but its kind and perhaps a reason. */
void dh_machine_emit(struct dh_sup *sup, enum dh_event_kind kind, struct dh_worker *w,
                     const char *reason);

/* Emit stop; the reason says so if it had to because its group failed. */
void dh_machine_emit_stop(struct dh_sup *sup, struct dh_worker *w);

#endif
