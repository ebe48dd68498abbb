/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/raise.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "obs/text.h"

/* Longer messages are made as Lua does. */
enum { SHORT_MAX = 256 };

/* Put the position in front of the string at 1, as luaL_where does. */
static void add_position(lua_State *L, const lua_Debug *ar) {
    size_t len;
    const char *message = lua_tolstring(L, 1, &len);
    if (len > SHORT_MAX) {
        lua_pushfstring(L, "%s:%d: ", ar->short_src, ar->currentline);
        lua_pushvalue(L, 1);
        lua_concat(L, 2);
        return;
    }
    char text[LUA_IDSIZE + sizeof(":2147483647: ") + SHORT_MAX];
    char number[16];
    const char *digits = dh_text_digits(number + sizeof(number), (unsigned)ar->currentline);
    size_t digit_count = (size_t)(number + sizeof(number) - digits);
    size_t at = strlen(ar->short_src);
    memcpy(text, ar->short_src, at);
    text[at++] = ':';
    memcpy(text + at, digits, digit_count);
    at += digit_count;
    text[at++] = ':';
    text[at++] = ' ';
    memcpy(text + at, message, len);
    lua_pushlstring(L, text, at + len);
}

/* error(message [, level]) */
static int l_error(lua_State *L) {
    int level = (int)luaL_optinteger(L, 2, 1);
    lua_Debug ar;
    lua_settop(L, 1);
    if (lua_type(L, 1) == LUA_TSTRING && level > 0 && lua_getstack(L, level, &ar)) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline > 0) {
            add_position(L, &ar);
        }
    }
    return lua_error(L);
}

void dh_raise_open(lua_State *L) {
    lua_pushcfunction(L, l_error);
    lua_setglobal(L, "error");
}
