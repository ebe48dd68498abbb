/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/luv.h"

#include <lauxlib.h>
#include <luv/lhandle.h>
#include <luv/luv.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "host/signals.h"
#include "script/backlog.h"
#include "script/bound.h"
#include "script/failure.h"
#include "script/files.h"
#include "script/instance.h"
#include "script/luvloop.h"
#include "script/owned.h"
#include "script/series.h"
#include "script/spawn.h"
#include "script/vm.h"

/* The module, once it is open; and luv's own uv.close. */
#define LUV_KEY "decnet.luv"
#define CLOSE_KEY "decnet.luv_close"
#define FUNCTION_KEY "decnet.luv.%s"

/* luv's set of the metatables of handles. */
static const char types_key = 0;

/* The handle at idx, or NULL. */
static uv_handle_t *handle_at(lua_State *L, int idx) {
    if (lua_type(L, idx) != LUA_TUSERDATA || !lua_getmetatable(L, idx)) {
        return NULL;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &types_key);
    lua_insert(L, -2);
    lua_rawget(L, -2);
    bool is_handle = lua_toboolean(L, -1);
    lua_pop(L, 2);
    return is_handle ? *(uv_handle_t **)lua_touserdata(L, idx) : NULL;
}

static bool is_handle(lua_State *L, int idx) {
    return handle_at(L, idx) != NULL;
}

/*
** Wrappers. Upvalue 1 is luv's function, which has no upvalues of its own, so it is called as the C
** function it is: it finds its arguments where it expects them, and its messages name the caller's
** line and the name by which it was called.
*/

