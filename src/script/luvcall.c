/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/luvcall.h"

#include <luv/lhandle.h>

#include "script/bound.h"
#include "script/slack.h"
#include "script/vm.h"

/* luv's set of the metatables of handles. */
static const char types_key = 0;

/* Is the value on top of L's stack, which is popped, such a metatable? Mostly it is the last one. */
static bool pop_type(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    const void *type = lua_topointer(L, -1);
    if (type == vm->handle_type) {
        lua_pop(L, 1);
        return true;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &types_key);
    lua_insert(L, -2);
    bool is_type = lua_rawget(L, -2) != LUA_TNIL;
    lua_pop(L, 2);
    if (is_type) {
        vm->handle_type = type;
    }
    return is_type;
}

uv_handle_t *dh_luv_handle_at(lua_State *L, int idx) {
    uv_handle_t **handle = lua_touserdata(L, idx);
    return handle != NULL && lua_getmetatable(L, idx) && pop_type(L) ? *handle : NULL;
}

bool dh_luv_is_handle(lua_State *L, int idx) {
    return dh_luv_handle_at(L, idx) != NULL;
}

int dh_luv_call(lua_State *L) {
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

int dh_luv_call_noted(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    dh_loop_touch(&vm->loop);
    dh_preempt_note_others(&vm->preempt);
    return dh_luv_call(L);
}

int dh_luv_call_with_slack(lua_State *L) {
    return dh_slack_for_handle(dh_luv_handle_at(L, 1)) ? dh_luv_call_noted(L)
                                                       : dh_luv_fail(L, UV_ENOMEM);
}

int dh_luv_find_callback(lua_State *L) {
    int i = lua_gettop(L);
    while (i > 0 && !dh_bound_is_callable(L, i)) {
        i--;
    }
    return i;
}

int dh_luv_fail_with(lua_State *L, int err, const char *text) {
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", uv_err_name(err), text);
    lua_pushstring(L, uv_err_name(err));
    return 3;
}

int dh_luv_fail(lua_State *L, int err) {
    return dh_luv_fail_with(L, err, uv_strerror(err));
}

struct dh_run *dh_luv_current_run(const struct dh_vm *vm) {
    return vm->current != NULL ? vm->current->run : NULL;
}

void dh_luvcall_open(lua_State *L) {
    lua_getfield(L, LUA_REGISTRYINDEX, "uv_handle");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &types_key);
}
