/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Filling the tables that Lua gets: dh_table_set_* set one field of the table on top of L's stack. Raise
** on memory errors.
**
** Metatables are sealed: workers share them, and what getmetatable gives away can be overwritten.
*/
#ifndef DH_SCRIPT_TABLE_H
#define DH_SCRIPT_TABLE_H

#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/timerq.h"
#include "script/limits.h"

/* Nanoseconds as seconds; DH_NEVER is math.huge. */
static inline void dh_table_set_seconds(lua_State *L, const char *key, uint64_t ns) {
    lua_pushnumber(L, ns == DH_NEVER ? (lua_Number)HUGE_VAL : (lua_Number)ns / 1e9);
    lua_setfield(L, -2, key);
}

static inline void dh_table_set_integer(lua_State *L, const char *key, lua_Integer value) {
    lua_pushinteger(L, value);
    lua_setfield(L, -2, key);
}

static inline void dh_table_set_boolean(lua_State *L, const char *key, bool value) {
    lua_pushboolean(L, value);
    lua_setfield(L, -2, key);
}

static inline void dh_table_set_string(lua_State *L, const char *key, const char *value) {
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

/* Of a metatable: getmetatable gives its name instead. */
static inline void dh_table_seal(lua_State *L) {
    lua_getfield(L, -1, "__name");
    lua_setfield(L, -2, "__metatable");
}

/* Push the new metatable, found by its name as by luaL_newmetatable, of userdata with these methods, the
** most called first. A call looks up __index here and the method there, each of which is quickest to
** find if it was in its table first and the table has places to spare. */
static inline void dh_table_new_type(lua_State *L, const char *name, const luaL_Reg *methods) {
    lua_createtable(L, 0, DH_TYPE_PLACES);
    lua_createtable(L, 0, DH_TYPE_PLACES);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__name");
    dh_table_seal(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, name);
}

#endif
