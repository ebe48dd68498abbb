/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/request.h"

#include <lauxlib.h>
#include <luv/lreq.h>
#include <string.h>
#include <uv.h>

#include "script/backlog.h"
#include "script/instance.h"
#include "script/vm.h"
#include "script/wait.h"

int dh_request_done(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 0);
    return 0;
}

void dh_request_make(lua_State *L) {
    lua_pushcclosure(L, dh_request_done, 1);
}

/* request(fn): a callback for luv that calls fn, which must not wait, whatever became of the run. */
static int l_request(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    dh_request_make(L);
    return 1;
}

/* forget_request(req): luv 1.44 keeps the request of each fs_scandir in the registry for good; once
** its callback has come, it is the collector's. */
static int l_forget_request(lua_State *L) {
    const uv_fs_t *req = luaL_checkudata(L, 1, "uv_fs");
    luv_req_t *data = req->data;
    if (data != NULL) {
        luaL_unref(L, LUA_REGISTRYINDEX, data->req_ref);
        luaL_unref(L, LUA_REGISTRYINDEX, data->callback_ref);
        data->req_ref = data->callback_ref = LUA_NOREF;
    }
    return 0;
}

static int can_wait_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    lua_pushboolean(L, 1);
    return 1;
}

/* check_wait(what, is_pooled): can the caller wait? Raises where it cannot, as every await does; except
** that in a run that is being killed it returns false. If it is for libuv's threads, it returns when the
** run may have one more request there: what starts that is atomic, and knows no bound. */
static int l_check_wait(lua_State *L) {
    const char *what = luaL_checkstring(L, 1);
    struct dh_vm *vm = dh_vm_of(L);
    const struct dh_task *t = vm->current;
    if (t != NULL && (t->is_killed || t->forbids_waits)) {
        lua_pushboolean(L, 0);
        return 1;
    }
    dh_wait_begin(L, what);
    struct dh_run *run = lua_toboolean(L, 2) ? dh_instance_owner(vm) : NULL;
    if (run != NULL && dh_backlog_is_full(vm, L, run)) {
        return dh_backlog_wait(L, run, 0, can_wait_k);
    }
    return can_wait_k(L, LUA_OK, 0);
}

void dh_request_push_message(lua_State *L, const char *name) {
    static const struct {
        const char *name;
        const char *text;
    } messages[] = {
#define MESSAGE(code, text) {#code, text},
        UV_ERRNO_MAP(MESSAGE)
#undef MESSAGE
    };
    const char *text = "unknown error";
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        if (strcmp(messages[i].name, name) == 0) {
            text = messages[i].text;
        }
    }
    lua_pushfstring(L, "%s: %s", name, text);
}

/* uv_message(code): "ENOENT: no such file or directory" for "ENOENT". */
static int l_uv_message(lua_State *L) {
    dh_request_push_message(L, luaL_checkstring(L, 1));
    return 1;
}

static const luaL_Reg functions[] = {
    {"check_wait", l_check_wait},
    {"forget_request", l_forget_request},
    {"request", l_request},
    {"uv_message", l_uv_message},
    {NULL, NULL},
};

void dh_request_open(lua_State *L) {
    luaL_setfuncs(L, functions, 0);
}
