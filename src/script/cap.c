/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/cap.h"

#include <lauxlib.h>
#include <stdio.h>

#include "script/collector.h"
#include "script/failure.h"
#include "script/instance.h"
#include "script/limits.h"
#include "script/unit.h"
#include "script/vm.h"

#define NO_CAP UINT64_MAX

static uint64_t cap_bytes(const struct dh_run *run) {
    return run->unit != NULL ? run->unit->worker.policy->max_memory_bytes : NO_CAP;
}

/* Of a run that has a cap. */
static struct dh_cap *cap_of(const struct dh_run *run) {
    return &run->unit->trouble->cap;
}

static int64_t line_of(const struct dh_run *run) {
    const struct dh_trouble *trouble = run->unit->trouble;
    return trouble != NULL && trouble->cap.line != 0 ? trouble->cap.line : DH_ACCOUNT_NO_LINE;
}

uint64_t dh_cap_held(const struct dh_vm *vm, const struct dh_run *run) {
    return dh_account_held(vm->ledger, run->account, line_of(run));
}

static void draw_line(struct dh_vm *vm, struct dh_run *run, uint64_t bytes) {
    int64_t to = bytes != NO_CAP ? (int64_t)bytes : DH_ACCOUNT_NO_LINE;
    dh_account_move_line(vm->ledger, run->account, line_of(run), to);
    cap_of(run)->line = to;
}

/* After a check: room for garbage above what is held. */
static void draw_next_line(struct dh_vm *vm, struct dh_run *run, uint64_t held) {
    uint64_t max = cap_bytes(run);
    uint64_t line = held + max / 4;
    draw_line(vm, run, line > max ? line : max);
    vm->has_high_lines = vm->has_high_lines || line > max;
}

static bool has_high_line(const struct dh_run *run) {
    int64_t line = line_of(run);
    return line != DH_ACCOUNT_NO_LINE && (uint64_t)line > cap_bytes(run);
}

void dh_cap_on_cycle(struct dh_vm *vm) {
    struct dh_sup *sup = &vm->instance->host.sup;
    if (!vm->has_high_lines) {
        return;
    }
    vm->has_high_lines = false;
    for (struct dh_worker *w = dh_sup_first(sup); w != NULL; w = dh_sup_next(w)) {
        struct dh_run *run = dh_unit_of(w)->run;
        if (run == NULL || !has_high_line(run)) {
            continue;
        }
        uint64_t held = dh_cap_held(vm, run);
        if (held + cap_bytes(run) / 4 < (uint64_t)line_of(run)) {
            draw_next_line(vm, run, held);
        }
        vm->has_high_lines = vm->has_high_lines || has_high_line(run);
    }
}

bool dh_cap_make_room(const struct dh_vm *vm, struct dh_unit *unit) {
    return vm->ledger == NULL || unit->worker.policy->max_memory_bytes == NO_CAP ||
           dh_unit_trouble(unit) != NULL;
}

void dh_cap_start(struct dh_vm *vm, struct dh_run *run) {
    struct dh_trouble *trouble = run->unit->trouble;
    if (vm->ledger != NULL && trouble != NULL) {
        trouble->cap = (struct dh_cap){0};
        draw_line(vm, run, cap_bytes(run));
    }
}

void dh_cap_end(struct dh_vm *vm, struct dh_run *run) {
    if (line_of(run) != DH_ACCOUNT_NO_LINE) {
        draw_line(vm, run, NO_CAP);
    }
}

/* Errors */

static void describe(char *dst, size_t cap, uint64_t held, const char *limit, uint64_t max) {
    snprintf(dst, cap,
             "not enough memory: the run holds %llu bytes, %s is %llu: hold less, or raise it",
             (unsigned long long)held, limit, (unsigned long long)max);
}

static void describe_run(char *dst, size_t cap, const struct dh_run *run) {
    describe(dst, cap, dh_cap_held(run->instance->vm, run), "max_memory", cap_bytes(run));
}

static uint64_t freed(const struct dh_vm *vm, const struct dh_run *run) {
    return vm->ledger->accounts[run->account].allocated - dh_cap_held(vm, run);
}

void dh_cap_push_error(lua_State *L, struct dh_run *run) {
    char text[DH_CAP_TEXT];
    cap_of(run)->is_told = true;
    cap_of(run)->freed = freed(run->instance->vm, run);
    describe_run(text, sizeof(text), run);
    lua_pushstring(L, text);
}

struct dh_failure *dh_cap_explain(const struct dh_run *run) {
    if (cap_bytes(run) == NO_CAP || cap_of(run)->refused == 0) {
        return NULL;
    }
    char text[DH_CAP_TEXT];
    snprintf(text, sizeof(text),
             "not enough memory: a block of %llu bytes was refused: the run holds %llu bytes, "
             "max_memory is %llu: ask for less, or raise it",
             (unsigned long long)cap_of(run)->refused,
             (unsigned long long)dh_cap_held(run->instance->vm, run),
             (unsigned long long)cap_bytes(run));
    return dh_failure_from_text(text);
}

/* It could be caught, and refuse to end: no. */
static void crash(struct dh_run *run, const char *text) {
    dh_run_crash(run, dh_failure_from_text(text));
    dh_run_kill(run);
}

/* Watching */

