/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What a host that is a service tells the service manager that started it, if that asks for it by
** NOTIFY_SOCKET: READY, RELOADING, STOPPING, STATUS, and as the watchdog's food that its loop turns.
**
** Events only mark what has changed; the loop tells it between two turns (dh_service_tell). What the
** manager does not take at once is told later, in order.
*/
#ifndef DH_HOST_SERVICE_H
#define DH_HOST_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/timerq.h"
#include "core/worker.h"
#include "host/limits.h"
#include "obs/datagram.h"

struct dh_host;
struct dh_log;

struct dh_service {
    bool is_on;    /* somebody is to be told; else the rest means nothing */
    bool is_dirty; /* there may be something to tell */
    bool is_up;    /* READY was due */
    bool is_stopping;
    unsigned untold;                   /* messages that are due, see service.c */
    const struct dh_worker *coming_up; /* all before it have; NULL: begin with the first */
    const struct dh_worker *retrying;  /* the last one that went into BACKOFF, while it is there */
    uint64_t watchdog_ns;              /* between two meals; DH_NEVER: there is none */
    uint64_t status_ns;                /* when STATUS was told last ... */
    uint64_t extended_ns;              /* ... and EXTEND_TIMEOUT_USEC */
    struct dh_timer watchdog;
    struct dh_timer timer; /* there is something to tell then */
    struct dh_datagram manager;
    char status[DH_STATUS_BYTES]; /* as it was told */
};

/* Take the service manager's variables out of the environment, where children would find them.
** watchdog and timer get these kinds. What in them cannot be used is warned of in the log, and left. */
void dh_service_init(struct dh_service *s, struct dh_log *log, uint32_t watchdog_kind,
                     uint32_t timer_kind);

/* Disarms nothing. */
void dh_service_fini(struct dh_service *s);

/* Of every event of the host's. */
void dh_service_on_event(struct dh_service *s, const struct dh_event *ev);

/* A reload was asked for (again), or is over. */
void dh_service_on_reload(struct dh_service *s, bool is_over);

/* One of its timers was due. */
void dh_service_on_timer(struct dh_service *s, const struct dh_timer *t);

/* Tell what is due; if is_dirty. is_over: the host is at its end. */
void dh_service_tell(struct dh_host *host, bool is_over);

#endif
