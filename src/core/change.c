/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/change.h"

#include <assert.h>

#include "core/deps.h"
#include "core/group.h"
#include "core/intern.h"
#include "core/machine.h"
#include "core/supervisor.h"

static struct dh_change *pending(const struct dh_worker *w) {
    return w->extra != NULL ? w->extra->change : NULL;
}

bool dh_change_is_pending(const struct dh_worker *w) {
    return pending(w) != NULL;
}

static void free_change(struct dh_sup *sup, struct dh_change *c) {
    struct dh_alloc *alloc = sup->env->alloc;

    sup->change_count--;
    if (c->edges != NULL) {
        alloc->fn(alloc, c->edges, c->edges_size, 0);
    }
    dh_intern_release(sup, c->policy);
    if (c->group != NULL) {
        dh_group_renounce(sup, c->group);
    }
    alloc->fn(alloc, c, sizeof *c, 0);
}

/* Everything that can fail for want of memory. */
static struct dh_change *prepare(struct dh_sup *sup, struct dh_worker *w,
                                 const struct dh_spec *spec) {
    struct dh_alloc *alloc = sup->env->alloc;
    struct dh_change *c;

    if (dh_extra_get(sup, w) == NULL) {
        return NULL;
    }
    c = alloc->fn(alloc, NULL, 0, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    *c = (struct dh_change){.policy = dh_intern_acquire(sup, spec->policy)};
    sup->change_count++;
    if (c->policy == NULL || dh_deps_make(sup, w, spec, c) < 0 || dh_deps_reserve(sup, c) < 0) {
        free_change(sup, c);
        return NULL;
    }
    c->group = spec->group;
    if (c->group != NULL) {
        dh_group_announce(c->group);
    }
    return c;
}

int dh_sup_change(struct dh_sup *sup, struct dh_worker *w, const struct dh_spec *spec,
                  bool is_trial, struct dh_error *err) {
    struct dh_change *c;
    int rc;

    if (sup->is_shutting_down || w->is_removing) {
        rc = sup->is_shutting_down ? DH_ESHUTDOWN : DH_ESTATE;
        return dh_error_set(err, rc, "%s", dh_error_text(rc));
    }
    rc = dh_sup_check_spec(spec, err);
    if (rc < 0) {
        return rc;
    }
    c = prepare(sup, w, spec);
    if (c == NULL) {
        return dh_error_set(err, DH_ENOMEM, "worker \"%.*s\": %s", w->name_len, w->name,
                            dh_error_text(DH_ENOMEM));
    }
    dh_change_drop(sup, w);
    c->is_trial = is_trial;
    w->extra->change = c;
    if (!dh_state_is_alive(w->state)) {
        dh_change_apply(sup, w);
    }
    return 0;
}

static void change_group(struct dh_sup *sup, struct dh_worker *w, struct dh_group *group) {
    if (dh_group_of(w) == group) {
        return;
    }
    dh_group_set_gate(sup, w, DH_GATE_NONE); /* the others no longer wait for it */
    dh_group_leave(sup, w);
    if (group != NULL) {
        dh_group_join(group, w);
    }
}

void dh_change_apply(struct dh_sup *sup, struct dh_worker *w) {
    struct dh_change *c = pending(w);
    const struct dh_policy *policy = w->policy;

    if (c == NULL) {
        return;
    }
    assert(!dh_state_is_alive(w->state));
    w->extra->change = NULL;
    w->extra->is_on_trial = c->is_trial;
    w->policy = c->policy;
    c->policy = policy;
    if (policy->max_restarts != w->policy->max_restarts ||
        policy->within_ns != w->policy->within_ns) {
        dh_window_clear(&w->extra->window);
    }
    dh_deps_replace(sup, w, c);
    change_group(sup, w, c->group);
    free_change(sup, c);
    dh_machine_mark(sup, w);
}

void dh_change_drop(struct dh_sup *sup, struct dh_worker *w) {
    if (pending(w) != NULL) {
        free_change(sup, pending(w));
        w->extra->change = NULL;
    }
}

/* --- what is declared -------------------------------------------------------------------------- */

const struct dh_policy *dh_sup_policy(const struct dh_worker *w) {
    return pending(w) != NULL ? pending(w)->policy : w->policy;
}

struct dh_group *dh_sup_group(const struct dh_worker *w) {
    return pending(w) != NULL ? pending(w)->group : dh_group_of(w);
}

size_t dh_sup_after_count(const struct dh_worker *w) {
    if (pending(w) != NULL) {
        return pending(w)->edge_count;
    }
    return w->extra != NULL ? w->extra->edge_count : 0;
}

struct dh_name dh_sup_after(const struct dh_worker *w, size_t i) {
    const struct dh_edge *edges = pending(w) != NULL ? pending(w)->edges : w->extra->edges;

    return (struct dh_name){edges[i].name, edges[i].name_len};
}

/* --- order ------------------------------------------------------------------------------------ */

void dh_sup_move_last(struct dh_sup *sup, struct dh_worker *w) {
    struct dh_group *g = dh_group_of(w);

    if (sup->last == w) {
        return;
    }
    if (w->prev != NULL) {
        w->prev->next = w->next;
    } else {
        sup->first = w->next;
    }
    w->next->prev = w->prev;
    w->prev = sup->last;
    w->next = NULL;
    sup->last->next = w;
    sup->last = w;
    if (g != NULL) {
        dh_group_move_last(g, w);
    }
}
