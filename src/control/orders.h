/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What the control thread wants the loop to do, and what came of it.
**
**   control thread            loop thread                           control thread
**   send --> queue --take--> given --settled--> finished --collect--> whoever asked
**
** An order is the control thread's but while it is with the loop, which always gives it back. Who
** does not want to wait any longer gives it up, and frees it when it comes: soon, though what was
** ordered goes on.
*/
#ifndef DH_CONTROL_ORDERS_H
#define DH_CONTROL_ORDERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/snapshot.h"

enum dh_order_kind {
    DH_ASK_START, /* as enum dh_port_order */
    DH_ASK_STOP,
    DH_ASK_RESTART,
    DH_ASK_RETRY,
    DH_ASK_RESET,
    DH_ASK_DOSSIER, /* how is it, and how did it end before? */
    DH_ASK_RELOAD,
    DH_ASK_SHUTDOWN, /* carried out when the host has come to its end */
    DH_ASK_SHUTDOWN_NOW
};

struct dh_ending_copy {
    uint64_t at_ns;
    uint64_t delay_ns;
    uint32_t run;
    const char *ended;
    const char *decision;
    char *reason; /* NULL: none; so the others */
    char *message;
    char *traceback;
    char *variables;
};

struct dh_order {
    struct dh_order *next;
    enum dh_order_kind kind;
    char name[DH_NAME_MAX + 1];
    size_t name_len;
    bool waits;    /* finished when carried out; else when given */
    void *request; /* the control thread's; NULL: nobody waits any longer */
    atomic_bool is_given_up;

    /* what came of it */
    int result;                     /* 0, DH_ENOENT, DH_ESTATE, DH_ESHUTDOWN, DH_ENOMEM */
    struct dh_view view;            /* of the worker, if result is 0 */
    struct dh_ending_copy *endings; /* the last one first */
    size_t ending_count;

    bool is_ok; /* reload: and what there is to say of it */
    char *text;

    struct dh_unit *unit; /* the loop's */
};

struct dh_orders {
    struct dh_instance *instance;
    struct dh_snapshot *snapshot;
    int notify_fd; /* an eventfd that is written to when orders are finished */

    pthread_mutex_t mutex;
    struct dh_order *sent; /* last one first */
    struct dh_order *finished;
    unsigned count; /* with the loop or finished */

    struct dh_order *given; /* the loop thread's */
};

void dh_orders_init(struct dh_orders *orders, struct dh_snapshot *snapshot, int notify_fd);

/* After the control thread has ended: frees what is left. */
void dh_orders_fini(struct dh_orders *orders);

/* Control thread */

/* NULL when memory is out. */
struct dh_order *dh_order_new(enum dh_order_kind kind, const char *name, size_t len);
void dh_order_free(struct dh_order *order);

/* Hand an order to the loop. 0, or DH_ELIMIT: too many are under way; it is still the caller's. */
int dh_orders_send(struct dh_orders *orders, struct dh_order *order);

/* Has the loop not yet taken it? */
bool dh_orders_is_waiting(struct dh_orders *orders, const struct dh_order *order);

/* Nobody waits any longer for an order that is with the loop, which is to be woken then. */
void dh_order_give_up(struct dh_order *order);

/* The orders that are finished, linked by next. */
struct dh_order *dh_orders_collect(struct dh_orders *orders);

/* Loop thread */

bool dh_orders_has_work(struct dh_orders *orders);

/* Finish what is carried out, and give the orders that were sent. Returns true if there were any. */
bool dh_orders_step(struct dh_orders *orders);

/* The worker of this event is gone. */
void dh_orders_on_gone(struct dh_orders *orders, const struct dh_event *ev);

/* A reload is over. */
void dh_orders_on_reloaded(struct dh_orders *orders, struct dh_order *order, bool is_ok,
                           const char *text);

/* The host has come to its end: finish everything. */
void dh_orders_end(struct dh_orders *orders);

#endif
