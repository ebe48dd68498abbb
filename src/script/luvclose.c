/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/luvclose.h"

#include <lauxlib.h>
#include <luv/lhandle.h>
#include <signal.h>

#include "script/bound.h"
#include "script/child.h"
#include "script/instance.h"
#include "script/owned.h"
#include "script/series.h"
#include "script/vm.h"

/* luv's own uv.close. */
static const char close_key = 0;

void dh_luvclose_open(lua_State *L) {
    lua_rawsetp(L, LUA_REGISTRYINDEX, &close_key);
}

/* Close an open handle that is no living child. Needs no memory, not even for a frame: Lua keeps one in
** store, which is our caller's, and luv's function, which has no upvalues, runs in that: its argument is
** all there is on the stack. */
static void close_owned(lua_State *L, struct dh_handle *h) {
    struct dh_run *run = h->run;
    bool was_closing = uv_is_closing(*h->box); /* behind our back: nobody will count it out */
    lua_settop(L, 0);
    dh_owned_push(L, h);
    if (!was_closing) {
        dh_child_ended(h);
        dh_series_end(L, 1);
        dh_owned_count_closing(L, h);
        lua_rawgetp(L, LUA_REGISTRYINDEX, &close_key);
        lua_CFunction close = lua_tocfunction(L, -1);
        lua_pop(L, 1);
        close(L);
    }
    dh_owned_remove(L, 1, h);
    if (was_closing) {
        dh_run_on_handle_closed(run);
    }
}

/* Stack: run, number of handles. */
static int close_some_owned(lua_State *L) {
    struct dh_run *run = lua_touserdata(L, 1);
    for (lua_Integer n = lua_tointeger(L, 2); n > 0 && run->owned->to_close != NULL; n--) {
        struct dh_handle *h = run->owned->to_close;
        if (*h->box == NULL) { /* the state is closing, and luv's finalizer was first */
            dh_owned_unlink(h);
            dh_run_on_handle_closed(run);
        } else if (dh_owned_is_living_child(h)) {
            /* its exit brings us here again */
            dh_child_tell(h, run->is_killed ? SIGKILL : SIGTERM);
            run->owned->to_close = h->next;
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

static bool call_protected(struct dh_run *run, lua_CFunction f, unsigned n) {
    lua_State *L = run->instance->vm->L;
    lua_pushcfunction(L, f);
    lua_pushlightuserdata(L, run);
    lua_pushinteger(L, n);
    bool is_done = lua_pcall(L, 2, 0, 0) == LUA_OK;
    lua_settop(L, is_done ? lua_gettop(L) : lua_gettop(L) - 1);
    return is_done;
}

void dh_luv_begin_closing(struct dh_run *run) {
    dh_owned_cancel_requests(run->owned);
    run->owned->to_close = run->owned->handles;
}

enum dh_luv_progress dh_luv_close_owned(struct dh_run *run, unsigned n) {
    if (run->owned->to_close == NULL) {
        return DH_LUV_CLOSED_ALL;
    }
    if (!call_protected(run, close_some_owned, n)) {
        return DH_LUV_NO_MEMORY;
    }
    return run->owned->to_close == NULL ? DH_LUV_CLOSED_ALL : DH_LUV_CLOSED_SOME;
}

void dh_luv_on_exit(struct dh_run *run) {
    if (run->phase == DH_RUN_HANDLES) {
        dh_run_close_again(run);
    } else if (run->owned != NULL) {
        call_protected(run, close_exited, 0); /* without memory, when the run ends */
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
