/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/group.h"

#include <assert.h>
#include <string.h>

#include "core/life.h"
#include "core/machine.h"

struct dh_name dh_group_name(const struct dh_group *g) {
    return g->spec.name;
}

enum dh_strategy dh_group_strategy(const struct dh_group *g) {
    return g->spec.strategy;
}

uint32_t dh_group_max_restarts(const struct dh_group *g) {
    return g->spec.max_restarts;
}

uint64_t dh_group_within_ns(const struct dh_group *g) {
    return g->spec.within_ns;
}

bool dh_group_is_failed(const struct dh_group *g) {
    return g->is_failed;
}

bool dh_group_takes(const struct dh_worker *w) {
    return dh_machine_gate(w) != DH_GATE_NONE;
}

const char *dh_strategy_name(enum dh_strategy strategy) {
    static const char *const names[] = {"one_for_one", "one_for_all", "rest_for_one"};
    return names[strategy];
}

struct dh_group *dh_group_of(const struct dh_worker *w) {
    return w->extra != NULL ? w->extra->group : NULL;
}

/* --- declaring -------------------------------------------------------------------------------- */

int dh_sup_add_group(struct dh_sup *sup, const struct dh_group_spec *spec,
                     struct dh_group **ret_group, struct dh_error *err) {
    struct dh_alloc *alloc = sup->env->alloc;
    size_t len = spec->name.len;
    struct dh_group **link = &sup->groups;
    struct dh_group *g;

    if (sup->is_shutting_down) {
        return dh_error_set(err, DH_ESHUTDOWN, "%s", dh_error_text(DH_ESHUTDOWN));
    }
    if (len == 0 || len > DH_NAME_MAX || (unsigned)spec->strategy > DH_REST_FOR_ONE) {
        return dh_error_set(err, DH_EINVAL, "a group needs a name of 1 to %d bytes and a strategy",
                            DH_NAME_MAX);
    }
    if (dh_sup_find_group(sup, spec->name.text, len) != NULL) {
        return dh_error_set(err, DH_EEXIST, "group \"%.*s\" is already declared", (int)len,
                            spec->name.text);
    }
    g = alloc->fn(alloc, NULL, 0, sizeof *g + len);
    if (g == NULL) {
        return dh_error_set(err, DH_ENOMEM, "%s", dh_error_text(DH_ENOMEM));
    }
    *g = (struct dh_group){.spec = *spec};
    memcpy(g->text, spec->name.text, len);
    g->spec.name.text = g->text;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = g;
    *ret_group = g;
    return 0;
}

struct dh_group *dh_sup_find_group(struct dh_sup *sup, const char *name, size_t len) {
    struct dh_group *g = sup->groups;

    while (g != NULL && !(g->spec.name.len == len && memcmp(g->text, name, len) == 0)) {
        g = g->next;
    }
    return g;
}

static void free_group(struct dh_sup *sup, struct dh_group *g) {
    struct dh_alloc *alloc = sup->env->alloc;

    assert(g->member_count == 0);
    dh_window_fini(&g->window, alloc);
    alloc->fn(alloc, g, sizeof *g + g->spec.name.len, 0);
}

static void unlink_group(struct dh_sup *sup, struct dh_group *g) {
    struct dh_group **link = &sup->groups;

    while (*link != g) {
        link = &(*link)->next;
    }
    *link = g->next;
}

int dh_sup_remove_group(struct dh_sup *sup, struct dh_group *group) {
    if (group->member_count > 0 || group->announced > 0) {
        return DH_EBUSY;
    }
    unlink_group(sup, group);
    free_group(sup, group);
    return 0;
}

void dh_group_fini_all(struct dh_sup *sup) {
    while (sup->groups != NULL) {
        struct dh_group *g = sup->groups;
        sup->groups = g->next;
        free_group(sup, g);
    }
}

static void free_if_unused(struct dh_sup *sup, struct dh_group *g) {
    if (g->is_dropped && g->member_count == 0 && g->announced == 0) {
        unlink_group(sup, g);
        free_group(sup, g);
    }
}

