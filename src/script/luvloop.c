/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/luvloop.h"

#include <lauxlib.h>
#include <luv/luv.h>
#include <string.h>

#include "script/instance.h"
#include "script/luv.h"
#include "script/luvcall.h"
#include "script/owned.h"
#include "script/vm.h"
#include "script/wait.h"

enum mode { MODE_DEFAULT, MODE_ONCE, MODE_NOWAIT };

static const char *const mode_names[] = {"default", "once", "nowait", NULL};

static int call_luv(lua_State *L) {
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* The run that the function at hand speaks of; NULL: there is no host, and it is luv's. */
static struct dh_run *run_of(lua_State *L, const char *what) {
    const struct dh_vm *vm = dh_vm_of(L);
    if (vm->current != NULL) {
        return vm->current->run;
    }
    if (vm->instance != NULL) {
        luaL_error(L,
                   "uv.%s: the workers start when the script has returned, and the host runs "
                   "the loop: call it inside a worker",
                   what);
    }
    return NULL;
}

static void leave_uv_run(struct dh_task *t) {
    t->run->owned->waiting_count--;
    dh_wait_leave_line(t);
}

static const struct dh_wait_type wait_types[] = {
    [MODE_DEFAULT] = {"uv.run", leave_uv_run},
    [MODE_ONCE] = {"uv.run \"once\"", leave_uv_run},
    [MODE_NOWAIT] = {"uv.run \"nowait\"", leave_uv_run},
};

static int run_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    dh_wait_end(L);
    lua_pushboolean(L, dh_owned_is_alive(dh_vm_of(L)->current->run));
    return 1;
}

/* Is there anything that uv.run would wait for, but for the tasks that are in uv.run? */
static bool has_more(const struct dh_run *run, uint32_t other_tasks) {
    return run->task_count > run->owned->waiting_count + other_tasks || dh_owned_is_alive(run);
}

static int l_run(lua_State *L) {
    struct dh_run *run = run_of(L, "run");
    if (run == NULL) {
        return call_luv(L);
    }
    enum mode mode = (enum mode)luaL_checkoption(L, 1, "default", mode_names);
    struct dh_vm *vm = dh_vm_of(L);
    struct dh_task *t = dh_wait_begin(L, "uv.run");
    if (dh_task_is_cancelled(t)) {
        return dh_wait_cancelled(L, t);
    }
    struct dh_owned *owned = dh_owned_of(L, run);
    if (owned->is_stopped || (mode != MODE_NOWAIT && !has_more(run, 1))) {
        owned->is_stopped = false;
        return dh_wait_turn(L, t, 0, run_k);
    }
    struct dh_line *line = &owned->in_run;
    if (mode == MODE_ONCE) {
        line = &owned->in_once;
    } else if (mode == MODE_NOWAIT) {
        line = &vm->in_nowait;
        vm->loop.must_not_wait = true;
    }
    owned->waiting_count++;
    dh_line_join(line, t);
    return dh_wait_suspend(L, t, &wait_types[mode], line, DH_NEVER, 0, run_k);
}

/* Wake everybody in the line. */
static void wake_all(struct dh_vm *vm, struct dh_line *line) {
    struct dh_task *t;
    while ((t = line->first) != NULL) {
        dh_line_leave(line, t);
        t->run->owned->waiting_count--;
        dh_wake(vm, t, DH_WAKE_DONE, 0);
    }
}

void dh_luvloop_on_ended(struct dh_run *run) {
    struct dh_owned *owned = run->owned;
    if (owned == NULL || owned->waiting_count == 0) {
        return;
    }
    wake_all(run->instance->vm, &owned->in_once);
    if (owned->in_run.first != NULL && !has_more(run, 0)) {
        wake_all(run->instance->vm, &owned->in_run);
    }
}

void dh_luvloop_on_polled(struct dh_vm *vm) {
    vm->loop.must_not_wait = false;
    wake_all(vm, &vm->in_nowait);
}

static int l_stop(lua_State *L) {
    struct dh_run *run = run_of(L, "stop");
    if (run == NULL) {
        return call_luv(L);
    }
    struct dh_owned *owned = dh_owned_of(L, run);
    owned->is_stopped = owned->in_run.first == NULL && owned->in_once.first == NULL;
    wake_all(run->instance->vm, &owned->in_run);
    wake_all(run->instance->vm, &owned->in_once);
    return 0;
}

static int l_loop_alive(lua_State *L) {
    if (dh_vm_of(L)->current == NULL) {
        return call_luv(L);
    }
    struct dh_run *run = dh_vm_of(L)->current->run;
    dh_owned_of(L, run);
    lua_pushboolean(L, has_more(run, 1));
    return 1;
}

static int l_loop_mode(lua_State *L) {
    if (dh_vm_of(L)->current == NULL) {
        return call_luv(L);
    }
    const struct dh_task *t = dh_run_first_task(dh_vm_of(L)->current->run);
    while (t != NULL && (t->wait < wait_types || t->wait > &wait_types[MODE_NOWAIT])) {
        t = t->next_of_run;
    }
    if (t == NULL) {
        lua_pushnil(L);
    } else {
        lua_pushstring(L, mode_names[t->wait - wait_types]);
    }
    return 1;
}

/* The host's loop stays; this is what it would say if it were the run's alone. */
static int l_loop_close(lua_State *L) {
    struct dh_run *run = run_of(L, "loop_close");
    if (run == NULL) {
        return call_luv(L);
    }
    if (dh_run_handle_count(run) > 0 || (run->owned != NULL && run->owned->request_count > 0)) {
        return dh_luv_fail(L, UV_EBUSY);
    }
    lua_pushinteger(L, 0);
    return 1;
}

/* walk */

static void push_handles(lua_State *L, const struct dh_run *run) {
    const struct dh_handle *h = run->owned != NULL ? run->owned->handles : NULL;
    lua_newtable(L);
    for (lua_Integer n = 0; h != NULL; h = h->next) {
        if (!h->is_abandoned) {
            dh_owned_push(L, h);
            lua_rawseti(L, -2, ++n);
        }
    }
}

/* The callback may close what it gets, so they are collected first. */
static int l_walk(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    const struct dh_run *run = dh_instance_owner(vm);
    if (run == NULL) {
        dh_luv_push_all(L, vm);
    } else {
        push_handles(L, run);
    }
    lua_Integer n = (lua_Integer)lua_rawlen(L, 2);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_pushvalue(L, 1);
        lua_rawgeti(L, 2, i);
        lua_call(L, 1, 0);
    }
    return 0;
}

lua_CFunction dh_luvloop_function(const char *name) {
    static const luaL_Reg functions[] = {
        {"loop_alive", l_loop_alive},
        {"loop_close", l_loop_close},
        {"loop_mode", l_loop_mode},
        {"run", l_run},
        {"stop", l_stop},
        {"walk", l_walk},
        {NULL, NULL},
    };
    const luaL_Reg *f = functions;
    while (f->name != NULL && strcmp(f->name, name) != 0) {
        f++;
    }
    return f->func;
}
