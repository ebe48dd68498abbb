/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/fetch.h"

#include <string.h>

/* Both are among the first of them in every 5.4, on 64 bits. */
#define WORDS 8

struct look {
    ptrdiff_t frame;
    ptrdiff_t before[WORDS];
    ptrdiff_t pushed[WORDS];
};

static int take_look(lua_State *L) {
    struct look *look = lua_touserdata(L, 1);
    lua_Debug ar;
    lua_getstack(L, 0, &ar);
    look->frame = (ptrdiff_t)ar.i_ci;
    memcpy(look->before, (const void *)L, sizeof(look->before));
    lua_pushnil(L);
    memcpy(look->pushed, (const void *)L, sizeof(look->pushed));
    return 0;
}

struct dh_fetch dh_fetch_find(lua_State *L) {
    struct dh_fetch fetch = {0, 0};
    struct look look;
    memset(&look, 0, sizeof(look));
    lua_State *co = lua_newthread(L);
    lua_pushcfunction(co, take_look);
    lua_pushlightuserdata(co, &look);
    lua_call(co, 1, 0);
    lua_pop(L, 1);
    for (size_t i = 0; i < WORDS; i++) {
        ptrdiff_t growth = look.pushed[i] - look.before[i];
        if (look.before[i] == look.frame) {
            fetch.frame_at = i * sizeof(ptrdiff_t);
        } else if (growth >= 8 && growth <= 16) {
            fetch.top_at = i * sizeof(ptrdiff_t);
        }
    }
    return fetch;
}
