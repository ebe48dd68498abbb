/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/luvhandle.h"

#include <lauxlib.h>
#include <signal.h>
#include <string.h>

#include "host/room.h"
#include "host/signals.h"
#include "script/bound.h"
#include "script/child.h"
#include "script/files.h"
#include "script/instance.h"
#include "script/luvcall.h"
#include "script/luvguard.h"
#include "script/owned.h"
#include "script/series.h"
#include "script/spawn.h"
#include "script/stream.h"
#include "script/vm.h"

/* The handle at idx has been made of fd: it closes it. */
static void hand_over(lua_State *L, int idx, int fd) {
    uv_os_fd_t own;
    if (dh_luv_is_handle(L, idx) && uv_fileno(*(uv_handle_t **)lua_touserdata(L, idx), &own) == 0 &&
        own == fd) {
        dh_files_forget_fd(dh_vm_of(L), fd);
    }
}

/* tcp_open, udp_open, pipe_open */
static int wrapped_handle_open(lua_State *L) {
    const struct dh_vm *vm = dh_vm_of(L);
    int fd = (int)luaL_checkinteger(L, 2);
    if (!dh_files_may_take(vm, dh_luv_current_run(vm), fd)) {
        return dh_luv_fail(L, UV_EBADF);
    }
    int n = dh_luv_call_noted(L);
    hand_over(L, 1, fd);
    return n;
}

/* Any function: what it is given to call belongs to the run. */
static int bind_and(lua_State *L, lua_CFunction call) {
    int callback = dh_luv_find_callback(L);
    struct dh_run *run = callback != 0 ? dh_instance_owner(dh_vm_of(L)) : NULL;
    if (run == NULL) {
        return dh_luv_call(L);
    }
    dh_bound_make(L, callback, run, DH_BOUND_EVENT);
    return call(L);
}

static int wrapped(lua_State *L) {
    return bind_and(L, dh_luv_call_noted);
}

static int wrapped_listen(lua_State *L) {
    return bind_and(L, dh_luv_call_with_slack);
}

/* A request of a handle; upvalue 2 is where its callback stands. Without one it is counted, too. */
static int wrapped_request(lua_State *L) {
    struct dh_run *run = dh_instance_owner(dh_vm_of(L));
    int callback = (int)lua_tointeger(L, lua_upvalueindex(2));
    if (run == NULL || !dh_luv_is_handle(L, 1)) {
        return dh_luv_call(L);
    }
    struct dh_owned *owned = dh_owned_of(L, run);
    if (lua_gettop(L) < callback) {
        lua_settop(L, callback);
    }
    if (!lua_isnil(L, callback) && !dh_bound_is_callable(L, callback)) {
        return dh_luv_call(L);
    }
    dh_bound_make(L, callback, run, DH_BOUND_REQUEST);
    int n = dh_luv_call_with_slack(L);
    owned->request_count += lua_toboolean(L, -n) != 0;
    return n;
}

static int start_guarded(lua_State *L, uv_handle_t *handle) {
    int n = dh_luv_call_with_slack(L);
    dh_luvguard_handle(dh_vm_of(L), handle);
    return n;
}

/* *_start: the callbacks are a series. luv raises unless there is a handle at 1. */
static int wrapped_start(lua_State *L) {
    struct dh_run *run = dh_instance_owner(dh_vm_of(L));
    int callback = run != NULL ? dh_luv_find_callback(L) : 0;
    uv_handle_t *handle = dh_luv_handle_at(L, 1);
    if (callback == 0 || handle == NULL) {
        return dh_luv_call_noted(L);
    }
    if (!dh_stream_make_way(handle)) {
        return dh_luv_fail_with(L, UV_EBUSY,
                                "a task waits in decnet.uv.read for what comes on this stream");
    }
    /* luv would keep the callback for ever: its handle closes no more */
    if (uv_is_closing(handle)) {
        return dh_luv_fail_with(L, UV_EINVAL, "the handle is closed");
    }
    if (dh_series_resume(L, 1, run, callback)) {
        return start_guarded(L, handle);
    }
    dh_series_new(L, run, callback);
    dh_bound_make(L, callback, run, DH_BOUND_SERIES);
    int n = start_guarded(L, handle);
    dh_bound_push_series(L, callback);
    dh_series_keep(L, -1, callback);
    dh_series_begin(L, 1, -1);
    lua_pop(L, 1);
    return n;
}

