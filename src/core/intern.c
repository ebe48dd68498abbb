/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/intern.h"

#include "core/supervisor.h"

struct dh_shared_policy {
    struct dh_policy policy; /* first: what workers point to */
    struct dh_shared_policy *next;
    uint32_t users;
};

static struct dh_shared_policy **bucket_of(struct dh_sup *sup, const struct dh_policy *p) {
    return &sup->policies[dh_policy_hash(p) % DH_POLICY_BUCKETS];
}

static struct dh_shared_policy *shared_of(const struct dh_policy *p) {
    return (struct dh_shared_policy *)p; /* first member */
}

const struct dh_policy *dh_intern_acquire(struct dh_sup *sup, const struct dh_policy *p) {
    struct dh_alloc *alloc = sup->env->alloc;
    struct dh_shared_policy **bucket;
    struct dh_shared_policy *s;

    /* most are declared like the one before them */
    if (sup->last != NULL && dh_policy_is_equal(sup->last->policy, p)) {
        shared_of(sup->last->policy)->users++;
        return sup->last->policy;
    }
    bucket = bucket_of(sup, p);
    s = *bucket;
    while (s != NULL && !dh_policy_is_equal(&s->policy, p)) {
        s = s->next;
    }
    if (s == NULL) {
        s = alloc->fn(alloc, NULL, 0, sizeof *s);
        if (s == NULL) {
            return NULL;
        }
        *s = (struct dh_shared_policy){.policy = *p, .next = *bucket};
        *bucket = s;
    }
    s->users++;
    return &s->policy;
}

void dh_intern_release(struct dh_sup *sup, const struct dh_policy *p) {
    struct dh_alloc *alloc = sup->env->alloc;
    struct dh_shared_policy **link;
    struct dh_shared_policy *s;

    if (p == NULL || --shared_of(p)->users > 0) {
        return;
    }
    link = bucket_of(sup, p);
    while (&(*link)->policy != p) {
        link = &(*link)->next;
    }
    s = *link;
    *link = s->next;
    alloc->fn(alloc, s, sizeof *s, 0);
}
