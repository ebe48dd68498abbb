/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The supervisor: which worker runs, which waits, which is given up. Pure policy over struct
** dh_env: reports come in through dh_sup_on_*, orders through dh_sup_start/stop/..., and
** dh_sup_step decides. Reports and orders only record; nothing is started, cancelled, killed or
** emitted except from dh_sup_step, so that any of them may be called from anywhere, a callback of
** the env included.
**
** Nothing here scans all workers but boot, check and shutdown, once each, and a standstill of the
** whole host: what was reported or ordered is queued, and a step costs what is in the queue.
**
** When memory runs out, adding fails with DH_ENOMEM and leaves everything as it was. What is
** running already is never lost: a deadline that cannot be armed is tried again in each step (and
** a stop_timeout that cannot be armed kills at once), a crash that cannot be remembered for the
** restart limit is not counted.
*/
#ifndef DH_CORE_SUPERVISOR_H
#define DH_CORE_SUPERVISOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/env.h"
#include "core/error.h"
#include "core/limits.h"
#include "core/spec.h"
#include "core/worker.h"

/* Values of dh_timer.kind that mean "give it to dh_sup_on_timer"; other owners of timers in the
** same queue use DH_TIMER_OTHERS and above. */
enum dh_timer_kind {
    DH_TIMER_NONE,
    DH_TIMER_WORKER, /* recovered, stop_timeout, restart: one at a time, by state */
    DH_TIMER_START,  /* start_timeout */
    DH_TIMER_BEAT,   /* watchdog */
    DH_TIMER_OTHERS = 16,
};

struct dh_shared_policy; /* a policy and how many workers use it */

struct dh_sup {
    struct dh_env *env;
    uint32_t counts[DH_STATE_COUNT]; /* workers in each state */
    uint32_t worker_count;
    uint64_t stale_reports; /* reports about a run that is no more: counted, else ignored */

    bool is_booted;
    bool is_shutting_down; /* orders are refused */
    bool is_forced;        /* dh_sup_shutdown_now */
    bool essential_failed;

    /* private from here */
    bool is_stepping;
    bool is_now_known;
    bool must_sweep;          /* shutdown has to be told to every worker */
    uint32_t visit_epoch;     /* searches for cycles so far, times two */
    uint32_t step_count;      /* what is decided in one step happened 'at once' */
    uint32_t name_slots;      /* of 'names' and 'name_hashes' */
    uint32_t change_count;    /* that are pending */
    uint32_t extra_count;     /* workers that have a struct dh_extra */
    uint64_t now_ns;          /* while stepping, if it is known: see dh_machine_now */
    uint64_t looked_ns;       /* dh_sup_on_look: the last time */
    uint64_t held_ns;         /* so long has the loop been held since, */
    uint32_t holder_run;      /* by this run of ... */
    struct dh_worker *holder; /* this worker, or NULL */
    struct dh_worker **names; /* see names.h */
    uint32_t *name_hashes;    /* in the same block; 0: an empty slot */
    struct dh_worker *first;
    struct dh_worker *last;
    struct dh_worker *dirty_first;
    struct dh_worker *dirty_last;
    struct dh_worker *unarmed_first;
    struct dh_outcome *ended_first;
    struct dh_outcome *ended_last;
    struct dh_group *groups;
    struct dh_extra *dangling; /* workers with a dependency that does not exist (any more) */
    struct dh_shared_policy *policies[DH_POLICY_BUCKETS];
};

/* Start with nothing. Allocates nothing: cannot fail. */
void dh_sup_init(struct dh_sup *sup, struct dh_env *env);

/* Forget every worker and group and free what core allocated for them; emits nothing, disarms
** every deadline. Runs that are still alive are the caller's business. */
void dh_sup_fini(struct dh_sup *sup);

/* Declaring */

/*
** Declare a worker. The memory of w and of its name is the caller's and must stay until
** DH_EVENT_GONE or dh_sup_fini. Before dh_sup_boot it only joins the list and dependencies may
** name workers that come later; after it, dependencies must exist and it starts in the next step.
** Errors: DH_EINVAL (name empty or longer than DH_NAME_MAX, a policy that dh_policy_check refuses,
** more than DH_AFTER_MAX dependencies), DH_EEXIST (the name is taken: 'already running', 'already
** declared', 'is being removed'), DH_ENOENT (dependency unknown), DH_ECYCLE, DH_ENOMEM,
** DH_ESHUTDOWN. On error nothing has changed and w is the caller's again.
*/
int dh_sup_add(struct dh_sup *sup, struct dh_worker *w, const struct dh_spec *spec,
               struct dh_error *err);

