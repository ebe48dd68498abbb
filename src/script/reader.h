/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Reading from streams. libuv reads up to 32 pieces in a row and calls back for each at once, but a
** run's callback is a task that begins later: a read_stop in it would come too late, and nothing
** would slow down a sender. So a stream rests from each piece until the task for it has ended.
** Pieces come one at a time and in order, and none comes after read_stop.
*/
#ifndef DH_SCRIPT_READER_H
#define DH_SCRIPT_READER_H

#include <lua.h>

/* The function that takes the place of a read callback. */
int dh_reader_task(lua_State *L);

/* read_start(handle, callback) is about to be called: replace the callback at fn_idx by a closure of
** dh_reader_task. */
void dh_reader_bind(lua_State *L, int handle_idx, int fn_idx);

/* read_stop(handle) is about to be called. */
void dh_reader_stop(lua_State *L, int handle_idx);

/* luv calls back the closure at idx, with an error and data (nil: nothing will follow) above it:
** the stream rests. */
void dh_reader_rest(lua_State *L, int idx);

/* Create the registry's table of readers. */
void dh_reader_open(lua_State *L);

#endif
