/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What may be asked about workers and about all of them together.
*/
#include <stdio.h>

#include "core/deps.h"
#include "core/group.h"
#include "core/machine.h"
#include "core/names.h"
#include "core/supervisor.h"

struct dh_worker *dh_sup_find(struct dh_sup *sup, const char *name, size_t len) {
    return dh_names_find(sup, name, len);
}

struct dh_worker *dh_sup_first(struct dh_sup *sup) {
    return sup->first;
}

struct dh_worker *dh_sup_next(struct dh_worker *w) {
    return w->next;
}

static void describe_wait(const struct dh_sup *sup, const struct dh_worker *w, char *text,
                          size_t size) {
    const struct dh_group *g = dh_group_of(w);

    text[0] = '\0';
    if (w->state != DH_WAITING || w->extra == NULL || !sup->is_booted) {
        return;
    }
    if (dh_machine_gate(w) != DH_GATE_NONE) {
        snprintf(text, size, "group %.*s", (int)g->spec.name.len, g->text);
    } else {
        dh_deps_describe(w, text, size);
    }
}

static uint64_t next_retry_in(const struct dh_worker *w, uint64_t now_ns) {
    bool is_planned = w->is_wanted && (w->state == DH_BACKOFF ||
                                       (w->state == DH_CLOSING && w->after_closing == DH_BACKOFF));

    if (!is_planned || w->retry_at_ns == DH_NEVER) {
        return DH_NEVER;
    }
    return w->retry_at_ns > now_ns ? w->retry_at_ns - now_ns : 0;
}

void dh_sup_status(const struct dh_sup *sup, const struct dh_worker *w, uint64_t now_ns,
                   struct dh_status *ret_status) {
    *ret_status = (struct dh_status){
        .state = w->state,
        .since_ns = w->since_ns,
        .next_retry_in_ns = next_retry_in(w, now_ns),
        .run = w->run,
        .restarts = w->restarts,
        .streak = w->streak,
        .is_wanted = w->is_wanted,
        .is_ready = w->is_ready,
    };
    describe_wait(sup, w, ret_status->waiting_for, sizeof ret_status->waiting_for);
}

bool dh_sup_has_work(const struct dh_sup *sup) {
    return sup->ended_first != NULL || sup->dirty_first != NULL || sup->unarmed_first != NULL ||
           sup->must_sweep;
}

bool dh_sup_is_quiet(const struct dh_sup *sup) {
    return sup->counts[DH_RUNNING] == 0 && sup->counts[DH_STOPPING] == 0 &&
           sup->counts[DH_CLOSING] == 0 && !dh_sup_has_work(sup);
}

/* Dependencies form no circle, so if all that is not final waits, the last in each chain waits for
** one that is final and not DONE, or gone: nobody will start. */
bool dh_sup_is_finished(const struct dh_sup *sup) {
    bool can_start = sup->counts[DH_BACKOFF] > 0 ||
                     (!sup->is_booted && sup->worker_count > 0 && !sup->is_shutting_down);

    return !can_start && dh_sup_is_quiet(sup);
}

bool dh_sup_has_failed(const struct dh_sup *sup) {
    return sup->counts[DH_FAILED] > 0;
}

bool dh_sup_essential_failed(const struct dh_sup *sup) {
    return sup->essential_failed;
}
