/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/gclib.h"

#include <lauxlib.h>
#include <string.h>

#include "script/collector.h"
#include "script/limits.h"
#include "script/run.h"
#include "script/unit.h"
#include "script/vm.h"

/* Lua's own defaults. The host is lazier (limits.h). */
#define PAUSE 200
#define STEPMUL 100

static int min(int a, int b) {
    return a < b ? a : b;
}

static int max(int a, int b) {
    return a > b ? a : b;
}

/* Slices */

/* Set a parameter of the collector; returns what it was. */
static int swap(struct dh_vm *vm, int what, int value) {
    return lua_gc(vm->L, what, value);
}

void dh_gclib_enter(struct dh_vm *vm, const struct dh_run *run) {
    const struct dh_gc_modes *modes = &run->unit->trouble->gc_modes;
    struct dh_collector *c = &vm->collector;
    c->pause = swap(vm, LUA_GCSETPAUSE, modes->pause);
    c->stepmul = swap(vm, LUA_GCSETSTEPMUL, modes->stepmul);
    lua_gc(vm->L, LUA_GCINC, min(modes->pause, c->pause), max(modes->stepmul, c->stepmul),
           min(modes->stepsize, DH_COLLECT_OWN_STEP));
    if (modes->is_stopped && dh_collector_held(vm) < modes->stop_limit) {
        lua_gc(vm->L, LUA_GCSTOP);
        c->stopped_to_bytes = modes->stop_limit;
    }
}

/* Restarting makes a step due at once. Who stops and starts all the time must not make a cycle of it:
** between two cycles the next one begins when the pause is over. At the run's limit the pause is over,
** or soon: much of what was held when the last cycle was complete may be what the run had allocated
** during it. */
static void restart(struct dh_vm *vm) {
    struct dh_collector *c = &vm->collector;
    size_t held = dh_collector_held(vm);
    size_t next = c->base_bytes / 100 * (size_t)c->pause;
    size_t soon = c->base_bytes + DH_COLLECT_MIN_BYTES;
    size_t latest = c->stopped_to_bytes > soon ? c->stopped_to_bytes : soon;
    next = next < latest ? next : latest;
    lua_gc(vm->L, LUA_GCRESTART);
    if (next > held + 1024) {
        lua_gc(vm->L, LUA_GCSTEP, -(int)((next - held) >> 10));
    }
    c->stopped_to_bytes = 0;
}

void dh_gclib_leave(struct dh_vm *vm) {
    lua_gc(vm->L, LUA_GCINC, vm->collector.pause, vm->collector.stepmul, DH_COLLECT_OWN_STEP);
    if (vm->collector.stopped_to_bytes > 0) {
        restart(vm);
    }
}

void dh_gclib_check(struct dh_vm *vm) {
    struct dh_collector *c = &vm->collector;
    if (c->stopped_to_bytes > 0 && dh_collector_held(vm) >= c->stopped_to_bytes) {
        lua_gc(vm->L, LUA_GCRESTART);
        c->stopped_to_bytes = 0;
    }
}

/* collectgarbage */

static struct dh_gc_modes modes_of(const struct dh_run *run) {
    if (run->has_gc_modes) {
        return run->unit->trouble->gc_modes;
    }
    return (struct dh_gc_modes){PAUSE, STEPMUL, DH_COLLECT_OWN_STEP, 0, false, false};
}

static int collected(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    lua_pushinteger(L, 0);
    return 1;
}

static int original(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static int collect(lua_State *L, struct dh_vm *vm) {
    if (!dh_preempt_can_yield(vm, L)) {
        return original(L);
    }
    vm->current->pause = DH_PAUSE_CYCLE;
    dh_preempt_leave(vm, L);
    return lua_yieldk(L, 0, 0, collected);
}

static int change_parameter(lua_State *L, int *parameter) {
    int value = (int)luaL_optinteger(L, 2, 0);
    lua_pushinteger(L, *parameter);
    *parameter = value < 0 ? 0 : value;
    return 1;
}

static void change_if_given(lua_State *L, int arg, int *parameter) {
    int value = (int)luaL_optinteger(L, arg, 0);
    *parameter = value > 0 ? value : *parameter;
}

static int change_mode(lua_State *L, struct dh_gc_modes *modes, bool is_generational) {
    bool was_generational = modes->is_generational;
    modes->is_generational = is_generational;
    if (!is_generational) {
        change_if_given(L, 2, &modes->pause);
        change_if_given(L, 3, &modes->stepmul);
        change_if_given(L, 4, &modes->stepsize);
    }
    lua_pushstring(L, was_generational ? "generational" : "incremental");
    return 1;
}

enum option { STOP, RESTART, COLLECT, COUNT, STEP, SETPAUSE, SETSTEPMUL, ISRUNNING, GEN, INC };

static const char *const names[] = {
    "stop",       "restart",   "collect",      "count",       "step", "setpause",
    "setstepmul", "isrunning", "generational", "incremental", NULL,
};

static int change(lua_State *L, struct dh_gc_modes *modes, enum option option) {
    switch (option) {
        case STOP:
        case RESTART:
            modes->is_stopped = option == STOP;
            lua_pushinteger(L, 0);
            return 1;
        case SETPAUSE:
            return change_parameter(L, &modes->pause);
        case SETSTEPMUL:
            return change_parameter(L, &modes->stepmul);
        default:
            return change_mode(L, modes, option == GEN);
    }
}

static int step(lua_State *L) {
    lua_Integer kilobytes = luaL_optinteger(L, 2, 0);
    kilobytes = kilobytes < 0 ? 0 : kilobytes;
    int bounded = kilobytes < DH_STEP_MAX_KB ? (int)kilobytes : DH_STEP_MAX_KB;
    lua_pushboolean(L, lua_gc(L, LUA_GCSTEP, bounded) == 1);
    return 1;
}

/* Upvalue 1: Lua's own. */
static int l_collectgarbage(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    enum option option = (enum option)luaL_checkoption(L, 1, "collect", names);
    if (vm->current == NULL || dh_collector_is_finalizing(L) || option == COUNT) {
        return original(L);
    }
    struct dh_run *run = vm->current->run;
    if (option == COLLECT) {
        return collect(L, vm);
    }
    if (option == STEP) {
        return step(L);
    }
    if (option == ISRUNNING) {
        lua_pushboolean(L, !modes_of(run).is_stopped);
        return 1;
    }
    struct dh_gc_modes modes;
    if (run->unit == NULL) {
        return luaL_error(L, "collectgarbage: only a worker has modes of its own");
    }
    if (dh_unit_trouble(run->unit) == NULL) {
        return luaL_error(L, "collectgarbage: out of memory");
    }
    modes = modes_of(run);
    int n = change(L, &modes, option); /* raises */
    if (modes.is_stopped && modes.stop_limit == 0) {
        modes.stop_limit = dh_collector_held(vm) + DH_STOPPED_BYTES;
    }
    if (run->has_gc_modes) {
        dh_gclib_leave(vm);
    }
    run->has_gc_modes = true;
    run->unit->trouble->gc_modes = modes;
    dh_gclib_enter(vm, run);
    return n;
}

void dh_gclib_open(lua_State *L) {
    if (lua_getglobal(L, "collectgarbage") == LUA_TFUNCTION) {
        lua_pushcclosure(L, l_collectgarbage, 1);
        lua_setglobal(L, "collectgarbage");
    } else {
        lua_pop(L, 1);
    }
}
