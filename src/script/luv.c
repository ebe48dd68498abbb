/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/luv.h"

#include <lauxlib.h>
#include <luv/lhandle.h>
#include <luv/luv.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "script/await.h"
#include "script/failure.h"
#include "script/instance.h"
#include "script/limits.h"
#include "script/reader.h"
#include "script/request.h"
#include "script/spawn.h"
#include "script/vm.h"

/*
** Four C closures stand in for a run's callbacks in luv's hands. They are never called as
** functions: on_callback, which luv asks to call any callback, knows them and reads their upvalues.
*/
enum { UP_FUNCTION = 1, UP_ANCHOR = 2, UP_RUN = 3 };

static int bound_callback(lua_State *L) {
    return luaL_error(L, "a callback of luv cannot be called directly");
}

static int close_callback(lua_State *L) {
    return luaL_error(L, "a close callback of luv cannot be called directly");
}

static int exit_callback(lua_State *L) {
    return luaL_error(L, "an exit callback of luv cannot be called directly");
}

static int request_callback(lua_State *L) {
    return luaL_error(L, "a request's callback of luv cannot be called directly");
}

/* The module, once it is open. */
#define LUV_KEY "decnet.luv"

/* The values of the table of owned handles. */
static const char owners_key = 0;

static void push_anchor(lua_State *L, struct dh_run *run) {
    if (run->unit != NULL) {
        dh_run_push_self(L, run);
    } else {
        dh_instance_push(L, run->instance);
    }
}

/* Replace the function at idx (nil: none) by one that is bound to the run. */
static void bind_to(lua_State *L, int idx, struct dh_run *run, lua_CFunction kind) {
    lua_pushvalue(L, idx);
    push_anchor(L, run);
    lua_pushlightuserdata(L, run);
    lua_pushcclosure(L, kind, 3);
    lua_replace(L, idx);
}

static bool is_bound(lua_CFunction f) {
    return f == bound_callback || f == close_callback || f == exit_callback ||
           f == request_callback;
}

static bool is_callable(lua_State *L, int idx) {
    if (lua_isfunction(L, idx)) {
        return !is_bound(lua_tocfunction(L, idx));
    }
    if (lua_istable(L, idx) && luaL_getmetafield(L, idx, "__call") != LUA_TNIL) {
        lua_pop(L, 1);
        return true;
    }
    return false;
}

/* Calling back */

static int traceback(lua_State *L) {
    char text[DH_TRACEBACK_MAX];
    dh_traceback_write(L, 1, text, sizeof(text));
    lua_pushfstring(L, "%s\nstack traceback:\n%s", luaL_tolstring(L, 1, NULL), text);
    return 1;
}

/* A callback that belongs to nobody: registered while there was no host. */
static int call_unowned(lua_State *L, int nargs, int nresults) {
    int base = lua_gettop(L) - nargs;
    lua_pushcfunction(L, traceback);
    lua_insert(L, base);
    int status = lua_pcall(L, nargs, nresults, base);
    lua_remove(L, base);
    if (status != LUA_OK) {
        fprintf(stderr, "decnet-host: error in a luv callback: %s\n", lua_tostring(L, -1));
        lua_pop(L, 1);
        return -status;
    }
    return nresults == LUA_MULTRET ? lua_gettop(L) - base + 1 : nresults;
}

/* The function and nargs arguments on top of L become a task of the run; they are popped. */
static void call_owned(lua_State *L, struct dh_run *run, int nargs) {
    lua_CFunction f = lua_tocfunction(L, -nargs - 1);
    if (f == dh_await_resume) {
        if (lua_pcall(L, nargs, 0, 0) != LUA_OK) {
            dh_run_crash(run, dh_failure_capture(L, -1, 0));
            lua_pop(L, 1);
        }
        return;
    }
    if (!dh_run_is_over(run) && !run->is_killed && !dh_spawn_callback(L, run, nargs)) {
        dh_run_crash(run, dh_failure_from_text("out of memory in a luv callback"));
    }
}