static int call_luv(lua_State *L) {
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* The same, where it may start or stop something: epoll hears of it at the next poll only. */
static int call_luv_noted(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    dh_loop_touch(&vm->loop);
    dh_preempt_note_others(&vm->preempt);
    return call_luv(L);
}

/* The last argument that can be called; 0: none. */
static int find_callback(lua_State *L) {
    int i = lua_gettop(L);
    while (i > 0 && !dh_bound_is_callable(L, i)) {
        i--;
    }
    return i;
}

/* Any function: what it is given to call belongs to the run. */
static int wrapped(lua_State *L) {
    int callback = find_callback(L);
    struct dh_run *run = callback != 0 ? dh_instance_owner(dh_vm_of(L)) : NULL;
    if (run == NULL) {
        return call_luv(L);
    }
    dh_bound_make(L, callback, run, DH_BOUND_EVENT);
    return call_luv_noted(L);
}

/* Call f, which may start a request that other threads work on: now, or when the run may. */
static int start_request(lua_State *L, lua_KFunction f) {
    struct dh_vm *vm = dh_vm_of(L);
    struct dh_run *run = find_callback(L) != 0 ? dh_instance_owner(vm) : NULL;
    if (run != NULL && dh_backlog_is_full(vm, L, run)) {
        return dh_backlog_wait(L, run, 0, f);
    }
    return f(L, LUA_OK, 0);
}

static int call_pool(lua_State *L, enum dh_bound_kind kind) {
    struct dh_vm *vm = dh_vm_of(L);
    int callback = find_callback(L);
    struct dh_run *run = callback != 0 ? dh_instance_owner(vm) : NULL;
    if (run == NULL) {
        return call_luv(L);
    }
    struct dh_owned *owned = dh_owned_of(L, run);
    bool has_fd = lua_type(L, 1) == LUA_TNUMBER || lua_type(L, 1) == LUA_TUSERDATA;
    struct dh_request *r = lua_newuserdatauv(L, sizeof(*r), 0);
    memset(r, 0, sizeof(*r));
    dh_bound_make(L, callback, run, kind);
    int n = call_luv(L);
    if (lua_toboolean(L, -n)) {
        r->req = lua_touserdata(L, -n);
        r->has_fd = has_fd && r->req != NULL && r->req->type == UV_FS;
        dh_owned_add_request(owned, r);
        dh_backlog_add(run);
        vm->in_flight++;
    }
    return n;
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

/* Files */

static int fail_ebadf(lua_State *L) {
    lua_pushnil(L);
    lua_pushliteral(L, "EBADF: bad file descriptor");
    lua_pushliteral(L, "EBADF");
    return 3;
}

static struct dh_run *current_run(const struct dh_vm *vm) {
    return vm->current != NULL ? vm->current->run : NULL;
}

static int open_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    bool is_sync = find_callback(L) == 0;
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
    int n = call_luv(L);
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
    if (!dh_files_may_close(vm, current_run(vm), fd)) {
        return fail_ebadf(L);
    }
    dh_files_forget_fd(vm, fd); /* now: its number may be another file's before we hear of it */
    return call_pool(L, DH_BOUND_POOL);
}

static int wrapped_fs_close(lua_State *L) {
    return start_request(L, fs_close_k);
}

/* The handle at idx has been made of fd: it closes it. */
static void hand_over(lua_State *L, int idx, int fd) {
    uv_os_fd_t own;
    if (is_handle(L, idx) && uv_fileno(*(uv_handle_t **)lua_touserdata(L, idx), &own) == 0 &&
        own == fd) {
        dh_files_forget_fd(dh_vm_of(L), fd);
    }
}

/* tcp_open, udp_open, pipe_open */
static int wrapped_handle_open(lua_State *L) {
    const struct dh_vm *vm = dh_vm_of(L);
    int fd = (int)luaL_checkinteger(L, 2);
    if (!dh_files_may_take(vm, current_run(vm), fd)) {
        return fail_ebadf(L);
    }
    int n = call_luv_noted(L);
    hand_over(L, 1, fd);
    return n;
}

/* A directory's user value, which luv does not use: is it closed? luv would free it again. */
static bool is_closed_dir(lua_State *L) {
    bool is = luaL_testudata(L, 1, "uv_dir") != NULL && lua_getiuservalue(L, 1, 1) == LUA_TBOOLEAN;
    lua_settop(L, is ? 1 : lua_gettop(L));
    return is;
}

static int readdir_k(lua_State *L, int status, lua_KContext ctx) {
    int top = lua_gettop(L);
    (void)status;
    (void)ctx;
    if (is_closed_dir(L)) {
        return fail_ebadf(L);
    }
    lua_settop(L, top);
    return call_pool(L, DH_BOUND_POOL);
}

static int wrapped_readdir(lua_State *L) {
    return start_request(L, readdir_k);
}

static int closedir_k(lua_State *L, int status, lua_KContext ctx) {
    int top = lua_gettop(L);
    (void)status;
    (void)ctx;
    if (is_closed_dir(L)) {
        return fail_ebadf(L);
    }
    lua_settop(L, top);
    if (luaL_testudata(L, 1, "uv_dir") != NULL) {
        lua_pushboolean(L, 1);
        lua_setiuservalue(L, 1, 1);
    }
    return call_pool(L, DH_BOUND_POOL);
}

static int wrapped_closedir(lua_State *L) {
    return start_request(L, closedir_k);
}

/* A request of a handle; upvalue 2 is where its callback stands. Without one it is counted, too. */
static int wrapped_request(lua_State *L) {
    struct dh_run *run = dh_instance_owner(dh_vm_of(L));
    int callback = (int)lua_tointeger(L, lua_upvalueindex(2));
    if (run == NULL || !is_handle(L, 1)) {
        return call_luv(L);
    }
    struct dh_owned *owned = dh_owned_of(L, run);
    if (lua_gettop(L) < callback) {
        lua_settop(L, callback);
    }
    if (!lua_isnil(L, callback) && !dh_bound_is_callable(L, callback)) {
        return call_luv(L);
    }
    dh_bound_make(L, callback, run, DH_BOUND_REQUEST);
    int n = call_luv_noted(L);
    owned->request_count += lua_toboolean(L, -n) != 0;
    return n;
}

/* *_start: the callbacks are a series. luv raises unless there is a handle at 1. */
static int wrapped_start(lua_State *L) {
    struct dh_run *run = dh_instance_owner(dh_vm_of(L));
    int callback = run != NULL ? find_callback(L) : 0;
    if (callback == 0) {
        return call_luv_noted(L);
    }
    const uv_handle_t *handle = handle_at(L, 1);
    if (handle != NULL &&
        uv_is_closing(
            handle)) { /* luv would keep the callback for ever: its handle closes no more */
        lua_pushnil(L);
        lua_pushliteral(L, "EINVAL: the handle is closed");
        lua_pushliteral(L, "EINVAL");
        return 3;
    }
    if (handle != NULL && dh_series_resume(L, 1, run, callback)) {
        return call_luv_noted(L);
    }
    dh_series_new(L, run, callback);
    dh_bound_make(L, callback, run, DH_BOUND_SERIES);
    int n = call_luv_noted(L);
    dh_bound_push_series(L, callback);
    dh_series_keep(L, -1, callback);
    dh_series_begin(L, 1, -1);
    lua_pop(L, 1);
    return n;
}

static int wrapped_stop(lua_State *L) {
    int n = call_luv_noted(L);
    dh_series_end(L, 1);
    return n;
}

static int wrapped_new(lua_State *L) {
    struct dh_run *run = dh_instance_owner(dh_vm_of(L));
    int callback = run != NULL ? find_callback(L) : 0; /* of new_async */
    if (callback != 0) {
        dh_series_new(L, run, callback);
        dh_bound_make(L, callback, run, DH_BOUND_SERIES);
    }
    int n = call_luv(L);
    if (run != NULL && is_handle(L, -n)) {
        dh_owned_add(L, -n, run);
        if (callback != 0) {
            dh_bound_push_series(L, callback);
            dh_series_begin(L, -n - 1, -1);
            lua_pop(L, 1);
        }
    }
    return n;
}

/* uv.signal_start(handle, signal, callback). The host's signals are shared; some cannot be. */
static int wrapped_signal(lua_State *L) {
    static const struct {
        const char *name;
        int number;
    } names[] = {
        {"sigalrm", SIGALRM}, {"sighup", SIGHUP}, {"sigint", SIGINT},   {"sigpipe", SIGPIPE},
        {"sigterm", SIGTERM}, {"sigurg", SIGURG}, {"sigusr1", SIGUSR1},
    };
    struct dh_vm *vm = dh_vm_of(L);
    int number = lua_isnumber(L, 2) ? (int)lua_tointeger(L, 2) : 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && lua_type(L, 2) == LUA_TSTRING; i++) {
        if (strcmp(lua_tostring(L, 2), names[i].name) == 0) {
            number = names[i].number;
        }
    }
    if (vm->instance != NULL && vm->instance->host.options.takes_signals && number != 0) {
        int err = number == DH_PREEMPT_SIGNAL ? UV_EPERM : dh_signals_share(&vm->loop, number);
        if (err != 0) {
            return luaL_error(L, "uv.signal_start: the host needs signal %d for itself: %s", number,
                              uv_strerror(err));
        }
    }
    return wrapped_start(L);
}

