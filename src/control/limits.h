/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Every bound that the control plane keeps, with its reason.
*/
#ifndef DH_CONTROL_LIMITS_H
#define DH_CONTROL_LIMITS_H

/* How long an answer waits for the loop to bring what it knows up to date: a status must come within
** 100 ms though the loop is stuck. */
#define DH_REFRESH_WAIT_NS 50000000u

/* How long a shutdown waits for one SIGTERM to be delivered before it sends the next one: a thread that no
** signal reaches for so long is not going to be reached. */
#define DH_INSIST_NS 10000000000u

/* The loop looks at its workers for at most this long in one turn ... */
#define DH_REFRESH_CHUNK 512
/* ... and is not asked again before so many times what it took has passed: a tenth of its time. */
#define DH_REFRESH_REST 9

/* What it found is fresh for this long, if nothing happens meanwhile. */
#define DH_REFRESH_NS 10000000u

/* An answer that tells of every worker is made of so many at a time, and other connections have their
** turn in between: 64 are 0.3 ms. */
#define DH_PIECE_WORKERS 64
#define DH_PIECE_BYTES 32768

/* Of these answers so many are made at a time, on the socket and on the TCP port: about 100,000 workers one
** holds 138 MB until it has been taken. The next ones wait for their turn, for so long. */
#define DH_MAKING_MAX 16
#define DH_TURN_WAIT_NS 10000000000u

/* An answer that is no stream must have been taken by then, however slowly. */
#define DH_ANSWER_S 120

/* Records that the control thread compares while the loop may wait for it. */
#define DH_FIND_CHUNK 256

/* A verb is answered when it has been carried out, or after this time. */
#define DH_ORDER_WAIT_S 60
#define DH_ORDER_WAIT_MAX_S 3600

/* Orders that the loop has not yet carried out. */
#define DH_ORDERS_MAX 1024

/* Connections at a time, unless the limit of open files allows fewer: a quarter of it. Those that
** follow events or logs have a bound of their own, so that they leave room for questions. */
#define DH_CONNECTIONS_MAX 768
#define DH_STREAMS_MAX 128

/* A connection that says nothing, that does not take its answer. */
#define DH_CONNECTION_IDLE_S 10

/* Default sockets that a host which starts looks at, whether somebody answers there: a few microseconds
** each. What is beyond is left for the next one. */
#define DH_SWEEP_MAX 1000

/* A request must be complete by then, however slowly it trickles in. */
#define DH_REQUEST_S 20

/* All of a request but its body. */
#define DH_REQUEST_HEAD_BYTES 32768

/* What stands behind the question mark: the longest that means something is a third of it. */
#define DH_REQUEST_QUERY_BYTES 4096

/* The body of a request. */
#define DH_REQUEST_BODY_BYTES 16384

/* Who follows events or logs hears something this often: so it is noticed when he is gone. */
#define DH_HEARTBEAT_S 15

/* How long the end of the host waits for answers to be taken. */
#define DH_DRAIN_NS 1000000000u

/* What is kept of events and of log lines. */
#define DH_EVENT_RING_BYTES 524288
#define DH_LOG_RING_BYTES 1048576

/* Lines that /v1/logs shows unless it is told another number. */
#define DH_LOG_LINES 1000

/* How often somebody who wants to put something into a ring tries, while another thread reads in it,
** before he gives up: the loop must not wait. */
#define DH_RING_TRIES 2000

/* /livez: the loop has turned within this time, unless it is told another. */
#define DH_LIVE_S 10

#endif
