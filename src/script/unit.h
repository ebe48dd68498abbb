/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A worker as the script layer sees it, and the two values by which Lua knows it: the handle that
** decnet.worker returns, and 'self', which each run gets anew.
**
** A unit lives inside the handle's userdata (user value: what is declared to run); the instance anchors it until the worker is removed. A handle may outlive
** both: then it is detached, and says so.
*/
#ifndef DH_SCRIPT_UNIT_H
#define DH_SCRIPT_UNIT_H

#include <lua.h>

#include "core/worker.h"
#include "obs/crashlog.h"
#include "script/cap.h"
#include "script/dossier.h"
#include "script/gclib.h"
#include "script/spare.h"

struct dh_instance;
struct dh_run;
struct dh_vm;

/* What only a worker needs that has ended, been seen to use the CPU, left memory
** behind or has a max_memory. */
struct dh_trouble {
    struct dh_crash_loop loop;
    struct dh_dossier dossier;
    struct dh_failure *failure; /* the last one */
    struct dh_failure *cause;   /* why the run under way is being ended, if that is its own fault */
    uint64_t preemptions;
    uint64_t slice_max_ns;       /* longest slice that was preempted */
    uint64_t cpu_ns;             /* used by the current or last run, as the monitor saw it */
    struct dh_cap cap;           /* of the current run */
    struct dh_gc_modes gc_modes; /* of the current run, if it has_gc_modes */
    uint64_t leftover_bytes;     /* that dead runs hold, as of the last cycle of the collector */
    uint64_t leftover_told;      /* the same when it was logged last */
    struct dh_spare spare;       /* until the next run */
};

struct dh_unit {
    struct dh_worker worker;      /* first member */
    struct dh_instance *instance; /* NULL: removed, or the host is gone */
    struct dh_run *run;           /* the current one, until it is closed */
    struct dh_trouble *trouble;
    void *record; /* the control plane's, see port.h */
    int anchor;
    uint32_t fingerprint; /* of the function, when the script that declared it was loaded */
    uint8_t script : 7;   /* number of the script that declared it while it was loaded, or 0 */
    bool takes_self : 1;  /* what it runs could see an argument */
    char name[];
};

static inline struct dh_unit *dh_unit_of(struct dh_worker *w) {
    return (struct dh_unit *)w;
}

/* Push a new unit that is in no host: what to run is at -1 and is popped. Raises on memory errors. */
struct dh_unit *dh_unit_new(lua_State *L, const char *name, size_t name_len);

/* What to run from now on: at -1, popped; the unit's handle is at -2. */
void dh_unit_set_body(lua_State *L, struct dh_unit *unit);

/* The unit whose handle is at idx; raises if it is none. */
struct dh_unit *dh_unit_check(lua_State *L, int idx);

/* settle(handle): in a task, wait until what was ordered so far is carried out. */
int dh_unit_settle(lua_State *L);

/* Start the run number worker.run: push its 'self', make its main task and queue it. Its account is
** the one that is being billed. Leaves the stack as it was. Raises on memory errors, and then there is no run. */
void dh_unit_start_run(lua_State *L, struct dh_unit *unit);

/* Push the handle; nil when the unit is detached. */
void dh_unit_push(lua_State *L, const struct dh_unit *unit);

/* The worker is removed, or its host ends. */
void dh_unit_detach(struct dh_unit *unit);

/* The name of the worker whose handle is at idx; NULL: it is no handle. */
const char *dh_unit_name_of(lua_State *L, int idx);

/* What a worker has of Lua's memory. */
struct dh_bill {
    uint64_t held_bytes;      /* by its run */
    uint64_t allocated_bytes; /* ever, by its run */
    uint64_t leftover_bytes;  /* by its last run, after its end */
};

/* Returns false where memory is not billed. */
bool dh_unit_bill(const struct dh_unit *unit, struct dh_bill *ret_bill);

/* The record of endings, made at the first; NULL when memory is out. */
struct dh_trouble *dh_unit_trouble(struct dh_unit *unit);

/* Create the metatables of handles and of self. Raises on memory errors. */
void dh_unit_open(lua_State *L);

#endif
