/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/run.h"

#include <assert.h>
#include <lauxlib.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "script/backlog.h"
#include "script/declare.h"
#include "script/failure.h"
#include "script/files.h"
#include "script/idle.h"
#include "script/instance.h"
#include "script/leftover.h"
#include "script/limits.h"
#include "script/luvclose.h"
#include "script/luvloop.h"
#include "script/owned.h"
#include "script/printed.h"
#include "script/spawn.h"
#include "script/unit.h"
#include "script/vm.h"
#include "script/wait.h"

void dh_run_init(struct dh_run *run, struct dh_instance *instance, struct dh_unit *unit,
                 uint32_t number) {
    memset(run, 0, sizeof(*run));
    run->instance = instance;
    run->unit = unit;
    run->number = number;
}

uint32_t dh_run_handle_count(const struct dh_run *run) {
    return run->owned != NULL ? run->owned->handle_count : 0;
}

void dh_run_push_self(lua_State *L, struct dh_run *run) {
    if (run->unit == NULL) {
        lua_pushnil(L);
    } else {
        run->is_known = true;
        dh_vm_push_anchored(L, run->main.anchor);
    }
}

void dh_run_add_task(struct dh_run *run, struct dh_task *t) {
    struct dh_task *head = &run->main;
    t->run = run;
    run->task_count++;
    if (t == head) {
        run->has_main = true;
        return;
    }
    t->next_of_run = NULL;
    t->prev_of_run = head->prev_of_run != NULL ? head->prev_of_run : head;
    t->prev_of_run->next_of_run = t;
    head->prev_of_run = t;
}

static void remove_task(struct dh_run *run, struct dh_task *t) {
    struct dh_task *head = &run->main;
    run->task_count--;
    if (t == head) {
        run->has_main = false;
        return;
    }
    t->prev_of_run->next_of_run = t->next_of_run;
    if (t->next_of_run != NULL) {
        t->next_of_run->prev_of_run = t->prev_of_run;
    } else {
        head->prev_of_run = t->prev_of_run;
    }
}

void dh_run_on_slice_end(struct dh_run *run) {
    if (!run->is_ready_reported && run->unit != NULL && run->phase == DH_RUN_LIVE) {
        run->is_ready_reported = true;
        dh_sup_on_ready(&run->instance->host.sup, &run->unit->worker, run->number, false);
    }
}

/* Ending */

/* No deferred function and no idle coroutine is to be called any more. */
static void release_cleanup(struct dh_run *run) {
    struct dh_owned *owned = run->owned;
    if (owned != NULL) {
        dh_vm_release(run->instance->vm, owned->defers);
        dh_vm_release(run->instance->vm, owned->idle);
        owned->defers = owned->idle = 0;
    }
}

static void free_owned(struct dh_run *run) {
    struct dh_vm *vm = run->instance->vm;
    release_cleanup(run);
    dh_printed_end(run);
    dh_vm_release(vm, run->owned->closer);
    while (run->owned->waiting.first != NULL) { /* other runs' tasks, to queue its work */
        dh_backlog_go_on(vm, run->owned->waiting.first);
    }
    free(run->owned);
    run->owned = NULL;
}

static void close_run(struct dh_run *run) {
    struct dh_instance *instance = run->instance;
    struct dh_vm *vm = instance->vm;
    run->phase = DH_RUN_CLOSED;
    dh_timerq_disarm(&instance->host.timers, &run->closing->deadline);
    if (run->has_work) {
        dh_turn_set_work(vm, run, false);
    }
    if (run->owned != NULL) {
        free_owned(run);
    }
    if (run->unit != NULL) {
        if (run->account != DH_ACCOUNT_HOST) {
            dh_cap_end(vm, run);
        }
        dh_sup_on_closed(&instance->host.sup, &run->unit->worker, run->number);
        dh_instance_add_closed(instance, run);
    } else if (run != &instance->own) {
        dh_load_on_closed(run);
    }
}

/* Requests that threads work on may have a file descriptor, which must not be another file's before
** they are done. */
static bool is_all_closed(const struct dh_run *run) {
    const struct dh_owned *owned = run->owned;
    return owned->handle_count == 0 && (owned->fd_count == 0 || run->closing->is_impatient);
}

