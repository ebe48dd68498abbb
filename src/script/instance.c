/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/instance.h"

#include <assert.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/group.h"
#include "host/report.h"
#include "script/backlog.h"
#include "script/failure.h"
#include "script/hostlib.h"
#include "script/leftover.h"
#include "script/limits.h"
#include "script/port.h"
#include "script/scope.h"
#include "script/spare.h"
#include "script/table.h"
#include "script/unit.h"
#include "script/vm.h"
#include "script/wait.h"

static struct dh_instance *instance_of(struct dh_host *host) {
    return (struct dh_instance *)host; /* first member */
}

/* Runs */

static int start_unit(lua_State *L) {
    dh_unit_start_run(L, lua_touserdata(L, 1));
    return 0;
}

static int start_billed(struct dh_vm *vm, struct dh_unit *unit) {
    lua_State *L = vm->L;
    if (!dh_cap_make_room(vm, unit)) {
        return DH_ENOMEM;
    }
    if (dh_spare_has_all(unit)) { /* nothing is made that could raise */
        dh_unit_start_run(L, unit);
        dh_cap_start(vm, unit->run);
        return 0;
    }
    lua_pushcfunction(L, start_unit);
    lua_pushlightuserdata(L, unit);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        lua_pop(L, 1);
        return DH_ENOMEM;
    }
    dh_cap_start(vm, unit->run);
    return 0;
}

static int start_run(struct dh_host *host, struct dh_worker *w) {
    struct dh_vm *vm = instance_of(host)->vm;
    uint32_t account = dh_spare_account(vm, dh_unit_of(w));
    if (vm->ledger != NULL && account == DH_ACCOUNT_HOST) {
        return DH_ENOMEM;
    }
    uint32_t before = dh_vm_bill(vm, account);
    int err = start_billed(vm, dh_unit_of(w));
    dh_vm_bill(vm, before);
    return err;
}

/* A run that is ended for its own fault: where does it stand? */
static void note_cause(struct dh_unit *unit) {
    char reason[DH_REASON_MAX];
    struct dh_trouble *trouble;
    if (!dh_worker_is_at_fault(&unit->worker, reason, sizeof(reason)) ||
        unit->run->phase != DH_RUN_LIVE || (trouble = dh_unit_trouble(unit)) == NULL ||
        trouble->cause != NULL) {
        return;
    }
    const struct dh_task *t = &unit->run->main;
    trouble->cause =
        t->is_started ? dh_failure_of_stack(reason, t->inner) : dh_failure_from_text(reason);
}

static void cancel_run(struct dh_host *host, struct dh_worker *w) {
    (void)host;
    note_cause(dh_unit_of(w));
    dh_run_cancel(dh_unit_of(w)->run);
}

static void kill_run(struct dh_host *host, struct dh_worker *w) {
    (void)host;
    note_cause(dh_unit_of(w));
    dh_run_kill(dh_unit_of(w)->run);
}

void dh_instance_add_closed(struct dh_instance *instance, struct dh_run *run) {
    run->closing->next = instance->closed;
    instance->closed = run->closing;
}

/* The supervisor has heard of it: the outcome is not needed any more, the failure is the worker's
** last one, the userdata is Lua's again. */
static void release(struct dh_instance *instance, struct dh_run *run) {
    struct dh_unit *unit = run->unit;
    assert(run->closing != NULL);
    struct dh_failure *failure = run->closing->failure;
    struct dh_trouble *trouble = NULL;
    if (failure != NULL && unit->instance != NULL && (trouble = dh_unit_trouble(unit)) != NULL) {
        dh_failure_free(trouble->failure);
        trouble->failure = failure;
    } else {
        dh_failure_free(failure);
    }
    if (unit->run == run) {
        unit->run = NULL;
    }
    run->closing->run = NULL;
    run->closing = NULL;
    run->instance = NULL;
    if (!dh_spare_keep(instance->vm, run)) {
        dh_spare_let_go(instance->vm, run);
    }
}

/* Events */

