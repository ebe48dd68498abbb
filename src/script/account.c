/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/account.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 64u

int dh_ledger_init(struct dh_ledger *ledger) {
    memset(ledger, 0, sizeof(*ledger));
    ledger->accounts = malloc(FIRST_CAPACITY * sizeof(*ledger->accounts));
    if (ledger->accounts == NULL) {
        return -1;
    }
    ledger->capacity = FIRST_CAPACITY;
    ledger->count = 1;
    ledger->line = UINT64_MAX;
    ledger->accounts[DH_ACCOUNT_HOST] = (struct dh_account){DH_ACCOUNT_NO_LINE, 0};
    return 0;
}

void dh_ledger_fini(struct dh_ledger *ledger) {
    free(ledger->accounts);
    ledger->accounts = NULL;
}

static int grow(struct dh_ledger *ledger) {
    if (ledger->capacity >= DH_ACCOUNTS_MAX) {
        return -1;
    }
    uint32_t capacity = 2 * ledger->capacity;
    struct dh_account *accounts = realloc(ledger->accounts, capacity * sizeof(*accounts));
    if (accounts == NULL) {
        return -1;
    }
    ledger->accounts = accounts;
    ledger->capacity = capacity;
    return 0;
}

uint32_t dh_account_open(struct dh_ledger *ledger) {
    uint32_t id = ledger->first_free;
    if (id != 0) {
        ledger->first_free = (uint32_t)ledger->accounts[id].allocated;
    } else if (ledger->count < ledger->capacity || grow(ledger) == 0) {
        id = ledger->count++;
    } else {
        return DH_ACCOUNT_HOST;
    }
    ledger->accounts[id] = (struct dh_account){DH_ACCOUNT_NO_LINE, 0};
    return id;
}

void dh_account_close(struct dh_ledger *ledger, uint32_t id) {
    assert(id != DH_ACCOUNT_HOST && ledger->accounts[id].left == DH_ACCOUNT_NO_LINE);
    ledger->accounts[id].allocated = ledger->first_free; /* a list of the free ones */
    ledger->first_free = id;
}
