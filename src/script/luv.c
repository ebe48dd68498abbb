/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/luv.h"

#include <lauxlib.h>
#include <luv/lhandle.h>
#include <luv/luv.h>
#include <string.h>

#include "script/bound.h"
#include "script/instance.h"
#include "script/luvcall.h"
#include "script/luvclose.h"
#include "script/luvguard.h"
#include "script/luvhandle.h"
#include "script/luvloop.h"
#include "script/luvpool.h"
#include "script/owned.h"
#include "script/series.h"
#include "script/vm.h"

/* The module, once it is open. */
#define LUV_KEY "decnet.luv"
#define FUNCTION_KEY "decnet.luv.%s"

/* Push luv's userdata of every handle on the loop but the loop's own. */
struct walk {
    lua_State *L;
    const struct dh_loop *loop;
    lua_Integer n;
};

static void collect_handle(uv_handle_t *handle, void *arg) {
    struct walk *walk = arg;
    if (!dh_loop_owns(walk->loop, handle)) {
        const luv_handle_t *data = handle->data;
        lua_rawgeti(walk->L, LUA_REGISTRYINDEX, data->ref);
        lua_rawseti(walk->L, -2, ++walk->n);
    }
}

void dh_luv_push_all(lua_State *L, struct dh_vm *vm) {
    struct walk walk = {L, &vm->loop, 0};
    lua_newtable(L);
    uv_walk(&vm->loop.uv, collect_handle, &walk);
}

/* The wrapper of luv's function uv.NAME. */
static lua_CFunction wrapper_for(const char *name) {
    lua_CFunction f = dh_luvloop_function(name);
    if (f == NULL) {
        f = dh_luvpool_function(name);
    }
    return f != NULL ? f : dh_luvhandle_function(name);
}

/* Wrap the functions of the table on top of L's stack: the module (type NULL), or the methods of a
** type; method NAME is uv.TYPE_NAME or uv.NAME, whichever the module at 'module' has. */
static void wrap_table(lua_State *L, const char *type, int module) {
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        if (!lua_isfunction(L, -1)) {
            lua_pop(L, 1);
            continue;
        }
        const char *name = lua_tostring(L, -2);
        if (type != NULL) {
            name = lua_pushfstring(L, "%s_%s", type, name);
            if (lua_getfield(L, module, name) == LUA_TNIL) {
                name = lua_tostring(L, -4);
            }
            lua_pop(L, 1); /* the name that was made stays until the wrapper is chosen */
            lua_insert(L, -2);
        } else {
            lua_pushnil(L);
            lua_insert(L, -2);
        }
        lua_CFunction wrapper = wrapper_for(name);
        lua_pushinteger(L, dh_luvhandle_callback(name));
        lua_pushcclosure(L, wrapper, 2);
        lua_remove(L, -2);
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4); /* an existing key: lua_next goes on */
    }
}

/* The metatable on top of L's stack: wrap its methods. */
static void wrap_methods(lua_State *L, const char *type, int module) {
    lua_getfield(L, -1, "__index");
    wrap_table(L, type, module);
    lua_pop(L, 1);
}

/* On the main thread: callbacks run there, so luv must be opened there. Returns the module. */
static int open_on_main(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    luaopen_luv(L);
    int module = lua_gettop(L);
    vm->has_luv = true;
    lua_getfield(L, module, "close");
    dh_luvclose_open(L);
    wrap_table(L, NULL, module);
    static const char *const kept[] = {"close", "fs_closedir", "spawn"};
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        lua_pushfstring(L, FUNCTION_KEY, kept[i]);
        lua_getfield(L, module, kept[i]);
        lua_rawset(L, LUA_REGISTRYINDEX);
    }
    dh_luvcall_open(L);
    dh_luvguard_open(L);
    lua_getfield(L, LUA_REGISTRYINDEX, "uv_handle");
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        lua_pop(L, 1);
        lua_getfield(L, -1, "__name"); /* "uv_timer" */
        lua_pushvalue(L, -2);
        wrap_methods(L, lua_tostring(L, -2) + strlen("uv_"), module);
        lua_pop(L, 2);
    }
    luaL_getmetatable(L, "uv_dir");
    wrap_methods(L, "dir", module);
    luaL_getmetatable(L, "luv_work_ctx");
    lua_getfield(L, -1, "__index");
    lua_getfield(L, module, "queue_work");
    lua_setfield(L, -2, "queue");
    lua_pushvalue(L, module);
    lua_setfield(L, LUA_REGISTRYINDEX, LUV_KEY);
    lua_settop(L, module);
    return 1;
}

/* Once in a state: busted forgets package.loaded between files, and a second luaopen_luv would make
** new metatables, so that the handles of before could neither be known nor finalized. An error of the
** main thread's would end the host: it is the caller's. */
static int open_luv(lua_State *L) {
    if (lua_getfield(L, LUA_REGISTRYINDEX, LUV_KEY) != LUA_TNIL) {
        return 1;
    }
    lua_pop(L, 1);
    lua_State *main = dh_vm_of(L)->L;
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    if (main != L && !lua_checkstack(main, LUA_MINSTACK)) {
        return luaL_error(L, "not enough memory");
    }
    lua_pushcfunction(main, open_on_main);
    int status = lua_pcall(main, 0, 1, 0);
    if (main != L) {
        lua_xmove(main, L, 1);
    }
    return status == LUA_OK ? 1 : lua_error(L);
}

void dh_luv_push_function(lua_State *L, const char *name) {
    open_luv(L);
    lua_pop(L, 1);
    lua_pushfstring(L, FUNCTION_KEY, name);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

/* The states of uv.new_thread and uv.queue_work. By default an error there ends the process. */

static int call_in_thread(lua_State *L, int nargs, int nresults, int flags) {
    return luv_cfpcall(L, nargs, nresults, flags | LUVF_CALLBACK_NOEXIT);
}

static int refuse_exit(lua_State *L) {
    return luaL_error(L, "os.exit: a thread cannot end the host");
}

static lua_State *open_thread_state(void) {
    lua_State *L = luaL_newstate();
    if (L == NULL) {
        dh_host_die("out of memory for a thread's Lua state");
    }
    luaL_openlibs(L);
    lua_getglobal(L, "os");
    lua_pushcfunction(L, refuse_exit);
    lua_setfield(L, -2, "exit");
    luv_set_thread(L, call_in_thread);
    luaL_requiref(L, "luv", luaopen_luv, false);
    lua_settop(L, 0);
    return L;
}

void dh_luv_open(lua_State *L, struct dh_vm *vm) {
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, "luv");
    if (!lua_isnil(L, -1)) {
        luaL_error(L, "luv is loaded already: require \"decnet\" before \"luv\", so that both use "
                      "one loop");
    }
    lua_pop(L, 2);
    luv_set_loop(vm->L, &vm->loop.uv);
    luv_set_callback(vm->L, dh_bound_call);
    luv_set_thread_cb(open_thread_state, lua_close);
    dh_owned_open(L);
    dh_series_open(L);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, open_luv);
    lua_setfield(L, -2, "luv");
    lua_pop(L, 1);
}
