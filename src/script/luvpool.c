/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/luvpool.h"

#include <lauxlib.h>
#include <string.h>

#include "script/backlog.h"
#include "script/bound.h"
#include "script/files.h"
#include "script/instance.h"
#include "script/luvcall.h"
#include "script/luvguard.h"
#include "script/owned.h"
#include "script/slack.h"
#include "script/vm.h"

/* Call f, which may start a request that other threads work on: now, or when the run may. */
static int start_request(lua_State *L, lua_KFunction f) {
    struct dh_vm *vm = dh_vm_of(L);
    struct dh_run *run = dh_luv_find_callback(L) != 0 ? dh_instance_owner(vm) : NULL;
    if (run != NULL && dh_backlog_is_full(vm, L, run)) {
        return dh_backlog_wait(L, run, 0, f);
    }
    return f(L, LUA_OK, 0);
}

/* 'start' is called with the function's own arguments, the callback bound. */
static int start_pool(lua_State *L, enum dh_bound_kind kind, lua_CFunction start) {
    struct dh_vm *vm = dh_vm_of(L);
    int callback = dh_luv_find_callback(L);
    struct dh_run *run = callback != 0 ? dh_instance_owner(vm) : NULL;
    if (run == NULL) {
        return dh_luv_call(L);
    }
    if (!dh_slack_of_threads(vm)) {
        return dh_luv_fail(L, UV_ENOMEM);
    }
    struct dh_owned *owned = dh_owned_of(L, run);
    bool has_fd = lua_type(L, 1) == LUA_TNUMBER || lua_type(L, 1) == LUA_TUSERDATA;
    struct dh_request *r = lua_newuserdatauv(L, sizeof(*r), 0);
    memset(r, 0, sizeof(*r));
    dh_bound_make(L, callback, run, kind);
    int n = start(L);
    if (lua_toboolean(L, -n)) {
        r->req = lua_touserdata(L, -n);
        r->has_fd = has_fd && r->req != NULL && r->req->type == UV_FS;
        if (r->req != NULL) {
            dh_luvguard_request(vm, r->req);
        }
        dh_owned_add_request(owned, r);
        dh_backlog_add(run);
        vm->in_flight++;
    }
    return n;
}

static int call_pool(lua_State *L, enum dh_bound_kind kind) {
    return start_pool(L, kind, dh_luv_call_with_slack);
}

/* A one-shot request that other threads work on, if a callback is given: a virtual clock stands. */
static int pool_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    return call_pool(L, DH_BOUND_POOL);
}

static int wrapped_pool(lua_State *L) {
    return start_request(L, pool_k);
}

static int start_random(lua_State *L) {
    int flags_type = lua_type(L, 2);
    int is_number;
    lua_Integer len = lua_tointegerx(L, 1, &is_number);
    bool has_flags = flags_type == LUA_TNUMBER && lua_isinteger(L, 2);
    bool has_none = flags_type == LUA_TNIL || flags_type == LUA_TTABLE;
    if (!is_number || len < 0 || len > INT32_MAX || !(has_flags || has_none) ||
        !lua_isfunction(L, 3)) {
        return dh_luv_call(L); /* which says what is wrong */
    }
    return dh_luvguard_random(L, (size_t)len, (unsigned)lua_tointeger(L, 2), 3);
}

static int random_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    return start_pool(L, DH_BOUND_POOL, start_random);
}

static int wrapped_random(lua_State *L) {
    return start_request(L, random_k);
}

/* Files */

static int scandir_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    dh_luvguard_reserve(L);
    return call_pool(L, DH_BOUND_POOL);
}

static int wrapped_scandir(lua_State *L) {
    return start_request(L, scandir_k);
}

static int open_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    bool is_sync = dh_luv_find_callback(L) == 0;
    struct dh_run *run = dh_instance_owner(dh_vm_of(L));
    int n = call_pool(L, DH_BOUND_OPEN);
    if (is_sync && run != NULL) {
        if (lua_isinteger(L, -n)) {
            dh_files_add_fd(L, run, (int)lua_tointeger(L, -n));
        } else if (lua_isuserdata(L, -n)) {
            lua_pushvalue(L, -n);
            dh_files_add_value(L, run);
            lua_pop(L, 1);
        }
    }
    return n;
}

/* fs_open, fs_mkstemp, fs_opendir */
static int wrapped_open(lua_State *L) {
    return start_request(L, open_k);
}

/* pipe, socketpair: a table of two. */
static int wrapped_pair(lua_State *L) {
    struct dh_run *run = dh_instance_owner(dh_vm_of(L));
    int n = dh_luv_call(L);
    if (run != NULL && lua_istable(L, -n)) {
        lua_pushvalue(L, -n);
        lua_pushnil(L);
        while (lua_next(L, -2) != 0) {
            dh_files_add_fd(L, run, (int)lua_tointeger(L, -1));
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    return n;
}

static int fs_close_k(lua_State *L, int status, lua_KContext ctx) {
    struct dh_vm *vm = dh_vm_of(L);
    int fd = (int)luaL_checkinteger(L, 1);
    (void)status;
    (void)ctx;
    if (!dh_files_may_close(vm, dh_luv_current_run(vm), fd)) {
        return dh_luv_fail(L, UV_EBADF);
    }
    dh_files_forget_fd(vm, fd); /* now: its number may be another file's before we hear of it */
    return call_pool(L, DH_BOUND_POOL);
}

static int wrapped_fs_close(lua_State *L) {
    return start_request(L, fs_close_k);
}

/* A directory's user value, which luv does not use: is it closed? luv would free it again. */
static bool is_closed_dir(lua_State *L) {
    int top = lua_gettop(L);
    bool is = luaL_testudata(L, 1, "uv_dir") != NULL && lua_getiuservalue(L, 1, 1) == LUA_TBOOLEAN;
    lua_settop(L, top);
    return is;
}

static int readdir_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    if (is_closed_dir(L)) {
        return dh_luv_fail(L, UV_EBADF);
    }
    return call_pool(L, DH_BOUND_POOL);
}

static int wrapped_readdir(lua_State *L) {
    return start_request(L, readdir_k);
}

static int closedir_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    if (is_closed_dir(L)) {
        return dh_luv_fail(L, UV_EBADF);
    }
    if (luaL_testudata(L, 1, "uv_dir") != NULL) {
        lua_pushboolean(L, 1);
        lua_setiuservalue(L, 1, 1);
    }
    return call_pool(L, DH_BOUND_POOL);
}

