/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/await.h"

#include <assert.h>
#include <lauxlib.h>
#include <string.h>

#include "script/coroutine.h"
#include "script/instance.h"
#include "script/scope.h"
#include "script/vm.h"
#include "script/wait.h"

/* sleep */

static const struct dh_wait_type sleep_wait = {"sleep", NULL};

static int sleep_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    dh_wait_end(L);
    return 0;
}

static int l_sleep(lua_State *L) {
    /* a time that has passed is over at once: 'next - now()' may be negative */
    double seconds = lua_tonumber(L, 1) < 0 ? 0 : dh_wait_seconds(L, 1, "seconds");
    struct dh_task *t = dh_wait_begin(L, "sleep");
    if (dh_task_is_cancelled(t)) {
        return dh_wait_cancelled(L, t);
    }
    if (seconds == 0) {
        return dh_wait_turn(L, t, 0, NULL);
    }
    return dh_wait_suspend(L, t, &sleep_wait, NULL, dh_wait_deadline(dh_vm_of(L), seconds), 0,
                           sleep_k);
}

/*
** await(function(resume) ... end [, s])
**
** Stack of the waiting function: 1 token, 2 cleanup function or nil. The token is shared with
** 'resume'; what comes before the wait began is kept in its user value.
*/
#define TOKEN_TYPE "decnet.token"

struct token {
    struct dh_task *task; /* while it waits */
    bool is_resumed;      /* before it waited: the results are kept */
    bool is_over;
};

static int await_k(lua_State *L, int status, lua_KContext ctx);

/* Deliver what came early. */
static int early_results(lua_State *L) {
    lua_getiuservalue(L, 1, 1);
    lua_getfield(L, -1, "n");
    int n = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    luaL_checkstack(L, n, "too many results");
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, 3, i);
    }
    return n;
}

/* The cleanup slot: the wait ended in another way than by resume. Runs the user's cleanup function
** without waiting; its error is reported, since there may be nobody left to raise it in. */
static void await_withdraw(struct dh_task *t) {
    lua_State *inner = t->inner;
    struct dh_vm *vm = t->run->instance->vm;
    struct token *token = lua_touserdata(inner, 1);
    token->task = NULL;
    token->is_over = true;
    if (lua_isnil(inner, 2) || !lua_checkstack(inner, 1) || !lua_checkstack(vm->L, 4)) {
        return;
    }
    lua_pushvalue(inner, 2);
    lua_xmove(inner, vm->L, 1);
    dh_instance_call_cleanup(t);
}

static const struct dh_wait_type await_wait = {"await", await_withdraw};

static int await_called_k(lua_State *L, int status, lua_KContext ctx) {
    struct token *token = lua_touserdata(L, 1);
    (void)status;
    lua_settop(L, 2); /* token, cleanup */
    if (!lua_isnil(L, 2) && !lua_isfunction(L, 2)) {
        lua_pushnil(L);
        lua_replace(L, 2);
    }
    if (token->is_resumed) {
        token->is_over = true;
        return early_results(L);
    }
    struct dh_task *t = dh_wait_begin(L, "await");
    token->task = t;
    if (dh_task_is_cancelled(t)) {
        t->inner = L;
        await_withdraw(t);
        return dh_wait_cancelled(L, t);
    }
    uint64_t deadline_ns = DH_NEVER;
    if (ctx != 0) {
        lua_getiuservalue(L, 1, 2);
        deadline_ns = (uint64_t)lua_tointeger(L, -1);
        lua_pop(L, 1);
    }
    return dh_wait_suspend(L, t, &await_wait, token, deadline_ns, 0, await_k);
}

static int await_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    if (dh_wait_end(L) == DH_WAKE_TIMEOUT) {
        return dh_wait_answer(L, "timeout");
    }
    return lua_gettop(L) - 2;
}