/* luv's way to call any callback: the function and nargs arguments are on top of L, which is the
** main thread. */
static int on_callback(lua_State *L, int nargs, int nresults, int flags) {
    (void)flags;
    int at = lua_gettop(L) - nargs;
    lua_CFunction kind = lua_tocfunction(L, at);
    if (!is_bound(kind)) {
        return call_unowned(L, nargs, nresults);
    }
    lua_getupvalue(L, at, UP_RUN);
    struct dh_run *run = lua_touserdata(L, -1);
    lua_getupvalue(L, at, UP_ANCHOR); /* stays on the stack: keeps the run's memory */
    lua_insert(L, at);
    lua_pop(L, 1);
    lua_getupvalue(L, at + 1, UP_FUNCTION);
    lua_replace(L, at + 1);
    if (lua_tocfunction(L, at + 1) == dh_request_done) {
        call_unowned(L, nargs, 0);
    } else if (!lua_isnil(L, at + 1) && run->instance != NULL) {
        if (lua_tocfunction(L, at + 1) == dh_reader_task) {
            dh_reader_rest(L, at + 1);
        }
        call_owned(L, run, nargs);
    }
    lua_settop(L, at - 1);
    if (kind == request_callback) {
        dh_vm_of(L)->in_flight--;
    } else if (kind == close_callback) {
        dh_run_on_handle_closed(run);
    } else if (kind == exit_callback && run->phase == DH_RUN_HANDLES) {
        dh_luv_close_owned(run);
    }
    return 0;
}

/* Ownership */

static void push_owners(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &owners_key);
}

/* The run that owns the handle at idx, or NULL. */
static struct dh_run *owner_of(lua_State *L, int idx) {
    idx = lua_absindex(L, idx);
    push_owners(L);
    lua_pushvalue(L, idx);
    lua_rawget(L, -2);
    struct dh_run *run = lua_touserdata(L, -1);
    lua_pop(L, 2);
    return run;
}

static bool is_handle(lua_State *L, int idx) {
    if (lua_type(L, idx) != LUA_TUSERDATA || !lua_getmetatable(L, idx)) {
        return false;
    }
    lua_getfield(L, LUA_REGISTRYINDEX, "uv_handle");
    lua_insert(L, -2);
    lua_rawget(L, -2);
    bool is = lua_toboolean(L, -1);
    lua_pop(L, 2);
    return is;
}

/* The handle at idx belongs to the run from now on. */
static void own(lua_State *L, int idx, struct dh_run *run) {
    struct dh_vm *vm = run->instance->vm;
    idx = lua_absindex(L, idx);
    if (run->owned == LUA_NOREF) {
        lua_newtable(L);
        run->owned = dh_vm_anchor(vm, L);
    }
    push_owners(L);
    lua_pushvalue(L, idx);
    lua_pushlightuserdata(L, run);
    lua_rawset(L, -3);
    dh_vm_push_anchored(vm, L, run->owned);
    lua_pushvalue(L, idx);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_pop(L, 2);
    run->handle_count++;
}

static void disown(lua_State *L, int idx, struct dh_run *run) {
    idx = lua_absindex(L, idx);
    push_owners(L);
    lua_pushvalue(L, idx);
    lua_pushnil(L);
    lua_rawset(L, -3);
    dh_vm_push_anchored(run->instance->vm, L, run->owned);
    lua_pushvalue(L, idx);
    lua_pushnil(L);
    lua_rawset(L, -3);
    lua_pop(L, 2);
}

/* Wrappers: upvalue 1 is luv's function. */

static void call_luv(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    dh_loop_touch(&vm->loop);
    dh_preempt_note_others(&vm->preempt); /* epoll hears of it at the next poll only */
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
}

static void bind_arguments(lua_State *L, struct dh_run *run) {
    for (int i = lua_gettop(L); i > 0 && run != NULL; i--) {
        if (is_callable(L, i)) {
            bind_to(L, i, run, bound_callback);
        }
    }
}

static int wrapped(lua_State *L) {
    bind_arguments(L, dh_instance_owner(dh_vm_of(L)));
    call_luv(L);
    return lua_gettop(L);
}

/* A one-shot request that other threads work on, if a callback is given: a virtual clock stands. */
static int wrapped_request(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    struct dh_run *run = dh_instance_owner(vm);
    bool is_bound_any = false;
    for (int i = lua_gettop(L); i > 0 && run != NULL; i--) {
        if (is_callable(L, i)) {
            bind_to(L, i, run, request_callback);
            is_bound_any = true;
        }
    }
    call_luv(L);
    vm->in_flight += is_bound_any && lua_toboolean(L, 1);
    return lua_gettop(L);
}

static int wrapped_read_start(lua_State *L) {
    struct dh_run *run = dh_instance_owner(dh_vm_of(L));
    if (run != NULL && is_handle(L, 1) && is_callable(L, 2)) {
        dh_reader_bind(L, 1, 2);
    }
    return wrapped(L);
}

static int wrapped_read_stop(lua_State *L) {
    if (is_handle(L, 1)) {
        dh_reader_stop(L, 1);
    }
    return wrapped(L);
}

