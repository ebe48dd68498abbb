/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/check.h"

static bool has_no_slabs;

/* In front of libc's. */
void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset) {
    if (has_no_slabs) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, len, protection, flags, fd, offset);
}

static uint64_t held(struct dh_pool *pool, uint32_t id) {
    return dh_account_held(dh_pool_ledger(pool), id, DH_ACCOUNT_NO_LINE);
}

static void a_block_is_billed_to_the_current_account_until_it_is_freed(void) {
    struct dh_pool *pool = dh_pool_new();
    struct dh_ledger *ledger = dh_pool_ledger(pool);
    uint32_t a = dh_account_open(ledger);
    uint32_t b = dh_account_open(ledger);
    CHECK(a != DH_ACCOUNT_HOST && b != DH_ACCOUNT_HOST && a != b);
    static const size_t sizes[] = {1, 8, 100, 1024, 1025, 100000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        ledger->current = a;
        void *block = dh_pool_realloc(pool, NULL, 0, sizes[i]);
        CHECK_EQ(held(pool, a), sizes[i]);
        ledger->current = b;
        block = dh_pool_realloc(pool, block, sizes[i], 3 * sizes[i]);
        CHECK_EQ(held(pool, a), 3 * sizes[i]);
        block = dh_pool_realloc(pool, block, 3 * sizes[i], 1);
        CHECK_EQ(held(pool, a), 1);
        CHECK_EQ(held(pool, b), 0);
        CHECK(dh_pool_realloc(pool, block, 1, 0) == NULL);
        CHECK_EQ(held(pool, a), 0);
    }
    CHECK_EQ(held(pool, DH_ACCOUNT_HOST), 0);
    dh_pool_free(pool);
}

/* More slabs than are kept, emptied and taken by another class. */
static void blocks_of_one_size_make_room_for_another(void) {
    enum { BLOCKS = 40000 };
    static void *blocks[BLOCKS];
    struct dh_pool *pool = dh_pool_new();
    struct dh_ledger *ledger = dh_pool_ledger(pool);
    uint32_t a = dh_account_open(ledger);
    ledger->current = a;
    for (size_t size = 40; size <= 120; size += 40) {
        for (int i = 0; i < BLOCKS; i++) {
            blocks[i] = dh_pool_realloc(pool, NULL, 0, size);
            memset(blocks[i], i, size);
        }
        CHECK_EQ(held(pool, a), BLOCKS * size);
        for (int i = 0; i < BLOCKS; i++) {
            CHECK_EQ(((unsigned char *)blocks[i])[size - 1], (unsigned char)i);
            dh_pool_realloc(pool, blocks[i], size, 0);
        }
        CHECK_EQ(held(pool, a), 0);
    }
    ledger->current = DH_ACCOUNT_HOST;
    dh_pool_free(pool);
}

static bool has_room_without_the_system(struct dh_pool *pool) {
    has_no_slabs = true;
    void *block = dh_pool_realloc(pool, NULL, 0, 64);
    has_no_slabs = false;
    if (block != NULL) {
        dh_pool_realloc(pool, block, 64, 0);
    }
    return block != NULL;
}

static void what_is_kept_empty_is_given_back_when_asked(void) {
    struct dh_pool *pool = dh_pool_new();
    bool is_mallocs = has_room_without_the_system(pool); /* under AddressSanitizer */
    dh_pool_realloc(pool, dh_pool_realloc(pool, NULL, 0, 64), 64, 0);
    CHECK(has_room_without_the_system(pool));
    dh_pool_trim(dh_pool_of(dh_pool_ledger(pool)));
    CHECK_EQ(has_room_without_the_system(pool), is_mallocs);
    dh_pool_free(pool);
}

static void an_account_closed_is_given_out_again(void) {
    struct dh_pool *pool = dh_pool_new();
    struct dh_ledger *ledger = dh_pool_ledger(pool);
    uint32_t ids[1000];
    for (int i = 0; i < 1000; i++) {
        ids[i] = dh_account_open(ledger);
        CHECK_EQ(ids[i], i + 1);
    }
    ledger->current = ids[500];
    void *block = dh_pool_realloc(pool, NULL, 0, 64);
    dh_pool_realloc(pool, block, 64, 0);
    dh_account_close(ledger, ids[500]);
    dh_account_close(ledger, ids[7]);
    CHECK_EQ(dh_account_open(ledger), ids[7]);
    CHECK_EQ(dh_account_open(ledger), ids[500]);
    CHECK_EQ(ledger->accounts[ids[500]].allocated, 0);
    CHECK_EQ(dh_account_open(ledger), 1001);
    ledger->current = DH_ACCOUNT_HOST;
    dh_pool_free(pool);
}

struct asked {
    int times;
    size_t growth;
    size_t size;
    enum dh_account_verdict verdict;
};

