/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "control/module.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "control/control.h"

#define CONTROL_TYPE "decnet.control"

/* The object: a pointer, NULL once it has been stopped. User values: the host, the version. */

static const char *required(lua_State *L, const char *key) {
    lua_getfield(L, 2, key);
    return luaL_checkstring(L, -1);
}

static const char *option(lua_State *L, const char *key) {
    return lua_getfield(L, 2, key) == LUA_TNIL ? NULL : luaL_checkstring(L, -1);
}

static int fail(lua_State *L, const struct dh_error *err) {
    lua_pushnil(L);
    lua_pushstring(L, err->text);
    lua_pushstring(L, err->code == DH_EBUSY ? "EBUSY" : "ESYSTEM");
    return 3;
}

/* start(host, options): the plane, the address of 'listen', the path of its socket (nil: none, and why);
** or nil, and why. */
static int l_start(lua_State *L) {
    struct dh_instance *instance = dh_port_check(L);
    struct dh_error err = {0, ""};
    char address[DH_SOCKET_ADDRESS] = "";
    luaL_checktype(L, 2, LUA_TTABLE);
    struct dh_control **slot = lua_newuserdatauv(L, sizeof(*slot), 2);
    int object = lua_gettop(L);
    *slot = NULL;
    luaL_setmetatable(L, CONTROL_TYPE);
    struct dh_control_options options = {
        .script = required(L, "script"),
        .version = required(L, "version"),
        .socket_path = option(L, "socket"),
        .listen = option(L, "listen"),
    };
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, object, 1);
    lua_pushstring(L, options.version);
    lua_setiuservalue(L, object, 2);
    struct dh_control *c = malloc(sizeof(*c));
    if (c == NULL) {
        return luaL_error(L, "out of memory");
    }
    if (dh_control_start(c, instance, &options, address, &err) != 0) {
        free(c);
        return fail(L, &err);
    }
    *slot = c;
    lua_pushvalue(L, object);
    lua_pushstring(L, address);
    if (c->socket.fd < 0) {
        lua_pushnil(L);
        lua_pushstring(L, err.text);
        return 4;
    }
    lua_pushstring(L, c->socket.path);
    return 3;
}

/* Before the host is closed. */
static int control_stop(lua_State *L) {
    struct dh_control **slot = luaL_checkudata(L, 1, CONTROL_TYPE);
    if (*slot != NULL) {
        dh_control_stop(*slot);
        free(*slot);
        *slot = NULL;
    }
    return 0;
}

int luaopen_decnet_control(lua_State *L) {
    static const luaL_Reg methods[] = {{"stop", control_stop}, {NULL, NULL}};
    luaL_newmetatable(L, CONTROL_TYPE);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushcfunction(L, l_start);
    lua_setfield(L, -2, "start");
    return 1;
}