static void close_files(struct dh_run *run) {
    if (dh_files_close(run, DH_PIECE)) {
        close_run(run);
    }
}

static void close_if_all_closed(struct dh_run *run) {
    if (run->phase == DH_RUN_HANDLES && !run->has_work && is_all_closed(run)) {
        run->instance->vm->in_flight--;
        run->phase = DH_RUN_FILES;
        dh_turn_set_work(run->instance->vm, run, true);
        close_files(run);
    }
}

/* There may be memory again. If there is none for the timer, in the next turn. */
static void try_again_later(struct dh_run *run) {
    struct dh_host *host = &run->instance->host;
    if (dh_timerq_arm(&host->timers, &run->closing->deadline, dh_host_now(host) + DH_RETRY_NS) !=
        0) {
        dh_turn_set_work(run->instance->vm, run, true);
    }
}

static void close_handles(struct dh_run *run) {
    enum dh_luv_progress progress = dh_luv_close_owned(run, DH_PIECE);
    if (progress == DH_LUV_CLOSED_SOME) {
        return;
    }
    dh_turn_set_work(run->instance->vm, run, false);
    if (progress == DH_LUV_NO_MEMORY) {
        try_again_later(run);
    } else {
        close_if_all_closed(run);
    }
}

void dh_run_close_again(struct dh_run *run) {
    if (run->phase == DH_RUN_HANDLES) {
        dh_luv_begin_closing(run);
        dh_turn_set_work(run->instance->vm, run, true);
        close_handles(run);
    }
}

/* Its time to end is limited. Without memory for the timer it has none. */
static void limit_end(struct dh_run *run, uint64_t deadline_ns) {
    struct dh_host *host = &run->instance->host;
    if (dh_timerq_arm(&host->timers, &run->closing->deadline, deadline_ns) == 0) {
        return;
    }
    if (run->phase <= DH_RUN_CLEANUP) {
        run->is_killed = true;
        dh_turn_set_work(run->instance->vm, run, true);
    } else {
        run->closing->is_impatient = true;
        dh_run_close_again(run);
    }
}

static void enter_handles(struct dh_run *run) {
    struct dh_host *host = &run->instance->host;
    if (run->owned == NULL) { /* it has opened nothing */
        close_run(run);
        return;
    }
    run->phase = DH_RUN_HANDLES;
    run->instance->vm->in_flight++; /* a virtual clock stands for the system to close them */
    dh_timerq_disarm(&host->timers, &run->closing->deadline); /* of the phases before */
    dh_run_close_again(run);
    if (run->phase != DH_RUN_CLOSED && !dh_timer_is_armed(&run->closing->deadline)) {
        /* children have been asked to end: they get this long */
        limit_end(run, dh_host_now(host) + DH_CHILD_GRACE_NS);
    }
}

/* The last deferred function, taken off the list: pushed, or false and nothing. */
static bool take_defer(lua_State *L, const struct dh_run *run) {
    if (run->owned->defers == 0) {
        return false;
    }
    dh_vm_push_anchored(L, run->owned->defers);
    lua_Unsigned n = lua_rawlen(L, -1);
    if (n == 0) {
        lua_pop(L, 1);
        return false;
    }
    lua_rawgeti(L, -1, (lua_Integer)n);
    lua_pushnil(L);
    lua_rawseti(L, -3, (lua_Integer)n);
    lua_remove(L, -2);
    return true;
}

/* Body of the cleanup task: 1 is a list for dh_idle_close_next. Idle coroutines are closed and
** deferred functions called once each, last first; each is forgotten before, so that a kill in the
** middle of it skips no other. */
static int cleanup_k(lua_State *L, int status, lua_KContext ctx) {
    struct dh_vm *vm = dh_vm_of(L);
    struct dh_task *t = vm->current;
    (void)ctx;
    for (;;) {
        if (status != LUA_OK && status != LUA_YIELD) {
            dh_instance_report_cleanup(t->run, t->failure);
            t->failure = NULL;
        }
        status = LUA_OK;
        lua_settop(L, 2);
        if (dh_idle_close_next(L, t->run, 1)) {
            if (dh_preempt_elapsed_ns(&vm->preempt) > 0) { /* no hook can yield between them */
                return dh_wait_turn(L, t, 0, cleanup_k);
            }
            continue;
        }
        if (!take_defer(L, t->run)) {
            return 0;
        }
        status = lua_pcallk(L, 0, 0, 2, 0, cleanup_k);
    }
}

