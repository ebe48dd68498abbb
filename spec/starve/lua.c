/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** require "starve" in what decnet-starved hosts: arm(), disarm(), is_armed(), tick(), ticks(). None of
** them allocates.
*/
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

#include "starve/starve.h"

int __real_luaopen_decnet_core(lua_State *L);
int __wrap_luaopen_decnet_core(lua_State *L);

static int l_arm(lua_State *L) {
    (void)L;
    starve_arm();
    return 0;
}

static int l_disarm(lua_State *L) {
    (void)L;
    starve_disarm();
    return 0;
}

static int l_is_armed(lua_State *L) {
    lua_pushboolean(L, starve_is_armed());
    return 1;
}

static lua_Integer ticks;

static int l_tick(lua_State *L) {
    (void)L;
    ticks++;
    return 0;
}

static int l_ticks(lua_State *L) {
    lua_pushinteger(L, ticks);
    return 1;
}

/* leak(): for the canary. */
static int l_leak(lua_State *L) {
    void *volatile lost = malloc(1000);
    (void)L;
    (void)lost;
    return 0;
}

static int open_starve(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"arm", l_arm},   {"disarm", l_disarm}, {"is_armed", l_is_armed},
        {"leak", l_leak}, {"tick", l_tick},     {"ticks", l_ticks},
        {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}

int __wrap_luaopen_decnet_core(lua_State *L) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, open_starve);
    lua_setfield(L, -2, "starve");
    lua_pop(L, 1);
    return __real_luaopen_decnet_core(L);
}
