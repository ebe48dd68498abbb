/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A series: the callbacks of one *_start of a handle (read_start, timer_start, ...). Each is a task
** of the run that started it, and begins when the one before has ended.
**
**   libuv calls back --> rest, busy? --no--> task of the run --ended--> the next that waits, or
**                               |                                       libuv goes on
**                               +--yes-> waits in the series
**
** A stream, a datagram socket and a poll handle rest meanwhile: libuv reads up to 32 pieces in a row
** and calls back for each at once, so nothing else would slow down a sender. The others go on:
** what they say nothing with (a timer, an idle handle) waits once at most, as it does in libuv.
**
** stop, close and another start end a series: none of its callbacks begins after that. What a stream
** had read by then is kept for its next series. A new series does not wait for the last callback of
** the one before, so that a callback can start one and wait for it.
*/
#ifndef DH_SCRIPT_SERIES_H
#define DH_SCRIPT_SERIES_H

#include <lua.h>
#include <stdbool.h>

struct dh_run;

/* Push a new series of the run: calls of the function at fn_idx. Raises on memory errors. */
void dh_series_new(lua_State *L, struct dh_run *run, int fn_idx);

/* Push the function of the series at idx. */
void dh_series_push_function(lua_State *L, int idx);

/* luv has started the handle at handle_idx: the series at series_idx takes the place of the one
** before it. Raises on memory errors. */
void dh_series_begin(lua_State *L, int handle_idx, int series_idx);

/* The handle at handle_idx is started again with the function at fn_idx. If its series is the run's and
** nothing of it is under way, it goes on with that function, so that none has to be made: then its
** callback for luv, which was given to dh_series_keep, replaces the function. Returns whether it does. */
bool dh_series_resume(lua_State *L, int handle_idx, const struct dh_run *run, int fn_idx);
void dh_series_keep(lua_State *L, int series_idx, int callback_idx);

/* Does the stream at handle_idx rest, to go on being read by callbacks? */
bool dh_series_is_resting(lua_State *L, int handle_idx);

/* Push the arguments of the callback that the stream at handle_idx has kept for its next series, and
** keeps no more; returns their number, or -1: there is none. */
int dh_series_take_kept(lua_State *L, int handle_idx);

/* The handle at handle_idx was stopped or closed. */
void dh_series_end(lua_State *L, int handle_idx);

/* luv calls back: the series is at idx, the nargs arguments are on top of L's stack and are popped.
** Returns false when memory is out. */
bool dh_series_call(lua_State *L, int idx, int nargs);

/* Create the metatable of series. Raises on memory errors. */
void dh_series_open(lua_State *L);

#endif
