/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/errfunc.h"

#include <stdbool.h>
#include <string.h>

/* The field stands before the 22nd word in every 5.4 that needs this, on 64 bits. */
#define WORDS 22

struct look {
    ptrdiff_t words[WORDS];
};

static int take_look(lua_State *L) {
    memcpy(lua_touserdata(L, 1), (const void *)L, sizeof(struct look));
    return 0;
}

static int handler(lua_State *L) {
    (void)L;
    return 1;
}

static void look_with(lua_State *co, int msgh, struct look *look) {
    lua_pushcfunction(co, take_look);
    lua_pushlightuserdata(co, look);
    lua_pcall(co, 1, 0, msgh);
}

/* An offset into the stack, of a slot one further for the second handler. */
static int is_it(ptrdiff_t none, ptrdiff_t first, ptrdiff_t second) {
    bool is_place = (size_t)first - 1 < 4095;
    bool is_next = (size_t)(second - first) - 8 <= 8;
    return none == 0 && is_place && is_next;
}

size_t dh_errfunc_find(lua_State *L) {
    struct look none, first, second;
    size_t at = 0;
    int found = 0;
    if (sizeof(void *) != 8) {
        return 0;
    }
    memset(&none, 0, sizeof(none));
    memset(&first, 0, sizeof(first));
    memset(&second, 0, sizeof(second));
    lua_State *co = lua_newthread(L);
    lua_pushcfunction(co, handler);
    lua_pushcfunction(co, handler);
    look_with(co, 0, &none);
    look_with(co, 1, &first);
    look_with(co, 2, &second);
    lua_pop(L, 1);
    for (size_t i = 0; i < WORDS; i++) {
        if (is_it(none.words[i], first.words[i], second.words[i])) {
            at = i * sizeof(ptrdiff_t);
            found++;
        }
    }
    return found == 1 ? at : 0;
}

void dh_errfunc_clear(lua_State *co, size_t at) {
    if (at != 0) { /* unreached: of another Lua it may not be known */
        memset((char *)co + at, 0, sizeof(ptrdiff_t));
    }
}