static int wrapped_new(lua_State *L) {
    struct dh_run *run = dh_instance_owner(dh_vm_of(L));
    bind_arguments(L, run);
    call_luv(L);
    if (run != NULL && is_handle(L, 1)) {
        own(L, 1, run);
    }
    return lua_gettop(L);
}

static int wrapped_spawn(lua_State *L) {
    struct dh_run *run = dh_instance_owner(dh_vm_of(L));
    if (run != NULL) {
        lua_settop(L, 3);
        bind_to(L, 3, run, exit_callback);
    }
    call_luv(L);
    if (run != NULL && is_handle(L, 1)) {
        own(L, 1, run);
    }
    return lua_gettop(L);
}

static int wrapped_close(lua_State *L) {
    struct dh_run *owner = owner_of(L, 1);
    lua_settop(L, 2);
    if (owner == NULL) {
        bind_arguments(L, dh_instance_owner(dh_vm_of(L)));
    } else {
        bind_to(L, 2, owner, close_callback);
    }
    lua_pushvalue(L, 1); /* luv may raise: the handle is disowned only if it did not */
    lua_insert(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 2);
    lua_call(L, 2, 0);
    if (owner != NULL) {
        disown(L, 1, owner);
    }
    return 0;
}

/* uv.walk(callback): the run's handles; without a host, all that luv made. */
struct walk {
    lua_State *L;
    struct dh_vm *vm;
    const struct dh_run *run;
    lua_Integer n;
};

static void collect_handle(uv_handle_t *handle, void *arg) {
    struct walk *walk = arg;
    if (dh_loop_owns(&walk->vm->loop, handle)) {
        return;
    }
    const luv_handle_t *data = handle->data;
    lua_rawgeti(walk->L, LUA_REGISTRYINDEX, data->ref);
    if (walk->run == NULL || owner_of(walk->L, -1) == walk->run) {
        lua_rawseti(walk->L, 2, ++walk->n);
    } else {
        lua_pop(walk->L, 1);
    }
}

static int wrapped_walk(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_newtable(L);
    struct walk walk = {L, vm, dh_instance_owner(vm), 0};
    uv_walk(&vm->loop.uv, collect_handle, &walk);
    for (lua_Integer i = 1; i <= walk.n; i++) {
        lua_pushvalue(L, 1);
        lua_rawgeti(L, 2, i);
        lua_call(L, 1, 0);
    }
    return 0;
}

/* uv.run, uv.stop, uv.loop_close: the loop is the host's while there is one. */
static int wrapped_loop(lua_State *L) {
    if (dh_vm_of(L)->instance != NULL) {
        return luaL_error(L,
                          "uv.%s: the host runs the loop; a worker waits with decnet.sleep, "
                          "decnet.park or decnet.uv",
                          lua_tostring(L, lua_upvalueindex(2)));
    }
    call_luv(L);
    return lua_gettop(L);
}

static const char *const loop_functions[] = {"run", "stop", "loop_close", NULL};
/* Their function runs in another state: it cannot be bound to a run of this one. */
static const char *const thread_functions[] = {"new_thread", "new_work", "queue_work", NULL};

static bool is_one_of(const char *name, const char *const *names) {
    while (*names != NULL && strcmp(*names, name) != 0) {
        names++;
    }
    return *names != NULL;
}

static bool is_request(const char *name) {
    static const char *const requests[] = {"getaddrinfo", "getnameinfo", "random", NULL};
    return is_one_of(name, requests) ||
           (strncmp(name, "fs_", 3) == 0 && strncmp(name, "fs_event", 8) != 0 &&
            strncmp(name, "fs_poll", 7) != 0);
}

static lua_CFunction wrapper_for(const char *name) {
    if (is_request(name)) {
        return wrapped_request;
    }
    if (strcmp(name, "close") == 0) {
        return wrapped_close;
    }
    if (strcmp(name, "read_start") == 0) {
        return wrapped_read_start;
    }
    if (strcmp(name, "read_stop") == 0) {
        return wrapped_read_stop;
    }
    if (strcmp(name, "walk") == 0) {
        return wrapped_walk;
    }
    if (strcmp(name, "spawn") == 0) {
        return wrapped_spawn;
    }
    return strncmp(name, "new_", 4) == 0 ? wrapped_new : wrapped;
}

/* Wrap every function of the table on top of L's stack. */
static void wrap_table(lua_State *L) {
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        if (lua_type(L, -2) != LUA_TSTRING || !lua_isfunction(L, -1)) {
            lua_pop(L, 1);
            continue;
        }
        const char *name = lua_tostring(L, -2);
        if (is_one_of(name, thread_functions)) {
            lua_pop(L, 1);
            continue;
        }
        if (is_one_of(name, loop_functions)) {
            lua_pushvalue(L, -2);
            lua_pushcclosure(L, wrapped_loop, 2);
        } else {
            lua_pushcclosure(L, wrapper_for(name), 1);
        }
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4); /* an existing key: lua_next goes on */
    }
}

