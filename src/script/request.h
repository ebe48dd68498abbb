/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What lua/decnet/uv.lua needs of C to start luv's one-shot requests for a task, and io.popen its child.
**
** The callback of such a request comes exactly once, also when the task, its run or its host is
** gone by then: what the request opened must be closed and the request be counted out. So it is
** neither dropped with a dead run nor made a task, as other callbacks are: it is called at once, and
** what it opens or starts is the run's, while there is one.
*/
#ifndef DH_SCRIPT_REQUEST_H
#define DH_SCRIPT_REQUEST_H

#include <lua.h>

/* Make the function on top of L's stack, which must not wait, such a callback. Raises on memory errors. */
void dh_request_make(lua_State *L);

/* The function behind every callback that was made by that. */
int dh_request_done(lua_State *L);

/* Push "ENOENT: no such file or directory" for "ENOENT". Raises on memory errors. */
void dh_request_push_message(lua_State *L, const char *name);

/* Put the functions into the table on top of L's stack. Raises on memory errors. */
void dh_request_open(lua_State *L);

#endif