static int wrapped_stop(lua_State *L) {
    int n = dh_luv_call_noted(L);
    dh_series_end(L, 1);
    return n;
}

/* new_tcp and new_udp of a family open the socket at once. */
static bool opens_socket(lua_State *L) {
    return lua_type(L, 1) == LUA_TSTRING || lua_type(L, 1) == LUA_TTABLE;
}

static int call_to_make(lua_State *L) {
    dh_luvguard_reserve(L);
    return dh_luv_call_with_slack(L);
}

/* luv never frees a handle for which there was no descriptor. */
static int wrapped_new(lua_State *L) {
    if (opens_socket(L) && !dh_room_for_files(1)) {
        return dh_luv_fail(L, UV_EMFILE);
    }
    struct dh_run *run = dh_instance_owner(dh_vm_of(L));
    int callback = run != NULL ? dh_luv_find_callback(L) : 0; /* of new_async */
    if (callback != 0) {
        dh_series_new(L, run, callback);
        dh_bound_make(L, callback, run, DH_BOUND_SERIES);
    }
    int n = call_to_make(L);
    if (run != NULL && dh_luv_is_handle(L, -n)) {
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
    if (!dh_files_may_take(vm, dh_luv_current_run(vm), fd)) {
        return dh_luv_fail(L, UV_EBADF);
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
    bool has_callback = dh_bound_is_callable(L, 3);
    if (!has_callback && !lua_isnoneornil(L, 3)) {
        /* luv refuses it when there is a handle, which it would close unopened at the state's end */
        return luaL_typeerror(L, 3, "function or callable table");
    }
    if (run == NULL) {
        return dh_luv_call(L);
    }
    lua_settop(L, 3);
    if (has_callback) {
        dh_series_new(L, run, 3);
    } else {
        lua_pushnil(L);
    }
    dh_bound_make(L, 3, run, DH_BOUND_EXIT);
    bool is_group = is_detached(L, 2);
    int n = call_to_make(L);
    dh_preempt_after_long_call(&dh_vm_of(L)->preempt); /* fork, and the wait for exec */
    if (dh_luv_is_handle(L, -n)) {
        dh_owned_add(L, -n, run)->is_group = is_group;
        if (has_callback) {
            dh_bound_push_series(L, 3);
            dh_series_begin(L, -n - 1, -1);
            lua_pop(L, 1);
        }
    }
    return n;
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
    if (dh_owned_is_living_child(h)) {
        return abandon(L, h);
    }
    lua_settop(L, 2);
    dh_bound_make(L, 2, h->run, DH_BOUND_CLOSE);
    int n = dh_luv_call_noted(L); /* it may raise, or refuse */
    if (uv_is_closing(*h->box)) {
        dh_child_ended(h);
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
    return dh_luv_call(L);
}

static bool starts_with(const char *name, const char *start) {
    return strncmp(name, start, strlen(start)) == 0;
}

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

int dh_luvhandle_callback(const char *name) {
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

static lua_CFunction named(const char *name) {
    static const luaL_Reg wrappers[] = {
        {"close", wrapped_close},
        {"is_closing", wrapped_is_closing},
        {"listen", wrapped_listen},
        {"new_tty", wrapped_new_tty},
        {"pipe_open", wrapped_handle_open},
        {"signal_start", wrapped_signal},
        {"signal_start_oneshot", wrapped_signal},
        {"spawn", wrapped_spawn},
        {"tcp_close_reset", wrapped_close},
        {"tcp_open", wrapped_handle_open},
        {"timer_again", dh_luv_call_noted},
        {"udp_open", wrapped_handle_open},
        {NULL, NULL},
    };
    const luaL_Reg *w = wrappers;
    while (w->name != NULL && strcmp(w->name, name) != 0) {
        w++;
    }
    return w->func;
}

lua_CFunction dh_luvhandle_function(const char *name) {
    lua_CFunction f = named(name);
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
    return dh_luvhandle_callback(name) != 0 ? wrapped_request : wrapped;
}
