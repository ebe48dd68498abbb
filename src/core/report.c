/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Reports: what has happened. They note it in the worker and queue it; step.c decides.
*/
#include <assert.h>
#include <stddef.h>

#include "core/machine.h"
#include "core/supervisor.h"

#define OWNER_OF(member, type, field) ((type *)(void *)((char *)(member)-offsetof(type, field)))

/* Does a report about this run, whose body has not ended, make sense? */
static bool is_current(struct dh_sup *sup, const struct dh_worker *w, uint32_t run) {
    bool has_body = (w->state == DH_RUNNING || w->state == DH_STOPPING) && !w->has_ended;

    if (run == w->run && has_body) {
        return true;
    }
    sup->stale_reports++;
    return false;
}

void dh_sup_on_ready(struct dh_sup *sup, struct dh_worker *w, uint32_t run, bool is_explicit) {
    if (!is_current(sup, w, run) || w->state != DH_RUNNING || w->is_ready) {
        return;
    }
    if (is_explicit || !w->policy->notifies) {
        w->has_reported_ready = true;
        dh_machine_mark(sup, w);
    }
}

void dh_sup_on_beat(struct dh_sup *sup, struct dh_worker *w, uint32_t run) {
    if (is_current(sup, w, run) && w->extra != NULL && w->policy->watchdog_ns != DH_NEVER) {
        w->extra->beat_ns = dh_machine_now(sup);
    }
}

void dh_sup_on_healthy(struct dh_sup *sup, struct dh_worker *w, uint32_t run) {
    bool is_of_use = w->streak > 0 || dh_machine_is_on_trial(w);

    if (is_current(sup, w, run) && w->state == DH_RUNNING && is_of_use) {
        w->is_due = true; /* as if its time of reset_after had come */
        dh_machine_mark(sup, w);
    }
}

void dh_sup_on_ended(struct dh_sup *sup, struct dh_worker *w, uint32_t run,
                     struct dh_outcome *outcome) {
    if (!is_current(sup, w, run)) {
        return;
    }
    w->has_ended = true;
    outcome->worker = w;
    outcome->start_failure = NULL;
    outcome->next = NULL;
    if (sup->ended_last != NULL) {
        sup->ended_last->next = outcome;
    } else {
        sup->ended_first = outcome;
    }
    sup->ended_last = outcome;
}

void dh_sup_on_closed(struct dh_sup *sup, struct dh_worker *w, uint32_t run) {
    bool is_closing = w->state == DH_CLOSING || w->has_ended;

    if (run != w->run || !is_closing || w->has_closed) {
        sup->stale_reports++;
        return;
    }
    w->has_closed = true;
    dh_machine_mark(sup, w);
}

void dh_sup_on_timer(struct dh_sup *sup, struct dh_timer *t) {
    struct dh_worker *w;
    struct dh_extra *x;

    if (t->kind == DH_TIMER_WORKER) {
        w = OWNER_OF(t, struct dh_worker, timer);
        if (w->state == DH_RUNNING && w->has_ended) {
            return; /* whether it lasted long enough is judged by when it ended, not by now */
        }
        w->is_due = true;
    } else if (t->kind == DH_TIMER_START) {
        x = OWNER_OF(t, struct dh_extra, start_timer);
        x->is_start_due = true;
        w = x->worker;
    } else {
        assert(t->kind == DH_TIMER_BEAT);
        x = OWNER_OF(t, struct dh_extra, beat_timer);
        x->is_beat_due = true;
        w = x->worker;
    }
    dh_machine_mark(sup, w);
}
