/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** collectgarbage for a state that many runs share: replaced in place. Outside of tasks it is Lua's own.
** In a task
**   collect                 waits until the collector has completed a cycle (collector.h); where it
**                           cannot yield it does what it always did
**   step                    does a bounded step
**   stop, restart, setpause, setstepmul, incremental, generational
**                           are the run's own, in force in its slices: it can make the collector
**                           more eager there, or stop it as long as the heap does not grow too much.
**                           The mode is remembered only: the host's collector stays incremental
**   count, isrunning        answer
*/
#ifndef DH_SCRIPT_GCLIB_H
#define DH_SCRIPT_GCLIB_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

struct dh_run;
struct dh_vm;

/* What a run has asked for. */
struct dh_gc_modes {
    int pause;
    int stepmul;
    int stepsize;      /* 2^n bytes */
    size_t stop_limit; /* bytes that Lua may hold while it is stopped; fixed by the first stop */
    bool is_stopped;
    bool is_generational;
};

/* Replace the global. Raises on memory errors. */
void dh_gclib_open(lua_State *L);

/* A slice of a run that has_gc_modes begins, ends. */
void dh_gclib_enter(struct dh_vm *vm, const struct dh_run *run);
void dh_gclib_leave(struct dh_vm *vm);

/* The slice under way lasts: collect again, if it has stopped the collector and the heap has grown
** too much. */
void dh_gclib_check(struct dh_vm *vm);

#endif