static enum dh_account_verdict on_over(void *arg, size_t growth, size_t size) {
    struct dh_vm *vm = arg;
    struct dh_task *t = vm->current;
    bool is_above_ceiling = vm->ledger->held + growth > vm->ledger->line;
    if (is_above_ceiling && !vm->ceiling.is_due) {
        vm->ceiling.is_due = true;
        vm->ceiling.since_cycle = vm->collector.cycles;
    }
    if (t == NULL || vm->preempt.running == NULL || dh_collector_is_finalizing(vm->L)) {
        return DH_ACCOUNT_GRANT; /* the host, or somebody's finalizer: nobody would catch an error */
    }
    dh_preempt_ask_to_collect(&vm->preempt);
    if (is_above_ceiling && size >= DH_CEILING_REFUSES_BYTES) {
        return DH_ACCOUNT_REFUSE;
    }
    uint64_t max = cap_bytes(t->run);
    if (max == NO_CAP || dh_cap_held(vm, t->run) + growth <= 2 * max) {
        return DH_ACCOUNT_GRANT;
    }
    struct dh_cap *cap = cap_of(t->run);
    cap->refused = size;
    if (cap->refusals <= DH_CAP_REFUSALS) {
        cap->refusals++;
    }
    return DH_ACCOUNT_REFUSE;
}

void dh_cap_open(struct dh_vm *vm) {
    if (vm->ledger != NULL) {
        vm->ledger->on_over = on_over;
        vm->ledger->arg = vm;
    }
}

/* It has been told, and holds what it held then. */
static bool is_deaf(const struct dh_vm *vm, const struct dh_run *run) {
    const struct dh_cap *cap = cap_of(run);
    return cap->is_told && freed(vm, run) - cap->freed < cap_bytes(run) / 2;
}

bool dh_cap_postpone(struct dh_vm *vm, struct dh_task *t) {
    uint64_t max = cap_bytes(t->run);
    if (vm->ledger->held > vm->ledger->line) {
        vm->ledger->line += vm->ceiling.bytes / 8;
    }
    if (max == NO_CAP) {
        return false;
    }
    uint64_t held = dh_cap_held(vm, t->run);
    if (held <= max) {
        return false;
    }
    if (held <= max + max / 2 || t->is_killed) {
        draw_line(vm, t->run, held + max / 8);
        return false;
    }
    draw_next_line(vm, t->run, held);
    t->raises = DH_RAISE_MEMORY;
    return true;
}

/* What a whole cycle has left is held for good. A cleanup is not interrupted, as long as it stays away
** from where it would be refused. */
static void judge(struct dh_vm *vm, struct dh_task *t, uint64_t held, uint64_t max) {
    bool may_raise = !dh_task_is_cleaning_up(t);
    if (is_deaf(vm, t->run) || (!may_raise && held > max + max / 2)) {
        char text[DH_CAP_TEXT];
        describe_run(text, sizeof(text), t->run);
        crash(t->run, text);
        return;
    }
    draw_next_line(vm, t->run, held);
    if (may_raise) {
        t->raises = DH_RAISE_MEMORY;
    }
}

bool dh_cap_check(struct dh_vm *vm, struct dh_task *t, bool is_complete) {
    uint64_t max = cap_bytes(t->run);
    if (max == NO_CAP) {
        return true;
    }
    uint64_t held = dh_cap_held(vm, t->run);
    struct dh_cap *cap = cap_of(t->run);
    if (cap->refusals > DH_CAP_REFUSALS) {
        crash(t->run, "not enough memory: blocks far above max_memory were refused again and "
                      "again: ask for less, or raise it");
    } else if (held <= max) {
        cap->is_told = false;
        draw_next_line(vm, t->run, held);
    } else if (is_complete) {
        judge(vm, t, held, max);
    } else {
        return false;
    }
    return true;
}

/* The host as a whole */

void dh_cap_set_ceiling(struct dh_vm *vm, uint64_t bytes) {
    vm->ceiling.bytes = bytes;
    vm->ceiling.is_due = false;
    if (vm->ledger != NULL) {
        vm->ledger->line = bytes != 0 ? bytes : UINT64_MAX;
    }
}

static struct dh_run *largest_run(struct dh_vm *vm, uint64_t *ret_held) {
    struct dh_sup *sup = &vm->instance->host.sup;
    struct dh_run *largest = NULL;
    *ret_held = 0;
    for (struct dh_worker *w = dh_sup_first(sup); w != NULL; w = dh_sup_next(w)) {
        struct dh_run *run = dh_unit_of(w)->run;
        if (run != NULL && run->phase == DH_RUN_LIVE && dh_cap_held(vm, run) > *ret_held) {
            largest = run;
            *ret_held = dh_cap_held(vm, run);
        }
    }
    return largest;
}

bool dh_cap_check_ceiling(struct dh_vm *vm) {
    uint64_t max = vm->ceiling.bytes;
    uint64_t held = dh_collector_held(vm);
    vm->ceiling.since_cycle = vm->collector.cycles;
    if (held > max) {
        uint64_t of_run;
        struct dh_run *run = largest_run(vm, &of_run);
        if (run != NULL && of_run >= DH_CEILING_LEAST_BYTES) {
            char text[DH_CAP_TEXT];
            snprintf(
                text, sizeof(text),
                "not enough memory: this run holds most of the host's %llu bytes, --max-memory "
                "is %llu: hold less (%llu now), or raise it",
                (unsigned long long)held, (unsigned long long)max, (unsigned long long)of_run);
            crash(run, text);
            return false;
        }
        dh_log_print(&vm->instance->log, DH_LEVEL_ERROR, NULL,
                     "the host holds %llu bytes, more than --max-memory (%llu), and no run could "
                     "give some back",
                     (unsigned long long)held, (unsigned long long)max);
    }
    vm->ledger->line = held + max / 8 > max ? held + max / 8 : max;
    vm->ceiling.is_due = false;
    return true;
}
