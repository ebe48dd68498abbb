/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/worklog.h"

#include <lauxlib.h>
#include <string.h>

#include "obs/log.h"
#include "script/failure.h"
#include "script/instance.h"
#include "script/limits.h"
#include "script/table.h"
#include "script/unit.h"

#define LOG_TYPE "decnet.log"

/* A log object is an empty userdata whose user value is the run's 'self'. */

void dh_worklog_push(lua_State *L, int idx) {
    idx = lua_absindex(L, idx);
    lua_newuserdatauv(L, 0, 1);
    lua_pushvalue(L, idx);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, LOG_TYPE);
}

/* By key: a table has no order of its own, and a line should look the same each time. */
static void sort(struct dh_field *fields, size_t n) {
    for (size_t i = 1; i < n; i++) {
        struct dh_field field = fields[i];
        size_t at = i;
        for (; at > 0 && strcmp(fields[at - 1].key, field.key) > 0; at--) {
            fields[at] = fields[at - 1];
        }
        fields[at] = field;
    }
}

/* The field of the key and value on top of the stack; values that are neither string, number nor boolean
** become what tostring makes of them. */
static struct dh_field read_field(lua_State *L) {
    const char *key = lua_tostring(L, -2);
    size_t len;
    switch (lua_type(L, -1)) {
        case LUA_TBOOLEAN:
            return dh_field_boolean(key, lua_toboolean(L, -1));
        case LUA_TNUMBER:
            return lua_isinteger(L, -1) ? dh_field_integer(key, lua_tointeger(L, -1))
                                        : dh_field_number(key, lua_tonumber(L, -1));
        default: {
            const char *s = luaL_tolstring(L, -1, &len);
            lua_replace(L, -2); /* the text instead of the value */
            return dh_field_string(key, s, len);
        }
    }
}

/* Collect the fields of the table at idx. Their keys and values are left on the stack, which is what
** the fields borrow them from: a __tostring may take them out of the table. */
static size_t collect(lua_State *L, int idx, struct dh_field fields[DH_FIELDS_MAX]) {
    size_t n = 0;
    luaL_checkstack(L, 2 * DH_FIELDS_MAX + 4, NULL);
    lua_pushnil(L);
    while (n < DH_FIELDS_MAX && lua_next(L, idx) != 0) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            lua_pop(L, 1);
            continue;
        }
        fields[n++] = read_field(L);
        lua_pushvalue(L, -2); /* to go on from */
    }
    sort(fields, n);
    return n;
}

static int write_line(lua_State *L, enum dh_level level) {
    luaL_checkudata(L, 1, LOG_TYPE);
    lua_settop(L, 3);
    if (!lua_isnil(L, 3)) {
        luaL_checktype(L, 3, LUA_TTABLE);
    }
    lua_getiuservalue(L, 1, 1);
    const struct dh_run *run = lua_touserdata(L, -1);
    if (run->instance == NULL || !dh_log_is_on(&run->instance->log, level)) {
        return 0;
    }
    size_t len;
    const char *msg = luaL_tolstring(L, 2, &len);
    struct dh_field fields[DH_FIELDS_MAX];
    size_t n = lua_istable(L, 3) ? collect(L, 3, fields) : 0;
    dh_log_write(&run->instance->log, level, run->unit->name, msg, len, fields, n);
    return 0;
}

static int log_debug(lua_State *L) {
    return write_line(L, DH_LEVEL_DEBUG);
}

static int log_info(lua_State *L) {
    return write_line(L, DH_LEVEL_INFO);
}

static int log_warn(lua_State *L) {
    return write_line(L, DH_LEVEL_WARN);
}

static int log_error(lua_State *L) {
    return write_line(L, DH_LEVEL_ERROR);
}

static const luaL_Reg methods[] = {
    {"debug", log_debug}, {"error", log_error}, {"info", log_info},
    {"warn", log_warn},   {NULL, NULL},
};

void dh_worklog_open(lua_State *L) {
    dh_table_new_type(L, LOG_TYPE, methods);
    lua_pop(L, 1);
}
