/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Idle coroutines: those that a run's code made, suspended by coroutine.yield, and did not go on
** with: a generator that a loop was left early with, say. Neither the collector nor lua_close runs
** their <close> variables, so the run's cleanup does, the newest coroutine first.
**
** A run lists its coroutines in a table with weak keys, each when its user suspends it for the first
** time. So one that never yields costs nothing, one that does a table entry, one that is collected
** while the run lives gives it back. A bit of the extra space (tag.h) says that this is still to be
** done; coroutines made where no worker runs never have it: they are the script's, as are those first
** suspended inside decnet.shared.
**
** Only coroutines that hold a value with a __close are closed. Another one has nothing to run, and
** may be in use: an iterator that several workers share.
*/
#ifndef DH_SCRIPT_IDLE_H
#define DH_SCRIPT_IDLE_H

#include <lua.h>
#include <stdbool.h>

struct dh_run;
struct dh_vm;

/* co, which has DH_TAG_UNLISTED, was suspended by its user, or has died of an error that left its
** <close> variables behind: list it for the run that has the CPU. Raises on memory errors. */
void dh_idle_list(lua_State *L, struct dh_vm *vm, lua_State *co);

/* The run ends: from now on the collector takes none of them. */
void dh_idle_hold(lua_State *L, const struct dh_run *run);

/* Is there one that may have to be closed? */
bool dh_idle_has_any(lua_State *L, const struct dh_run *run);

/* Close the next one, called by the run's cleanup task; false: none is left. 'list' is the index of
** a table that is empty at first and keeps what has been found. Their errors are reported. */
bool dh_idle_close_next(lua_State *L, struct dh_run *run, int list);

/* Create what the tables share. Raises on memory errors. */
void dh_idle_open(lua_State *L);

#endif
