/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A host inside a Lua state: struct dh_host with a runner that makes runs of Lua functions.
**
** One at a time can be current in a state: the one that is being declared, or that runs.
*/
#ifndef DH_SCRIPT_INSTANCE_H
#define DH_SCRIPT_INSTANCE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "host/host.h"
#include "obs/log.h"
#include "script/limits.h"
#include "script/run.h"

struct dh_failure;
struct dh_holder;
struct dh_load;
struct dh_port;
struct dh_vm;

/* Timers that are the script layer's. */
enum { DH_TIMER_TASK = DH_TIMER_RUNNER, DH_TIMER_SCOPE, DH_TIMER_CLOSING };

struct dh_instance {
    struct dh_host host; /* first member */
    struct dh_vm *vm;
    struct dh_run own; /* what belongs to no worker */
    struct dh_log log;
    struct dh_line settling;          /* tasks that wait until an order is carried out */
    struct dh_closing *closed;        /* runs to let go after the step that reported them */
    struct dh_closing *kept_closings; /* for the next runs that end */
    unsigned kept_count;
    struct dh_closing spare_closings[DH_SPARE_CLOSINGS]; /* for when memory is out */
    int anchor;            /* of its own userdata, while it is current */
    int events;            /* registry: events not yet delivered */
    struct dh_port *port;  /* the control plane's, or NULL */
    int on_event;          /* registry: the function that gets every event, or LUA_NOREF */
    struct dh_load *loads; /* scripts loaded beside what runs, whose handles are open */
    int on_reload;         /* registry: the function that SIGHUP calls, or LUA_NOREF */
    int stop_event;        /* registry: run_group's stop event, or LUA_NOREF */
    bool wants_states;     /* on_event gets every move of the state machine, too */
};

extern const struct dh_runner dh_instance_runner;

/* Report what went wrong outside of what ends a run: an error in a deferred function, in a task of
** a run that was ending, in something of the host's own. Logged; takes failure over; NULL is
** nothing. */
void dh_instance_report_cleanup(struct dh_run *run, struct dh_failure *failure);

/* The body of a worker's run has ended, and what is left of it is killed: its stop_timeout has
** passed. Logged. */
void dh_instance_report_kill(const struct dh_run *run);

/* Call the function on top of the vm's main stack, which is popped, as t: it cannot wait; an error
** is reported as dh_instance_report_cleanup does. For cleanup slots. */
void dh_instance_call_cleanup(struct dh_task *t);

/* t was preempted after a slice that long: for its worker's record, and a virtual clock. */
void dh_instance_on_preempted(struct dh_task *t, uint64_t elapsed_ns);

/* Log that a slice has been in one call for that long. Called by the monitor's thread: touches nothing
** but the log. */
void dh_instance_report_holder(struct dh_instance *instance, const struct dh_holder *holder,
                               uint64_t elapsed_ns);

/* A run is closed: let go of it once the supervisor has heard of it. */
void dh_instance_add_closed(struct dh_instance *instance, struct dh_run *run);

/* The run that what is opened or registered now belongs to: the current task's, that of the request luv
** calls back for, or the host's own; NULL when there is no host. */
struct dh_run *dh_instance_owner(struct dh_vm *vm);

/* Push the userdata that the instance lives in. */
void dh_instance_push(lua_State *L, struct dh_instance *instance);

#endif
