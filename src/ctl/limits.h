/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Every bound that the client keeps, with its reason.
*/
#ifndef DH_CTL_LIMITS_H
#define DH_CTL_LIMITS_H

/* A host that is there answers within 50 ms even while its loop is stuck. One that says nothing for
** this long is itself stopped, or swapped out. */
#define DH_CTL_PATIENCE_S 5

/* An answer that is no stream has ended by then, and has no more bytes: a hundred thousand workers are
** 80 MB, in a second or two. */
#define DH_CTL_ANSWER_S 60
#define DH_CTL_ANSWER_BYTES (1u << 30)

/* Workers that are held as rows: 200 MB. */
#define DH_CTL_WORKERS_MAX 1000000

/* Who follows events or logs hears something every 15 seconds: twice that, and some time to spare. */
#define DH_CTL_SILENCE_S 40

/* How often a host that has gone is looked for. */
#define DH_CTL_RETRY_NS 500000000u

/* How often a worker is asked for whose endings the host could not tell within its 50 ms. */
#define DH_CTL_TRIES 4

/* `wait` and `top`: pause between two looks, and how many times what a look took it is at least: ten
** thousand workers are eight megabytes. */
#define DH_CTL_WAIT_NS 200000000u
#define DH_CTL_TOP_NS 1000000000u
#define DH_CTL_REST 4

/* A worker as JSON: message and traceback of its last error are most of it. One with all its endings is
** held as a whole, too. What is longer does not come from a host. */
#define DH_CTL_ITEM_BYTES (8u << 20)

/* A line of a log or of the stream of events. */
#define DH_CTL_LINE_BYTES (1u << 20)

/* What is shown of a worker's error in a table. */
#define DH_CTL_NOTE_BYTES 512

/* The widest column of names: who has longer names sees them in `status NAME`. */
#define DH_CTL_NAME_CELLS 32
/* ... and the narrowest beside which a state is still shown. */
#define DH_CTL_NAME_CELLS_MIN 4

/* What is left for the last column, before other columns give way. */
#define DH_CTL_NOTE_CELLS 21

/* Sockets that are named when --socket is missing. */
#define DH_CTL_SOCKETS_SHOWN 16

/* Workers that `wait` names when its time is over. */
#define DH_CTL_NAMED 5

#endif
