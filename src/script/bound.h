/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Bound callbacks: what luv is given in the place of a run's function. It is never called as a
** function: luv asks dh_bound_call to call any callback, and that knows it and makes a task of the
** run, or, when the run is over, nothing.
*/
#ifndef DH_SCRIPT_BOUND_H
#define DH_SCRIPT_BOUND_H

#include <lua.h>
#include <stdbool.h>

struct dh_run;

/* What luv calls back for. */
enum dh_bound_kind {
    DH_BOUND_EVENT,   /* of something that is independent of what came before: a connection */
    DH_BOUND_SERIES,  /* the next of a series */
    DH_BOUND_REQUEST, /* once: what was asked of a handle is done */
    DH_BOUND_POOL,    /* once: libuv's threads are done; with a struct dh_request */
    DH_BOUND_OPEN,    /* the same, and the result is a file, or a directory */
    DH_BOUND_WORK,    /* uv.queue_work, as often as it is called */
    DH_BOUND_CLOSE,   /* once: a handle of the run's is closed */
    DH_BOUND_EXIT     /* once: a child of the run's has ended; a series of one */
};

/* Replace the function at idx (nil: none) by one that is bound to the run. Pops what some kinds have
** besides: the series (for EXIT, nil without a function), the struct dh_request. Raises. */
void dh_bound_make(lua_State *L, int idx, struct dh_run *run, enum dh_bound_kind kind);

/* Is there a function at idx, or what can be called as one, that is not bound yet? */
bool dh_bound_is_callable(lua_State *L, int idx);

/* The run that the function at idx is bound to; NULL: none. */
struct dh_run *dh_bound_run(lua_State *L, int idx);

/* Push the series of the bound function at idx. */
void dh_bound_push_series(lua_State *L, int idx);

/* What luv was to tell the run could not be made. */
void dh_bound_crash_for_memory(struct dh_run *run);

/* A luv_CFpcall: the function and nargs arguments are on top of L, which is the main thread. */
int dh_bound_call(lua_State *L, int nargs, int nresults, int flags);

#endif