/* The table that hooks get. */
static void push_event(lua_State *L, const struct dh_event *ev) {
    const struct dh_failure *f = ev->outcome != NULL ? ev->outcome->failure : NULL;
    lua_createtable(L, 0, 10);
    dh_table_set_string(L, "event", dh_event_name(ev->kind));
    dh_table_set_string(L, "worker", ev->worker->name);
    dh_table_set_seconds(L, "at", ev->at_ns);
    dh_table_set_integer(L, "run", ev->run);
    if (ev->reason != NULL) {
        dh_table_set_string(L, "reason", ev->reason);
    }
    if (ev->group != NULL) {
        struct dh_name group = dh_group_name(ev->group);
        lua_pushlstring(L, group.text, group.len);
        lua_setfield(L, -2, "group");
    }
    if (f != NULL) {
        dh_table_set_string(L, "error", f->message);
        dh_table_set_string(L, "traceback", f->traceback);
    } else if (ev->kind == DH_EVENT_CRASH || ev->kind == DH_EVENT_GIVE_UP) {
        dh_table_set_string(L, "error", ev->reason != NULL ? ev->reason : "out of memory");
    }
    if (ev->kind == DH_EVENT_CRASH) {
        dh_table_set_integer(L, "streak", ev->streak);
        dh_table_set_boolean(L, "will_restart", ev->will_restart);
        dh_table_set_boolean(L, "stopping", ev->is_stopping);
    }
    bool has_delay = ev->kind == DH_EVENT_CRASH || ev->kind == DH_EVENT_GROUP_RESTART;
    if (has_delay && ev->delay_ns != DH_NEVER) {
        dh_table_set_seconds(L, "delay", ev->delay_ns);
    }
    if (ev->kind == DH_EVENT_STATE) {
        dh_table_set_string(L, "from", dh_state_name(ev->from));
        dh_table_set_string(L, "to", dh_state_name(ev->to));
    }
    if (ev->kind == DH_EVENT_REJECTED) {
        dh_table_set_seconds(L, "lasted", ev->at_ns - ev->worker->started_ns);
    }
    if (ev->kind == DH_EVENT_RECOVERED) {
        dh_table_set_seconds(L, "outage", ev->outage_ns);
    }
}

static int queue_event(lua_State *L) {
    struct dh_instance *instance = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, instance->events);
    push_event(L, lua_touserdata(L, 2));
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    return 0;
}

static bool is_wanted(const struct dh_instance *instance, enum dh_event_kind kind) {
    if (instance->on_event == LUA_NOREF || kind == DH_EVENT_GONE) {
        return false;
    }
    return kind != DH_EVENT_STATE || instance->wants_states;
}

static void note_ending(struct dh_unit *unit, const struct dh_event *ev) {
    struct dh_trouble *trouble = dh_unit_trouble(unit);
    if (trouble != NULL) {
        bool has_outcome = unit->run != NULL && unit->run->closing != NULL;
        dh_dossier_on_event(&trouble->dossier, ev,
                            has_outcome ? &unit->run->closing->outcome : NULL);
    }
}

static void report(struct dh_host *host, const struct dh_event *ev, struct dh_trouble *trouble) {
    const struct dh_failure *f = ev->outcome != NULL ? ev->outcome->failure : NULL;
    struct dh_crash_loop *loop = trouble != NULL ? &trouble->loop : NULL;
    if (f == NULL) {
        dh_report_event(host, ev, NULL, loop);
        return;
    }
    struct dh_report_error error = {f->message, f->message_len, f->traceback, f->traceback_len,
                                    f->hash};
    dh_report_event(host, ev, &error, loop);
}

