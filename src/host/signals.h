/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The process's signals: our own sigaction, an atomic mask of what is pending, and one wake-up of
** the loop. uv_signal is not used: its pipe holds a bounded number of signals, and a SIGTERM behind
** 5,000 queued SIGHUPs is lost (signals_spec, "a flood"). A mask cannot fill up.
**
** The mask and the loop to wake are the only globals of the program: a signal handler has nothing
** else to go by. So only one loop at a time can have the signals.
*/
#ifndef DH_HOST_SIGNALS_H
#define DH_HOST_SIGNALS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct dh_loop;

enum dh_signal {
    DH_SIGNAL_TERM = 1u << 0,
    DH_SIGNAL_INT = 1u << 1,
    DH_SIGNAL_HUP = 1u << 2,
    DH_SIGNAL_USR1 = 1u << 3
};

/* Take over SIGTERM, SIGINT, SIGHUP and SIGUSR1 and ignore SIGPIPE; each wakes loop. A first stop
** may take limit_ns (DH_NEVER: for ever). Returns 0, DH_EBUSY when another loop has them. */
int dh_signals_start(struct dh_loop *loop, uint64_t limit_ns);

/* Put back what was in force before. raises_again: a SIGTERM or SIGINT that came too late to be taken
** is raised again, as if it had come a moment later. */
void dh_signals_stop(struct dh_loop *loop, bool raises_again);

/* Wake the loop no longer, but stay in force, in a process that is about to end: a second SIGTERM
** that comes when all is done must not change its exit code. */
void dh_signals_leave(struct dh_loop *loop);

/* From now on, writing into a pipe that nobody reads is an error of write. By a handler: child
** processes would inherit SIG_IGN. *ret_before (or NULL): what was in force. */
void dh_signals_ignore_pipe(struct sigaction *ret_before);

/* The set of enum dh_signal that came since the last call; TERM and INT also count how often, since
** a second one means something else: *ret_stops grows by the number of them, up to 2 a call. */
unsigned dh_signals_take(unsigned *ret_stops);

/* Somebody is about to watch the signal with libuv on loop, whose handler would take the place of ours,
** and give it to the system's default when the last watcher stops. So one watcher of ours stays, and
** our handler calls libuv's. Nothing happens for signals that are not the host's. Returns 0 or a libuv
** error code; UV_EPERM: the host cannot share this one. */
int dh_signals_share(struct dh_loop *loop, int number);

/* Name who has the CPU (NULL: nobody), for the message of a process that cannot be stopped in any
** other way: when a second SIGTERM or SIGINT finds the loop still stuck after DH_STUCK_SECONDS, or
** the first one after its limit, the handler of SIGALRM says who would not stop and exits with
** DH_EXIT_STUCK. What 'name' points to must stay until the next call. Cheap: one relaxed store, and the
** name is not looked at, which is mostly in no cache. */
void dh_signals_set_holder(const char *const *name);

#endif
