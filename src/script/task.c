/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/task.h"

#include <assert.h>
#include <lauxlib.h>
#include <string.h>

#include "core/cold.h"
#include "script/backlog.h"
#include "script/cap.h"
#include "script/collector.h"
#include "script/compat.h"
#include "script/errfunc.h"
#include "script/failure.h"
#include "script/gclib.h"
#include "script/instance.h"
#include "script/limits.h"
#include "script/run.h"
#include "script/scope.h"
#include "script/tag.h"
#include "script/unit.h"
#include "script/vm.h"
#include "script/wait.h"

struct dh_task *dh_task_of(lua_State *co) {
    while (dh_tag_of(co) == DH_TAG_NESTED) {
        co = dh_tag_pointer(co);
    }
    return dh_tag_of(co) == DH_TAG_ROOT ? dh_tag_pointer(co) : NULL;
}

bool dh_task_can_take(lua_State *co) {
    lua_Debug ar;
    return dh_tag_of(co) == DH_TAG_VM && lua_status(co) == LUA_OK && !lua_getstack(co, 0, &ar) &&
           lua_gettop(co) == 1;
}

/* Is one of the cancellations, which t may be shielded from, in force? */
DH_COLD static bool is_in_force(const struct dh_task *t) {
    const struct dh_scope *s = dh_scope_that_decides(t);
    if (s != NULL) {
        return !s->is_shield;
    }
    return t->is_cancelled || (t->run->is_cancelled && t->run->phase != DH_RUN_CLEANUP);
}

bool dh_task_is_cancelled(const struct dh_task *t) {
    return (t->scopes != NULL || t->is_cancelled || t->run->is_cancelled) && is_in_force(t);
}

/* Was the cancellation that ended t asked for by somebody? */
static bool was_cancel_asked(const struct dh_task *t) {
    return t->is_cancelled || t->run->is_cancelled;
}

void dh_task_see_cancel(struct dh_task *t) {
    struct dh_scope *s = dh_scope_that_decides(t);
    if (s != NULL) {
        s->is_seen = true;
    } else {
        t->has_seen_cancel = was_cancel_asked(t);
    }
}

static bool has_seen_cancel(const struct dh_task *t) {
    const struct dh_scope *s = dh_scope_that_decides(t);
    return s != NULL ? s->is_seen : t->has_seen_cancel;
}

/* The error that t's worker crashed by the last time, while it crashes again and again. */
static const struct dh_failure *known_failure(const struct dh_task *t) {
    const struct dh_unit *unit = t->run->unit;
    bool is_in_streak = unit != NULL && unit->trouble != NULL && unit->worker.streak > 0;
    return is_in_streak ? unit->trouble->failure : NULL;
}

void dh_task_note_error(struct dh_task *t, lua_State *L, lua_State *co, int idx, int level) {
    if (t->failure != NULL && dh_failure_speaks_of(t->failure, L, co, idx)) {
        return; /* on its way up: the stack was taller where it was raised */
    }
    struct dh_failure *f = dh_failure_capture_again(known_failure(t), L, co, idx, level);
    dh_failure_free(t->failure);
    t->failure = f;
}

int dh_task_on_error(lua_State *L) {
    struct dh_task *t = dh_vm_of(L)->current;
    if (t == NULL ||
        (dh_vm_is_cancelled(L, 1) && (was_cancel_asked(t) || dh_task_is_cancelled(t)))) {
        return 1; /* asked for: no crash, no record */
    }
    dh_task_note_error(t, L, L, 1, 1);
    return 1;
}

static int entry_k(lua_State *L, int status, lua_KContext ctx);

static int call_body(lua_State *L, int nargs) {
    return entry_k(L, lua_pcallk(L, nargs, LUA_MULTRET, 1, 0, entry_k), 0);
}

