/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The control plane of a host: it answers what the workers do, and passes orders on, over HTTP
** (docs/control.md).
**
**   loop thread                    plain data                    control thread
**   port.on_event    ----------->  snapshot, events  --------->  server: status, events, metrics
**   tap (any thread) ----------->  logs              --------->
**   port.on_stepped  <-----------  orders, asks      <---------  verbs
**                                  'is_wanted', wake
**
** What the loop pays when nobody asks: one record and one entry at each event, one load a turn.
*/
#ifndef DH_CONTROL_CONTROL_H
#define DH_CONTROL_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/orders.h"
#include "control/ring.h"
#include "control/server.h"
#include "control/snapshot.h"
#include "control/socket.h"
#include "obs/log.h"
#include "script/port.h"

struct dh_control {
    struct dh_port port; /* first member */
    struct dh_tap tap;
    struct dh_instance *instance;
    _Atomic bool is_wanted;    /* there is something for the loop to do */
    _Atomic bool is_followed;  /* somebody follows events or logs */
    _Atomic bool has_notified; /* ... and knows already that there is something new */
    struct dh_snapshot snapshot;
    struct dh_orders orders;
    struct dh_ring events;
    struct dh_ring logs;
    struct dh_socket socket;
    struct dh_server server;
    int notify_fd;
    int signals_sent;    /* the control thread's: SIGTERMs to a host whose loop stands still */
    uint64_t started_ns; /* since 1970; tells the events of this host from those of another */
    char *script;
    const char *version;
};

struct dh_control_options {
    const char *script;
    const char *version;
    const char *socket_path; /* NULL: the default one */
    const char *listen;      /* NULL: nowhere */
};

/* Start the control plane of an instance that does not run yet; ret_address: of 'listen'. Returns 0, or
** a negative DH_E* code and why. Where 'listen' is given and only the default socket is not to be had
** it returns 0, leaves socket.fd -1, and *err says why. */
int dh_control_start(struct dh_control *c, struct dh_instance *instance,
                     const struct dh_control_options *options, char ret_address[DH_SOCKET_ADDRESS],
                     struct dh_error *err);

/* Answer who still waits, and stop. The host must not be running. */
void dh_control_stop(struct dh_control *c);

/* Control thread: let the loop look at what it has been asked for. */
void dh_control_want_loop(struct dh_control *c);

#endif
