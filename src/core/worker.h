/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A worker as policy sees it: its state, its counters, and what happens to it as events.
**
** The struct is the caller's memory (embed it in a bigger one), filled by dh_sup_add and touched
** only by core after that; read any field outside the private part, write none. It is 88 bytes: a
** hundred thousand sleeping workers must be cheap. What few workers need (dependencies, a group,
** a restart window, further deadlines) is in struct dh_extra, which core allocates when needed.
*/
#ifndef DH_CORE_WORKER_H
#define DH_CORE_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"
#include "core/spec.h"
#include "core/timerq.h"

struct dh_extra;
struct dh_group;
struct dh_sup;
struct dh_worker;

/*
** The states, and who wakes a worker from each. Moves are made by dh_machine_move and by
** nothing else; what is not drawn (and not in the table) is a bug and stops the process.
**
**                     +------------------------------------------------------------------+
**                     |            deadline, retry, wake on ready                        |
**                     v                                                                  |
**  added --> WAITING --> RUNNING ---- returned / raised -------> CLOSING --> BACKOFF ----+
**   ^  ^       |  ^         |                                     ^  |  |      |  |
**   |  |  stop |  |         | stop, restart, not ready in time,   |  |  |      |  | deadline, but a
**   |  |       |  |         | missed beat, its group restarts     |  |  |      |  | dependency is
**   |  |       |  |         v                                     |  |  |      |  | not ready
**   |  |       |  |      STOPPING ---- ended, or killed ----------+  |  |      |  +--> WAITING
**   |  |       v  |                                                  |  |      |
**   |  +--- STOPPED <------------------------------------------------+  |      | stop: at once,
**   | start    ^  | start                       it was stopping       |      | for good
**   |          +--(-----------------------------------------------------(------+
**   |             +<-- ordered to start again, or its group restarts ---+
**   |                                                                   |
**   +--- DONE, FAILED <-------- returned / given up --------------------+
**
**  state     alive  woken by
**  WAITING   no     boot; dependencies (the last one became ready); its group; stop
**  RUNNING   yes    on_ended (the script); an order; a deadline: recovered, start, watchdog
**  STOPPING  yes    on_ended (the script); the stop_timeout deadline, which kills
**  CLOSING   yes    on_closed (the script), once every handle and child of the run is gone
**  BACKOFF   no     the restart deadline; retry, start, restart, stop; a dependency became ready
**  DONE      no     an order
**  FAILED    no     an order
**  STOPPED   no     an order
*/
enum dh_state {
    DH_WAITING,
    DH_RUNNING,
    DH_STOPPING,
    DH_CLOSING,
    DH_BACKOFF,
    DH_DONE,
    DH_FAILED,
    DH_STOPPED,
};
#define DH_STATE_COUNT 8

/* "waiting", "running", ... as in API.md. */
const char *dh_state_name(enum dh_state state);

/* Is there an edge? */
bool dh_state_may_become(enum dh_state from, enum dh_state to);

/* Is there a run, or what is left of one? RUNNING, STOPPING, CLOSING. */
bool dh_state_is_alive(enum dh_state state);

/* Has it come to an end that only an order (or its group) changes? DONE, FAILED, STOPPED. */
bool dh_state_is_final(enum dh_state state);

enum dh_ending {
    DH_RETURNED,
    DH_RAISED,
    DH_CANCELLED, /* by the cancel or kill that core asked for; if it did not, this is a crash */
};

/*
** How a run ended, as its owner reports it with dh_sup_on_ended. It stays the reporter's, who
** keeps it in place (the natural home is the run itself) until dh_sup_step has returned: core
** links reports by their last fields and hands the struct through to events.
*/
struct dh_outcome {
    enum dh_ending ending;
    bool is_fatal;           /* decnet.fatal: do not restart */
    bool was_killed;         /* for the record; core does not ask */
    uint64_t retry_after_ns; /* decnet.retry_after, else DH_NEVER */
    uint64_t ended_ns;       /* when the body ended; the delay counts from here */
    const void *failure;     /* the reporter's record of the error; handed on, never read */

    struct dh_outcome *next; /* private from here */
    struct dh_worker *worker;
    const char *start_failure; /* core's own: there was no run */
};

/* Fill in: returned, not fatal, no retry_after, no failure. */
void dh_outcome_init(struct dh_outcome *o, enum dh_ending ending, uint64_t ended_ns);

struct dh_worker {
    const char *name; /* not ours; ends where name_len says */
    const struct dh_policy *policy;
    uint64_t since_ns; /* when it entered its state; in CLOSING: when the run ended */
    union {
        uint64_t started_ns;  /* RUNNING, STOPPING: when the run began */
        uint64_t retry_at_ns; /* CLOSING (if it leads there), BACKOFF: not before this */
    };
    uint32_t run;      /* number of the current or last run, from 1; 0: none yet */
    uint32_t restarts; /* by policy, in its lifetime; what was ordered does not count */
    uint32_t streak;   /* crashes in a row; drives the delay */
    uint8_t name_len;
    uint8_t state; /* enum dh_state */

