/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/pool.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define USES_MALLOC 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define USES_MALLOC 1
#endif
#endif
#ifndef USES_MALLOC
#define USES_MALLOC 0
#endif

#define SLAB_BYTES ((size_t)65536)

/* Steps of 8 bytes up to 256, where most of Lua's objects are, then of 16. */
#define FINE_MAX 256
#define FINE_CLASSES (FINE_MAX / 8)
#define CLASSES (FINE_CLASSES + (DH_POOL_MAX - FINE_MAX) / 16)

/* Lua aligns userdata to 8 bytes behind its own header; blocks must not be worse. */
struct block {
    struct block *next;
};

struct slab {
    struct slab *prev; /* of the same class, and not full */
    struct slab *next;
    struct block *free;
    uint32_t live;
    uint32_t carved; /* bytes from the slab's start that have been handed out once */
    uint32_t block_bytes;
    uint32_t class;
};

struct dh_pool {
    struct slab *open[CLASSES]; /* slabs with room, by class */
    struct slab *spare; /* an empty one, so that a block that comes and goes costs no mmap */
    uint64_t moves;
};

static unsigned class_of(size_t size) {
    if (size <= FINE_MAX) {
        return (unsigned)((size - 1) / 8);
    }
    return (unsigned)(FINE_CLASSES + (size - FINE_MAX - 1) / 16);
}

static uint32_t block_bytes(unsigned class) {
    return class < FINE_CLASSES ? (class + 1) * 8 : FINE_MAX + (class - FINE_CLASSES + 1) * 16;
}

static struct slab *slab_of(void *block) {
    return (struct slab *)((uintptr_t)block & ~(uintptr_t)(SLAB_BYTES - 1));
}

/* Aligned memory from the system: neighbours usually follow each other, so the first try is good
** more often than not. */
static void *map_slab(void) {
    char *at = mmap(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        return NULL;
    }
    if (((uintptr_t)at & (SLAB_BYTES - 1)) == 0) {
        return at;
    }
    munmap(at, SLAB_BYTES);
    at = mmap(NULL, 2 * SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        return NULL;
    }
    size_t before = (size_t)(-(uintptr_t)at & (SLAB_BYTES - 1));
    if (before > 0) {
        munmap(at, before);
    }
    munmap(at + before + SLAB_BYTES, SLAB_BYTES - before);
    return at + before;
}

static void link_open(struct dh_pool *pool, struct slab *slab) {
    struct slab **head = &pool->open[slab->class];
    slab->prev = NULL;
    slab->next = *head;
    if (*head != NULL) {
        (*head)->prev = slab;
    }
    *head = slab;
}

static void unlink_open(struct dh_pool *pool, struct slab *slab) {
    if (slab->prev != NULL) {
        slab->prev->next = slab->next;
    } else {
        pool->open[slab->class] = slab->next;
    }
    if (slab->next != NULL) {
        slab->next->prev = slab->prev;
    }
}

static bool is_full(const struct slab *slab) {
    return slab->free == NULL && slab->carved + slab->block_bytes > SLAB_BYTES;
}

static struct slab *new_slab(struct dh_pool *pool, unsigned class) {
    struct slab *slab = pool->spare;
    pool->spare = NULL;
    if (slab == NULL && (slab = map_slab()) == NULL) {
        return NULL;
    }
    slab->free = NULL;
    slab->live = 0;
    slab->carved = (sizeof(*slab) + 15) & ~15u;
    slab->block_bytes = block_bytes(class);
    slab->class = class;
    link_open(pool, slab);
    return slab;
}

static void *take(struct dh_pool *pool, size_t size) {
    unsigned class = class_of(size);
    struct slab *slab = pool->open[class];
    if (slab == NULL && (slab = new_slab(pool, class)) == NULL) {
        return NULL;
    }
    void *block = slab->free;
    if (block != NULL) {
        slab->free = slab->free->next;
    } else {
        block = (char *)slab + slab->carved;
        slab->carved += slab->block_bytes;
    }
    slab->live++;
    if (is_full(slab)) {
        unlink_open(pool, slab);
    }
    return block;
}

static void give_back(struct dh_pool *pool, void *memory) {
    struct slab *slab = slab_of(memory);
    struct block *block = memory;
    bool was_full = is_full(slab);
    block->next = slab->free;
    slab->free = block;
    slab->live--;
    if (was_full) {
        link_open(pool, slab);
    }
    if (slab->live > 0) {
        return;
    }
    unlink_open(pool, slab);
    if (pool->spare == NULL) {
        pool->spare = slab;
    } else {
        munmap(slab, SLAB_BYTES);
    }
}

static bool is_pooled(size_t size) {
    return size > 0 && size <= DH_POOL_MAX;
}

/* Between classes, or between the pool and malloc. A block that cannot move to a smaller class stays:
** Lua counts on shrinking, and a slab knows its block's size itself. */
static void *move(struct dh_pool *pool, void *block, size_t old_size, size_t new_size) {
    void *new = is_pooled(new_size) ? take(pool, new_size) : malloc(new_size);
    if (new == NULL) {
        return is_pooled(old_size) && new_size < old_size ? block : NULL;
    }
    memcpy(new, block, old_size < new_size ? old_size : new_size);
    if (is_pooled(old_size)) {
        give_back(pool, block);
    } else {
        free(block);
    }
    return new;
}

void *dh_pool_realloc(void *ud, void *block, size_t old_size, size_t new_size) {
    struct dh_pool *pool = ud;
    if (block != NULL && new_size > 0) {
        pool->moves++;
        atomic_signal_fence(memory_order_seq_cst);
    }
    if (USES_MALLOC) {
        if (new_size > 0) {
            return realloc(block, new_size);
        }
        free(block);
        return NULL;
    }
    if (block == NULL) {
        if (new_size == 0) {
            return NULL;
        }
        return is_pooled(new_size) ? take(pool, new_size) : malloc(new_size);
    }
    if (new_size == 0) {
        if (is_pooled(old_size)) {
            give_back(pool, block);
        } else {
            free(block);
        }
        return NULL;
    }
    if (is_pooled(old_size) && is_pooled(new_size) && class_of(old_size) == class_of(new_size)) {
        return block;
    }
    if (!is_pooled(old_size) && !is_pooled(new_size)) {
        return realloc(block, new_size);
    }
    return move(pool, block, old_size, new_size);
}

const uint64_t *dh_pool_moves(const struct dh_pool *pool) {
    return &pool->moves;
}

struct dh_pool *dh_pool_new(void) {
    return calloc(1, sizeof(struct dh_pool));
}

void dh_pool_free(struct dh_pool *pool) {
    if (pool == NULL) {
        return;
    }
    for (unsigned i = 0; i < CLASSES; i++) {
        assert(pool->open[i] == NULL);
    }
    if (pool->spare != NULL) {
        munmap(pool->spare, SLAB_BYTES);
    }
    free(pool);
}
