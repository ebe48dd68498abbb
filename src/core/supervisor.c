/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/supervisor.h"

#include <assert.h>

#include "core/change.h"
#include "core/deps.h"
#include "core/group.h"
#include "core/intern.h"
#include "core/machine.h"
#include "core/names.h"
#include "core/watch.h"

_Static_assert(sizeof(void *) != 8 || sizeof(struct dh_worker) <= 88,
               "a hundred thousand sleeping workers must be cheap");

void dh_sup_init(struct dh_sup *sup, struct dh_env *env) {
    *sup = (struct dh_sup){.env = env};
}

void dh_sup_fini(struct dh_sup *sup) {
    if (sup == NULL || sup->env == NULL) {
        return;
    }
    for (struct dh_group *g = sup->groups; g != NULL; g = g->next) {
        g->coming = 0;
        g->arrived = 0; /* no gate opens any more */
    }
    for (struct dh_worker *w = sup->first; w != NULL; w = w->next) {
        if (w->extra != NULL) {
            w->extra->gate = DH_GATE_NONE;
        }
        dh_change_drop(sup, w);
        dh_group_leave(sup, w);
        dh_deps_fini(sup, w);
    }
    for (struct dh_worker *w = sup->first; w != NULL; w = w->next) {
        sup->env->disarm(sup->env, &w->timer);
        dh_extra_free(sup, w);
        dh_intern_release(sup, w->policy);
    }
    dh_group_fini_all(sup);
    dh_names_fini(sup);
    *sup = (struct dh_sup){0};
}

/* --- add -------------------------------------------------------------------------------------- */

static int check_name(struct dh_sup *sup, struct dh_name name, struct dh_error *err) {
    int len = (int)(name.len < DH_NAME_MAX ? name.len : DH_NAME_MAX);
    const struct dh_worker *other;

    if (name.len == 0 || name.len > DH_NAME_MAX) {
        return dh_error_set(err, DH_EINVAL, "the name of a worker must have 1 to %d bytes",
                            DH_NAME_MAX);
    }
    other = dh_names_find(sup, name.text, name.len);
    if (other == NULL) {
        return 0;
    }
    if (other->is_removing) {
        return dh_error_set(err, DH_EEXIST, "worker \"%.*s\" is being removed", len, name.text);
    }
    if (dh_state_is_alive(other->state) || other->state == DH_BACKOFF) {
        return dh_error_set(err, DH_EEXIST, "worker \"%.*s\" is already running", len, name.text);
    }
    return dh_error_set(err, DH_EEXIST, "worker \"%.*s\" is already declared", len, name.text);
}

int dh_sup_check_spec(const struct dh_spec *spec, struct dh_error *err) {
    int rc = dh_policy_check(spec->policy, err);

    if (rc == 0 && spec->after_count > DH_AFTER_MAX) {
        rc = dh_error_set(err, DH_EINVAL, "after: more than %d names", DH_AFTER_MAX);
    }
    for (size_t i = 0; rc == 0 && i < spec->after_count; i++) {
        size_t len = spec->after[i].len;
        if (len == 0 || len > DH_NAME_MAX) {
            rc = dh_error_set(err, DH_EINVAL, "after[%zu]: a name must have 1 to %d bytes", i + 1,
                              DH_NAME_MAX);
        }
    }
    if (rc < 0 && err != NULL) {
        dh_error_wrap(err, "worker \"%.*s\"", (int)spec->name.len, spec->name.text);
    }
    return rc;
}

/* A worker that has nothing yet but its name and its policy. */
static void init_worker(struct dh_sup *sup, struct dh_worker *w, const struct dh_spec *spec) {
    *w = (struct dh_worker){
        .name = spec->name.text,
        .name_len = (uint8_t)spec->name.len,
        .since_ns = dh_machine_now(sup),
        .state = DH_WAITING,
        .is_wanted = true,
        .timer.kind = DH_TIMER_WORKER,
    };
}

static int init_extra(struct dh_sup *sup, struct dh_worker *w, const struct dh_spec *spec) {
    const struct dh_policy *p = spec->policy;

    /* what a pending change waits for must be linked when there may be no memory for that */
    if (spec->after_count == 0 && spec->group == NULL && p->start_timeout_ns == DH_NEVER &&
        p->watchdog_ns == DH_NEVER && sup->change_count == 0) {
        return 0;
    }
    if (dh_extra_get(sup, w) == NULL) {
        return DH_ENOMEM;
    }
    return spec->after_count > 0 ? dh_deps_init(sup, w, spec) : 0;
}

