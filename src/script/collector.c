/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/collector.h"

#include <poll.h>

#include "script/cap.h"
#include "script/instance.h"
#include "script/leftover.h"
#include "script/limits.h"
#include "script/pool.h"
#include "script/vm.h"
#include "script/wait.h"

size_t dh_collector_held(const struct dh_vm *vm) {
    if (vm->ledger != NULL) {
        return vm->ledger->held;
    }
    return ((size_t)lua_gc(vm->L, LUA_GCCOUNT) << 10) + (size_t)lua_gc(vm->L, LUA_GCCOUNTB);
}

bool dh_collector_is_finalizing(lua_State *L) {
    return lua_gc(L, LUA_GCISRUNNING) < 0;
}

static void count_cycle(struct dh_vm *vm) {
    vm->collector.cycles++;
    vm->collector.is_idle_done = true;
    if (vm->ledger != NULL) { /* else Lua does not answer while a finalizer runs */
        vm->collector.base_bytes = dh_collector_held(vm);
    }
}

/* The finalizer of the object that is always garbage. Giving it its metatable again makes Lua call it
** again, and needs no memory. */
static int on_cycle(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    if (lua_touserdata(L, 1) == vm->collector.witness) {
        count_cycle(vm);
        vm->collector.missed = 0;
        vm->collector.is_heard = true;
        lua_getmetatable(L, 1);
        lua_setmetatable(L, 1);
    }
    return 0;
}

static int make_witness(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    vm->collector.witness = lua_newuserdatauv(L, 1, 0);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, on_cycle);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    return 0;
}

void dh_collector_open(lua_State *L, struct dh_vm *vm) {
    vm->collector.base_bytes = dh_collector_held(vm);
    if (vm->ledger != NULL) { /* else it is the program's that embeds us */
        lua_gc(L, LUA_GCINC, 0, DH_COLLECT_STEPMUL, DH_COLLECT_OWN_STEP);
    }
    lua_pushcfunction(L, make_witness);
    lua_call(L, 0, 0);
}

/* Not all finalizers are called in one step: the witness may have told of this cycle already. If it
** has not, it may have been made while the cycle was under way; but a finalizer is lost that Lua calls
** where its C stack is used up. */
static void on_end_of_cycle(struct dh_vm *vm) {
    bool is_heard = vm->collector.is_heard;
    vm->collector.is_heard = false;
    if (is_heard) {
        return;
    }
    count_cycle(vm);
    if (++vm->collector.missed < 2) {
        return;
    }
    vm->collector.missed = 0;
    lua_pushcfunction(vm->L, make_witness);
    if (lua_pcall(vm->L, 0, 0, 0) != LUA_OK) {
        lua_pop(vm->L, 1);
    }
}

bool dh_collector_has_debt(const struct dh_vm *vm) {
    const struct dh_collector *c = &vm->collector;
    size_t grown = dh_collector_held(vm);
    grown = grown > c->base_bytes ? grown - c->base_bytes : 0;
    return !c->is_idle_done && grown > DH_COLLECT_MIN_BYTES && grown > c->base_bytes / 2;
}

/* One cycle at most, and not for longer than that. A slice of nobody's: a finalizer may never end, and
** the monitor should say so. */
static void collect(struct dh_vm *vm, uint64_t until_ns) {
    uint64_t cycles = vm->collector.cycles;
    uint64_t began_ns = dh_loop_now();
    uint64_t now_ns;
    dh_preempt_begin_slice(&vm->preempt, vm->L);
    lua_gc(vm->L, LUA_GCINC, 0, 0, DH_COLLECT_STEP);
    do {
        if (lua_gc(vm->L, LUA_GCSTEP, 0) == 1) {
            on_end_of_cycle(vm);
        }
        now_ns = dh_loop_now();
    } while (vm->collector.cycles == cycles && now_ns < until_ns);
    lua_gc(vm->L, LUA_GCINC, 0, 0, DH_COLLECT_OWN_STEP);
    if (vm->collector.cycles == cycles) {
        lua_gc(vm->L, LUA_GCSTEP, -DH_COLLECT_CREDIT_KB);
    }
    vm->collector.spent_ns += now_ns - began_ns;
    dh_preempt_end_slice(&vm->preempt);
}

/* Somebody waits whom the collector must not keep waiting. */
static bool is_wanted(const struct dh_vm *vm, uint64_t now) {
    const struct dh_host *host = &vm->instance->host;
    struct pollfd fd = {uv_backend_fd(&vm->loop.uv), POLLIN, 0};
    return dh_queue_has_awake(&vm->queue) || now >= vm->uv_deadline_ns ||
           now >= dh_timerq_next(&host->timers) || poll(&fd, 1, 0) > 0;
}

