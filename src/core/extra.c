/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/extra.h"

#include <assert.h>

#include "core/supervisor.h"

struct dh_extra *dh_extra_get(struct dh_sup *sup, struct dh_worker *w) {
    struct dh_alloc *alloc = sup->env->alloc;

    if (w->extra == NULL) {
        struct dh_extra *x = alloc->fn(alloc, NULL, 0, sizeof *x);
        if (x == NULL) {
            return NULL;
        }
        *x = (struct dh_extra){
            .worker = w,
            .start_timer.kind = DH_TIMER_START,
            .beat_timer.kind = DH_TIMER_BEAT,
        };
        w->extra = x;
        sup->extra_count++;
    }
    return w->extra;
}

void dh_extra_free(struct dh_sup *sup, struct dh_worker *w) {
    struct dh_alloc *alloc = sup->env->alloc;
    struct dh_extra *x = w->extra;

    if (x == NULL) {
        return;
    }
    assert(x->edges == NULL && x->in == NULL && x->group == NULL && x->change == NULL);
    sup->env->disarm(sup->env, &x->start_timer);
    sup->env->disarm(sup->env, &x->beat_timer);
    dh_window_fini(&x->window, alloc);
    alloc->fn(alloc, x, sizeof *x, 0);
    w->extra = NULL;
    sup->extra_count--;
}