/* Declare a group; it is core's and lives until dh_sup_remove_group or fini. Errors: DH_EEXIST,
** DH_EINVAL, DH_ENOMEM, DH_ESHUTDOWN. */
int dh_sup_add_group(struct dh_sup *sup, const struct dh_group_spec *spec,
                     struct dh_group **ret_group, struct dh_error *err);

/* The group of that name, or NULL. */
struct dh_group *dh_sup_find_group(struct dh_sup *sup, const char *name, size_t len);

/* Free a group without members; DH_EBUSY if it has some. */
int dh_sup_remove_group(struct dh_sup *sup, struct dh_group *group);

/* Free a group as soon as it has no members; until then its rules are in force. */
void dh_sup_drop_group(struct dh_sup *sup, struct dh_group *group);

/* Give a group another strategy and another limit (spec's name is not read); what was counted for
** another limit is forgotten. One that was dropped stays. 0 or DH_ESHUTDOWN. */
int dh_sup_change_group(struct dh_sup *sup, struct dh_group *group,
                        const struct dh_group_spec *spec, struct dh_error *err);

/*
** Replace the declaration of a worker, all but its name. It is in effect at once where no run is
** alive, else when the run under way is closed; the last change wins. Counters, history and what is
** wanted stay (but what was counted for another limit is forgotten), and nothing is started or stopped: that takes an order. Names in 'after' may be
** unknown (it waits for them); that the graph has no cycle is the caller's to check before.
**
** is_trial: a crash before a run has lasted reset_after is neither counted nor final, whatever the
** policy says: DH_EVENT_REJECTED tells the caller to change it back, and if he does not, it starts
** again as it is after DH_TRIAL_DELAY_NS. The trial is over, with DH_EVENT_PROVEN, when a run has
** lasted that long, has returned, or has said that it is healthy.
**
** Errors: DH_EINVAL as dh_sup_add, DH_ESTATE (being removed), DH_ENOMEM, DH_ESHUTDOWN; on error
** nothing has changed.
*/
int dh_sup_change(struct dh_sup *sup, struct dh_worker *w, const struct dh_spec *spec,
                  bool is_trial, struct dh_error *err);

/* What w is declared to be: the change that is pending, if there is one, else what is in force. The
** text of names is core's, until the next change. */
const struct dh_policy *dh_sup_policy(const struct dh_worker *w);
struct dh_group *dh_sup_group(const struct dh_worker *w);
size_t dh_sup_after_count(const struct dh_worker *w);
struct dh_name dh_sup_after(const struct dh_worker *w, size_t i);

/* Make w the last in order of declaration, in its group too. */
void dh_sup_move_last(struct dh_sup *sup, struct dh_worker *w);

/* Validate the whole graph: every dependency exists (DH_ENOENT), none leads back to where it came
** from (DH_ECYCLE, the text shows "a -> b -> a"). If not, *ret_at is the worker whose dependency is at
** fault. Starts nothing; may be called again. */
int dh_sup_check(struct dh_sup *sup, struct dh_worker **ret_at, struct dh_error *err);

/* dh_sup_check, then let everything declared so far start, in order of declaration and after its
** dependencies, from the next step on. */
int dh_sup_boot(struct dh_sup *sup, struct dh_error *err);

/* Asking */

/* The worker of that name, or NULL. One that is being removed is still found. */
struct dh_worker *dh_sup_find(struct dh_sup *sup, const char *name, size_t len);

/* All workers in order of declaration: first, then dh_sup_next until NULL. */
struct dh_worker *dh_sup_first(struct dh_sup *sup);
struct dh_worker *dh_sup_next(struct dh_worker *w);

/* What a status table shows. Times in nanoseconds, on env's clock. */
struct dh_status {
    enum dh_state state;
    uint64_t since_ns;
    uint64_t next_retry_in_ns; /* 0 when overdue; DH_NEVER: none is planned */
    uint32_t run;
    uint32_t restarts;
    uint32_t streak;
    bool is_wanted;
    bool is_ready;
    /* WAITING: the names it waits for, with the reason where there is one ("db (failed), cache"),
    ** or "group NAME"; otherwise empty. */
    char waiting_for[DH_WAITING_FOR_MAX];
};

void dh_sup_status(const struct dh_sup *sup, const struct dh_worker *w, uint64_t now_ns,
                   struct dh_status *ret_status);

/* Can no worker run again by itself? Nothing alive, nothing in backoff, nothing noted but not yet
** decided: what is not final then waits for something that cannot become ready. True before boot
** only if there are no workers. */
bool dh_sup_is_finished(const struct dh_sup *sup);