static void join_list(struct dh_sup *sup, struct dh_worker *w) {
    w->prev = sup->last;
    if (sup->last != NULL) {
        sup->last->next = w;
    } else {
        sup->first = w;
    }
    sup->last = w;
    sup->worker_count++;
    sup->counts[w->state]++;
}

static void leave_list(struct dh_sup *sup, struct dh_worker *w) {
    if (w->prev != NULL) {
        w->prev->next = w->next;
    } else {
        sup->first = w->next;
    }
    if (w->next != NULL) {
        w->next->prev = w->prev;
    } else {
        sup->last = w->prev;
    }
    sup->worker_count--;
    sup->counts[w->state]--;
}

/* Everything that can fail for want of memory; its dependencies are judged later. */
static int acquire(struct dh_sup *sup, struct dh_worker *w, const struct dh_spec *spec) {
    int rc = dh_names_reserve(sup);

    if (rc < 0) {
        return rc;
    }
    w->policy = dh_intern_acquire(sup, spec->policy);
    return w->policy != NULL ? init_extra(sup, w, spec) : DH_ENOMEM;
}

static int resolve(struct dh_sup *sup, struct dh_worker *w, struct dh_error *err) {
    int rc = 0;

    if (!sup->is_booted) {
        return 0; /* names may come later: dh_sup_check */
    }
    if (w->extra != NULL) {
        rc = dh_deps_resolve(sup, w, err);
    }
    return rc < 0 ? rc : dh_deps_adopt(sup, w, err);
}

int dh_sup_add(struct dh_sup *sup, struct dh_worker *w, const struct dh_spec *spec,
               struct dh_error *err) {
    int rc;

    if (sup->is_shutting_down) {
        return dh_error_set(err, DH_ESHUTDOWN, "%s", dh_error_text(DH_ESHUTDOWN));
    }
    rc = check_name(sup, spec->name, err);
    rc = rc < 0 ? rc : dh_sup_check_spec(spec, err);
    if (rc < 0) {
        return rc;
    }
    init_worker(sup, w, spec);
    rc = acquire(sup, w, spec);
    if (rc < 0) {
        dh_error_set(err, rc, "worker \"%.*s\": %s", (int)spec->name.len, spec->name.text,
                     dh_error_text(rc));
        goto err_after_acquire;
    }
    dh_names_insert(sup, w);
    rc = resolve(sup, w, err);
    if (rc < 0) {
        goto err_after_insert;
    }
    if (spec->group != NULL) {
        dh_group_join(spec->group, w);
    }
    join_list(sup, w);
    if (sup->is_booted) {
        dh_machine_mark(sup, w);
    }
    return 0;

err_after_insert:
    dh_names_remove(sup, w);
err_after_acquire:
    dh_deps_fini(sup, w);
    dh_extra_free(sup, w);
    dh_intern_release(sup, w->policy);
    return rc;
}

void dh_sup_forget(struct dh_sup *sup, struct dh_worker *w) {
    const struct dh_policy *policy = w->policy;

    assert(dh_state_is_final(w->state) && !w->is_dirty && !w->has_ended);
    dh_names_remove(sup, w);
    leave_list(sup, w);
    dh_watch_forget(sup, w);
    dh_group_leave(sup, w);
    dh_deps_fini(sup, w);
    dh_extra_free(sup, w);
    sup->env->disarm(sup->env, &w->timer);
    dh_machine_emit(sup, DH_EVENT_GONE, w, NULL);
    dh_intern_release(sup, policy);
}

/* --- boot ------------------------------------------------------------------------------------- */

int dh_sup_check(struct dh_sup *sup, struct dh_worker **ret_at, struct dh_error *err) {
    return dh_deps_check(sup, ret_at, err);
}

int dh_sup_boot(struct dh_sup *sup, struct dh_error *err) {
    struct dh_worker *at;
    int rc = dh_sup_check(sup, &at, err);

    if (rc < 0) {
        return rc;
    }
    sup->is_booted = true;
    for (struct dh_worker *w = sup->first; w != NULL; w = w->next) {
        dh_machine_mark(sup, w);
    }
    return 0;
}