static int wrapped_new_tty(lua_State *L) {
    const struct dh_vm *vm = dh_vm_of(L);
    int fd = (int)luaL_checkinteger(L, 1);
    if (!dh_files_may_take(vm, current_run(vm), fd)) {
        return fail_ebadf(L);
    }
    int n = wrapped_new(L);
    hand_over(L, -n, fd);
    return n;
}

/* Does the table at idx ask for a process group? */
static bool is_detached(lua_State *L, int idx) {
    if (!lua_istable(L, idx)) {
        return false;
    }
    lua_getfield(L, idx, "detached");
    bool is = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return is;
}

static int wrapped_spawn(lua_State *L) {
    struct dh_run *run = dh_instance_owner(dh_vm_of(L));
    if (run == NULL) {
        return call_luv(L);
    }
    lua_settop(L, 3);
    bool has_callback = dh_bound_is_callable(L, 3);
    if (has_callback) {
        dh_series_new(L, run, 3);
    } else {
        lua_pushnil(L);
    }
    if (has_callback || lua_isnil(L, 3)) {
        dh_bound_make(L, 3, run, DH_BOUND_EXIT);
    } else {
        lua_pop(L, 1); /* for luv to refuse */
    }
    bool is_group = is_detached(L, 2);
    int n = call_luv(L);
    dh_preempt_after_long_call(&dh_vm_of(L)->preempt); /* fork, and the wait for exec */
    if (is_handle(L, -n)) {
        dh_owned_add(L, -n, run)->is_group = is_group;
        if (has_callback) {
            dh_bound_push_series(L, 3);
            dh_series_begin(L, -n - 1, -1);
            lua_pop(L, 1);
        }
    }
    return n;
}

