/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The port: what the control plane, a module that the host loads, may see of a host and ask of it.
** All that the program exports to that module is here, so that neither knows more of the other.
**
** Everything is for the loop's thread, between two slices, except where it says otherwise.
*/
#ifndef DH_SCRIPT_PORT_H
#define DH_SCRIPT_PORT_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/supervisor.h"
#include "host/host.h"
#include "script/dossier.h"
#include "script/failure.h"
#include "script/unit.h"

struct dh_holder;
struct dh_instance;
struct dh_tap;

/* The other end, implemented by the control plane. */
struct dh_port {
    /* Something happened; ev lives for the call. In DH_EVENT_GONE the unit goes. */
    void (*on_event)(struct dh_port *port, const struct dh_event *ev);

    /* After each dh_sup_step: the place to carry out orders and to look at workers. */
    void (*on_stepped)(struct dh_port *port);

    /* What dh_port_reload began is over; text says what has changed, or why nothing has. */
    void (*on_reloaded)(struct dh_port *port, void *token, bool is_ok, const char *text);
};

/* A worker as it is now; the pointers are good until the loop goes on. */
struct dh_port_worker {
    const char *name;
    size_t name_len;
    struct dh_status status;
    uint64_t cpu_ns;     /* of the current or last run */
    struct dh_bill bill; /* zero where memory is not billed */
    uint64_t preemptions;
    uint64_t slice_max_ns;
    uint32_t tasks;
    uint32_t handles;
    const struct dh_failure *failure; /* the last one, or NULL */
    const struct dh_dossier *endings; /* NULL: never ended */
};

/* The host as a whole. */
struct dh_port_host {
    uint64_t began_ns; /* before its script was loaded */
    uint64_t now_ns;
    uint64_t turns;
    uint64_t log_dropped;
    uint64_t late_wakeups;
    uint64_t lua_bytes;        /* held by all */
    uint64_t collector_cycles; /* of the garbage collector, */
    uint64_t collector_ns;     /* and what the host gave it of its time */
    struct dh_lateness lateness;
    bool is_stopping;
};

enum dh_port_order {
    DH_ORDER_START,
    DH_ORDER_STOP,
    DH_ORDER_RESTART,
    DH_ORDER_RETRY,
    DH_ORDER_RESET
};

/* The instance of the host object at 1; an error of the caller's if it is none, or closed. */
struct dh_instance *dh_port_check(lua_State *L);

/* From now on port is told; NULL: nobody. */
void dh_port_attach(struct dh_instance *instance, struct dh_port *port);

/* dh_preempt_holder: who has had the CPU past his budget? For any thread. */
bool dh_port_get_holder(struct dh_instance *instance, struct dh_holder *ret_holder);

/* Let the loop come round to on_stepped soon. For any thread. */
void dh_port_wake(struct dh_instance *instance);

/* Who has the lines of the host's log, too; NULL: nobody. */
void dh_port_set_tap(struct dh_instance *instance, struct dh_tap *tap);

void dh_port_look_host(struct dh_instance *instance, struct dh_port_host *ret_host);

/* The workers in order of declaration; NULL after the last. */
struct dh_unit *dh_port_first(struct dh_instance *instance);
struct dh_unit *dh_port_next(struct dh_unit *unit);
struct dh_unit *dh_port_find(struct dh_instance *instance, const char *name, size_t len);
struct dh_unit *dh_port_unit(const struct dh_event *ev);

void dh_port_look(struct dh_instance *instance, struct dh_unit *unit,
                  struct dh_port_worker *ret_worker);

/* The control plane's own record of a unit, NULL at first. */
void **dh_port_record(struct dh_unit *unit);

/* Give an order: what dh_sup_start and so on return. Carried out: dh_port_is_settled. */
int dh_port_give(struct dh_instance *instance, struct dh_unit *unit, enum dh_port_order order);
bool dh_port_is_settled(const struct dh_unit *unit);

/* Stop the host: politely, or at once. */
void dh_port_stop(struct dh_instance *instance, bool is_now);

/* Load the script again, as SIGHUP does; on_reloaded tells of it, unless the host ends before. Returns
** 0, DH_ENOENT if there is no script, or DH_ENOMEM. */
int dh_port_reload(struct dh_instance *instance, void *token);

/* The nth of a worker's endings, 0 the last one; false: there is none. */
bool dh_port_ending(const struct dh_dossier *endings, uint32_t n,
                    struct dh_ending_view *ret_ending);

#endif
