/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/idle.h"

#include <lauxlib.h>
#include <stdint.h>
#include <stdlib.h>

#include "script/coroutine.h"
#include "script/failure.h"
#include "script/instance.h"
#include "script/limits.h"
#include "script/owned.h"
#include "script/run.h"
#include "script/scope.h"
#include "script/tag.h"
#include "script/vm.h"

/* The metatable of the tables. */
static const char weak_key = 0;

void dh_idle_open(lua_State *L) {
    lua_newtable(L);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &weak_key);
}

static void push_coroutine(lua_State *L, lua_State *co) {
    lua_pushthread(co);
    lua_xmove(co, L, 1);
}

void dh_idle_list(lua_State *L, struct dh_vm *vm, lua_State *co) {
    const struct dh_task *t = vm->current;
    dh_tag_set_unlisted(co, false);
    if (t == NULL || t->run->unit == NULL || dh_scope_is_shared(t) || !lua_checkstack(co, 1)) {
        return;
    }
    struct dh_run *run = t->run;
    luaL_checkstack(L, 4, NULL);
    struct dh_owned *owned = dh_owned_of(L, run);
    if (owned->idle == 0) {
        lua_newtable(L);
        lua_rawgetp(L, LUA_REGISTRYINDEX, &weak_key);
        lua_setmetatable(L, -2);
        owned->idle = dh_vm_anchor(L);
    }
    dh_vm_push_anchored(L, owned->idle);
    push_coroutine(L, co);
    lua_pushinteger(L, (lua_Integer)++vm->listed);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

void dh_idle_hold(lua_State *L, const struct dh_run *run) {
    if (run->owned != NULL && run->owned->idle != 0) {
        dh_vm_push_anchored(L, run->owned->idle);
        lua_pushnil(L);
        lua_setmetatable(L, -2);
        lua_pop(L, 1);
    }
}

bool dh_idle_has_any(lua_State *L, const struct dh_run *run) {
    if (run->owned == NULL || run->owned->idle == 0) {
        return false;
    }
    dh_vm_push_anchored(L, run->owned->idle);
    lua_pushnil(L);
    bool has_any = lua_next(L, -2) != 0;
    lua_pop(L, has_any ? 3 : 1);
    return has_any;
}

/* Does nobody run co, nor wait in it, and is it not over? */
static bool is_idle(lua_State *co) {
    return dh_tag_of(co) == DH_TAG_VM && lua_status(co) != LUA_OK;
}

/* Has a value on co's stack a __close? A very deep stack is taken to hold one. */
static bool holds_closable(lua_State *L, lua_State *co) {
    lua_Debug ar;
    for (int level = 0; lua_getstack(co, level, &ar); level++) {
        if (level == DH_CLOSE_LEVELS || !lua_checkstack(co, 1)) {
            return true;
        }
        for (int n = 1; lua_getlocal(co, &ar, n) != NULL; n++) {
            lua_xmove(co, L, 1);
            bool is_closable = luaL_getmetafield(L, -1, "__close") != LUA_TNIL;
            lua_pop(L, is_closable ? 2 : 1);
            if (is_closable) {
                return true;
            }
        }
    }
    return false;
}

struct found {
    lua_Integer number; /* in the order of listing */
    lua_Integer at;     /* in the table of all found */
};

static int compare(const void *a, const void *b) {
    lua_Integer x = ((const struct found *)a)->number;
    lua_Integer y = ((const struct found *)b)->number;
    return (x > y) - (x < y);
}

/* collect(idle, list): move to the list those that must be closed, the newest last. The others are
** forgotten: who goes on with one has it on his own list. */
static int collect(lua_State *L) {
    lua_Integer n = 0;
    lua_newtable(L); /* 3: all found */
    lua_newtable(L); /* 4: their numbers */
    lua_pushnil(L);
    while (lua_next(L, 1) != 0) {
        lua_State *co = lua_tothread(L, -2);
        if (is_idle(co) && holds_closable(L, co)) {
            lua_rawseti(L, 4, ++n);
            lua_pushvalue(L, -1);
            lua_rawseti(L, 3, n);
        } else {
            dh_tag_set_unlisted(co, true);
            lua_pop(L, 1);
            lua_pushvalue(L, -1);
            lua_pushnil(L);
            lua_rawset(L, 1);
        }
    }
    struct found *found = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof(*found), 0);
    for (lua_Integer i = 0; i < n; i++) {
        lua_rawgeti(L, 4, i + 1);
        found[i] = (struct found){lua_tointeger(L, -1), i + 1};
        lua_pop(L, 1);
    }
    qsort(found, (size_t)n, sizeof(*found), compare);
    for (lua_Integer i = 0; i < n; i++) {
        lua_rawgeti(L, 3, found[i].at);
        lua_rawseti(L, 2, i + 1);
    }
    return 0;
}

/* Fill the empty list. Returns the number in it. */
static lua_Integer refill(lua_State *L, struct dh_run *run, int list) {
    if (!dh_idle_has_any(L, run)) {
        return 0;
    }
    struct dh_vm *vm = run->instance->vm;
    lua_pushcfunction(L, collect);
    dh_vm_push_anchored(L, run->owned->idle);
    lua_pushvalue(L, list);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) { /* no memory: they cannot be found */
        dh_instance_report_cleanup(run, dh_failure_capture(L, -1, 0));
        lua_pop(L, 1);
        dh_vm_release(vm, run->owned->idle);
        run->owned->idle = 0;
        return 0;
    }
    return (lua_Integer)lua_rawlen(L, list);
}

/* Push what co died of, which 'resume' has told its caller; nil if it has not. */
static void push_told(lua_State *L, lua_State *co) {
    if (lua_status(co) > LUA_YIELD && lua_checkstack(co, 1)) {
        lua_pushvalue(co, -1);
        lua_xmove(co, L, 1);
    } else {
        lua_pushnil(L);
    }
}

static void close_one(lua_State *L, struct dh_run *run, lua_State *co) {
    if (!is_idle(co)) {
        return;
    }
    push_told(L, co);
    if (dh_coroutine_close(run->instance->vm, L, co) != LUA_OK) {
        lua_pushvalue(co, -1);
        lua_xmove(co, L, 1);
        if (lua_isnil(L, -2) || !lua_rawequal(L, -1, -2)) {
            dh_instance_report_cleanup(run, dh_failure_capture(co, -1, 0));
        }
        lua_pop(L, 1);
        lua_settop(co, 0);
    }
    lua_pop(L, 1);
}

bool dh_idle_close_next(lua_State *L, struct dh_run *run, int list) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, list);
    if (n == 0) {
        n = refill(L, run, list);
    }
    if (n == 0) {
        return false;
    }
    dh_vm_push_anchored(L, run->owned->idle);
    lua_rawgeti(L, list, n);
    lua_pushnil(L);
    lua_rawseti(L, list, n);
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, -4); /* taken off before, so that a kill in the middle of it skips no other */
    close_one(L, run, lua_tothread(L, -1));
    lua_pop(L, 2);
    return true;
}