/* As a tired task would: until somebody else wants the CPU, a slice at most; or a cycle is complete. A
** virtual clock stands meanwhile. */
static void collect_slice(struct dh_vm *vm) {
    bool is_virtual = vm->instance->host.options.is_virtual;
    uint64_t cycles = vm->collector.cycles;
    uint64_t now = dh_loop_now();
    uint64_t until = now + vm->preempt.slice_ns;
    do {
        collect(vm, now + DH_COLLECT_IDLE_NS);
        now = dh_loop_now();
    } while (vm->collector.cycles == cycles &&
             (is_virtual || (now < until && !is_wanted(vm, now))));
}

/* A cycle may have been completed, by whomever. */
static void act_on_cycle(struct dh_vm *vm) {
    if (vm->collector.seen_cycles != vm->collector.cycles) {
        vm->collector.seen_cycles = vm->collector.cycles;
        if (vm->ledger == NULL) {
            vm->collector.base_bytes = dh_collector_held(vm);
        }
        dh_leftover_on_cycle(vm);
        dh_cap_on_cycle(vm);
    }
}

void dh_collector_idle(struct dh_vm *vm) {
    uint64_t cycles = vm->collector.cycles;
    dh_preempt_begin_turn(&vm->preempt, DH_NEVER);
    collect(vm, dh_loop_now() + DH_COLLECT_IDLE_NS);
    if (vm->collector.cycles != cycles && vm->ledger != NULL) {
        dh_pool_trim(dh_pool_of(vm->ledger)); /* who is idle does not want it at once */
    }
    act_on_cycle(vm);
    dh_preempt_end_turn(&vm->preempt);
}

/* A cycle would be due while they start, if they are many: it is cheaper before, and what it frees has
** room for them. */
void dh_collector_expect(struct dh_vm *vm, uint32_t workers) {
    uint64_t bytes = (uint64_t)workers * DH_COLLECT_START_BYTES;
    if (vm->ledger == NULL) { /* the collector is the program's that embeds us */
        return;
    }
    if (bytes > dh_collector_held(vm)) {
        dh_preempt_begin_turn(&vm->preempt, DH_NEVER);
        collect(vm, DH_NEVER);
        dh_preempt_end_turn(&vm->preempt);
    }
    if (bytes >= 1024) { /* a step of 0 is one */
        lua_gc(vm->L, LUA_GCSTEP, -(int)(bytes >> 10));
    }
}

/* Those who wait */

void dh_collector_join(struct dh_vm *vm, struct dh_task *t) {
    t->wait_data = (void *)(uintptr_t)vm->collector.cycles; /* it waits for nothing else */
    dh_line_join(&vm->collector.waiting, t);
}

/* The first cycle to end may have been under way. */
static bool has_complete_cycle(const struct dh_vm *vm, uint64_t since) {
    return vm->collector.cycles - since >= 2;
}

static bool must_wait(struct dh_vm *vm, struct dh_task *t) {
    bool is_complete = has_complete_cycle(vm, (uintptr_t)t->wait_data);
    if (vm->ceiling.is_due) {
        return true;
    }
    return t->pause == DH_PAUSE_CYCLE ? !is_complete : !dh_cap_check(vm, t, is_complete);
}

/* The first in line goes on, or to its end. */
static void serve_first(struct dh_vm *vm) {
    struct dh_line *line = &vm->collector.waiting;
    struct dh_task *t = line->first;
    if (must_wait(vm, t)) {
        dh_line_leave(line, t);
        dh_line_join(line, t);
    } else if (line->first == t) { /* else its run has been killed */
        dh_line_leave(line, t);
        t->pause = DH_PAUSE_NOT;
        t->wait_data = NULL;
        dh_line_join(&vm->queue.tired, t);
    }
}

bool dh_collector_is_ready(const struct dh_vm *vm) {
    return vm->collector.waiting.first != NULL || vm->ceiling.is_due;
}

void dh_collector_turn(struct dh_vm *vm) {
    struct dh_collector *c = &vm->collector;
    if (dh_collector_is_ready(vm)) {
        collect_slice(vm);
        if (vm->ceiling.is_due && has_complete_cycle(vm, vm->ceiling.since_cycle)) {
            dh_cap_check_ceiling(vm);
        }
        const struct dh_task *last = dh_line_last(&c->waiting);
        const struct dh_task *t = NULL;
        while (c->waiting.first != NULL && t != last) {
            t = c->waiting.first;
            serve_first(vm);
        }
    }
    act_on_cycle(vm);
}