/* A main function that returns a coroutine is a factory: the coroutine's function is the body. The
** coroutine must not have started, so that it can be taken over. */
static int call_factory_result(lua_State *L, struct dh_task *t) {
    lua_State *body = lua_tothread(L, 2);
    if (!dh_task_can_take(body)) {
        dh_failure_free(t->failure); /* of an error that somebody caught */
        t->failure = dh_failure_from_text(
            "run returned a coroutine that has already started or ended: return a fresh one");
        t->ending = DH_TASK_CRASHED;
        return 0;
    }
    lua_settop(L, 2);
    lua_xmove(body, L, 1);
    lua_replace(L, 2);
    dh_run_push_self(L, t->run);
    t->is_factory_done = true;
    return call_body(L, 1);
}

/* The body has ended, by whatever way; runs in the task's own coroutine. */
static int entry_k(lua_State *L, int status, lua_KContext ctx) {
    struct dh_task *t = dh_tag_pointer(L);
    (void)ctx;
    if (status == LUA_OK || status == LUA_YIELD) {
        if (dh_run_is_main(t) && lua_isthread(L, 2) && !t->is_factory_done) {
            return call_factory_result(L, t);
        }
        t->ending = DH_TASK_RETURNED;
        dh_failure_free(t->failure); /* of an error that somebody caught */
        t->failure = NULL;
        return lua_gettop(L) - 1;
    }
    if (dh_vm_is_cancelled(L, -1) && was_cancel_asked(t)) {
        t->ending = DH_TASK_CANCELLED;
        dh_failure_free(t->failure);
        t->failure = NULL;
        return 0;
    }
    t->ending = DH_TASK_CRASHED;
    if (status == LUA_ERRMEM || t->failure == NULL) { /* memory errors skip message handlers */
        dh_task_note_error(t, L, L, -1, 0);
    }
    struct dh_failure *refusal = status == LUA_ERRMEM ? dh_cap_explain(t->run) : NULL;
    if (refusal != NULL) {
        dh_failure_free(t->failure);
        t->failure = refusal;
    }
    return 0;
}

static int entry(lua_State *L) {
    return call_body(L, lua_gettop(L) - 2);
}

void dh_task_push_entry(lua_State *co) {
    lua_pushcfunction(co, entry);
    lua_pushcfunction(co, dh_task_on_error);
}

void dh_task_begin(struct dh_task *t, struct dh_run *run, lua_State *co, int anchor) {
    t->co = co;
    t->anchor = anchor;
    t->ending = DH_TASK_RETURNED;
    t->forbids_waits = run->is_killed; /* nobody would kill it again */
    t->timer.kind = DH_TIMER_TASK;
    dh_tag_set(co, t, DH_TAG_ROOT);
    dh_run_add_task(run, t);
    dh_ready(run->instance->vm, t);
}

void dh_task_start(lua_State *L, struct dh_task *t, struct dh_run *run, lua_State *co, int nargs) {
    int anchor = dh_vm_anchor(L);
    dh_task_push_entry(co);
    lua_rotate(co, -3 - nargs, 2);
    dh_task_begin(t, run, co, anchor);
}

static void ended(struct dh_vm *vm, struct dh_task *t) {
    struct dh_failure *failure = t->failure;
    t->failure = NULL;
    t->state = DH_TASK_ENDED;
    dh_tag_set(t->co, vm, DH_TAG_ENDED); /* its results may still be on its stack */
    dh_scope_detach_all(t);
    if (t->early != 0) {
        dh_vm_release(vm, t->early);
    }
    if (t->holds_host) {
        dh_host_release(&t->run->instance->host);
    }
    if (!dh_run_is_main(t)) {
        dh_wake_line(vm, vm->L, &((struct dh_spawned *)t)->joiners, 0);
    }
    dh_run_on_task_ended(t->run, t, failure);
}

