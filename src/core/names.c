/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/names.h"

#include <assert.h>
#include <string.h>

#include "core/supervisor.h"

#define SLOT_BYTES (sizeof(struct dh_worker *) + sizeof(uint32_t))

/* FNV-1a, mixed: the high bits select the slot. Never 0, which is an empty slot. */
static uint32_t hash_of(const char *name, size_t len) {
    uint32_t h = UINT32_C(2166136261);

    for (size_t i = 0; i < len; i++) {
        h = (h ^ (unsigned char)name[i]) * UINT32_C(16777619);
    }
    h = (h ^ (h >> 15)) * UINT32_C(0x85ebca6b);
    h ^= h >> 13;
    return h | 1;
}

/* Where a hash wants to be. */
static uint32_t home_of(uint32_t hash, uint32_t slot_count) {
    return (uint32_t)((uint64_t)hash * slot_count >> 32);
}

static uint32_t next_to(uint32_t slot, uint32_t slot_count) {
    return slot + 1 < slot_count ? slot + 1 : 0;
}

static void put(struct dh_sup *sup, uint32_t hash, struct dh_worker *w) {
    uint32_t slot = home_of(hash, sup->name_slots);

    while (sup->name_hashes[slot] != 0) {
        slot = next_to(slot, sup->name_slots);
    }
    sup->name_hashes[slot] = hash;
    sup->names[slot] = w;
}

/* More than four fifths full, a search gets long; by a quarter more, no size wastes much. */
int dh_names_reserve(struct dh_sup *sup) {
    struct dh_alloc *alloc = sup->env->alloc;
    uint32_t old_count = sup->name_slots;
    uint64_t count = old_count == 0 ? DH_NAMES_FIRST : (uint64_t)old_count + old_count / 4;
    struct dh_worker **old = sup->names;
    const uint32_t *old_hashes = sup->name_hashes;
    struct dh_worker **names = NULL;

    if (sup->worker_count < old_count - old_count / 5) {
        return 0;
    }
    if (count <= UINT32_MAX) {
        names = alloc->fn(alloc, NULL, 0, (size_t)count * SLOT_BYTES);
    }
    if (names == NULL) { /* one empty slot is where a search ends */
        return sup->worker_count + 1 < old_count ? 0 : DH_ENOMEM;
    }
    sup->names = names;
    sup->name_hashes = (uint32_t *)(names + count);
    sup->name_slots = (uint32_t)count;
    memset(names, 0, (size_t)count * SLOT_BYTES);
    for (uint32_t i = 0; i < old_count; i++) {
        if (old_hashes[i] != 0) {
            put(sup, old_hashes[i], old[i]);
        }
    }
    if (old != NULL) {
        alloc->fn(alloc, old, old_count * SLOT_BYTES, 0);
    }
    return 0;
}

void dh_names_insert(struct dh_sup *sup, struct dh_worker *w) {
    put(sup, hash_of(w->name, w->name_len), w);
}

/* The slots behind it must not become unreachable: whoever wants to be nearer to his home moves up. */
void dh_names_remove(struct dh_sup *sup, struct dh_worker *w) {
    uint32_t count = sup->name_slots;
    uint32_t hole = home_of(hash_of(w->name, w->name_len), count);

    while (sup->names[hole] != w) {
        assert(sup->names[hole] != NULL);
        hole = next_to(hole, count);
    }
    for (uint32_t at = next_to(hole, count); sup->name_hashes[at] != 0; at = next_to(at, count)) {
        uint32_t home = home_of(sup->name_hashes[at], count);
        bool is_between = hole < at ? home > hole && home <= at : home > hole || home <= at;
        if (!is_between) {
            sup->name_hashes[hole] = sup->name_hashes[at];
            sup->names[hole] = sup->names[at];
            hole = at;
        }
    }
    sup->name_hashes[hole] = 0;
    sup->names[hole] = NULL;
}

struct dh_worker *dh_names_find(const struct dh_sup *sup, const char *name, size_t len) {
    uint32_t hash = hash_of(name, len);
    uint32_t slot;

    if (sup->names == NULL) {
        return NULL;
    }
    slot = home_of(hash, sup->name_slots);
    for (; sup->name_hashes[slot] != 0; slot = next_to(slot, sup->name_slots)) {
        if (sup->name_hashes[slot] == hash) {
            struct dh_worker *w = sup->names[slot];
            if (w->name_len == len && memcmp(w->name, name, len) == 0) {
                return w;
            }
        }
    }
    return NULL;
}

void dh_names_fini(struct dh_sup *sup) {
    struct dh_alloc *alloc = sup->env->alloc;

    if (sup->names != NULL) {
        alloc->fn(alloc, sup->names, sup->name_slots * SLOT_BYTES, 0);
    }
    sup->names = NULL;
    sup->name_hashes = NULL;
    sup->name_slots = 0;
}