    bool is_wanted : 1; /* 'wanted': the last order, or the policy, asks for it to be up */
    bool is_ready : 1;
    bool is_removing : 1; /* will be gone when it has stopped */
    bool is_killed : 1;   /* STOPPING: kill_run has been called */

    /* Private: noted by orders and reports, read and cleared by dh_sup_step. */
    bool is_dirty : 1;
    bool has_ended : 1;
    bool has_closed : 1;
    bool has_reported_ready : 1;
    bool is_due : 1;           /* its deadline came */
    bool is_start_asked : 1;   /* start again, after the stop if one is under way */
    bool is_retry_asked : 1;   /* do not wait for the deadline */
    bool is_unarmed : 1;       /* no memory for its deadline: try again in each step */
    bool is_automatic : 1;     /* the next start is the policy's, not somebody's order */
    uint8_t after_closing : 3; /* enum dh_state: where CLOSING leads */

    struct dh_timer timer;
    struct dh_worker *prev; /* in order of declaration */
    struct dh_worker *next;
    struct dh_worker *next_dirty;
    struct dh_extra *extra;
};

/*
** What happened. 'state' is every single move, for tests, status and waiting orders; the others
** are what decnet.on promises, and 'gone'.
*/
#define DH_EVENT_MAP(X)                                                                            \
    X(STATE, "state")         /* from -> to; to BACKOFF: delay_ns is what is left to wait */       \
    X(START, "start")         /* a run begins: every run, the restarted too */                     \
    X(READY, "ready")         /* */                                                                \
    X(CRASH, "crash")         /* outcome, reason, delay_ns, will_restart, window, is_stopping */   \
    X(RESTART, "restart")     /* the policy restarts it: comes right before its START */           \
    X(RECOVERED, "recovered") /* the streak has ended well: outage_ns */                           \
    X(GIVE_UP, "give_up")     /* will not be restarted: reason, outcome */                         \
    X(DONE, "done")           /* returned, everything closed, not to be restarted */               \
    X(STOP, "stop") /* has stopped because it was asked to, or its group failed: reason */         \
    X(GONE, "gone") /* removed: the caller may free w now, inside the call */                      \
    X(GROUP_RESTART, "group_restart") /* group; worker is the member that failed; delay_ns */      \
    X(GROUP_FAILED, "group_failed")   /* group at its limit; worker is the member that failed */   \
    X(PROVEN, "proven")     /* a changed declaration has lasted: it is no longer on trial */       \
    X(REJECTED, "rejected") /* crashed on trial: outcome, reason; right after its CRASH */         \
    X(KILL, "kill")         /* its run is killed: reason, if stop_timeout has passed */            \
    X(BLOCKED, "blocked")   /* waits for what only an order can start: reason, once a wait */

enum dh_event_kind {
#define X(name, text) DH_EVENT_##name,
    DH_EVENT_MAP(X)
#undef X
};

/* "state", "start", ... as decnet.on calls them. */
const char *dh_event_name(enum dh_event_kind kind);

struct dh_event {
    enum dh_event_kind kind;
    struct dh_worker *worker;
    struct dh_group *group; /* of group events, else NULL */
    uint64_t at_ns;
    uint32_t run;
    uint32_t streak;       /* crash: with this one */
    uint32_t window_count; /* crash: failures inside the window, with this one; 0: no limit set */
    uint32_t max_restarts; /* crash, give_up: the limit that window_count is compared with */
    enum dh_state from;    /* state */
    enum dh_state to;
    bool will_restart;  /* crash */
    bool is_rejected;   /* crash: on trial, REJECTED follows; delay_ns if nobody changes it back */
    bool is_stopping;   /* crash: it came while the worker was stopping; recorded, never counted */
    uint64_t delay_ns;  /* crash: from the run's end to the restart; DH_NEVER: none */
    uint64_t outage_ns; /* recovered: end of the first crashed run to start of the surviving one */
    const struct dh_outcome *outcome; /* crash, give_up; NULL if the run could not even start */
    const char *reason;               /* what core itself has to say, or NULL */
};

/* Is the worker being stopped for its own fault (not ready in time, a missed beat)? Writes the reason
** to text. */
bool dh_worker_is_at_fault(const struct dh_worker *w, char *text, size_t size);

/* Has everything that was ordered so far been carried out? (A start counts as carried out when the
** worker runs or waits for what it needs, a stop when nothing of it is left.) */
bool dh_worker_is_settled(const struct dh_worker *w);

#endif
