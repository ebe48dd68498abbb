/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/luvclose.h"

#include <lauxlib.h>
#include <luv/lhandle.h>
#include <signal.h>

#include "script/bound.h"
#include "script/failure.h"
#include "script/instance.h"
#include "script/owned.h"
#include "script/series.h"
#include "script/vm.h"

/* luv's own uv.close. */
static const char close_key = 0;

void dh_luvclose_open(lua_State *L) {
    lua_rawsetp(L, LUA_REGISTRYINDEX, &close_key);
}

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
    lua_rawgetp(L, LUA_REGISTRYINDEX, &close_key);
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
        } else if (dh_owned_is_living_child(h)) {
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
        if (h->is_abandoned && !dh_owned_is_living_child(h)) {
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
    lua_rawgetp(L, LUA_REGISTRYINDEX, &close_key);
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