static void on_event(struct dh_host *host, const struct dh_event *ev) {
    struct dh_instance *instance = instance_of(host);
    struct dh_unit *unit = dh_unit_of(ev->worker);
    if (dh_dossier_wants(ev)) {
        note_ending(unit, ev);
    }
    if (dh_report_wants(ev)) {
        report(host, ev, unit->trouble);
    }
    if (ev->kind == DH_EVENT_STATE && ev->from == DH_BACKOFF && ev->to != DH_RUNNING) {
        dh_spare_drop(instance->vm, unit);
    }
    if (is_wanted(instance, ev->kind)) {
        lua_State *L = instance->vm->L;
        lua_pushcfunction(L, queue_event);
        lua_pushlightuserdata(L, instance);
        lua_pushlightuserdata(L, (void *)ev);
        if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
            lua_pop(L, 1);
        }
    }
    if (instance->port != NULL) {
        instance->port->on_event(instance->port, ev);
    }
    if (ev->kind == DH_EVENT_GONE) {
        if (unit->run != NULL) { /* closed in this very step */
            release(instance, unit->run);
        }
        dh_leftover_forget(instance->vm, unit);
        dh_unit_detach(unit);
    }
}

/* Give every queued event to the function that wants them. */
static int deliver(lua_State *L) {
    struct dh_instance *instance = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, instance->events);
    lua_newtable(L);
    lua_rawseti(L, LUA_REGISTRYINDEX, instance->events);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 2);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, instance->on_event);
        lua_rawgeti(L, 2, i);
        lua_call(L, 1, 0);
    }
    return 0;
}

static void deliver_events(struct dh_instance *instance) {
    lua_State *L = instance->vm->L;
    if (instance->on_event == LUA_NOREF) {
        return;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, instance->events);
    bool has_any = lua_rawlen(L, -1) > 0;
    lua_pop(L, 1);
    if (!has_any) {
        return;
    }
    lua_pushcfunction(L, deliver);
    lua_pushlightuserdata(L, instance);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        dh_instance_report_cleanup(&instance->own, dh_failure_capture(L, -1, 0));
        lua_pop(L, 1);
    }
}

/* Wake the tasks whose order has been carried out; the handle is at 1 of their stack. */
static void wake_settled(struct dh_instance *instance) {
    struct dh_task *next;
    for (struct dh_task *t = instance->settling.first; t != NULL; t = next) {
        const struct dh_unit *unit = lua_touserdata(t->inner, 1);
        next = t->next_in_line;
        if (unit->instance == NULL || dh_worker_is_settled(&unit->worker)) {
            dh_line_leave(&instance->settling, t);
            dh_wake(instance->vm, t, DH_WAKE_DONE, 0);
        }
    }
}

static void on_stepped(struct dh_host *host) {
    struct dh_instance *instance = instance_of(host);
    while (instance->closed != NULL) {
        struct dh_closing *c = instance->closed;
        instance->closed = c->next;
        if (c->run != NULL) {
            release(instance, c->run);
        }
        dh_closing_free(instance, c);
    }
    deliver_events(instance);
    wake_settled(instance);
    if (instance->port != NULL) {
        instance->port->on_stepped(instance->port);
    }
}

/* The rest of the runner */

static void on_timer(struct dh_host *host, struct dh_timer *timer) {
    switch (timer->kind) {
        case DH_TIMER_TASK: {
            struct dh_task *t = (struct dh_task *)((char *)timer - offsetof(struct dh_task, timer));
            if (t->pause == DH_PAUSE_REQUESTS) {
                dh_backlog_go_on(instance_of(host)->vm, t);
            } else {
                dh_wake(instance_of(host)->vm, t, DH_WAKE_TIMEOUT, 0);
            }
            break;
        }
        case DH_TIMER_SCOPE:
            dh_scope_on_deadline(timer);
            break;
        default:
            dh_run_on_deadline(timer);
            break;
    }
}

static void turn(struct dh_host *host, struct dh_budget *budget) {
    dh_vm_turn(instance_of(host)->vm, budget);
}

static bool is_ready(struct dh_host *host) {
    const struct dh_vm *vm = instance_of(host)->vm;
    return dh_queue_has_any(&vm->queue) || dh_collector_is_ready(vm);
}

static bool has_debt(struct dh_host *host) {
    return dh_collector_has_debt(instance_of(host)->vm);
}

static void idle(struct dh_host *host) {
    dh_collector_idle(instance_of(host)->vm);
}

