/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/pool.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
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

#if USES_MALLOC
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

#define SLAB_BYTES ((size_t)65536)
#define PAYER_BYTES 3

/* What a cycle of the collector frees is wanted again at once: 1 MB is kept. */
#define SPARES_MAX 16

/* A class that has so many slabs grows: at most an eighth of what it has is taken too early. */
#define SLABS_OF_GROWTH 8
_Static_assert(DH_ACCOUNTS_MAX <= 1 << 8 * PAYER_BYTES, "a payer does not fit");

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
    uint32_t carved; /* blocks that have been handed out once */
    uint32_t capacity;
    uint32_t first; /* offset of the first block */
    uint32_t block_bytes;
    uint32_t inverse; /* 2^32 / block_bytes, rounded up: divides offsets of blocks exactly */
    uint32_t class;
    uint16_t payers[]; /* the lower 16 bits of each, then the upper 8 of each */
};

/* In front of a block that malloc made; keeps malloc's alignment. */
struct large {
    uint32_t payer;
    uint32_t unused[3];
};

struct dh_pool {
    struct slab *open[CLASSES]; /* slabs with room, by class */
    uint32_t slabs[CLASSES];    /* how many there are, by class */
    struct slab *spares;        /* empty ones, so that blocks that come and go cost no mmap */
    uint32_t spare_count;
    uint64_t moves;
    struct dh_ledger ledger;
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
** more often than not. Where it is sure to be used, all its pages come at once: each costs a
** microsecond or more if it comes by a page fault of its own. */
static void *map_slab(bool is_used_soon) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | (is_used_soon ? MAP_POPULATE : 0);
    char *at = mmap(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
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
    return slab->live == slab->capacity;
}

static struct slab *new_slab(struct dh_pool *pool, unsigned class) {
    struct slab *slab = pool->spares;
    if (slab != NULL) {
        pool->spares = slab->next;
        pool->spare_count--;
    } else if ((slab = map_slab(pool->slabs[class] >= SLABS_OF_GROWTH)) == NULL) {
        return NULL;
    }
    pool->slabs[class]++;
    uint32_t bytes = block_bytes(class);
    slab->free = NULL;
    slab->live = 0;
    slab->carved = 0;
    slab->capacity = (uint32_t)((SLAB_BYTES - sizeof(*slab) - 8) / (bytes + PAYER_BYTES));
    slab->first = (uint32_t)(SLAB_BYTES - slab->capacity * bytes) & ~7u;
    slab->block_bytes = bytes;
    slab->inverse = UINT32_MAX / bytes + 1;
    slab->class = class;
    link_open(pool, slab);
    return slab;
}

static uint32_t index_in_slab(const struct slab *slab, const void *block) {
    uint32_t offset = (uint32_t)((const char *)block - (const char *)slab) - slab->first;
    return (uint32_t)((uint64_t)offset * slab->inverse >> 32);
}

/* The account that pays for the i-th block of a slab. */

static void set_payer(struct slab *slab, uint32_t i, uint32_t payer) {
    slab->payers[i] = (uint16_t)payer;
    ((uint8_t *)&slab->payers[slab->capacity])[i] = (uint8_t)(payer >> 16);
}

static uint32_t get_payer(const struct slab *slab, uint32_t i) {
    uint32_t upper = ((const uint8_t *)&slab->payers[slab->capacity])[i];
    return slab->payers[i] | upper << 16;
}

static void *take(struct dh_pool *pool, size_t size, uint32_t payer) {
    unsigned class = class_of(size);
    struct slab *slab = pool->open[class];
    if (slab == NULL && (slab = new_slab(pool, class)) == NULL) {
        return NULL;
    }
    void *block = slab->free;
    if (block != NULL) {
        slab->free = slab->free->next;
        set_payer(slab, index_in_slab(slab, block), payer);
    } else {
        block = (char *)slab + slab->first + slab->carved * slab->block_bytes;
        set_payer(slab, slab->carved++, payer);
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
    pool->slabs[slab->class]--;
    if (pool->spare_count < SPARES_MAX) {
        slab->next = pool->spares;
        pool->spares = slab;
        pool->spare_count++;
    } else {
        munmap(slab, SLAB_BYTES);
    }
}

/* What malloc makes */

static struct large *large_of(void *block) {
    struct large *large = (struct large *)block - 1;
    ASAN_UNPOISON_MEMORY_REGION(large, sizeof(*large));
    return large;
}

/* The block behind its header, which nobody may touch but large_of. */
static void *block_of(struct large *large) {
    ASAN_POISON_MEMORY_REGION(large, sizeof(*large));
    return large + 1;
}

static void *take_large(size_t size, uint32_t payer) {
    struct large *large = malloc(sizeof(*large) + size); /* of a size that may_grow has seen */
    if (large == NULL) {
        return NULL;
    }
    large->payer = payer;
    return block_of(large);
}

static void *resize_large(void *block, size_t size) {
    struct large *large = large_of(block);
    struct large *new = realloc(large, sizeof(*large) + size);
    if (new == NULL) {
        block_of(large);
        return NULL;
    }
    return block_of(new);
}

/* Both kinds */

static bool is_pooled(size_t size) {
    return !USES_MALLOC && size <= DH_POOL_MAX;
}

static uint32_t payer_of(void *block, size_t size) {
    if (is_pooled(size)) {
        const struct slab *slab = slab_of(block);
        return get_payer(slab, index_in_slab(slab, block));
    }
    struct large *large = large_of(block);
    uint32_t payer = large->payer;
    block_of(large);
    return payer;
}

static void *allocate(struct dh_pool *pool, size_t size, uint32_t payer) {
    return is_pooled(size) ? take(pool, size, payer) : take_large(size, payer);
}

static void release(struct dh_pool *pool, void *block, size_t size) {
    if (is_pooled(size)) {
        give_back(pool, block);
    } else {
        free(large_of(block));
    }
}

/* Between classes, or between the pool and malloc. A block that cannot move to a smaller class stays:
** Lua counts on shrinking, and a slab knows its block's size itself. */
static void *move(struct dh_pool *pool, void *block, size_t old_size, size_t new_size,
                  uint32_t payer) {
    void *new = allocate(pool, new_size, payer);
    if (new == NULL) {
        return is_pooled(old_size) && new_size < old_size ? block : NULL;
    }
    memcpy(new, block, old_size < new_size ? old_size : new_size);
    release(pool, block, old_size);
    return new;
}

static void *resize(struct dh_pool *pool, void *block, size_t old_size, size_t new_size,
                    uint32_t payer) {
    if (!is_pooled(old_size) && !is_pooled(new_size)) {
        return resize_large(block, new_size);
    }
    if (is_pooled(old_size) && is_pooled(new_size) && class_of(old_size) == class_of(new_size)) {
        return block;
    }
    return move(pool, block, old_size, new_size, payer);
}

/* May the account grow by that much, to a block of that size? */
static bool may_grow(struct dh_ledger *ledger, uint32_t payer, size_t growth, size_t size) {
    if (growth > PTRDIFF_MAX) {
        return false;
    }
    bool is_over = ledger->accounts[payer].left < (int64_t)growth && payer == ledger->current;
    if (!is_over && ledger->held + growth <= ledger->line) {
        return true;
    }
    return ledger->on_over == NULL ||
           ledger->on_over(ledger->arg, growth, size) == DH_ACCOUNT_GRANT;
}

static void bill(struct dh_ledger *ledger, uint32_t payer, size_t growth) {
    ledger->held += growth;
    ledger->accounts[payer].left -= (int64_t)growth;
    ledger->accounts[payer].allocated += growth;
}

static void refund(struct dh_ledger *ledger, uint32_t payer, size_t shrinkage) {
    ledger->held -= shrinkage;
    ledger->accounts[payer].left += (int64_t)shrinkage;
}

void *dh_pool_realloc(void *ud, void *block, size_t old_size, size_t new_size) {
    struct dh_pool *pool = ud;
    struct dh_ledger *ledger = &pool->ledger;
    if (block == NULL) {
        uint32_t payer = ledger->current;
        if (new_size == 0 || !may_grow(ledger, payer, new_size, new_size) ||
            (block = allocate(pool, new_size, payer)) == NULL) {
            return NULL;
        }
        bill(ledger, payer, new_size);
        return block;
    }
    uint32_t payer = payer_of(block, old_size);
    if (new_size == 0) {
        refund(ledger, payer, old_size);
        release(pool, block, old_size);
        return NULL;
    }
    if (new_size > old_size && !may_grow(ledger, payer, new_size - old_size, new_size)) {
        return NULL;
    }
    pool->moves++;
    atomic_signal_fence(memory_order_seq_cst);
    block = resize(pool, block, old_size, new_size, payer);
    if (block != NULL && new_size > old_size) {
        bill(ledger, payer, new_size - old_size);
    } else if (block != NULL) {
        refund(ledger, payer, old_size - new_size);
    }
    return block;
}

const uint64_t *dh_pool_moves(const struct dh_pool *pool) {
    return &pool->moves;
}

struct dh_pool *dh_pool_new(void) {
    struct dh_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL || dh_ledger_init(&pool->ledger) != 0) {
        free(pool);
        return NULL;
    }
    return pool;
}

void dh_pool_trim(struct dh_pool *pool) {
    for (struct slab *slab = pool->spares, *next; slab != NULL; slab = next) {
        next = slab->next;
        munmap(slab, SLAB_BYTES);
    }
    pool->spares = NULL;
    pool->spare_count = 0;
}

void dh_pool_free(struct dh_pool *pool) {
    if (pool == NULL) {
        return;
    }
    for (unsigned i = 0; i < CLASSES; i++) {
        assert(pool->open[i] == NULL);
    }
    dh_pool_trim(pool);
    dh_ledger_fini(&pool->ledger);
    free(pool);
}

struct dh_ledger *dh_pool_ledger(struct dh_pool *pool) {
    return &pool->ledger;
}

struct dh_pool *dh_pool_of(struct dh_ledger *ledger) {
    return (struct dh_pool *)((char *)ledger - offsetof(struct dh_pool, ledger));
}
