/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/spawn.h"

#include <lauxlib.h>
#include <string.h>

#include "script/instance.h"
#include "script/run.h"
#include "script/table.h"
#include "script/vm.h"
#include "script/wait.h"

#define TASK_TYPE "decnet.task"

struct dh_task *dh_task_new(lua_State *L) {
    struct dh_spawned *spawned = lua_newuserdatauv(L, sizeof(*spawned), 1);
    memset(spawned, 0, sizeof(*spawned));
    spawned->task.state = DH_TASK_ENDED;
    luaL_setmetatable(L, TASK_TYPE);
    return &spawned->task;
}

struct dh_task *dh_spawn(lua_State *L, struct dh_run *run, int nargs) {
    struct dh_task *t = dh_task_new(L);
    lua_insert(L, -2 - nargs);
    lua_State *co = lua_newthread(L);
    lua_setiuservalue(L, -3 - nargs, 1);
    if (!lua_checkstack(co,
                        nargs + 5)) { /* not luaL_checkstack: nobody would catch an error of co */
        luaL_error(L, "out of memory: no stack for a task with %d arguments", nargs);
    }
    lua_xmove(L, co, nargs + 1);
    lua_pushvalue(L, -1);
    dh_task_start(L, t, run, co, nargs);
    return t;
}

static int spawn_callback(lua_State *L) {
    struct dh_run *run = lua_touserdata(L, 1);
    dh_spawn(L, run, lua_gettop(L) - 2)->is_callback = true;
    return 0;
}

bool dh_spawn_callback(lua_State *L, struct dh_run *run, int nargs) {
    if (!lua_checkstack(L, 4)) {
        lua_pop(L, nargs + 1);
        return false;
    }
    lua_pushcfunction(L, spawn_callback);
    lua_pushlightuserdata(L, run);
    lua_rotate(L, -3 - nargs, 2);
    struct dh_vm *vm = run->instance->vm;
    uint32_t before = dh_vm_bill(vm, run->account);
    int status = lua_pcall(L, nargs + 2, 0, 0);
    dh_vm_bill(vm, before);
    if (status != LUA_OK) {
        lua_pop(L, 1);
        return false;
    }
    return true;
}

static int l_spawn(lua_State *L) {
    dh_wait_check_callable(L, 1, "fn");
    const struct dh_task *t = dh_vm_of(L)->current;
    if (t == NULL || t->run->is_loading) {
        return luaL_error(L, "spawn: only a worker has tasks: call it inside one");
    }
    if (t->run->is_killed) {
        return luaL_error(L, "spawn: this run is being killed and can start no more tasks");
    }
    dh_spawn(L, t->run, lua_gettop(L) - 1);
    return 1;
}

static const struct dh_wait_type join_wait = {"join", dh_wait_leave_line};

/* What a joiner gets: the function's results, or nil and why there are none. */
static int results_of(lua_State *L, const struct dh_task *t) {
    if (t->ending != DH_TASK_RETURNED) {
        lua_pushnil(L);
        lua_pushstring(L, t->ending == DH_TASK_CRASHED ? "crashed" : "cancelled");
        return 2;
    }
    int n = lua_gettop(t->co);
    luaL_checkstack(L, n, "too many results");
    if (!lua_checkstack(t->co, 1)) { /* an error of t->co would be nobody's */
        return luaL_error(L, "join: out of memory");
    }
    for (int i = 1; i <= n; i++) {
        lua_pushvalue(t->co, i);
        lua_xmove(t->co, L, 1);
    }
    return n;
}

static int join_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    if (dh_wait_end(L) == DH_WAKE_TIMEOUT) {
        return dh_wait_answer(L, "timeout");
    }
    return results_of(L, lua_touserdata(L, 1));
}

static int l_join(lua_State *L) {
    struct dh_spawned *spawned = luaL_checkudata(L, 1, TASK_TYPE);
    const struct dh_task *other = &spawned->task;
    uint64_t deadline_ns = dh_wait_opt_deadline(L, dh_vm_of(L), 2, "seconds");
    struct dh_task *t = dh_wait_begin(L, "join");
    if (dh_task_is_cancelled(t)) {
        return dh_wait_cancelled(L, t);
    }
    if (other->state == DH_TASK_ENDED) {
        return results_of(L, other);
    }
    if (other == t) {
        return luaL_error(L, "join: a task cannot wait for itself");
    }
    return dh_wait_in_line(L, t, &join_wait, &spawned->joiners, deadline_ns, 0, join_k);
}

struct dh_task *dh_spawn_check(lua_State *L, int idx) {
    return &((struct dh_spawned *)luaL_checkudata(L, idx, TASK_TYPE))->task;
}

static int l_cancel(lua_State *L) {
    struct dh_task *t = dh_spawn_check(L, 1);
    if (t->state != DH_TASK_ENDED) {
        t->is_cancelled = true;
        dh_task_on_cancel(dh_vm_of(L), t);
    }
    return 0;
}

static const luaL_Reg methods[] = {{"cancel", l_cancel}, {"join", l_join}, {NULL, NULL}};

void dh_spawn_open(lua_State *L) {
    dh_table_new_type(L, TASK_TYPE, methods);
    lua_pop(L, 1);
    lua_pushcfunction(L, l_spawn);
    lua_setfield(L, -2, "spawn");
}