static bool is_living_child(const struct dh_handle *h) {
    return *h->box != NULL && (*h->box)->type == UV_PROCESS && uv_is_active(*h->box);
}

/* The handle of a child that lives is closed: for its user it is. We keep it until the child has
** ended, which is when the run ends at the latest. Otherwise nobody would wait for the child, or
** end it. */
static int abandon(lua_State *L, struct dh_handle *h) {
    if (h->is_abandoned) {
        return luaL_error(L, "handle %p is already closing", (void *)*h->box);
    }
    dh_series_end(L, 1);
    h->is_abandoned = true;
    if (dh_bound_is_callable(L, 2)) {
        lua_settop(L, 2);
        if (!dh_spawn_callback(L, h->run, 0)) {
            return luaL_error(L, "out of memory");
        }
    }
    return 0;
}

/* close, close_reset */
static int wrapped_close(lua_State *L) {
    struct dh_handle *h = lua_isuserdata(L, 1) ? dh_owned_find(L, 1) : NULL;
    if (h == NULL) {
        return wrapped(L);
    }
    if (is_living_child(h)) {
        return abandon(L, h);
    }
    lua_settop(L, 2);
    dh_bound_make(L, 2, h->run, DH_BOUND_CLOSE);
    int n = call_luv_noted(L); /* it may raise, or refuse */
    if (uv_is_closing(*h->box)) {
        dh_series_end(L, 1);
        dh_owned_remove(L, 1, h);
    }
    return n;
}

static int wrapped_is_closing(lua_State *L) {
    const struct dh_handle *h = lua_isuserdata(L, 1) ? dh_owned_find(L, 1) : NULL;
    if (h != NULL && h->is_abandoned) {
        lua_pushboolean(L, 1);
        return 1;
    }
    return call_luv(L);
}

/* uv.new_work(fn, after): fn runs in another state, 'after' is the run's. */
static int wrapped_new_work(lua_State *L) {
    struct dh_run *run = dh_instance_owner(dh_vm_of(L));
    if (run == NULL || !dh_bound_is_callable(L, 2)) {
        return call_luv(L);
    }
    dh_bound_make(L, 2, run, DH_BOUND_WORK);
    int n = call_luv(L);
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
    int n = call_luv(L);
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

/* Opening */

static bool starts_with(const char *name, const char *start) {
    return strncmp(name, start, strlen(start)) == 0;
}

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* Where the callback of a handle's request stands; 0: it is none. */
static int request_callback(const char *name) {
    static const struct {
        const char *name;
        int callback;
    } requests[] = {
        {"pipe_connect", 3}, {"shutdown", 2}, {"tcp_connect", 4},
        {"udp_send", 5},     {"write", 3},    {"write2", 4},
    };
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        if (strcmp(name, requests[i].name) == 0) {
            return requests[i].callback;
        }
    }
    return 0;
}

