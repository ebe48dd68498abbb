/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The control thread: HTTP (libmicrohttpd) on the unix socket and, read only, on a TCP port.
**
** One thread of ours runs both daemons, so that nothing here needs a lock. A request that cannot be
** answered yet is suspended and listed; the thread looks at the list when the loop has told it
** something (the eventfd) or when the first deadline in it is over.
*/
#ifndef DH_CONTROL_SERVER_H
#define DH_CONTROL_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/socket.h"
#include "core/error.h"

struct MHD_Daemon;
struct MHD_Response;
struct dh_connection;
struct dh_control;
struct dh_request;
struct dh_stream;

/* An answer that is given again while what it tells of has not changed. */
struct dh_kept {
    uint64_t version;
    struct MHD_Response *response; /* NULL: none yet */
};

struct dh_server {
    struct dh_control *control;
    struct MHD_Daemon *local; /* the unix socket */
    struct MHD_Daemon *tcp;   /* NULL: none */
    bool is_loopback;         /* the port is this machine's own */
    pthread_t thread;
    _Atomic bool quits;

    /* the control thread's */
    struct dh_request *waiting; /* the one that has waited longest first */
    struct dh_request *last_waiting;
    unsigned making[2]; /* answers in pieces; of the socket, of the TCP port */
    struct dh_stream *streams;
    unsigned stream_count;
    struct dh_connection *connections;
    unsigned connection_count;
    bool has_closed; /* a connection has, since the turn began */
    uint64_t swept_ns;
    struct dh_kept workers; /* of /v1/workers */
    bool is_draining;       /* streams end, nothing waits any more */
};

/* Serve the control's socket and, unless listen is NULL, that address, which is returned in full. */
int dh_server_start(struct dh_server *server, struct dh_control *control, const char *listen,
                    char ret_address[DH_SOCKET_ADDRESS], struct dh_error *err);

/* Answer what can be answered and end the thread. */
void dh_server_stop(struct dh_server *server);

#endif