static int cleanup(lua_State *L) {
    lua_newtable(L);
    lua_pushcfunction(L, dh_task_on_error);
    return cleanup_k(L, LUA_OK, 0);
}

static int start_cleanup(lua_State *L) {
    struct dh_run *run = lua_touserdata(L, 1);
    struct dh_task *t = dh_task_new(L);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, -3, 1);
    lua_pop(L, 1);
    lua_pushcfunction(co, cleanup);
    dh_task_start(L, t, run, co, 0);
    uint64_t limit_ns = run->unit->worker.policy->hang_timeout_ns;
    if (run->is_killed && limit_ns != DH_NEVER) {
        struct dh_host *host = &run->instance->host;
        limit_end(run, dh_host_now(host) + limit_ns);
    }
    return 0;
}

/* Has it deferred anything, or left coroutines idle? */
static bool has_cleanup(const struct dh_run *run) {
    return run->owned != NULL && (run->owned->defers != 0 || run->owned->idle != 0);
}

/* Is there anything left for the cleanup task to do? */
static bool needs_cleanup(lua_State *L, const struct dh_run *run) {
    if (dh_idle_has_any(L, run)) {
        return true;
    }
    if (run->owned == NULL || run->owned->defers == 0) {
        return false;
    }
    dh_vm_push_anchored(L, run->owned->defers);
    bool has_defers = lua_rawlen(L, -1) > 0;
    lua_pop(L, 1);
    return has_defers;
}

/* No task is left: on to the next phase. */
static void advance(struct dh_run *run) {
    lua_State *L = run->instance->vm->L;
    if (run->phase == DH_RUN_ENDING || run->phase == DH_RUN_CLEANUP) {
        if (needs_cleanup(L, run)) {
            run->phase = DH_RUN_CLEANUP;
            lua_pushcfunction(L, start_cleanup);
            lua_pushlightuserdata(L, run);
            uint32_t before = dh_vm_bill(run->instance->vm, run->account);
            bool is_started = lua_pcall(L, 1, 0, 0) == LUA_OK;
            dh_vm_bill(run->instance->vm, before);
            if (is_started) {
                return;
            }
            dh_instance_report_cleanup(run, dh_failure_capture(L, -1, 0));
            lua_pop(L, 1);
        }
        enter_handles(run);
    }
}

static void cancel_tasks(struct dh_run *run) {
    struct dh_vm *vm = run->instance->vm;
    struct dh_task *next;
    for (struct dh_task *t = dh_run_first_task(run); t != NULL; t = next) {
        next = t->next_of_run;
        dh_task_on_cancel(vm, t);
    }
}

/* Until when a run that ends now may take its time: from the order to stop, if there was one, whose
** timer has been put off by what the host stood still since. */
static uint64_t polite_until(const struct dh_host *host, const struct dh_worker *w, uint64_t now) {
    uint64_t timeout = w->policy->stop_timeout_ns;
    if (w->state != DH_STOPPING) {
        return now + timeout;
    }
    uint64_t deadline_ns = dh_timerq_deadline(&host->timers, &w->timer);
    return deadline_ns != DH_NEVER ? deadline_ns : w->since_ns + timeout;
}

