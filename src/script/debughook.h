/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** debug.sethook and debug.gethook, replaced in place: the user's hooks, and preemption beside them.
**
** Lua has one hook for each coroutine. Were the user's put aside whenever preemption needs it, he would
** lose lines: the event of the instruction at which the CPU is taken never comes, since Lua does not
** repeat hooks when a coroutine goes on. And each time his count would begin anew. So a coroutine with
** a hook of the user's keeps it, and is preempted at the end of that: at a line event if he wants
** those, else at a count event. Counts are made in steps of DH_HOOK_STEP instructions at most, so that
** these come often enough. He sees every line and every call as without preemption, and his counts but
** for the instructions of his own hook: Lua counts those too, and forgets them when it yields.
*/
#ifndef DH_SCRIPT_DEBUGHOOK_H
#define DH_SCRIPT_DEBUGHOOK_H

#include <lua.h>

/* Is this the hook that calls the user's? Safe in signal handlers. */
int dh_debughook_is(lua_Hook hook);

/* Replace both functions in 'debug', if it is there. Raises. */
void dh_debughook_replace(lua_State *L);

#endif
