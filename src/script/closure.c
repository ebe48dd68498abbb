/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/closure.h"

#include <lauxlib.h>
#include <stdbool.h>

enum { CLOSURES = 8, WORDS = 4 };

static const char made[] = "local a = {} for i = 1, 8 do a[i] = function() end a[i + 8] = "
                           "function() end end return a";

static const void *word_of(lua_State *L, int i, size_t at) {
    lua_rawgeti(L, -1, i);
    const void *word = *(const void *const *)((const char *)lua_topointer(L, -1) + at);
    lua_pop(L, 1);
    return word;
}

/* On top of L's stack: first the closures of one piece of code, then those of another. */
static bool is_code(lua_State *L, size_t at) {
    const void *first = word_of(L, 1, at);
    const void *second = word_of(L, CLOSURES + 1, at);
    for (int i = 1; i <= CLOSURES; i++) {
        if (word_of(L, i, at) != first || word_of(L, CLOSURES + i, at) != second) {
            return false;
        }
    }
    return first != second;
}

size_t dh_closure_find_code(lua_State *L) {
    size_t code_at = 0;
    if (luaL_loadstring(L, made) != LUA_OK) {
        lua_error(L);
    }
    lua_call(L, 0, 1);
    for (size_t i = 1; i < WORDS; i++) {
        if (is_code(L, i * sizeof(void *))) {
            code_at = i * sizeof(void *);
        }
    }
    lua_pop(L, 1);
    return code_at;
}

const void *dh_closure_code(lua_State *L, int idx, size_t code_at) {
    const char *closure = lua_topointer(L, idx);
    return code_at != 0 ? *(const void *const *)(closure + code_at) : NULL;
}