/* Close co, whose task has the CPU for that long: __close must not wait. */
static void close_one(struct dh_vm *vm, struct dh_task *t, lua_State *co) {
    dh_preempt_enter(&vm->preempt, co);
    dh_errfunc_clear(co, vm->errfunc_at);
    if (dh_close_thread(co, vm->L) != LUA_OK) {
        if (t->failure == NULL) {
            t->failure = dh_failure_capture(co, -1, 0);
        }
        lua_settop(co, 0);
    }
}

/* Close t, which stands in no line. */
static void end_from_outside(struct dh_vm *vm, struct dh_task *t) {
    t->ending = t->is_started ? DH_TASK_KILLED : DH_TASK_CANCELLED;
    t->is_killed = true;
    t->state = DH_TASK_RUNNING;
    struct dh_task *before = vm->current;
    dh_vm_set_current(vm, t);
    vm->boundaries++;
    bool has_slice = dh_preempt_slice(&vm->preempt) != 0; /* of a whole run that is killed */
    if (!has_slice) {
        dh_preempt_begin_slice_between_turns(&vm->preempt, t->co);
    }
    lua_State *co = t->is_started ? t->inner : t->co;
    while (co != t->co) {
        lua_State *parent = dh_tag_pointer(co);
        dh_tag_set(co, vm, DH_TAG_VM);
        close_one(vm, t, co);
        co = parent;
    }
    close_one(vm, t, t->co);
    if (has_slice) {
        vm->preempt.running = NULL; /* t may be collected before the next one is closed */
        dh_preempt_bill(&vm->preempt);
    } else {
        dh_preempt_end_slice(&vm->preempt);
    }
    vm->boundaries--;
    dh_vm_set_current(vm, before);
    ended(vm, t);
}

/* The hook took the CPU away, or the task waits for the collector: it goes on later, where it was. */
static void join_tired(struct dh_vm *vm, struct dh_task *t) {
    t->state = DH_TASK_READY;
    dh_turn_set_preempted(vm, t->run, true);
    if (t->pause == DH_PAUSE_REQUESTS) {
        dh_backlog_join(vm, t);
        return;
    }
    if (t->pause != DH_PAUSE_NOT) {
        dh_collector_join(vm, t);
        return;
    }
    dh_line_join(&vm->queue.tired, t);
    dh_instance_on_preempted(t, dh_preempt_elapsed_ns(&vm->preempt));
}

/* Does co stand in a __close? Deep stacks are searched in part: there it may be interrupted. */
static bool is_closing(lua_State *co) {
    lua_Debug ar;
    for (int level = 0; level < DH_CLOSE_LEVELS && lua_getstack(co, level, &ar); level++) {
        lua_getinfo(co, "n", &ar);
        if (ar.name != NULL && strcmp(ar.namewhat, "metamethod") == 0 &&
            strcmp(ar.name, "close") == 0) {
            return true;
        }
    }
    return false;
}

bool dh_task_is_cleaning_up(const struct dh_task *t) {
    for (lua_State *co = t->inner;; co = dh_tag_pointer(co)) {
        if (is_closing(co)) {
            return true;
        }
        if (co == t->co) {
            return false;
        }
    }
}

void dh_task_push_raised(lua_State *L, struct dh_task *t) {
    bool is_memory = t->raises == DH_RAISE_MEMORY;
    t->raises = DH_RAISE_NOTHING;
    if (is_memory) {
        dh_cap_push_error(L, t->run);
    } else {
        dh_task_see_cancel(t);
        dh_vm_push_cancelled(dh_vm_of(L), L);
    }
}

/* A cancellation that came while t stood preempted is raised where it was, once: code that has seen
** it is cleaning up, and must not be hit in the middle of that by each preemption. */
static bool must_see_cancel(const struct dh_task *t) {
    return dh_task_is_cancelled(t) && !has_seen_cancel(t) && !dh_task_is_cleaning_up(t);
}