void dh_sup_drop_group(struct dh_sup *sup, struct dh_group *group) {
    group->is_dropped = true;
    free_if_unused(sup, group);
}

int dh_sup_change_group(struct dh_sup *sup, struct dh_group *group,
                        const struct dh_group_spec *spec, struct dh_error *err) {
    if (sup->is_shutting_down) {
        return dh_error_set(err, DH_ESHUTDOWN, "%s", dh_error_text(DH_ESHUTDOWN));
    }
    group->is_dropped = false;
    group->spec.strategy = spec->strategy;
    if (group->spec.max_restarts != spec->max_restarts ||
        group->spec.within_ns != spec->within_ns) {
        group->spec.max_restarts = spec->max_restarts;
        group->spec.within_ns = spec->within_ns;
        dh_window_clear(&group->window);
    }
    return 0;
}

void dh_group_announce(struct dh_group *g) {
    g->announced++;
}

void dh_group_renounce(struct dh_sup *sup, struct dh_group *g) {
    g->announced--;
    free_if_unused(sup, g);
}

/* Link w before 'next', or at the end. */
static void insert(struct dh_group *g, struct dh_worker *w, struct dh_worker *next) {
    struct dh_extra *x = w->extra;

    x->group_next = next;
    x->group_prev = next != NULL ? next->extra->group_prev : g->last;
    if (x->group_prev != NULL) {
        x->group_prev->extra->group_next = w;
    } else {
        g->first = w;
    }
    if (next != NULL) {
        next->extra->group_prev = w;
    } else {
        g->last = w;
    }
}

static void take_out(struct dh_group *g, struct dh_worker *w) {
    struct dh_extra *x = w->extra;

    if (x->group_prev != NULL) {
        x->group_prev->extra->group_next = x->group_next;
    } else {
        g->first = x->group_next;
    }
    if (x->group_next != NULL) {
        x->group_next->extra->group_prev = x->group_prev;
    } else {
        g->last = x->group_prev;
    }
}

void dh_group_join(struct dh_group *g, struct dh_worker *w) {
    struct dh_worker *next = w->next;

    while (next != NULL && dh_group_of(next) != g) {
        next = next->next;
    }
    insert(g, w, next);
    w->extra->group = g;
    g->member_count++;
}

void dh_group_leave(struct dh_sup *sup, struct dh_worker *w) {
    struct dh_group *g = dh_group_of(w);

    if (g == NULL) {
        return;
    }
    assert(w->extra->gate == DH_GATE_NONE);
    take_out(g, w);
    g->member_count--;
    w->extra->group = NULL;
    free_if_unused(sup, g);
}

void dh_group_move_last(struct dh_group *g, struct dh_worker *w) {
    take_out(g, w);
    insert(g, w, NULL);
}

/* --- the gate --------------------------------------------------------------------------------- */

/* The queue keeps the order in which they are marked here: they start in order. */
static void open_gate(struct dh_sup *sup, struct dh_group *g) {
    for (struct dh_worker *m = g->first; m != NULL; m = m->extra->group_next) {
        if (m->extra->gate == DH_GATE_ARRIVED) {
            m->extra->gate = DH_GATE_NONE;
            dh_machine_mark(sup, m);
        }
    }
    g->arrived = 0;
}

void dh_group_set_gate(struct dh_sup *sup, struct dh_worker *w, enum dh_gate gate) {
    struct dh_group *g = dh_group_of(w);
    enum dh_gate old;

    if (g == NULL || w->extra->gate == gate) {
        return;
    }
    old = (enum dh_gate)w->extra->gate;
    w->extra->gate = (uint8_t)gate;
    g->coming -= old == DH_GATE_COMING;
    g->arrived -= old == DH_GATE_ARRIVED;
    g->coming += gate == DH_GATE_COMING;
    g->arrived += gate == DH_GATE_ARRIVED;
    if (g->coming == 0 && g->arrived > 0) {
        open_gate(sup, g);
    }
}