void dh_instance_on_preempted(struct dh_task *t, uint64_t elapsed_ns) {
    struct dh_unit *unit = t->run->unit;
    dh_host_spend(&t->run->instance->host, elapsed_ns);
    struct dh_trouble *trouble = unit != NULL ? dh_unit_trouble(unit) : NULL;
    if (trouble != NULL) {
        trouble->preemptions++;
        if (elapsed_ns > trouble->slice_max_ns) {
            trouble->slice_max_ns = elapsed_ns;
        }
    }
}

void dh_instance_report_holder(struct dh_instance *instance, const struct dh_holder *holder,
                               uint64_t elapsed_ns) {
    char msg[100];
    struct dh_field fields[2];
    size_t n = 0;
    int len = snprintf(msg, sizeof(msg),
                       "has held the CPU for %.1f s in one call that cannot be interrupted",
                       (double)elapsed_ns / 1e9);
    if (holder->worker[0] != '\0') {
        fields[n++] = dh_field_integer("run", holder->run);
    }
    if (holder->place[0] != '\0') {
        fields[n++] = dh_field_cstring("at", holder->place);
    }
    dh_log_write(&instance->log, DH_LEVEL_WARN, holder->worker[0] != '\0' ? holder->worker : NULL,
                 msg, (size_t)len, fields, n);
}

static bool is_in_flight(struct dh_host *host) {
    return instance_of(host)->vm->in_flight > 0;
}

static void kill_all(struct dh_host *host) {
    for (struct dh_worker *w = dh_sup_first(&host->sup); w != NULL; w = dh_sup_next(w)) {
        struct dh_run *run = dh_unit_of(w)->run;
        if (run == NULL || run->phase == DH_RUN_CLOSED) {
            continue;
        }
        dh_run_kill(run);
        dh_run_close_again(run);
    }
}

static void name_stuck(struct dh_host *host) {
    struct dh_instance *instance = instance_of(host);
    for (struct dh_worker *w = dh_sup_first(&host->sup); w != NULL; w = dh_sup_next(w)) {
        const struct dh_run *run = dh_unit_of(w)->run;
        if (run != NULL && run->phase != DH_RUN_CLOSED) {
            dh_log_print(&instance->log, DH_LEVEL_ERROR, w->name,
                         "would not stop: run %u has %u tasks and %u handles left", run->number,
                         run->task_count, dh_run_handle_count(run));
        }
    }
}

/* SIGUSR1 */

static void dump_task(struct dh_instance *instance, const char *worker, const struct dh_task *t,
                      uint32_t number) {
    char traceback[DH_TRACEBACK_MAX];
    size_t len = 0;
    if (t->is_started) {
        len = dh_traceback_write(t->inner != NULL ? t->inner : t->co, 0, traceback,
                                 sizeof(traceback));
    }
    const char *what = t->state == DH_TASK_WAITING ? t->wait->name : "ready to run";
    struct dh_field fields[] = {
        dh_field_integer("task", number),
        dh_field_cstring("waits_in", what),
        dh_field_lines("traceback", traceback, len),
    };
    dh_log_write(&instance->log, DH_LEVEL_INFO, worker, "task", 4, fields, 3);
}

static void dump(struct dh_host *host) {
    struct dh_instance *instance = instance_of(host);
    uint64_t now = dh_host_now(host);
    for (struct dh_worker *w = dh_sup_first(&host->sup); w != NULL; w = dh_sup_next(w)) {
        struct dh_status st;
        dh_sup_status(&host->sup, w, now, &st);
        struct dh_field fields[] = {
            dh_field_cstring("state", dh_state_name(st.state)),
            dh_field_integer("run", st.run),
            dh_field_integer("restarts", st.restarts),
            dh_field_duration("for", now - st.since_ns),
            dh_field_cstring("waiting_for", st.waiting_for),
        };
        dh_log_write(&instance->log, DH_LEVEL_INFO, w->name, "status", 6, fields,
                     st.waiting_for[0] != '\0' ? 5 : 4);
        const struct dh_run *run = dh_unit_of(w)->run;
        uint32_t number = 0;
        for (const struct dh_task *t = run != NULL ? dh_run_first_task(run) : NULL; t != NULL;
             t = t->next_of_run) {
            dump_task(instance, w->name, t, ++number);
        }
    }
}

