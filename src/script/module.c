/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/module.h"

#include <lauxlib.h>
#include <math.h>

#include "core/near.h"
#include "script/await.h"
#include "script/channel.h"
#include "script/child.h"
#include "script/declare.h"
#include "script/defect.h"
#include "script/event.h"
#include "script/failure.h"
#include "script/fingerprint.h"
#include "script/hostlib.h"
#include "script/offload.h"
#include "script/request.h"
#include "script/scope.h"
#include "script/spawn.h"
#include "script/stream.h"
#include "script/unit.h"
#include "script/vm.h"
#include "script/worklog.h"

/* has_concat_defect(): has this Lua the defect of 5.4.4 (script/defect.h)? */
static int l_has_concat_defect(lua_State *L) {
    lua_pushboolean(L, dh_defect_concat());
    return 1;
}

/* distance(a, b): edits between two words (core/near.h); math.huge if one of them is too long. */
static int l_distance(lua_State *L) {
    size_t a_len;
    size_t b_len;
    const char *a = luaL_checklstring(L, 1, &a_len);
    const char *b = luaL_checklstring(L, 2, &b_len);
    size_t edits = dh_near_distance(a, a_len, b, b_len);
    if (edits == SIZE_MAX) {
        lua_pushnumber(L, (lua_Number)HUGE_VAL);
    } else {
        lua_pushinteger(L, (lua_Integer)edits);
    }
    return 1;
}

static const luaL_Reg functions[] = {
    {"distance", l_distance},
    {"fatal", dh_failure_fatal},
    {"has_concat_defect", l_has_concat_defect},
    {"retry_after", dh_failure_retry_after},
    {"shield", dh_scope_shield},
    {"timeout", dh_scope_timeout},
    {NULL, NULL},
};

/* The module, once it is open: package.loaded can be cleared. */
static const char module_key = 0;

int luaopen_decnet_core(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &module_key) == LUA_TTABLE) {
        return 1;
    }
    lua_pop(L, 1);
    dh_vm_open(L);
    luaL_newlib(L, functions);
    dh_await_open(L);
    dh_spawn_open(L);
    dh_channel_open(L);
    dh_child_open(L);
    dh_event_open(L);
    dh_request_open(L);
    dh_stream_open(L);
    dh_offload_open(L);
    dh_unit_open(L);
    dh_worklog_open(L);
    dh_fingerprint_open(L);
    dh_declare_open(L);
    dh_hostlib_open(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &module_key);
    return 1;
}
