/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/scope.h"

#include <lauxlib.h>
#include <stddef.h>
#include <string.h>

#include "script/instance.h"
#include "script/table.h"
#include "script/tag.h"
#include "script/vm.h"
#include "script/wait.h"

#define SCOPE_TYPE "decnet.scope"

/* Does what t waits for now, or would wait for, stand inside s? Its coroutine may be suspended by
** its user, closed, or gone on with by another task. */
static bool is_in_force(const struct dh_task *t, const struct dh_scope *s) {
    lua_State *co = s->co;
    lua_Debug ar;
    while (dh_tag_of(co) == DH_TAG_NESTED) {
        co = dh_tag_pointer(co);
    }
    if (dh_tag_of(co) != DH_TAG_VM) {
        return dh_task_of(co) == t;
    }
    return t->run->instance->vm->current == t && lua_status(co) == LUA_OK &&
           lua_getstack(co, 0, &ar);
}

struct dh_scope *dh_scope_that_decides(const struct dh_task *t) {
    struct dh_scope *s = t->scopes;
    /* not a shield that is used up, nor a timeout with time left */
    while (s != NULL && (s->is_shield == s->is_expired || !is_in_force(t, s))) {
        s = s->outer;
    }
    return s;
}

static void leave(struct dh_scope *s) {
    struct dh_task *t = s->task;
    if (t == NULL) {
        return;
    }
    struct dh_scope **at = &t->scopes;
    while (*at != s) {
        at = &(*at)->outer;
    }
    *at = s->outer;
    s->task = NULL;
    dh_timerq_disarm(&t->run->instance->host.timers, &s->timer);
}

void dh_scope_detach_all(struct dh_task *t) {
    while (t->scopes != NULL) {
        leave(t->scopes);
    }
}

void dh_scope_on_deadline(struct dh_timer *timer) {
    struct dh_scope *s = (struct dh_scope *)((char *)timer - offsetof(struct dh_scope, timer));
    s->is_expired = true;
    dh_task_on_cancel(s->task->run->instance->vm, s->task);
}

/* Its coroutine was closed or collected in the middle of it. */
static int scope_gc(lua_State *L) {
    leave(lua_touserdata(L, 1));
    return 0;
}

/* Push a scope that is not entered yet. */
static struct dh_scope *push_scope(lua_State *L) {
    struct dh_scope *s = lua_newuserdatauv(L, sizeof(*s), 1);
    memset(s, 0, sizeof(*s));
    lua_pushthread(L); /* where both are collected together, s->co must last until s is left */
    lua_setiuservalue(L, -2, 1);
    s->co = L;
    s->timer.kind = DH_TIMER_SCOPE;
    luaL_setmetatable(L, SCOPE_TYPE);
    return s;
}

static void enter(struct dh_scope *s, struct dh_task *t) {
    s->task = t;
    s->outer = t->scopes;
    t->scopes = s;
}

/* Enter a scope for the call of the function at 2 with the arguments behind it; the scope replaces
** the seconds at 1. */
static void enter_for_seconds(lua_State *L, const char *what, bool is_shield) {
    struct dh_vm *vm = dh_vm_of(L);
    double seconds = dh_wait_seconds(L, 1, "seconds");
    dh_wait_check_callable(L, 2, "fn");
    struct dh_task *t = dh_wait_begin(L, what);
    struct dh_scope *s = push_scope(L);
    s->is_shield = is_shield;
    lua_replace(L, 1);
    uint64_t deadline_ns = dh_wait_deadline(vm, seconds);
    if (deadline_ns != DH_NEVER &&
        dh_timerq_arm(&vm->instance->host.timers, &s->timer, deadline_ns) != 0) {
        luaL_error(L, "%s: out of memory", what);
    }
    dh_preempt_note_deadline(&vm->preempt, deadline_ns);
    enter(s, t);
}

static int timeout_k(lua_State *L, int status, lua_KContext ctx) {
    struct dh_scope *s = lua_touserdata(L, 1);
    (void)ctx;
    leave(s);
    if (status == LUA_OK || status == LUA_YIELD) {
        return lua_gettop(L) - 2; /* true and the results */
    }
    struct dh_task *t = dh_vm_of(L)->current;
    if (dh_vm_is_cancelled(L, -1) && s->is_expired && !dh_task_is_cancelled(t)) {
        return dh_wait_answer(L, "timeout");
    }
    return lua_error(L);
}

int dh_scope_timeout(lua_State *L) {
    enter_for_seconds(L, "timeout", false);
    lua_pushcfunction(L, dh_task_on_error);
    lua_insert(L, 2);
    lua_pushboolean(L, 1);
    lua_insert(L, 3);
    return timeout_k(L, lua_pcallk(L, lua_gettop(L) - 4, LUA_MULTRET, 2, 0, timeout_k), 0);
}

/* Of a shield, or of what is shared. */
static int shield_k(lua_State *L, int status, lua_KContext ctx) {
    (void)ctx;
    leave(lua_touserdata(L, 1));
    if (status == LUA_OK || status == LUA_YIELD) {
        return lua_gettop(L) - 2;
    }
    return lua_error(L);
}

int dh_scope_shield(lua_State *L) {
    enter_for_seconds(L, "shield", true);
    lua_pushcfunction(L, dh_task_on_error);
    lua_insert(L, 2);
    return shield_k(L, lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 2, 0, shield_k), 0);
}

bool dh_scope_is_shared(const struct dh_task *t) {
    const struct dh_scope *s = t->scopes;
    while (s != NULL && !(s->is_shared && is_in_force(t, s))) {
        s = s->outer;
    }
    return s != NULL;
}

int dh_scope_shared(lua_State *L) {
    struct dh_task *t = dh_vm_of(L)->current;
    dh_wait_check_callable(L, 1, "fn");
    if (t == NULL) {
        lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
        return lua_gettop(L);
    }
    struct dh_scope *s = push_scope(L);
    s->is_shared = true;
    lua_insert(L, 1);
    lua_pushcfunction(L, dh_task_on_error);
    lua_insert(L, 2);
    enter(s, t);
    return shield_k(L, lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 2, 0, shield_k), 0);
}

void dh_scope_open(lua_State *L) {
    luaL_newmetatable(L, SCOPE_TYPE);
    dh_table_seal(L);
    lua_pushcfunction(L, scope_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}