static bool reload(struct dh_host *host) {
    struct dh_instance *instance = instance_of(host);
    lua_State *L = instance->vm->L;
    if (instance->on_reload == LUA_NOREF) {
        return false;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, instance->on_reload);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK) {
        dh_instance_report_cleanup(&instance->own, dh_failure_capture(L, -1, 0));
        lua_pop(L, 1);
    }
    return true;
}

static bool wants_stop(struct dh_host *host) {
    return dh_hostlib_stop_is_set(instance_of(host));
}

const struct dh_runner dh_instance_runner = {
    .start_run = start_run,
    .cancel_run = cancel_run,
    .kill_run = kill_run,
    .on_event = on_event,
    .on_timer = on_timer,
    .on_stepped = on_stepped,
    .turn = turn,
    .is_ready = is_ready,
    .has_debt = has_debt,
    .idle = idle,
    .is_in_flight = is_in_flight,
    .kill_all = kill_all,
    .name_stuck = name_stuck,
    .dump = dump,
    .reload = reload,
    .wants_stop = wants_stop,
};

struct dh_run *dh_instance_owner(struct dh_vm *vm) {
    const struct dh_task *t = vm->current;
    if (t != NULL && !dh_scope_is_shared(t)) {
        return t->run;
    }
    if (t == NULL && vm->called_back != NULL) {
        return vm->called_back;
    }
    return vm->instance != NULL ? &vm->instance->own : NULL;
}

void dh_instance_report_cleanup(struct dh_run *run, struct dh_failure *failure) {
    if (failure == NULL) {
        return;
    }
    bool is_workers = run->unit != NULL;
    struct dh_field fields[] = {
        dh_field_string("error", failure->message, failure->message_len),
        dh_field_lines("traceback", failure->traceback, failure->traceback_len),
        dh_field_integer("run", run->number),
    };
    const char *msg = is_workers ? "error while ending" : "error in a hook or shared callback";
    dh_log_write(&run->instance->log, DH_LEVEL_WARN, is_workers ? run->unit->name : NULL, msg,
                 strlen(msg), fields, is_workers ? 3 : 2);
    dh_failure_free(failure);
}

void dh_instance_report_kill(const struct dh_run *run) {
    char reason[DH_REASON_MAX];
    int len = snprintf(reason, sizeof(reason),
                       "its cleanup has not ended within its stop_timeout of %.6g s",
                       (double)run->unit->worker.policy->stop_timeout_ns / 1e9);
    struct dh_field fields[] = {
        dh_field_integer("run", run->number),
        dh_field_string("reason", reason, (size_t)len),
    };
    dh_log_write(&run->instance->log, DH_LEVEL_WARN, run->unit->name, "killed", 6, fields, 2);
}

void dh_instance_call_cleanup(struct dh_task *t) {
    struct dh_vm *vm = t->run->instance->vm;
    struct dh_task *before = vm->current;
    lua_State *running = vm->preempt.running;
    bool has_slice = dh_preempt_slice(&vm->preempt) != 0;
    dh_vm_set_current(vm, t);
    vm->boundaries++;
    if (!has_slice) {
        dh_preempt_begin_slice_between_turns(&vm->preempt, vm->L);
    } else {
        dh_preempt_enter(&vm->preempt, vm->L);
    }
    if (lua_pcall(vm->L, 0, 0, 0) != LUA_OK) {
        dh_instance_report_cleanup(t->run, dh_failure_capture(vm->L, -1, 0));
        lua_pop(vm->L, 1);
    }
    if (!has_slice) {
        dh_preempt_end_slice(&vm->preempt);
    } else {
        vm->preempt.running = running;
    }
    vm->boundaries--;
    dh_vm_set_current(vm, before);
}
