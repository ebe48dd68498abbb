/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/event.h"

#include <lauxlib.h>
#include <string.h>

#include "script/table.h"
#include "script/vm.h"
#include "script/wait.h"

#define EVENT_TYPE "decnet.event"

struct event {
    struct dh_line waiters;
    bool is_set;
};

bool dh_event_is_set(lua_State *L, int idx) {
    const struct event *ev = luaL_testudata(L, idx, EVENT_TYPE);
    return ev != NULL && ev->is_set;
}

static struct event *check_event(lua_State *L) {
    return luaL_checkudata(L, 1, EVENT_TYPE);
}

static int l_set(lua_State *L) {
    struct event *ev = check_event(L);
    struct dh_vm *vm = dh_vm_of(L);
    ev->is_set = true;
    lua_pushboolean(L, 1);
    dh_wake_line(vm, L, &ev->waiters, 1);
    dh_loop_wake(&vm->loop); /* run_group may be waiting for this event */
    return 0;
}

static int l_clear(lua_State *L) {
    check_event(L)->is_set = false;
    return 0;
}

static int l_is_set(lua_State *L) {
    lua_pushboolean(L, check_event(L)->is_set);
    return 1;
}

static int wait_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    if (dh_wait_end(L) == DH_WAKE_TIMEOUT) {
        return dh_wait_answer(L, "timeout");
    }
    return 1;
}

static const struct dh_wait_type event_wait = {"wait", dh_wait_leave_line};

static int l_wait(lua_State *L) {
    struct event *ev = check_event(L);
    uint64_t deadline_ns = dh_wait_opt_deadline(L, dh_vm_of(L), 2, "seconds");
    struct dh_task *t = dh_wait_begin(L, "wait");
    if (dh_task_is_cancelled(t)) {
        return dh_wait_cancelled(L, t);
    }
    if (ev->is_set) {
        lua_pushboolean(L, 1);
        return 1;
    }
    return dh_wait_in_line(L, t, &event_wait, &ev->waiters, deadline_ns, 0, wait_k);
}

static int l_is_event(lua_State *L) {
    lua_pushboolean(L, luaL_testudata(L, 1, EVENT_TYPE) != NULL);
    return 1;
}

static int l_event(lua_State *L) {
    struct event *ev = lua_newuserdatauv(L, sizeof(*ev), 0);
    memset(ev, 0, sizeof(*ev));
    luaL_setmetatable(L, EVENT_TYPE);
    return 1;
}

static const luaL_Reg methods[] = {
    {"set", l_set}, {"wait", l_wait}, {"is_set", l_is_set}, {"clear", l_clear}, {NULL, NULL},
};

void dh_event_open(lua_State *L) {
    dh_table_new_type(L, EVENT_TYPE, methods);
    lua_pop(L, 1);
    lua_pushcfunction(L, l_event);
    lua_setfield(L, -2, "event");
    lua_pushcfunction(L, l_is_event);
    lua_setfield(L, -2, "is_event");
}