static enum dh_account_verdict on_over(void *arg, size_t growth, size_t size) {
    struct asked *asked = arg;
    asked->times++;
    asked->growth = growth;
    asked->size = size;
    return asked->verdict;
}

static void a_growth_past_the_line_of_the_current_account_is_asked_for(void) {
    struct dh_pool *pool = dh_pool_new();
    struct dh_ledger *ledger = dh_pool_ledger(pool);
    struct asked asked = {0, 0, 0, DH_ACCOUNT_GRANT};
    ledger->on_over = on_over;
    ledger->arg = &asked;
    uint32_t a = dh_account_open(ledger);
    dh_account_move_line(ledger, a, DH_ACCOUNT_NO_LINE, 1000);
    ledger->current = a;
    void *block = dh_pool_realloc(pool, NULL, 0, 1000);
    CHECK_EQ(asked.times, 0);
    block = dh_pool_realloc(pool, block, 1000, 1001);
    CHECK_EQ(asked.times, 1);
    CHECK_EQ(asked.growth, 1);
    CHECK_EQ(asked.size, 1001);
    asked.verdict = DH_ACCOUNT_REFUSE;
    CHECK(dh_pool_realloc(pool, block, 1001, 5000) == NULL);
    CHECK(dh_pool_realloc(pool, NULL, 0, 1) == NULL);
    CHECK_EQ(asked.times, 3);
    CHECK_EQ(dh_account_held(ledger, a, 1000), 1001);
    ledger->current = DH_ACCOUNT_HOST; /* it grows, but somebody else makes it */
    block = dh_pool_realloc(pool, block, 1001, 5000);
    CHECK(block != NULL);
    CHECK_EQ(asked.times, 3);
    CHECK_EQ(dh_account_held(ledger, a, 1000), 5000);
    ledger->current = a;
    block = dh_pool_realloc(pool, block, 5000, 10); /* shrinking needs no leave */
    CHECK_EQ(asked.times, 3);
    dh_pool_realloc(pool, block, 10, 0);
    dh_pool_free(pool);
}

static void a_line_for_all_together_is_kept_too(void) {
    struct dh_pool *pool = dh_pool_new();
    struct dh_ledger *ledger = dh_pool_ledger(pool);
    struct asked asked = {0, 0, 0, DH_ACCOUNT_REFUSE};
    ledger->on_over = on_over;
    ledger->arg = &asked;
    ledger->line = 3000;
    void *host = dh_pool_realloc(pool, NULL, 0, 2000);
    ledger->current = dh_account_open(ledger);
    CHECK(dh_pool_realloc(pool, NULL, 0, 2000) == NULL);
    CHECK_EQ(asked.times, 1);
    dh_pool_realloc(pool, host, 2000, 0);
    CHECK_EQ(ledger->held, 0);
    void *block = dh_pool_realloc(pool, NULL, 0, 2000);
    CHECK(block != NULL);
    dh_pool_realloc(pool, block, 2000, 0);
    dh_pool_free(pool);
}

/* Sizes around each boundary: classes, the end of the pool, what malloc maps. */
static size_t random_size(void) {
    switch (rand() % 4) {
        case 0:
            return 1 + (size_t)rand() % 64;
        case 1:
            return 1 + (size_t)rand() % DH_POOL_MAX;
        case 2:
            return DH_POOL_MAX - 8 + (size_t)rand() % 64;
        default:
            return 1 + (size_t)rand() % 200000;
    }
}

enum { BLOCKS = 500, ACCOUNTS = 5, MOVES = 200000 };

struct model {
    unsigned char *block;
    size_t size;
    uint32_t payer;
    unsigned char fill;
};

static bool is_filled(const struct model *m) {
    return m->block[0] == m->fill && m->block[m->size / 2] == m->fill &&
           m->block[m->size - 1] == m->fill;
}

static void random_move(struct dh_pool *pool, struct model *m, uint64_t *bill) {
    struct dh_ledger *ledger = dh_pool_ledger(pool);
    size_t size = rand() % 3 == 0 ? 0 : random_size();
    if (m->size == 0) {
        m->payer = ledger->current;
    } else {
        CHECK(is_filled(m));
    }
    unsigned char *block = dh_pool_realloc(pool, m->block, m->size, size);
    CHECK((block == NULL) == (size == 0));
    if (m->size > 0 && size > 0) {
        CHECK(block[0] == m->fill);
        CHECK(block[(m->size < size ? m->size : size) - 1] == m->fill);
    }
    bill[m->payer] = bill[m->payer] - m->size + size;
    m->block = block;
    m->size = size;
    m->fill = (unsigned char)rand();
    if (size > 0) {
        memset(block, m->fill, size);
    }
}

