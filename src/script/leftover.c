/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/leftover.h"

#include <stdlib.h>

#include "script/instance.h"
#include "script/limits.h"
#include "script/unit.h"
#include "script/vm.h"

struct dh_leftover {
    struct dh_leftover *next;
    struct dh_unit *unit; /* NULL: the worker is gone */
    uint64_t since_cycle;
    uint32_t account;
    uint32_t run;
};

static uint64_t held(const struct dh_vm *vm, const struct dh_leftover *l) {
    return dh_account_held(vm->ledger, l->account, DH_ACCOUNT_NO_LINE);
}

void dh_leftover_add(struct dh_vm *vm, struct dh_unit *unit, uint32_t run, uint32_t account) {
    struct dh_leftover *l = malloc(sizeof(*l));
    if (l == NULL) {
        return; /* its account stays open for good: no harm but a few bytes */
    }
    l->next = vm->leftovers;
    l->unit = unit;
    l->since_cycle = vm->collector.cycles;
    l->account = account;
    l->run = run;
    vm->leftovers = l;
}

static void forget_sums(struct dh_vm *vm) {
    for (struct dh_leftover *l = vm->leftovers; l != NULL; l = l->next) {
        if (l->unit != NULL && l->unit->trouble != NULL) {
            l->unit->trouble->leftover_bytes = 0;
        }
    }
}

static void report(struct dh_vm *vm, const struct dh_leftover *l, struct dh_trouble *trouble) {
    if (trouble->leftover_bytes < DH_LEFTOVER_BYTES ||
        trouble->leftover_bytes < 2 * trouble->leftover_told) {
        return;
    }
    trouble->leftover_told = trouble->leftover_bytes;
    struct dh_field fields[] = {
        dh_field_integer("run", l->run),
        dh_field_integer("bytes", (int64_t)held(vm, l)),
        dh_field_integer("leftover_bytes", (int64_t)trouble->leftover_bytes),
    };
    static const char msg[] = "memory of an ended run is still in use";
    dh_log_write(&vm->instance->log, DH_LEVEL_WARN, l->unit->name, msg, sizeof(msg) - 1, fields, 3);
}

static void add_up(struct dh_vm *vm, const struct dh_leftover *l) {
    struct dh_trouble *trouble = l->unit != NULL ? dh_unit_trouble(l->unit) : NULL;
    if (trouble != NULL && vm->instance != NULL) {
        trouble->leftover_bytes += held(vm, l);
        report(vm, l, trouble);
    }
}

void dh_leftover_on_cycle(struct dh_vm *vm) {
    forget_sums(vm);
    struct dh_leftover **at = &vm->leftovers;
    while (*at != NULL) {
        struct dh_leftover *l = *at;
        if (held(vm, l) == 0) {
            dh_account_close(vm->ledger, l->account);
            *at = l->next;
            free(l);
            continue;
        }
        if (vm->collector.cycles - l->since_cycle >= 2) {
            add_up(vm, l);
        }
        at = &l->next;
    }
}

void dh_leftover_forget(struct dh_vm *vm, const struct dh_unit *unit) {
    for (struct dh_leftover *l = vm->leftovers; l != NULL; l = l->next) {
        if (unit == NULL || l->unit == unit) {
            l->unit = NULL;
        }
    }
}

void dh_leftover_close(struct dh_vm *vm) {
    while (vm->leftovers != NULL) {
        struct dh_leftover *l = vm->leftovers;
        vm->leftovers = l->next;
        free(l);
    }
}
