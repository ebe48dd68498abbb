/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A host: a supervisor, a deadline queue and a loop, and the turn that keeps them going. It gives
** core its world (struct dh_env) and asks a runner, which the script layer implements, to carry out
** what core decides.
**
**   turn:  due deadlines -> dh_sup_step -> tasks that are ready -> dh_sup_step -> poll libuv
**
** With a virtual clock nothing waits: time stands while there is something to do and then jumps to
** the next deadline (dh_host_advance).
*/
#ifndef DH_HOST_HOST_H
#define DH_HOST_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "core/supervisor.h"
#include "host/budget.h"
#include "host/limits.h"
#include "host/loop.h"
#include "host/service.h"

struct dh_host;
struct dh_log;

/* What carries out the supervisor's decisions. */
struct dh_runner {
    int (*start_run)(struct dh_host *host, struct dh_worker *w);
    void (*cancel_run)(struct dh_host *host, struct dh_worker *w);
    void (*kill_run)(struct dh_host *host, struct dh_worker *w);
    void (*on_event)(struct dh_host *host, const struct dh_event *ev);

    /* A timer of kind >= DH_TIMER_OTHERS was due. */
    void (*on_timer)(struct dh_host *host, struct dh_timer *t);

    /* After each dh_sup_step: what was waiting for a decision may go on. */
    void (*on_stepped)(struct dh_host *host);

    /* Run tasks that are ready, each once at most, or as many as the budget allows: ends it if it
    ** finds nothing to count; are there any? */
    void (*turn)(struct dh_host *host, struct dh_budget *budget);
    bool (*is_ready)(struct dh_host *host);

    /* Is there work to be done (collecting garbage) that may wait for as long as somebody is ready?
    ** Do some, for a small fraction of a millisecond. */
    bool (*has_debt)(struct dh_host *host);
    void (*idle)(struct dh_host *host);

    /* Are there one-shot requests that other threads work on? */
    bool (*is_in_flight)(struct dh_host *host);

    /* Stop was asked for at once: what no order of the supervisor reaches must go too. */
    void (*kill_all)(struct dh_host *host);

    /* Name in the log what has not ended although it was killed. */
    void (*name_stuck)(struct dh_host *host);

    /* SIGUSR1: log what every worker is doing. */
    void (*dump)(struct dh_host *host);

    /* SIGHUP: load the script again. False: there is none. */
    bool (*reload)(struct dh_host *host);

    /* Should the host stop for another reason than its workers? (run_group's stop event) */
    bool (*wants_stop)(struct dh_host *host);
};

struct dh_host_options {
    struct dh_alloc *alloc;
    struct dh_loop *loop;
    struct dh_log *log; /* NULL: log nothing */
    const struct dh_runner *runner;
    bool is_virtual;              /* time moves by dh_host_advance only, from 0 */
    bool takes_signals;           /* install handlers while dh_host_run runs */
    bool ends_process;            /* after dh_host_run there is nothing more to do */
    bool is_service;              /* tell the service manager, if one asks for it */
    bool keeps_alive;             /* stay when no worker can run again */
    uint64_t shutdown_timeout_ns; /* after that a stop is no longer polite; DH_NEVER */
    uint64_t seed;                /* of jitter; 0: from the system */
};

/* How late deadlines were met: a histogram. */
struct dh_lateness {
    uint64_t
        counts[DH_LATENESS_BUCKETS + 1]; /* [i]: by less than 2^i * DH_LATENESS_NS; last: more */
    uint64_t sum_ns;
};

struct dh_host {
    struct dh_env env;
    struct dh_sup sup;
    struct dh_timerq timers;
    struct dh_host_options options;
    struct dh_timer shutdown_timer;
    struct dh_timer hold_timer;
    struct dh_service service;
    uint64_t began_ns; /* before anything was declared */
    uint64_t virtual_ns;
    uint64_t stood_since_ns; /* real time since which the virtual clock stands, 0: it does not */
    uint64_t random_state;
    struct dh_lateness lateness; /* of the timers in 'timers' */
    unsigned stops;              /* how often a stop was asked for */
    unsigned holds;              /* hooks under way: the host ends after them */
    bool is_hold_over;
    bool is_stopping;
    bool had_signal;  /* to stop */
    bool was_stopped; /* by somebody, not because all had ended */
    bool is_running;
    bool is_stuck;       /* something did not end although it was killed */
    bool wants_stop_now; /* a second stop was asked for: kill in the next turn */
};

/* Exit codes, as API.md says. */
enum { DH_EXIT_OK = 0, DH_EXIT_FAILED = 1, DH_EXIT_USAGE = 2, DH_EXIT_STUCK = 3 };

/* Timers that are the host's or the runner's. */
enum {
    DH_TIMER_SHUTDOWN = DH_TIMER_OTHERS,
    DH_TIMER_HOLD,
    DH_TIMER_SERVICE,
    DH_TIMER_WATCHDOG,
    DH_TIMER_RUNNER
};

void dh_host_init(struct dh_host *host, const struct dh_host_options *options);
void dh_host_fini(struct dh_host *host);

/* Now, on the host's clock. */
uint64_t dh_host_now(const struct dh_host *host);

/* Run until every worker is at rest for good or a stop has been carried out; returns the exit
** code. What was declared is booted first: an error there is returned as DH_EXIT_USAGE with *err. */
int dh_host_run(struct dh_host *host, struct dh_error *err);

/* Ask the host to stop: politely, and the second time at once. */
void dh_host_stop(struct dh_host *host);

/* Has a stop been carried out, or is there nothing left that could run? While somebody holds the
** host it is not over, for DH_HOLD_NS. */
bool dh_host_is_over(const struct dh_host *host);

/* Something is to be finished before the host ends, or has been. */
void dh_host_hold(struct dh_host *host);
void dh_host_release(struct dh_host *host);

/* The script is to be loaded again (once more, if that is under way), or that is over. */
void dh_host_on_reload(struct dh_host *host, bool is_over);

/* The exit code that dh_host_run would return now. */
int dh_host_exit_code(const struct dh_host *host);

/* Virtual clock: do what is due, or move the clock to the next deadline, at most to limit_ns.
** Returns false once the clock is there and nothing is left to do at that time. */
bool dh_host_advance(struct dh_host *host, uint64_t limit_ns);

/* Virtual clock: when there is something to do again; now, if there is already; DH_NEVER. */
uint64_t dh_host_next(struct dh_host *host);

/* Real time was spent by a slice that did not end by itself: a virtual clock moves by it. */
void dh_host_spend(struct dh_host *host, uint64_t elapsed_ns);

/* Write why to stderr and end the process: for what cannot go on (no memory to end a run with). */
_Noreturn void dh_host_die(const char *why);

#endif
