/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/bound.h"

#include <lauxlib.h>
#include <stdio.h>
#include <unistd.h>

#include "script/await.h"
#include "script/backlog.h"
#include "script/failure.h"
#include "script/files.h"
#include "script/instance.h"
#include "script/limits.h"
#include "script/luvclose.h"
#include "script/luvloop.h"
#include "script/owned.h"
#include "script/request.h"
#include "script/series.h"
#include "script/spawn.h"
#include "script/vm.h"

/* FUNCTION: of a series, the series. RUN: a pointer with the kind in its low bits. ANCHOR keeps the
** run's memory. */
enum { UP_FUNCTION = 1, UP_RUN, UP_ANCHOR, UP_EXTRA, KIND_MASK = 7 };

static int bound(lua_State *L) {
    return luaL_error(L, "a callback of luv cannot be called directly");
}

static bool is_bound(lua_State *L, int idx) {
    return lua_tocfunction(L, idx) == bound;
}

static void push_anchor(lua_State *L, struct dh_run *run) {
    if (run != &run->instance->own) {
        run->is_known = true;
        dh_vm_push_anchored(L, run->main.anchor);
    } else {
        dh_instance_push(L, run->instance);
    }
}

void dh_bound_make(lua_State *L, int idx, struct dh_run *run, enum dh_bound_kind kind) {
    bool has_extra = kind == DH_BOUND_POOL || kind == DH_BOUND_OPEN;
    idx = lua_absindex(L, idx);
    if (kind != DH_BOUND_SERIES && kind != DH_BOUND_EXIT) {
        lua_pushvalue(L, idx);
    }
    lua_pushlightuserdata(L, (void *)((uintptr_t)run | (uintptr_t)kind));
    push_anchor(L, run);
    if (has_extra) {
        lua_pushvalue(L, -UP_EXTRA);
    }
    lua_pushcclosure(L, bound, has_extra ? UP_EXTRA : UP_ANCHOR);
    lua_replace(L, idx);
    lua_pop(L, has_extra);
}

bool dh_bound_is_callable(lua_State *L, int idx) {
    if (lua_isfunction(L, idx)) {
        return !is_bound(L, idx);
    }
    if (lua_istable(L, idx) && luaL_getmetafield(L, idx, "__call") != LUA_TNIL) {
        lua_pop(L, 1);
        return true;
    }
    return false;
}

void dh_bound_push_series(lua_State *L, int idx) {
    lua_getupvalue(L, idx, UP_FUNCTION);
}

static void *upvalue_pointer(lua_State *L, int idx, int n) {
    lua_getupvalue(L, idx, n);
    void *p = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return p;
}

static struct dh_run *run_of(lua_State *L, int idx, enum dh_bound_kind *ret_kind) {
    uintptr_t tagged = (uintptr_t)upvalue_pointer(L, idx, UP_RUN);
    *ret_kind = (enum dh_bound_kind)(tagged & KIND_MASK);
    return (struct dh_run *)(tagged & ~(uintptr_t)KIND_MASK);
}

struct dh_run *dh_bound_run(lua_State *L, int idx) {
    enum dh_bound_kind kind;
    return is_bound(L, idx) ? run_of(L, idx, &kind) : NULL;
}

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

void dh_bound_crash_for_memory(struct dh_run *run) {
    dh_run_crash(run, dh_failure_from_text("out of memory in a luv callback"));
}

/* The function and nargs arguments on top of L become a task of the run; they are popped. Returns
** whether they did: decnet.await's resume is called at once. */
static bool call_owned(lua_State *L, struct dh_run *run, int nargs) {
    if (lua_tocfunction(L, -nargs - 1) == dh_await_resume) {
        if (lua_pcall(L, nargs, 0, 0) != LUA_OK) {
            dh_run_crash(run, dh_failure_capture(L, -1, 0));
            lua_pop(L, 1);
        }
        return false;
    }
    if (!dh_spawn_callback(L, run, nargs)) {
        dh_bound_crash_for_memory(run);
    }
    return true;
}

/* Stack: run, what fs_open and the like found. */
static int own_result(lua_State *L) {
    struct dh_run *run = lua_touserdata(L, 1);
    if (lua_isinteger(L, 2)) {
        dh_files_add_fd(L, run, (int)lua_tointeger(L, 2));
    } else {
        dh_files_add_value(L, run);
    }
    return 0;
}