/* A worker's run has a reason to end: report it, cancel what is left. */
static void end(struct dh_run *run, enum dh_ending ending, struct dh_failure *failure) {
    struct dh_host *host = &run->instance->host;
    struct dh_closing *c = run->closing;
    run->phase = DH_RUN_ENDING;
    run->is_cancelled = true;
    dh_idle_hold(run->instance->vm->L, run);
    c->failure = failure;
    dh_outcome_init(&c->outcome, ending, dh_host_now(host));
    c->outcome.was_killed = run->is_killed;
    if (failure != NULL) {
        failure->run = run->number;
        failure->at_ns = c->outcome.ended_ns;
        c->outcome.failure = failure;
        c->outcome.is_fatal = failure->is_fatal;
        c->outcome.retry_after_ns = failure->retry_after_ns;
    }
    const struct dh_worker *w = &run->unit->worker;
    dh_sup_on_ended(&host->sup, &run->unit->worker, run->number, &c->outcome);
    uint64_t timeout = w->policy->stop_timeout_ns;
    bool may_last = run->task_count > 0 || has_cleanup(run);
    if (may_last && timeout != DH_NEVER) {
        limit_end(run, polite_until(host, w, c->outcome.ended_ns));
    }
    cancel_tasks(run);
}

/* What the run was ended for, if that was its own fault: taken over by the caller. */
static struct dh_failure *take_cause(const struct dh_run *run) {
    struct dh_trouble *trouble = run->unit->trouble;
    struct dh_failure *cause = trouble != NULL ? trouble->cause : NULL;
    if (cause != NULL) {
        trouble->cause = NULL;
    }
    return cause;
}

/* Those that came of malloc are above or below the array. */
static bool is_spare(const struct dh_instance *instance, const struct dh_closing *closing) {
    uintptr_t first = (uintptr_t)instance->spare_closings;
    return (uintptr_t)closing - first < sizeof(instance->spare_closings);
}

void dh_closing_free(struct dh_instance *instance, struct dh_closing *closing) {
    if (is_spare(instance, closing)) {
        closing->is_taken = false;
    } else if (instance->kept_count < DH_KEPT_CLOSINGS) {
        instance->kept_count++;
        closing->next = instance->kept_closings;
        instance->kept_closings = closing;
    } else {
        free(closing);
    }
}

static struct dh_closing *take_kept_closing(struct dh_instance *instance) {
    struct dh_closing *closing = instance->kept_closings;
    if (closing != NULL) {
        instance->kept_count--;
        instance->kept_closings = closing->next;
    }
    return closing;
}

void dh_closing_free_kept(struct dh_instance *instance) {
    struct dh_closing *closing;
    while ((closing = take_kept_closing(instance)) != NULL) {
        free(closing);
    }
}

/* When memory is out. */
static struct dh_closing *find_spare_closing(struct dh_instance *instance) {
    for (unsigned i = 0; i < DH_SPARE_CLOSINGS; i++) { /* unreached: the end, which ends the host */
        if (!instance->spare_closings[i].is_taken) {
            return &instance->spare_closings[i];
        }
    }
    dh_host_die("out of memory while many runs end");
}

static void make_closing(struct dh_run *run) {
    struct dh_closing *closing = take_kept_closing(run->instance);
    if (closing == NULL && (closing = malloc(sizeof(*closing))) == NULL) {
        closing = find_spare_closing(run->instance);
    }
    *closing =
        (struct dh_closing){.run = run, .deadline = {.kind = DH_TIMER_CLOSING}, .is_taken = true};
    run->closing = closing;
}

static void begin_end(struct dh_run *run, enum dh_ending ending, struct dh_failure *failure) {
    if (run->phase != DH_RUN_LIVE) {
        dh_instance_report_cleanup(run, failure);
        return;
    }
    make_closing(run);
    struct dh_failure *cause = take_cause(run);
    if (failure == NULL) {
        failure = cause;
    } else {
        dh_failure_free(cause);
    }
    end(run, ending, failure);
}

void dh_run_on_task_ended(struct dh_run *run, struct dh_task *t, struct dh_failure *failure) {
    remove_task(run, t);
    bool is_main = run->unit != NULL && t == &run->main;
    if (!is_main) {
        dh_vm_release(run->instance->vm, t->anchor);
    }
    if (run->unit == NULL) {
        dh_instance_report_cleanup(run, failure);
        dh_luvloop_on_ended(run);
        return;
    }
    if (t->ending == DH_TASK_CRASHED) {
        begin_end(run, DH_RAISED, failure);
    } else if (is_main) {
        dh_run_on_slice_end(run);
        begin_end(run, t->ending == DH_TASK_RETURNED ? DH_RETURNED : DH_CANCELLED, NULL);
        dh_instance_report_cleanup(run, failure);
    } else {
        dh_instance_report_cleanup(run, failure);
    }
    dh_luvloop_on_ended(run);
    if (run->phase != DH_RUN_LIVE && run->task_count == 0) {
        advance(run);
    }
}