static lua_CFunction named_wrapper(const char *name) {
    static const luaL_Reg wrappers[] = {
        {"close", wrapped_close},
        {"closedir", wrapped_closedir}, /* method of a directory */
        {"fs_close", wrapped_fs_close},
        {"fs_closedir", wrapped_closedir},
        {"fs_mkstemp", wrapped_open},
        {"fs_open", wrapped_open},
        {"fs_opendir", wrapped_open},
        {"fs_readdir", wrapped_readdir},
        {"getaddrinfo", wrapped_pool},
        {"getnameinfo", wrapped_pool},
        {"is_closing", wrapped_is_closing},
        {"new_thread", call_luv}, /* its function runs in another state */
        {"new_tty", wrapped_new_tty},
        {"new_work", wrapped_new_work},
        {"pipe", wrapped_pair},
        {"pipe_open", wrapped_handle_open},
        {"queue_work", wrapped_queue_work},
        {"random", wrapped_pool},
        {"readdir", wrapped_readdir}, /* method of a directory */
        {"signal_start", wrapped_signal},
        {"signal_start_oneshot", wrapped_signal},
        {"socketpair", wrapped_pair},
        {"spawn", wrapped_spawn},
        {"tcp_close_reset", wrapped_close},
        {"tcp_open", wrapped_handle_open},
        {"timer_again", call_luv_noted},
        {"udp_open", wrapped_handle_open},
        {NULL, NULL},
    };
    const luaL_Reg *w = wrappers;
    while (w->name != NULL && strcmp(w->name, name) != 0) {
        w++;
    }
    return w->func;
}

/* The wrapper of luv's function uv.NAME. */
static lua_CFunction wrapper_for(const char *name) {
    lua_CFunction f = named_wrapper(name);
    if (f == NULL) {
        f = dh_luvloop_function(name);
    }
    if (f != NULL) {
        return f;
    }
    if (ends_with(name, "_start")) {
        return wrapped_start;
    }
    if (ends_with(name, "_stop")) {
        return wrapped_stop;
    }
    if (starts_with(name, "new_")) {
        return wrapped_new;
    }
    if (request_callback(name) != 0) {
        return wrapped_request;
    }
    return starts_with(name, "fs_") ? wrapped_pool : wrapped;
}