static int wrapped_closedir(lua_State *L) {
    return start_request(L, closedir_k);
}

/* Threads */

struct code {
    bool has_begun;
    luaL_Buffer text;
};

static int add_piece(lua_State *L, const void *piece, size_t bytes, void *arg) {
    struct code *code = arg;
    if (!code->has_begun) { /* not before: lua_dump wants the function on top */
        code->has_begun = true;
        luaL_buffinit(L, &code->text);
    }
    luaL_addlstring(&code->text, piece, bytes);
    return 0;
}

/* luv, where it dumps a function of more than a kilobyte itself, reads what it has freed (1.44.2). It takes
** strings, too. What is no function of Lua's it refuses. */
static void dump_function(lua_State *L, int at) {
    struct code code = {.has_begun = false};
    if (lua_type(L, at) != LUA_TFUNCTION || lua_iscfunction(L, at)) {
        return;
    }
    lua_pushvalue(L, at);
    (void)lua_dump(L, add_piece, &code, 1);
    luaL_pushresult(&code.text);
    lua_replace(L, at);
    lua_pop(L, 1);
}

/* uv.new_thread([options,] fn, ...): fn runs in another state. */
static int wrapped_new_thread(lua_State *L) {
    dump_function(L, lua_istable(L, 1) ? 2 : 1);
    return dh_luv_call(L);
}

/* uv.new_work(fn, after): fn runs in another state, 'after' is the run's. */
static int wrapped_new_work(lua_State *L) {
    struct dh_run *run = dh_instance_owner(dh_vm_of(L));
    dump_function(L, 1);
    if (run == NULL || !dh_bound_is_callable(L, 2)) {
        return dh_luv_call(L);
    }
    dh_bound_make(L, 2, run, DH_BOUND_WORK);
    int n = dh_luv_call(L);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -n - 1, 1);
    return n;
}

static struct dh_run *run_of_work(lua_State *L) {
    struct dh_run *run = NULL;
    if (lua_type(L, 1) == LUA_TUSERDATA) {
        lua_getiuservalue(L, 1, 1);
        run = dh_bound_run(L, -1);
        lua_pop(L, 1);
    }
    return run != NULL && run->instance != NULL && !dh_run_is_over(run) ? run : NULL;
}

static int queue_work_k(lua_State *L, int status, lua_KContext ctx) {
    struct dh_run *run = run_of_work(L);
    (void)status;
    (void)ctx;
    int n =
        dh_slack_of_threads(dh_vm_of(L)) ? dh_luv_call_with_slack(L) : dh_luv_fail(L, UV_ENOMEM);
    if (run != NULL && lua_toboolean(L, -n)) {
        dh_owned_of(L, run)->request_count++;
        dh_backlog_add(run);
    }
    return n;
}

static int wrapped_queue_work(lua_State *L) {
    struct dh_run *run = run_of_work(L);
    if (run != NULL && dh_backlog_is_full(dh_vm_of(L), L, run)) {
        return dh_backlog_wait(L, run, 0, queue_work_k);
    }
    return queue_work_k(L, LUA_OK, 0);
}

static lua_CFunction named(const char *name) {
    static const luaL_Reg wrappers[] = {
        {"closedir", wrapped_closedir}, /* method of a directory */
        {"fs_close", wrapped_fs_close},     {"fs_closedir", wrapped_closedir},
        {"fs_mkstemp", wrapped_open},       {"fs_open", wrapped_open},
        {"fs_opendir", wrapped_open},       {"fs_readdir", wrapped_readdir},
        {"fs_scandir", wrapped_scandir},    {"getaddrinfo", wrapped_pool},
        {"getnameinfo", wrapped_pool},      {"new_thread", wrapped_new_thread},
        {"new_work", wrapped_new_work},     {"pipe", wrapped_pair},
        {"queue_work", wrapped_queue_work}, {"random", wrapped_random},
        {"readdir", wrapped_readdir}, /* the same */
        {"socketpair", wrapped_pair},       {NULL, NULL},
    };
    const luaL_Reg *w = wrappers;
    while (w->name != NULL && strcmp(w->name, name) != 0) {
        w++;
    }
    return w->func;
}

static bool starts_with(const char *name, const char *start) {
    return strncmp(name, start, strlen(start)) == 0;
}

lua_CFunction dh_luvpool_function(const char *name) {
    bool is_request = starts_with(name, "fs_") && !starts_with(name, "fs_event_") &&
                      !starts_with(name, "fs_poll_"); /* these two are handles */
    lua_CFunction f = named(name);
    return f == NULL && is_request ? wrapped_pool : f;
}