/* Is what t has to raise raised in the coroutine in which it was preempted? In a nested one only if a
** timeout in it catches it: an error that ends a coroutine, from a hook, would leave its hooks off, and so
** the parent raises it in its place (coroutine.c). */
static bool raises_where_it_was(const struct dh_task *t) {
    if (t->inner == t->co) {
        return true;
    }
    const struct dh_scope *s = dh_scope_that_decides(t);
    return t->raises == DH_RAISE_CANCELLATION && s != NULL && s->co == t->inner;
}

/* It goes on. */
static void leave_tired(struct dh_vm *vm, struct dh_task *t) {
    t->is_preempted = false;
    dh_turn_set_preempted(vm, t->run, false);
    if (must_see_cancel(t)) {
        t->raises = DH_RAISE_CANCELLATION;
    }
    if (t->raises != DH_RAISE_NOTHING && raises_where_it_was(t)) {
        dh_preempt_raise_in(&vm->preempt, t->inner);
    }
}

/* A part of the turn, where the compiler sees both: a task that yields jumps out of calls that never
** return, and the CPU mispredicts where each call returns to that was made before. */
__attribute__((always_inline)) inline void dh_task_resume(struct dh_vm *vm, struct dh_task *t) {
    int nargs = t->inner == t->co ? t->nresults : 0;
    int nresults = 0;
    if (!t->is_started) {
        if (!t->is_callback && dh_task_is_cancelled(t)) {
            end_from_outside(vm, t);
            return;
        }
        nargs = lua_gettop(t->co) - 1;
        t->is_started = true;
    }
    t->state = DH_TASK_RUNNING;
    if (t->is_preempted) { /* a preempted slice goes on */
        leave_tired(vm, t);
    } else if (t->handed_out) { /* a flag just written is slow to read with its neighbours */
        t->handed_out = false;
    }
    vm->is_host_yield = false;
    dh_vm_set_current(vm, t);
    if (t->run->has_gc_modes) {
        dh_gclib_enter(vm, t->run);
    }
    dh_preempt_begin_slice(&vm->preempt, t->co);
    int status = lua_resume(t->co, NULL, nargs, &nresults);
    dh_preempt_end_slice(&vm->preempt);
    if (t->run->has_gc_modes) {
        dh_gclib_leave(vm);
    }
    bool is_host_yield = vm->is_host_yield;
    /* the next yield is somebody else's: in a __close, on the main thread */
    vm->is_host_yield = false;
    dh_vm_set_current(vm, NULL);
    if (t->is_preempted) {
        join_tired(vm, t);
        return;
    }
    if (status == LUA_YIELD) {
        dh_run_on_slice_end(t->run);
        if (!is_host_yield) { /* a C library yielded by itself */
            lua_pop(t->co, nresults);
            t->inner = t->co;
            t->nresults = 0;
            t->wake = DH_WAKE_DONE;
            dh_ready(vm, t);
        }
        return;
    }
    if (status != LUA_OK) { /* outside the body: no memory, or no stack for it */
        t->ending = DH_TASK_CRASHED;
        if (t->failure == NULL) {
            t->failure = dh_failure_capture_of(vm->L, t->co, -1, 0);
        }
        dh_errfunc_clear(t->co, vm->errfunc_at);
        dh_close_thread(t->co, vm->L);
    }
    t->has_unwound = status == LUA_OK;
    ended(vm, t);
}

void dh_task_kill(struct dh_vm *vm, struct dh_task *t) {
    assert(t->state == DH_TASK_WAITING || t->state == DH_TASK_READY);
    if (t->state == DH_TASK_WAITING) {
        dh_wake(vm, t, DH_WAKE_CANCEL, 0);
    }
    dh_unready(vm, t);
    end_from_outside(vm, t);
}

void dh_task_on_cancel(struct dh_vm *vm, struct dh_task *t) {
    if (t->state == DH_TASK_WAITING && dh_task_is_cancelled(t)) {
        dh_wake(vm, t, DH_WAKE_CANCEL, 0);
    } else if (t->pause == DH_PAUSE_REQUESTS) {
        dh_backlog_go_on(vm, t);
    }
}
