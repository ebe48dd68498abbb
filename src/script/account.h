/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Accounts: how much of Lua's memory each run holds.
**
** Account 0 is the host's; a run gets one of its own when it starts. A block is billed to the account
** that is current when it is allocated, and stays there until it is freed, whoever frees it and
** however it grows. What is billed is what Lua asked for, so that the sum over all accounts is what
** collectgarbage "count" says.
**
** An account has a line: a growth past it calls on_over, if it is the current one that grew. What is
** kept is the distance to the line, so that billing and watching are one subtraction. All accounts
** together have a line, too.
*/
#ifndef DH_SCRIPT_ACCOUNT_H
#define DH_SCRIPT_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DH_ACCOUNT_HOST 0u
#define DH_ACCOUNTS_MAX (1 << 24) /* an id in 3 bytes; runs that live, or left something behind */
#define DH_ACCOUNT_NO_LINE (INT64_MAX / 2)

struct dh_account {
    int64_t left;       /* line - bytes held; negative: over the line */
    uint64_t allocated; /* bytes, ever */
};

/* What a growth past the line leads to. */
enum dh_account_verdict { DH_ACCOUNT_GRANT, DH_ACCOUNT_REFUSE };

struct dh_ledger {
    struct dh_account *accounts; /* by id */
    uint32_t current;            /* who pays for what is allocated now */
    uint32_t count;              /* ids in use are below */
    uint32_t capacity;
    uint32_t first_free; /* id, 0: none */
    uint64_t held;       /* bytes, by all accounts together */
    uint64_t line;       /* for all of them; UINT64_MAX: none */
    /* The current account, or all together, would be over a line if it grew by 'growth' to a block of
    ** 'size'. Called for each such growth; must neither allocate nor raise. NULL: grant all. */
    enum dh_account_verdict (*on_over)(void *arg, size_t growth, size_t size);
    void *arg;
};

/* 0, or -1 when there is no memory. */
int dh_ledger_init(struct dh_ledger *ledger);
void dh_ledger_fini(struct dh_ledger *ledger);

/* A new account with nothing in it and no line; DH_ACCOUNT_HOST when there is none left. */
uint32_t dh_account_open(struct dh_ledger *ledger);

/* The id may be given out again: the account must hold nothing. */
void dh_account_close(struct dh_ledger *ledger, uint32_t id);

/* Bytes that an account with this line holds. */
static inline uint64_t dh_account_held(const struct dh_ledger *ledger, uint32_t id, int64_t line) {
    return (uint64_t)(line - ledger->accounts[id].left);
}

/* Give it another line. */
static inline void dh_account_move_line(struct dh_ledger *ledger, uint32_t id, int64_t from,
                                        int64_t to) {
    ledger->accounts[id].left += to - from;
}

#endif