static void whatever_moves_each_bill_is_exact_and_no_byte_is_lost(void) {
    static struct model models[BLOCKS];
    uint64_t bill[ACCOUNTS] = {0};
    struct dh_pool *pool = dh_pool_new();
    struct dh_ledger *ledger = dh_pool_ledger(pool);
    srand(1);
    for (uint32_t i = 1; i < ACCOUNTS; i++) {
        dh_account_open(ledger);
    }
    for (int i = 0; i < MOVES; i++) {
        ledger->current = (uint32_t)rand() % ACCOUNTS;
        random_move(pool, &models[rand() % BLOCKS], bill);
    }
    uint64_t sum = 0;
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        CHECK_EQ(held(pool, i), bill[i]);
        sum += bill[i];
    }
    CHECK_EQ(ledger->held, sum);
    for (int i = 0; i < BLOCKS; i++) {
        dh_pool_realloc(pool, models[i].block, models[i].size, 0);
    }
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        CHECK_EQ(held(pool, i), 0);
    }
    dh_pool_free(pool);
}

/* Lua counts on shrinking. In a sanitised build there are no slabs, and nothing is refused. */
static void without_slabs_a_block_shrinks_where_it_is_and_grows_nowhere(void) {
    struct dh_pool *pool = dh_pool_new();
    char *block = dh_pool_realloc(pool, NULL, 0, 200);
    memset(block, 'x', 200);
    has_no_slabs = true;
    char *larger = dh_pool_realloc(pool, block, 200, 300);
    block = larger != NULL ? larger : block;
    block = dh_pool_realloc(pool, block, larger != NULL ? 300 : 200, 100);
    has_no_slabs = false;
    CHECK(block != NULL);
    CHECK_EQ(block[99], 'x');
    CHECK_EQ(held(pool, DH_ACCOUNT_HOST), 100);
    dh_pool_realloc(pool, block, 100, 0);
    CHECK_EQ(held(pool, DH_ACCOUNT_HOST), 0);
    dh_pool_free(pool);
}

/* In a sanitised build it shrinks. */
static void without_slabs_what_malloc_made_does_not_shrink_into_one(void) {
    struct dh_pool *pool = dh_pool_new();
    char *block = dh_pool_realloc(pool, NULL, 0, 2000);
    has_no_slabs = true;
    char *smaller = dh_pool_realloc(pool, block, 2000, 100);
    has_no_slabs = false;
    CHECK_EQ(held(pool, DH_ACCOUNT_HOST), smaller != NULL ? 100 : 2000);
    dh_pool_realloc(pool, smaller != NULL ? smaller : block, smaller != NULL ? 100 : 2000, 0);
    dh_pool_free(pool);
}

static void a_line_that_nobody_watches_is_none(void) {
    struct dh_pool *pool = dh_pool_new();
    dh_pool_ledger(pool)->line = 10;
    void *block = dh_pool_realloc(pool, NULL, 0, 100);
    CHECK(block != NULL);
    dh_pool_realloc(pool, block, 100, 0);
    dh_pool_free(pool);
}

static void who_finds_no_account_is_the_hosts(void) {
    struct dh_pool *pool = dh_pool_new();
    struct dh_ledger *ledger = dh_pool_ledger(pool);
    uint32_t count = ledger->count, capacity = ledger->capacity;
    ledger->count = ledger->capacity = DH_ACCOUNTS_MAX;
    CHECK_EQ(dh_account_open(ledger), DH_ACCOUNT_HOST);
    ledger->count = count;
    ledger->capacity = capacity;
    dh_pool_free(pool);
}

static void a_block_of_more_than_half_of_the_addresses_is_refused(void) {
    struct dh_pool *pool = dh_pool_new();
    CHECK(dh_pool_realloc(pool, NULL, 0, SIZE_MAX) == NULL);
    char *block = dh_pool_realloc(pool, NULL, 0, 2000);
    CHECK(dh_pool_realloc(pool, block, 2000, SIZE_MAX) == NULL);
    CHECK_EQ(held(pool, DH_ACCOUNT_HOST), 2000);
    dh_pool_realloc(pool, block, 2000, 0);
    dh_pool_free(pool);
    dh_pool_free(NULL);
}

int main(void) {
    RUN(a_block_is_billed_to_the_current_account_until_it_is_freed);
    RUN(blocks_of_one_size_make_room_for_another);
    RUN(what_is_kept_empty_is_given_back_when_asked);
    RUN(an_account_closed_is_given_out_again);
    RUN(a_growth_past_the_line_of_the_current_account_is_asked_for);
    RUN(a_line_for_all_together_is_kept_too);
    RUN(whatever_moves_each_bill_is_exact_and_no_byte_is_lost);
    RUN(without_slabs_a_block_shrinks_where_it_is_and_grows_nowhere);
    RUN(without_slabs_what_malloc_made_does_not_shrink_into_one);
    RUN(a_line_that_nobody_watches_is_none);
    RUN(who_finds_no_account_is_the_hosts);
    RUN(a_block_of_more_than_half_of_the_addresses_is_refused);
    return check_report();
}