/* Once in a state: busted forgets package.loaded between files, and a second luaopen_luv would make
** new metatables, so that the handles of before could neither be known nor finalized. */
static int open_luv(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    if (lua_getfield(L, LUA_REGISTRYINDEX, LUV_KEY) != LUA_TNIL) {
        return 1;
    }
    lua_pop(L, 1);
    lua_State *main = vm->L; /* callbacks run there, so luv must be opened there */
    luaL_checkstack(main, 8, NULL);
    luaopen_luv(main);
    vm->has_luv = true;
    lua_getfield(main, -1, "close");
    lua_setfield(main, LUA_REGISTRYINDEX, "decnet.luv_close");
    wrap_table(main);
    lua_pushvalue(main, -1);
    lua_setfield(main, LUA_REGISTRYINDEX, LUV_KEY);
    lua_getfield(main, LUA_REGISTRYINDEX, "uv_handle");
    lua_pushnil(main);
    while (lua_next(main, -2) != 0) {
        lua_pop(main, 1);
        lua_getfield(main, -1, "__index");
        wrap_table(main);
        lua_pop(main, 1);
    }
    lua_pop(main, 1);
    if (main != L) {
        lua_xmove(main, L, 1);
    }
    return 1;
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
    luv_set_callback(vm->L, on_callback);
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &owners_key);
    dh_reader_open(L);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, open_luv);
    lua_setfield(L, -2, "luv");
    lua_pop(L, 1);
}

/* Closing */

/* Close the handle at -1, or, if it is a child process that lives, end that: its exit brings us
** here again. */
static void close_owned(lua_State *L, struct dh_run *run) {
    uv_handle_t *handle = *(uv_handle_t **)lua_touserdata(L, -1);
    if (handle == NULL) { /* the state is closing, and luv's finalizer was first */
        dh_run_on_handle_closed(run);
        return;
    }
    if (handle->type == UV_PROCESS && uv_is_active(handle)) {
        uv_process_kill((uv_process_t *)handle, run->is_killed ? SIGKILL : SIGTERM);
        return;
    }
    lua_getfield(L, LUA_REGISTRYINDEX, "decnet.luv_close");
    lua_pushvalue(L, -2);
    lua_pushnil(L);
    bind_to(L, lua_gettop(L), run, close_callback);
    if (!uv_is_closing(handle)) {
        lua_call(L, 2, 0);
    } else { /* closed behind our back: nobody will count it out */
        lua_pop(L, 3);
        dh_run_on_handle_closed(run);
    }
}

static int close_all_owned(lua_State *L) {
    struct dh_run *run = lua_touserdata(L, 1);
    lua_newtable(L);
    dh_vm_push_anchored(run->instance->vm, L, run->owned);
    lua_Integer n = 0;
    lua_pushnil(L);
    while (lua_next(L, 3) != 0) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_rawseti(L, 2, ++n);
    }
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, 2, i);
        const uv_handle_t *handle = *(uv_handle_t **)lua_touserdata(L, -1);
        bool is_alive = handle != NULL && handle->type == UV_PROCESS && uv_is_active(handle);
        close_owned(L, run);
        if (!is_alive) {
            disown(L, -1, run);
        }
        lua_pop(L, 1);
    }
    return 0;
}

void dh_luv_close_owned(struct dh_run *run) {
    lua_State *L = run->instance->vm->L;
    if (run->owned == LUA_NOREF) {
        return;
    }
    lua_pushcfunction(L, close_all_owned);
    lua_pushlightuserdata(L, run);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        dh_instance_report_cleanup(run, dh_failure_capture(L, -1, 0));
        lua_pop(L, 1);
    }
}

static void close_handle(uv_handle_t *handle, void *arg) {
    struct dh_vm *vm = arg;
    if (dh_loop_owns(&vm->loop, handle) || uv_is_closing(handle)) {
        return;
    }
    lua_State *L = vm->L;
    const luv_handle_t *data = handle->data;
    lua_getfield(L, LUA_REGISTRYINDEX, "decnet.luv_close");
    lua_rawgeti(L, LUA_REGISTRYINDEX, data->ref);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        lua_pop(L, 1);
    }
}

void dh_luv_close_all(struct dh_vm *vm) {
    if (vm->has_luv) {
        uv_walk(&vm->loop.uv, close_handle, vm);
    }
    uv_run(&vm->loop.uv, UV_RUN_DEFAULT);
}
