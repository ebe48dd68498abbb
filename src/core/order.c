/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Orders: what somebody wants. They note it in the worker and queue it; step.c carries it out.
** 'wanted' is the last word: an order to stop wipes out a pending start, and the other way round.
*/
#include "core/change.h"
#include "core/deps.h"
#include "core/machine.h"
#include "core/supervisor.h"

static int refuse(const struct dh_sup *sup, const struct dh_worker *w) {
    if (sup->is_shutting_down) {
        return DH_ESHUTDOWN;
    }
    return w->is_removing ? DH_ESTATE : 0;
}

static void note(struct dh_sup *sup, struct dh_worker *w, bool is_wanted, bool is_start_asked) {
    w->is_wanted = is_wanted;
    w->is_start_asked = is_start_asked;
    dh_deps_on_order(sup, w);
    dh_machine_mark(sup, w);
}

int dh_sup_start(struct dh_sup *sup, struct dh_worker *w) {
    bool is_up = w->state == DH_RUNNING || w->state == DH_WAITING;
    int rc = refuse(sup, w);

    if (rc < 0 || (is_up && w->is_wanted)) {
        return rc;
    }
    dh_machine_clear_history(sup, w);
    /* one that was to stop but has not been told yet just goes on, unless it is not as declared */
    note(sup, w, true, !is_up || dh_change_is_pending(w));
    return 0;
}

int dh_sup_stop(struct dh_sup *sup, struct dh_worker *w) {
    int rc = refuse(sup, w);

    if (rc == 0) {
        dh_machine_clear_history(sup, w);
        note(sup, w, false, false);
    }
    return rc;
}

int dh_sup_restart(struct dh_sup *sup, struct dh_worker *w) {
    int rc = refuse(sup, w);

    if (rc == 0) {
        dh_machine_clear_history(sup, w);
        note(sup, w, true, w->state != DH_WAITING);
    }
    return rc;
}

static int retry_at_rest(struct dh_sup *sup, struct dh_worker *w) {
    note(sup, w, true, true);
    return 0;
}

int dh_sup_retry(struct dh_sup *sup, struct dh_worker *w) {
    int rc = refuse(sup, w);

    if (rc < 0) {
        return rc;
    }
    switch ((enum dh_state)w->state) {
        case DH_BACKOFF:
            if (!w->is_wanted) {
                return DH_ESTATE;
            }
            w->is_retry_asked = true;
            dh_machine_mark(sup, w);
            return 0;
        case DH_CLOSING:
            if (dh_machine_will_start(w)) {
                w->is_retry_asked = true;
                return 0;
            }
            return w->after_closing == DH_FAILED ? retry_at_rest(sup, w) : DH_ESTATE;
        case DH_FAILED:
            return retry_at_rest(sup, w);
        case DH_WAITING:
        case DH_RUNNING:
        case DH_STOPPING:
            return w->is_wanted ? 0 : DH_ESTATE;
        default: /* done, stopped */
            return w->is_start_asked ? 0 : DH_ESTATE;
    }
}

int dh_sup_reset(struct dh_sup *sup, struct dh_worker *w) {
    int rc = refuse(sup, w);

    if (rc == 0) {
        dh_machine_clear_history(sup, w);
    }
    return rc;
}

int dh_sup_remove(struct dh_sup *sup, struct dh_worker *w) {
    if (sup->is_shutting_down) {
        return DH_ESHUTDOWN;
    }
    w->is_removing = true;
    note(sup, w, false, false);
    return 0;
}

void dh_sup_shutdown(struct dh_sup *sup) {
    if (!sup->is_shutting_down) {
        sup->is_shutting_down = true;
        sup->must_sweep = true;
    }
}

void dh_sup_shutdown_now(struct dh_sup *sup) {
    if (!sup->is_forced) {
        sup->is_forced = true;
        sup->is_shutting_down = true;
        sup->must_sweep = true;
    }
}
