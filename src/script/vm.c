/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/vm.h"

#include <assert.h>
#include <lauxlib.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/cold.h"
#include "host/signals.h"
#include "script/coroutine.h"
#include "script/debughook.h"
#include "script/errfunc.h"
#include "script/failure.h"
#include "script/gclib.h"
#include "script/idle.h"
#include "script/instance.h"
#include "script/leftover.h"
#include "script/luv.h"
#include "script/luvclose.h"
#include "script/luvloop.h"
#include "script/offload.h"
#include "script/pool.h"
#include "script/raise.h"
#include "script/run.h"
#include "script/scope.h"
#include "script/slack.h"
#include "script/spare.h"
#include "script/table.h"
#include "script/tag.h"
#include "script/unit.h"
#include "script/wait.h"

#define VM_KEY "decnet.vm"

/* A coroutine made before decnet was loaded: its extra space is still empty. */
DH_COLD static struct dh_vm *adopt(lua_State *L) {
    lua_getfield(L, LUA_REGISTRYINDEX, VM_KEY);
    struct dh_vm *vm = lua_touserdata(L, -1);
    lua_pop(L, 1);
    dh_tag_set(L, vm, DH_TAG_VM);
    return vm;
}

struct dh_vm *dh_vm_of(lua_State *L) {
    for (;;) {
        void *p = dh_tag_pointer(L);
        switch (dh_tag_of(L)) {
            case DH_TAG_ROOT:
                return ((const struct dh_task *)p)->run->instance->vm;
            case DH_TAG_NESTED:
                L = p;
                break;
            default:
                return p != NULL ? p : adopt(L);
        }
    }
}

static int vm_gc(lua_State *L) {
    int err = dh_vm_close(lua_touserdata(L, 1));
    assert(err == 0); /* a handle that nobody closes would keep the loop for ever */
    (void)err;
    return 0;
}

static int cancelled_tostring(lua_State *L) {
    lua_pushliteral(L, "cancelled");
    return 1;
}

/* Create decnet.cancelled. */
static void open_cancelled(lua_State *L, struct dh_vm *vm) {
    vm->cancelled_id = lua_newuserdatauv(L, 0, 0);
    lua_newtable(L);
    lua_pushcfunction(L, cancelled_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "decnet.cancelled");
    lua_setfield(L, -2, "__name");
    dh_table_seal(L);
    lua_setmetatable(L, -2);
    vm->cancelled = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* NULL: the allocator of L's state is not ours. */
static struct dh_ledger *ledger_of(lua_State *L) {
    void *ud;
    return lua_getallocf(L, &ud) == dh_pool_realloc ? dh_pool_ledger(ud) : NULL;
}

static lua_State *main_thread(lua_State *L) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    lua_State *main = lua_tothread(L, -1);
    lua_pop(L, 1);
    return main;
}

/* os.exit in a worker would close the state under the task that runs. Upvalue 1: the original. */
static int l_exit(lua_State *L) {
    const struct dh_vm *vm = dh_vm_of(L);
    if (vm->current != NULL) {
        return luaL_error(L, "os.exit: a worker cannot end the host: return to end the worker, or "
                             "call decnet.stop()");
    }
    if (lua_toboolean(L, 2)) {
        dh_vm_close_handles(vm->L);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 0);
    return 0;
}

static void replace_exit(lua_State *L) {
    if (lua_getglobal(L, "os") == LUA_TTABLE) {
        lua_getfield(L, -1, "exit");
        lua_pushcclosure(L, l_exit, 1);
        lua_setfield(L, -2, "exit");
    }
    lua_pop(L, 1);
}

static void on_polled(struct dh_loop *loop) {
    dh_luvloop_on_polled((struct dh_vm *)((char *)loop - offsetof(struct dh_vm, loop)));
}

struct dh_vm *dh_vm_open(lua_State *L) {
    if (lua_getfield(L, LUA_REGISTRYINDEX, VM_KEY) == LUA_TUSERDATA) {
        struct dh_vm *existing = lua_touserdata(L, -1);
        lua_pop(L, 1);
        return existing;
    }
    lua_pop(L, 1);
    struct dh_vm *vm = lua_newuserdatauv(L, sizeof(*vm), 0);
    memset(vm, 0, sizeof(*vm));
    vm->L = main_thread(L);
    vm->ledger = ledger_of(L);
    vm->payer = vm->ledger != NULL ? &vm->ledger->current : &vm->nobody;
    lua_newtable(L);
    lua_pushcfunction(L, vm_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_setfield(L, LUA_REGISTRYINDEX, VM_KEY);

    open_cancelled(L, vm);
    vm->errfunc_at = dh_errfunc_find(L);
    vm->fetch = dh_fetch_find(L);
    int err = dh_slack_of_memory() ? dh_loop_init(&vm->loop) : UV_ENOMEM;
    if (err != 0) {
        luaL_error(L, "decnet: cannot create an event loop: %s", uv_strerror(err));
    }
    vm->has_loop = true;
    vm->loop.on_polled = on_polled;
    /* new coroutines copy the main thread's extra space; existing ones must be told */
    dh_tag_init(vm->L, vm);
    dh_tag_init(L, vm);
    dh_coroutine_replace(L);
    dh_debughook_replace(L);
    dh_spare_open(L);
    replace_exit(L);
    dh_raise_open(L);
    dh_gclib_open(L);
    dh_failure_open(L);
    dh_scope_open(L);
    dh_idle_open(L);
    dh_files_open(L);
    dh_luv_open(L, vm);
    dh_collector_open(L, vm);
    dh_cap_open(vm);
    if (vm->ledger != NULL) { /* the state is ours, not that of a program that embeds us */
        dh_warning_open(L, vm);
    }
    return vm;
}

void dh_vm_close_handles(lua_State *L) {
    struct dh_vm *vm = dh_tag_pointer(L);
    if (vm != NULL && vm->has_loop) {
        dh_luv_close_all(vm);
    }
}

int dh_vm_close(struct dh_vm *vm) {
    if (!vm->has_loop) {
        return 0;
    }
    vm->has_loop = false;
    if (vm->ledger != NULL) {
        vm->ledger->on_over = NULL;
    }
    dh_offload_close(vm);
    dh_luv_close_all(vm);
    dh_leftover_close(vm);
    dh_files_fini(&vm->files);
    free(vm->read_buffer);
    return dh_loop_close(&vm->loop);
}

int dh_vm_anchor(lua_State *L) {
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

void dh_vm_release(struct dh_vm *vm, int ref) {
    if (ref > 0) {
        luaL_unref(vm->L, LUA_REGISTRYINDEX, ref);
    }
}

bool dh_vm_is_cancelled(lua_State *L, int idx) {
    return lua_type(L, idx) == LUA_TUSERDATA && lua_touserdata(L, idx) == dh_vm_of(L)->cancelled_id;
}

void dh_vm_push_cancelled(struct dh_vm *vm, lua_State *L) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->cancelled);
}

void dh_vm_set_current(struct dh_vm *vm, struct dh_task *t) {
    bool is_workers = t != NULL && t->run->unit != NULL;
    vm->current = t;
    *vm->payer = t != NULL ? t->run->account : DH_ACCOUNT_HOST;
    dh_tag_set_unlisted(vm->L, is_workers); /* what new coroutines copy */
    dh_signals_set_holder(is_workers ? &t->run->unit->worker.name : NULL);
}

uint64_t dh_vm_now(const struct dh_vm *vm) {
    return vm->instance != NULL ? dh_host_now(&vm->instance->host) : dh_loop_now();
}
