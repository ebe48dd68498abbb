/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/names.h"

#include <string.h>

#include "core/supervisor.h"

static uint32_t hash_of(const char *name, size_t len) {
    uint32_t h = UINT32_C(2166136261);

    for (size_t i = 0; i < len; i++) {
        h = (h ^ (unsigned char)name[i]) * UINT32_C(16777619);
    }
    /* the low bits select the bucket: let the high ones take part */
    return h ^ (h >> 15);
}

static struct dh_worker **bucket_of(const struct dh_sup *sup, const char *name, size_t len) {
    return &sup->buckets[hash_of(name, len) & (sup->bucket_count - 1)];
}

int dh_names_reserve(struct dh_sup *sup) {
    struct dh_alloc *alloc = sup->env->alloc;
    uint32_t old_count = sup->bucket_count;
    uint32_t count = old_count == 0 ? DH_NAMES_FIRST : old_count * 2;
    struct dh_worker **old = sup->buckets;
    struct dh_worker **buckets;

    if (sup->worker_count < old_count || count < old_count) {
        return 0;
    }
    buckets = alloc->fn(alloc, NULL, 0, count * sizeof *buckets);
    if (buckets == NULL) {
        return old == NULL ? DH_ENOMEM : 0;
    }
    memset(buckets, 0, count * sizeof *buckets);
    sup->buckets = buckets;
    sup->bucket_count = count;
    for (uint32_t i = 0; i < old_count; i++) {
        for (struct dh_worker *w = old[i], *next; w != NULL; w = next) {
            next = w->next_same_hash;
            dh_names_insert(sup, w);
        }
    }
    if (old != NULL) {
        alloc->fn(alloc, old, old_count * sizeof *old, 0);
    }
    return 0;
}

void dh_names_insert(struct dh_sup *sup, struct dh_worker *w) {
    struct dh_worker **bucket = bucket_of(sup, w->name, w->name_len);

    w->next_same_hash = *bucket;
    *bucket = w;
}

void dh_names_remove(struct dh_sup *sup, struct dh_worker *w) {
    struct dh_worker **p = bucket_of(sup, w->name, w->name_len);

    while (*p != w) {
        p = &(*p)->next_same_hash;
    }
    *p = w->next_same_hash;
    w->next_same_hash = NULL;
}

struct dh_worker *dh_names_find(const struct dh_sup *sup, const char *name, size_t len) {
    struct dh_worker *w;

    if (sup->buckets == NULL) {
        return NULL;
    }
    w = *bucket_of(sup, name, len);
    while (w != NULL && !(w->name_len == len && memcmp(w->name, name, len) == 0)) {
        w = w->next_same_hash;
    }
    return w;
}

void dh_names_fini(struct dh_sup *sup) {
    struct dh_alloc *alloc = sup->env->alloc;

    if (sup->buckets != NULL) {
        alloc->fn(alloc, sup->buckets, sup->bucket_count * sizeof *sup->buckets, 0);
    }
    sup->buckets = NULL;
    sup->bucket_count = 0;
}