uint32_t dh_group_count_failure(struct dh_sup *sup, struct dh_worker *w, uint64_t at_ns) {
    struct dh_group *g = dh_group_of(w);
    bool is_joint;
    uint32_t count;

    if (g == NULL || g->spec.max_restarts == DH_UNLIMITED) {
        return 0;
    }
    is_joint = g->spec.strategy != DH_ONE_FOR_ONE && g->coming > 0;
    if (is_joint && g->counted_step == sup->step_count) {
        return 0;
    }
    count =
        dh_window_add(&g->window, sup->env->alloc, at_ns, g->spec.within_ns, g->spec.max_restarts);
    if (count <= g->spec.max_restarts) {
        g->counted_step = sup->step_count;
    }
    return count;
}

/* m is not the failing one; what has ended by itself, or is going down anyway, has its own way. */
static void take_along(struct dh_sup *sup, struct dh_worker *m) {
    if (!m->is_wanted || m->has_ended || m->extra->gate != DH_GATE_NONE) {
        return;
    }
    switch ((enum dh_state)m->state) {
        case DH_WAITING:
            if (m->policy->restart != DH_RESTART_NEVER) {
                dh_group_set_gate(sup, m, DH_GATE_ARRIVED);
            }
            break;
        case DH_RUNNING:
        case DH_STOPPING:
            if (m->policy->restart == DH_RESTART_NEVER && !m->is_start_asked) {
                m->is_wanted = false; /* goes down with the others and is not revived */
            } else {
                dh_group_set_gate(sup, m, DH_GATE_COMING);
            }
            dh_machine_mark(sup, m);
            break;
        case DH_CLOSING:
            if (dh_machine_will_start(m)) {
                dh_group_set_gate(sup, m, DH_GATE_COMING);
            }
            break;
        case DH_BACKOFF:
            dh_group_set_gate(sup, m, DH_GATE_COMING);
            dh_machine_mark(sup, m); /* it may be due already */
            break;
        default: /* at rest */
            break;
    }
}

void dh_group_restart(struct dh_sup *sup, struct dh_worker *w, uint64_t delay_ns) {
    struct dh_group *g = dh_group_of(w);
    bool is_first;

    if (g == NULL || g->spec.strategy == DH_ONE_FOR_ONE) {
        return;
    }
    is_first = g->coming == 0 || g->restart_step != sup->step_count;
    dh_group_set_gate(sup, w, DH_GATE_COMING);
    for (struct dh_worker *m = g->last; m != NULL; m = m->extra->group_prev) {
        if (m == w && g->spec.strategy == DH_REST_FOR_ONE) {
            break;
        }
        if (m != w) {
            take_along(sup, m);
        }
    }
    if (is_first) {
        struct dh_event ev = dh_machine_event(sup, DH_EVENT_GROUP_RESTART, w);
        ev.group = g;
        ev.delay_ns = delay_ns;
        sup->env->emit(sup->env, &ev);
        g->restart_step = sup->step_count;
    }
}

void dh_group_fail(struct dh_sup *sup, struct dh_worker *w, const char *reason) {
    struct dh_group *g = dh_group_of(w);
    struct dh_event ev = dh_machine_event(sup, DH_EVENT_GROUP_FAILED, w);

    g->is_failed = true;
    ev.group = g;
    ev.reason = reason;
    sup->env->emit(sup->env, &ev);
    for (struct dh_worker *m = g->last; m != NULL; m = m->extra->group_prev) {
        if (m == w || dh_state_is_final(m->state) || !m->is_wanted) {
            continue;
        }
        if (m->policy->is_essential) {
            dh_life_fail_essential(sup);
        }
        m->is_wanted = false;
        m->is_start_asked = false;
        m->extra->is_failing = true;
        dh_machine_mark(sup, m);
    }
}

void dh_group_on_order(struct dh_worker *w) {
    struct dh_group *g = dh_group_of(w);

    w->extra->is_failing = false;
    if (g != NULL && g->is_failed) {
        g->is_failed = false;
        dh_window_clear(&g->window);
    }
}