/* Wrap the functions of the table on top of L's stack: the module (type NULL), or the methods of a
** type; method NAME is uv.TYPE_NAME or uv.NAME, whichever the module at 'module' has. */
static void wrap_table(lua_State *L, const char *type, int module) {
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        if (lua_type(L, -2) != LUA_TSTRING || !lua_isfunction(L, -1)) {
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
        lua_pushinteger(L, request_callback(name));
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

/* Once in a state: busted forgets package.loaded between files, and a second luaopen_luv would make
** new metatables, so that the handles of before could neither be known nor finalized. */
static int open_luv(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    if (lua_getfield(L, LUA_REGISTRYINDEX, LUV_KEY) != LUA_TNIL) {
        return 1;
    }
    lua_pop(L, 1);
    lua_State *main = vm->L; /* callbacks run there, so luv must be opened there */
    luaL_checkstack(main, LUA_MINSTACK, NULL);
    luaopen_luv(main);
    int module = lua_gettop(main);
    vm->has_luv = true;
    lua_getfield(main, module, "close");
    lua_setfield(main, LUA_REGISTRYINDEX, CLOSE_KEY);
    wrap_table(main, NULL, module);
    static const char *const kept[] = {"close", "fs_closedir", "spawn"};
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        lua_pushfstring(main, FUNCTION_KEY, kept[i]);
        lua_getfield(main, module, kept[i]);
        lua_rawset(main, LUA_REGISTRYINDEX);
    }
    lua_pushvalue(main, module);
    lua_setfield(main, LUA_REGISTRYINDEX, LUV_KEY);
    lua_getfield(main, LUA_REGISTRYINDEX, "uv_handle");
    lua_pushvalue(main, -1);
    lua_rawsetp(main, LUA_REGISTRYINDEX, &types_key);
    lua_pushnil(main);
    while (lua_next(main, -2) != 0) {
        lua_pop(main, 1);
        lua_getfield(main, -1, "__name"); /* "uv_timer" */
        lua_pushvalue(main, -2);
        wrap_methods(main, lua_tostring(main, -2) + strlen("uv_"), module);
        lua_pop(main, 2);
    }
    luaL_getmetatable(main, "uv_dir");
    wrap_methods(main, "dir", module);
    luaL_getmetatable(main, "luv_work_ctx");
    lua_getfield(main, -1, "__index");
    lua_getfield(main, module, "queue_work");
    lua_setfield(main, -2, "queue");
    lua_settop(main, module);
    if (main != L) {
        lua_xmove(main, L, 1);
    }
    return 1;
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

/* Closing */

/* Ask a child that lives to end: its exit brings us here again. */
static void terminate(const struct dh_handle *h, const struct dh_run *run) {
    uv_process_t *child = (uv_process_t *)*h->box;
    int signal = run->is_killed ? SIGKILL : SIGTERM;
    if (h->is_group) {
        uv_kill(-child->pid, signal);
    } else {
        uv_process_kill(child, signal);
    }
}

/* Close an open handle that is no living child. */
static void close_owned(lua_State *L, struct dh_handle *h) {
    struct dh_run *run = h->run;
    dh_owned_push(L, h);
    lua_getfield(L, LUA_REGISTRYINDEX, CLOSE_KEY);
    lua_pushvalue(L, -2);
    lua_pushnil(L);
    dh_bound_make(L, -1, run, DH_BOUND_CLOSE);
    if (!uv_is_closing(*h->box)) {
        dh_series_end(L, -2);
        lua_call(L, 2, 0);
        dh_owned_remove(L, -1, h);
        lua_pop(L, 1);
        return;
    }
    lua_pop(L, 3); /* closed behind our back: nobody will count it out */
    dh_owned_remove(L, -1, h);
    lua_pop(L, 1);
    dh_run_on_handle_closed(run);
}

/* Stack: run, number of handles. */
static int close_some_owned(lua_State *L) {
    struct dh_run *run = lua_touserdata(L, 1);
    for (lua_Integer n = lua_tointeger(L, 2); n > 0 && run->owned->to_close != NULL; n--) {
        struct dh_handle *h = run->owned->to_close;
        run->owned->to_close = h->next;
        if (*h->box == NULL) { /* the state is closing, and luv's finalizer was first */
            dh_owned_unlink(h);
            dh_run_on_handle_closed(run);
        } else if (is_living_child(h)) {
            terminate(h, run);
        } else {
            close_owned(L, h);
        }
    }
    return 0;
}

/* Stack: run. */
static int close_exited(lua_State *L) {
    struct dh_run *run = lua_touserdata(L, 1);
    struct dh_handle *next;
    for (struct dh_handle *h = run->owned->handles; h != NULL; h = next) {
        next = h->next;
        if (h->is_abandoned && !is_living_child(h)) {
            close_owned(L, h);
        }
    }
    return 0;
}

static void call_protected(struct dh_run *run, lua_CFunction f, unsigned n) {
    lua_State *L = run->instance->vm->L;
    lua_pushcfunction(L, f);
    lua_pushlightuserdata(L, run);
    lua_pushinteger(L, n);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
        dh_instance_report_cleanup(run, dh_failure_capture(L, -1, 0));
        lua_pop(L, 1);
    }
}

void dh_luv_begin_closing(struct dh_run *run) {
    if (run->owned != NULL) {
        dh_owned_cancel_requests(run->owned);
        run->owned->to_close = run->owned->handles;
    }
}

bool dh_luv_close_owned(struct dh_run *run, unsigned n) {
    if (run->owned != NULL && run->owned->to_close != NULL) {
        call_protected(run, close_some_owned, n);
    }
    return run->owned == NULL || run->owned->to_close == NULL;
}

void dh_luv_on_exit(struct dh_run *run) {
    if (run->phase == DH_RUN_HANDLES) {
        dh_run_close_again(run);
    } else if (run->owned != NULL) {
        call_protected(run, close_exited, 0);
    }
}

/* What a host's end left: not the handles of the loop itself. */
static void close_handle(uv_handle_t *handle, void *arg) {
    struct dh_vm *vm = arg;
    if (dh_loop_owns(&vm->loop, handle) || uv_is_closing(handle)) {
        return;
    }
    lua_State *L = vm->L;
    const luv_handle_t *data = handle->data;
    lua_getfield(L, LUA_REGISTRYINDEX, CLOSE_KEY);
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
