/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/defect.h"

#include <lauxlib.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES (256 * 1024)
#define STACK_SLOTS 1000 /* more than a fresh stack has */

/* Memory of a state that is not closed but forgotten. No block of it moves into the place of another,
** and one that was left can still be read: the defect shows, and harms nothing. */
struct arena {
    size_t used;
    _Alignas(max_align_t) char bytes[ARENA_BYTES];
};

static void *arena_alloc(void *ud, void *block, size_t old_size, size_t size) {
    struct arena *arena = ud;
    size_t rounded = (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
    if (size == 0 || rounded > ARENA_BYTES - arena->used) {
        return NULL;
    }
    void *fresh = arena->bytes + arena->used;
    arena->used += rounded;
    if (block != NULL) {
        memcpy(fresh, block, old_size < size ? old_size : size);
    }
    return fresh;
}

static int move_stack(lua_State *L) {
    lua_checkstack(L, STACK_SLOTS);
    return 1;
}

bool dh_defect_concat(void) {
    struct arena *arena = malloc(sizeof(*arena));
    if (arena == NULL) {
        return false;
    }
    arena->used = 0;
    lua_State *L = lua_newstate(arena_alloc, arena);
    bool has_defect = false;
    if (L != NULL) {
        lua_gc(L, LUA_GCSTOP);
        lua_newtable(L);
        lua_newtable(L);
        lua_pushcfunction(L, move_stack);
        lua_setfield(L, -2, "__concat");
        lua_setmetatable(L, -2);
        lua_pushliteral(L, "b");
        lua_concat(L, 2);
        has_defect = lua_gettop(L) != 1; /* it counts from a stack that is no more */
    }
    free(arena);
    return has_defect;
}
