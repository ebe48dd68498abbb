/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Fetching coroutines before their turn.
**
** Of a hundred thousand workers none is in a cache of the CPU when it is woken: it would be waited for
** line by line, each after what the one before says. So a coroutine is fetched when it is woken, as
** others who were woken by the same look at the world come before it; and its innermost frames, whose
** place is to be read in it, when it is the next to run.
**
** lua_State is opaque. Where it keeps its frame and the top of its stack is found by looking at a
** coroutine whose frame is known, and which pushes a value.
*/
#ifndef DH_SCRIPT_FETCH_H
#define DH_SCRIPT_FETCH_H

#include <lua.h>
#include <stddef.h>

#include "core/fetch.h"
#include "script/limits.h"

/* In bytes from the lua_State; 0: not found, and the lua_State itself is fetched again. */
struct dh_fetch {
    size_t frame_at;
    size_t top_at;
};

/* Must be called where errors can be raised. */
struct dh_fetch dh_fetch_find(lua_State *L);

DH_FETCH dh_fetch_coroutine(const lua_State *co) {
    dh_fetch_bytes(co, DH_COROUTINE_BYTES);
}

/* Of a coroutine that was fetched: what a resume reads first. */
DH_FETCH dh_fetch_frames(const struct dh_fetch *fetch, const lua_State *co) {
    const char *frame = *(const char *const *)((const char *)co + fetch->frame_at);
    const char *top = *(const char *const *)((const char *)co + fetch->top_at);
    /* its caller's was made just before it, and lies in front of it */
    dh_fetch_bytes(frame - DH_FRAME_BYTES, 2 * DH_FRAME_BYTES + DH_CACHE_LINE);
    dh_fetch_bytes(top - DH_STACK_BYTES, DH_STACK_BYTES + DH_CACHE_LINE);
}

#endif