static int l_await(lua_State *L) {
    dh_wait_check_callable(L, 1, "fn");
    struct dh_task *t = dh_wait_begin(L, "await");
    uint64_t deadline_ns = dh_wait_opt_deadline(L, dh_vm_of(L), 2, "seconds");
    if (dh_task_is_cancelled(t)) {
        return dh_wait_cancelled(L, t);
    }
    lua_settop(L, 1);
    struct token *token = lua_newuserdatauv(L, sizeof(*token), 2);
    memset(token, 0, sizeof(*token));
    if (deadline_ns != DH_NEVER) {
        lua_pushinteger(L, (lua_Integer)deadline_ns);
        lua_setiuservalue(L, -2, 2);
    }
    lua_insert(L, 1);
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, dh_await_resume, 1); /* token, function, resume */
    lua_KContext has_deadline = deadline_ns != DH_NEVER;
    lua_callk(L, 1, 1, has_deadline, await_called_k);
    return await_called_k(L, LUA_OK, has_deadline);
}

int dh_await_resume(lua_State *L) {
    struct token *token = lua_touserdata(L, lua_upvalueindex(1));
    struct dh_vm *vm = dh_vm_of(L);
    int n = lua_gettop(L);
    if (token->is_over || token->is_resumed) {
        vm->late_wakeups++;
        return 0;
    }
    token->is_resumed = true;
    struct dh_task *t = token->task;
    if (t != NULL && lua_checkstack(t->inner, n)) {
        token->is_over = true;
        token->task = NULL;
        lua_xmove(L, t->inner, n);
        dh_wake(vm, t, DH_WAKE_DONE, n);
        return 0;
    }
    lua_createtable(L, n, 1);
    lua_insert(L, 1);
    lua_pushinteger(L, n);
    lua_setfield(L, 1, "n");
    for (int i = n; i > 0; i--) {
        lua_rawseti(L, 1, i);
    }
    lua_setiuservalue(L, lua_upvalueindex(1), 1);
    return 0;
}

/* atomic: a bound that is left on every way out of the function */

static int atomic_k(lua_State *L, int status, lua_KContext ctx) {
    (void)ctx;
    dh_vm_of(L)->current->atomic_depth--;
    return status == LUA_OK ? lua_gettop(L) - 1 : lua_error(L);
}

static int l_atomic(lua_State *L) {
    struct dh_task *t = dh_vm_of(L)->current;
    dh_wait_check_callable(L, 1, "fn");
    if (t == NULL) {
        lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
        return lua_gettop(L);
    }
    assert(t->atomic_depth < UINT8_MAX); /* each is a C call, of which Lua allows 200 */
    t->atomic_depth++;
    lua_pushcfunction(L, dh_task_on_error);
    lua_insert(L, 1);
    return atomic_k(L, lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 1), 0);
}

static int l_now(lua_State *L) {
    lua_pushnumber(L, (lua_Number)dh_vm_now(dh_vm_of(L)) / 1e9);
    return 1;
}

static int l_current(lua_State *L) {
    const struct dh_task *t = dh_vm_of(L)->current;
    if (t == NULL) {
        lua_pushnil(L);
    } else {
        dh_run_push_self(L, t->run);
    }
    return 1;
}

static int l_is_cancelled(lua_State *L) {
    lua_pushboolean(L, dh_vm_is_cancelled(L, 1));
    return 1;
}

/* in_flight(n): n more (or, negative, fewer) one-shot requests are being worked on; returns how many
** that are. */
static int l_in_flight(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    vm->in_flight += (unsigned)luaL_checkinteger(L, 1);
    lua_pushinteger(L, vm->in_flight);
    return 1;
}

static const luaL_Reg functions[] = {
    {"atomic", l_atomic},
    {"await", l_await},
    {"current", l_current},
    {"in_flight", l_in_flight},
    {"is_cancelled", l_is_cancelled},
    {"now", l_now},
    {"park", dh_coroutine_park},
    {"shared", dh_scope_shared},
    {"sleep", l_sleep},
    {"yield", dh_coroutine_turn},
    {NULL, NULL},
};

void dh_await_open(lua_State *L) {
    luaL_setfuncs(L, functions, 0);
    dh_vm_push_cancelled(dh_vm_of(L), L);
    lua_setfield(L, -2, "cancelled");
}