/* Are all runs over and closed? (shutdown is complete) */
bool dh_sup_is_quiet(const struct dh_sup *sup);

/* Is any worker in FAILED? */
bool dh_sup_has_failed(const struct dh_sup *sup);

/* Did an essential worker fail for good (which began a shutdown)? */
bool dh_sup_essential_failed(const struct dh_sup *sup);

/* Is there anything for dh_sup_step to do now? */
bool dh_sup_has_work(const struct dh_sup *sup);

/*
** Orders: by identity, idempotent; each sets what is wanted and the last one wins. All return 0 or
** DH_ESHUTDOWN, and DH_ESTATE for a worker that is being removed. An order clears the history
** (streak and restart window) except where noted. Carried out: dh_worker_is_settled.
*/

/* Be up. At rest: start (history cleared). In BACKOFF: start now. While stopping: start after it.
** Up already: nothing. */
int dh_sup_start(struct dh_sup *sup, struct dh_worker *w);

/* Be down, and stay so: outranks any pending restart. At rest: only 'wanted' changes. */
int dh_sup_stop(struct dh_sup *sup, struct dh_worker *w);

/* Replace the run: stop, then start once. Not alive: start. */
int dh_sup_restart(struct dh_sup *sup, struct dh_worker *w);

/* Do not wait any longer: BACKOFF (or on the way there) and FAILED start now, history kept; one
** that is up already: nothing. DH_ESTATE in DONE and STOPPED. */
int dh_sup_retry(struct dh_sup *sup, struct dh_worker *w);

/* Clear streak and restart window; nothing else. */
int dh_sup_reset(struct dh_sup *sup, struct dh_worker *w);

/* Stop, then forget: DH_EVENT_GONE is the last that is heard of it, and only then is its name
** free. */
int dh_sup_remove(struct dh_sup *sup, struct dh_worker *w);

/* Stop everything politely: in reverse order of declaration, but nothing before what depends on it
** has ended. From now on orders are refused. May be called again. */
void dh_sup_shutdown(struct dh_sup *sup);

/* Kill everything at once, whatever depends on it. */
void dh_sup_shutdown_now(struct dh_sup *sup);

/* Reports. 'run' is the number of the run they speak of; about another run than the current one
** they are counted in stale_reports and ignored, as are repeated ones. */

/* The run awaited or returned for the first time (is_explicit false) or called self:ready()
** (true). With 'notify' only the second counts, else whichever comes first. */
void dh_sup_on_ready(struct dh_sup *sup, struct dh_worker *w, uint32_t run, bool is_explicit);

/* self:beat(). Cheap: reads the clock, moves no deadline. The start of a run and becoming ready
** count as beats, too. */
void dh_sup_on_beat(struct dh_sup *sup, struct dh_worker *w, uint32_t run);

/* self:healthy(): the streak ends now. */
void dh_sup_on_healthy(struct dh_sup *sup, struct dh_worker *w, uint32_t run);

/* The body of the run has ended (all its tasks, by any way); outcome stays the caller's and in
** place until dh_sup_step has returned. */
void dh_sup_on_ended(struct dh_sup *sup, struct dh_worker *w, uint32_t run,
                     struct dh_outcome *outcome);

/* Nothing of the run is left: handles closed, children gone. May follow on_ended at once. */
void dh_sup_on_closed(struct dh_sup *sup, struct dh_worker *w, uint32_t run);

/*
** The host looks at its deadlines: it is now_ns, and the earliest was due at due_ns (DH_NEVER: there is
** none). To be called at each turn before what is due is taken out of the queue. If it comes later
** than DH_STANDSTILL_NS after both due_ns and the last look, the host stood still (the process was
** stopped, somebody did not give up the CPU), and of the time since the last look no more than
** DH_STANDSTILL_NS counts for any start_timeout, watchdog or stop_timeout, except of a worker that held it.
*/
void dh_sup_on_look(struct dh_sup *sup, uint64_t now_ns, uint64_t due_ns);

/* The run had the CPU for held_ns in one slice that ends now: if the host stood still, so much of it
** counts for this run all the same. Noted until the next look; one of several that held it is. */
void dh_sup_on_held(struct dh_sup *sup, struct dh_worker *w, uint32_t run, uint64_t held_ns);

/* A timer whose kind is below DH_TIMER_OTHERS was due and has been taken out of the queue. */
void dh_sup_on_timer(struct dh_sup *sup, struct dh_timer *t);

/* Decide, until nothing is left to decide. Called from within itself (by a callback of the env) it
** returns at once: the outer call goes on. */
void dh_sup_step(struct dh_sup *sup);

#endif