void dh_run_crash(struct dh_run *run, struct dh_failure *failure) {
    if (run->unit == NULL || run->phase != DH_RUN_LIVE) {
        dh_instance_report_cleanup(run, failure);
        return;
    }
    assert(run->task_count > 0); /* its main task ends a live run */
    begin_end(run, DH_RAISED, failure);
}

void dh_run_cancel(struct dh_run *run) {
    if (run->phase == DH_RUN_LIVE) {
        run->is_cancelled = true;
        cancel_tasks(run);
    }
}

static bool can_kill_more(const struct dh_run *run) {
    const struct dh_task *first = dh_run_first_task(run);
    return run->phase <= DH_RUN_CLEANUP && first != NULL &&
           !first->forbids_waits; /* that is the cleanup of a killed run */
}

/* Kill so many of its tasks, or all from one that hangs on, in one slice: however many hang while they
** are closed, hang_timeout is what the others wait. */
static void kill_tasks(struct dh_run *run, unsigned n) {
    struct dh_vm *vm = run->instance->vm;
    dh_preempt_begin_slice_between_turns(&vm->preempt, dh_run_first_task(run)->co);
    while (can_kill_more(run) && (n > 0 || dh_preempt_is_overdue(&vm->preempt))) {
        dh_task_kill(vm, dh_run_first_task(run));
        n -= n > 0;
    }
    dh_preempt_end_slice(&vm->preempt);
    if (run->phase <= DH_RUN_CLEANUP) {
        dh_turn_set_work(vm, run, can_kill_more(run));
    }
}

void dh_run_kill(struct dh_run *run) {
    run->is_cancelled = true;
    run->is_killed = true;
    if (can_kill_more(run)) {
        kill_tasks(run, DH_PIECE);
    }
}

void dh_run_work(struct dh_run *run) {
    if (run->phase <= DH_RUN_CLEANUP) {
        kill_tasks(run, DH_PIECE);
    } else if (run->phase == DH_RUN_HANDLES) {
        close_handles(run);
    } else {
        close_files(run);
    }
}

/* The cleanup of a killed run has had its time. */
static void drop_cleanup(struct dh_run *run) {
    struct dh_vm *vm = run->instance->vm;
    dh_instance_report_cleanup(
        run, dh_failure_from_text("the cleanup of the killed run took longer than hang_timeout: "
                                  "what was left of it was dropped"));
    release_cleanup(run);
    dh_task_kill(vm, dh_run_first_task(run));
}

void dh_run_end_own(struct dh_run *run) {
    make_closing(run);
    do {
        dh_run_kill(run);
    } while (can_kill_more(run));
    enter_handles(run);
}

void dh_run_on_handle_closed(struct dh_run *run) {
    assert(run->owned->handle_count > 0);
    run->owned->handle_count--;
    close_if_all_closed(run);
}

void dh_run_on_request_done(struct dh_run *run, struct dh_request *request) {
    dh_owned_remove_request(run->owned, request);
    close_if_all_closed(run);
}

void dh_run_on_deadline(struct dh_timer *timer) {
    struct dh_closing *c =
        (struct dh_closing *)((char *)timer - offsetof(struct dh_closing, deadline));
    if (c->run->is_killed && c->run->phase == DH_RUN_CLEANUP) {
        drop_cleanup(c->run);
    }
    if (c->run->unit != NULL && !c->run->is_killed && c->run->phase <= DH_RUN_CLEANUP &&
        c->run->unit->worker.policy->stop_timeout_ns > 0) {
        dh_instance_report_kill(c->run);
    }
    dh_run_kill(c->run);
    if (c->run->phase == DH_RUN_HANDLES) {
        c->is_impatient = true;
        dh_run_close_again(c->run);
    }
}