/* A file is open: it is the run's, or closed if that is over. The function is at idx, below an error
** and the result; what lua/decnet/uv.lua asked for it discards itself. */
static void on_opened(lua_State *L, int idx, struct dh_run *run) {
    if (run->instance != NULL && !dh_run_is_over(run)) {
        lua_pushcfunction(L, own_result);
        lua_pushlightuserdata(L, run);
        lua_pushvalue(L, idx + 2);
        if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
            lua_pop(L, 1);
            dh_bound_crash_for_memory(run);
        }
    } else if (lua_isinteger(L, idx + 2) && lua_tocfunction(L, idx) != dh_request_done) {
        close((int)lua_tointeger(L, idx + 2));
    }
}

/* What it starts, such as the next request of a directory, is the run's. */
static void call_request_done(lua_State *L, struct dh_run *run, int nargs) {
    struct dh_vm *vm = dh_vm_of(L);
    bool is_live = run->instance != NULL && !dh_run_is_over(run);
    vm->called_back = is_live ? run : NULL;
    if (call_unowned(L, nargs, 0) < 0 && run->instance != NULL) {
        dh_bound_crash_for_memory(run); /* nothing else raises there: its task waits for ever */
    }
    vm->called_back = NULL;
}

/* The bound function is at 'at', its own above it, then the arguments; all may be popped. Returns
** whether the end of a task will tell that the call has ended. */
static bool call(lua_State *L, int at, enum dh_bound_kind kind, struct dh_run *run, int nargs) {
    if (kind == DH_BOUND_EXIT && !lua_isnil(L, at + 1)) {
        dh_series_push_function(L, at + 1);
        if (lua_tocfunction(L, -1) == dh_request_done) {
            lua_replace(L, at + 1);
        } else {
            lua_pop(L, 1);
        }
    }
    if (lua_tocfunction(L, at + 1) == dh_request_done) {
        call_request_done(L, run, nargs);
        return false;
    }
    if (lua_isnil(L, at + 1) || run->instance == NULL || dh_run_is_over(run) || run->is_killed) {
        return false;
    }
    if (kind != DH_BOUND_SERIES && kind != DH_BOUND_EXIT) {
        return call_owned(L, run, nargs);
    }
    uint32_t tasks = run->task_count;
    if (!dh_series_call(L, at + 1, nargs)) {
        dh_bound_crash_for_memory(run);
    }
    return run->task_count > tasks;
}

/* What has to be done for the callback, whatever became of the run. */
static void count_out(lua_State *L, int at, enum dh_bound_kind kind, struct dh_run *run) {
    if (kind == DH_BOUND_POOL || kind == DH_BOUND_OPEN) {
        struct dh_vm *vm = dh_vm_of(L);
        vm->in_flight--;
        if (run->owned != NULL) {
            dh_backlog_remove(vm, run);
            dh_run_on_request_done(run, upvalue_pointer(L, at, UP_EXTRA));
        }
    } else if (run->owned != NULL && kind == DH_BOUND_REQUEST) {
        run->owned->request_count--;
    } else if (run->owned != NULL && kind == DH_BOUND_WORK) {
        dh_backlog_remove(dh_vm_of(L), run);
        run->owned->request_count--;
    } else if (kind == DH_BOUND_CLOSE) {
        dh_run_on_handle_closed(run);
    } else if (kind == DH_BOUND_EXIT && run->instance != NULL) {
        dh_luv_on_exit(run);
    }
}

int dh_bound_call(lua_State *L, int nargs, int nresults, int flags) {
    (void)flags;
    int at = lua_gettop(L) - nargs;
    dh_vm_of(L)->luv_calls++;
    if (!is_bound(L, at)) {
        return call_unowned(L, nargs, nresults);
    }
    enum dh_bound_kind kind;
    struct dh_run *run = run_of(L, at, &kind);
    lua_getupvalue(L, at, UP_FUNCTION);
    lua_insert(L, at + 1);
    if (kind == DH_BOUND_OPEN && nargs >= 2) {
        on_opened(L, at + 1, run);
    }
    bool is_task = call(L, at, kind, run, nargs);
    lua_settop(L, at); /* it keeps the run's memory */
    count_out(L, at, kind, run);
    if (!is_task && run->instance != NULL) {
        dh_luvloop_on_ended(run);
    }
    lua_settop(L, at - 1);
    return 0;
}
