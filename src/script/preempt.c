/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/preempt.h"

#include <lauxlib.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "core/cold.h"
#include "obs/text.h"
#include "script/cap.h"
#include "script/debughook.h"
#include "script/errfunc.h"
#include "script/gclib.h"
#include "script/instance.h"
#include "script/limits.h"
#include "script/unit.h"
#include "script/vm.h"

/* What the handler goes by. Touched before the first signal, so that reading it allocates nothing. */
static _Thread_local struct dh_preempt *mine;

/* The hook */

static void restore_user_hook(struct dh_preempt *p, lua_State *L) {
    if (p->running == L && p->user.hook != NULL) {
        lua_sethook(L, p->user.hook, p->user.mask, p->user.count);
    } else {
        lua_sethook(L, NULL, 0, 0);
    }
    p->user.hook = NULL;
}

static uint64_t hang_timeout_ns(const struct dh_task *t) {
    if (t == NULL || t->run->unit == NULL) {
        return DH_HANG_DEFAULT_NS;
    }
    return t->run->unit->worker.policy->hang_timeout_ns;
}

static bool is_preemptible(const struct dh_task *t) {
    return t->run->unit == NULL || t->run->unit->worker.policy->is_preemptible;
}

bool dh_preempt_can_yield(const struct dh_vm *vm, lua_State *L) {
    const struct dh_task *t = vm->current;
    return t != NULL && !t->is_killed && t->atomic_depth == 0 && vm->boundaries == 0 &&
           is_preemptible(t) && lua_isyieldable(L);
}

void dh_preempt_leave(struct dh_vm *vm, lua_State *L) {
    struct dh_task *t = vm->current;
    t->inner = L;
    t->nresults = 0;
    t->is_preempted = true;
    vm->is_host_yield = true;
}

static void yield_to_scheduler(struct dh_vm *vm, lua_State *L) {
    dh_preempt_leave(vm, L);
    lua_yield(L, 0);
}

static void on_event(lua_State *L, lua_Debug *ar);

/* Set our hook for the next instruction. */
static void hook_next(lua_State *L) {
    lua_sethook(L, on_event, LUA_MASKCOUNT, 1);
}

/* Put a hook of a C module's aside while ours is set. */
static void put_aside(struct dh_preempt *p, lua_State *L) {
    lua_Hook hook = lua_gethook(L);
    if (hook != on_event) {
        p->user.hook = hook;
        p->user.mask = lua_gethookmask(L);
        p->user.count = lua_gethookcount(L);
    }
}

/* The slice should yield and cannot here: as soon as a function has returned to where it can. */
static void yield_later(struct dh_preempt *p, lua_State *L) {
    const struct dh_task *t = p->vm->current;
    if (t == NULL || t->is_killed || !is_preemptible(t)) {
        return;
    }
    p->refused = p->number;
    if (!dh_debughook_is(lua_gethook(L))) {
        put_aside(p, L);
        lua_sethook(L, on_event, LUA_MASKRET, 0);
    }
}

/* Raise the error on top of L's stack in a hook. It passes by message handlers, as memory errors do:
** a handler would run inside the hook, where no hook can end it. */
static void raise_in_hook(const struct dh_preempt *p, lua_State *L) {
    dh_errfunc_clear(L, p->vm->errfunc_at);
    lua_error(L);
}

/* What the task has to raise, as it was told when it was off the CPU, or by the allocator. */
static void raise_what_waits(const struct dh_preempt *p, struct dh_task *t, lua_State *L) {
    bool is_memory = t->raises == DH_RAISE_MEMORY;
    dh_task_push_raised(L, t);
    if (is_memory) {
        dh_task_note_error(t, L, L, -1, 0);
    }
    raise_in_hook(p, L);
}

/* The run is over its line. Where it cannot wait for the collector it does as soon as it can. Returns
** false if the slice goes on. */
static bool collect(struct dh_preempt *p, lua_State *L) {
    struct dh_task *t = p->vm->current;
    p->collect_in_slice = 0;
    p->postponed = 0;
    if (dh_preempt_can_yield(p->vm, L)) {
        t->pause = DH_PAUSE_OVER;
        yield_to_scheduler(p->vm, L);
        return true;
    }
    if (dh_cap_postpone(p->vm, t)) {
        raise_what_waits(p, t, L);
    }
    p->postponed = p->number;
    yield_later(p, L);
    return false;
}

static bool must_collect(const struct dh_preempt *p, lua_State *L) {
    return p->vm->current != NULL &&
           (p->collect_in_slice == p->number ||
            (p->postponed == p->number && dh_preempt_can_yield(p->vm, L)));
}

/* The slice is over its hang_timeout, by over_ns. Who catches the error and goes on all the same
** gets it again, and in the end at each instruction, until the slice is over or can yield. */
static void break_hang(struct dh_preempt *p, lua_State *L, uint64_t over_ns) {
    struct dh_task *t = p->vm->current;
    luaL_where(L, 0);
    lua_pushliteral(L,
                    "the worker kept the CPU for longer than its hang_timeout where it cannot be "
                    "preempted");
    lua_concat(L, 2);
    if (over_ns >= DH_HANG_GRACE_NS) {
        p->overdue_slice = p->number;
        hook_next(L);
    } else {
        if (t != NULL) {
            dh_task_note_error(t, L, L, -1, 0);
        }
        yield_later(p, L); /* where it is caught */
    }
    raise_in_hook(p, L);
}

/* "FILE:LINE". By hand: printf is not for signal handlers. */
static void format_place(char *dst, const char *file, unsigned line) {
    char digits[12];
    char *at = digits + sizeof(digits) - 1;
    *at = '\0';
    at = dh_text_digits(at, line);
    *--at = ':';
    strcpy(dst, file);
    strcat(dst, at);
}

/* Write down who has the CPU, if the monitor asks. Where: the innermost Lua function from 'level' on;
** the last known place remains if level is negative. */
static void note_holder(struct dh_preempt *p, lua_State *L, int level) {
    const struct dh_task *t = p->vm->current;
    struct dh_holder *note = &p->note;
    lua_Debug ar;
    if (atomic_load_explicit(&p->asked, memory_order_acquire) != p->number) {
        return;
    }
    if (note->slice != p->number) {
        note->place[0] = '\0';
    }
    note->slice = p->number;
    note->worker[0] = '\0';
    if (t != NULL && t->run->unit != NULL) {
        strcpy(note->worker, t->run->unit->name);
        note->run = t->run->number;
    }
    for (; level >= 0 && lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline > 0) {
            format_place(note->place, ar.short_src, (unsigned)ar.currentline);
            break;
        }
    }
    atomic_store_explicit(&p->asked, 0, memory_order_release);
}

/* A hook runs that the signal has led to, or that came by: do what is wanted of this slice. */
static void obey(struct dh_preempt *p, lua_State *L) {
    p->unheard = 0;
    uint64_t wanted = atomic_exchange(&p->wanted, DH_PREEMPT_NOTHING);
    bool is_over = dh_preempt_is_overdue(p);
    bool is_meant = wanted / (DH_PREEMPT_WISHES + 1) == p->number;
    bool yields = (is_meant && (wanted & DH_PREEMPT_WISHES) == DH_PREEMPT_YIELD) || is_over ||
                  dh_preempt_is_refused(p);
    if (!is_meant && !yields) {
        return; /* meant for another slice, or left over: a coroutine that was created while armed */
    }
    note_holder(p, L, 0);
    dh_gclib_check(p->vm);
    if (dh_preempt_can_yield(p->vm, L)) {
        if (yields) {
            yield_to_scheduler(p->vm, L);
        }
        return;
    }
    if (yields) {
        yield_later(p, L);
    }
    uint64_t elapsed_ns = dh_preempt_elapsed_ns(p);
    uint64_t limit_ns = hang_timeout_ns(p->vm->current);
    if (elapsed_ns >= limit_ns) {
        break_hang(p, L, elapsed_ns - limit_ns);
    }
}

/* A hook of ours has come in L. If the host has ended since, there are no more. */
static void serve(lua_State *L, void (*act)(struct dh_preempt *p, lua_State *L)) {
    if (mine != NULL) {
        act(mine, L);
    } else {
        lua_sethook(L, NULL, 0, 0);
    }
}

static void count(struct dh_preempt *p, lua_State *L) {
    restore_user_hook(p, L);
    if (p->raises_in == L) {
        p->raises_in = NULL;
        raise_what_waits(p, p->vm->current, L);
    }
    if (!must_collect(p, L) || !collect(p, L)) {
        obey(p, L);
    }
}

/* A hook that returns cannot yield: the next instruction does. */
static void watch_return(struct dh_preempt *p, lua_State *L) {
    if (!dh_preempt_is_refused(p)) {
        restore_user_hook(p, L);
    } else if (dh_preempt_can_yield(p->vm, L)) {
        hook_next(L);
    }
}

/* Only for a count may a hook yield. A signal that comes when Lua is about to call the hook for a return
** sets it for the next instruction, and it is called for the return as well. */
static void on_event(lua_State *L, lua_Debug *ar) {
    if (ar->event == LUA_HOOKCOUNT) {
        serve(L, count);
    } else if (lua_gethookmask(L) == LUA_MASKRET) {
        serve(L, watch_return);
    }
}

/* For tests: stays armed, and new coroutines inherit it. */
static void force(struct dh_preempt *p, lua_State *L) {
    if (p->force_count == 0) {
        lua_sethook(L, NULL, 0, 0);
    } else if (dh_preempt_can_yield(p->vm, L)) {
        yield_to_scheduler(p->vm, L);
    }
}

static void on_forced_count(lua_State *L, lua_Debug *ar) {
    (void)ar;
    serve(L, force);
}

void dh_preempt_in_hook(lua_State *L) {
    struct dh_preempt *p = mine;
    if (p == NULL || p->running != L) {
        return;
    }
    if (p->force_count > 0) {
        if (++p->forced % (unsigned)p->force_count == 0 && dh_preempt_can_yield(p->vm, L)) {
            yield_to_scheduler(p->vm, L);
        }
    } else if ((!must_collect(p, L) || !collect(p, L)) && dh_preempt_is_wanted(p)) {
        obey(p, L);
    }
}

bool dh_preempt_is_hook(lua_Hook hook) {
    return hook == on_event || hook == on_forced_count;
}

static void arm(struct dh_preempt *p, lua_State *L) {
    put_aside(p, L);
    hook_next(L);
}

void dh_preempt_rearm(struct dh_preempt *p, lua_State *L) {
    if (!dh_debughook_is(lua_gethook(L))) {
        p->is_arming = 1;
        arm(p, L);
        p->is_arming = 0;
    }
}

void dh_preempt_after_long_call(struct dh_preempt *p) {
    struct pollfd fd = {p->backend_fd, POLLIN, 0};
    if (!p->is_started || p->uses_cpu_time || dh_preempt_slice(p) == 0) {
        return;
    }
    if (dh_loop_now() >= atomic_load_explicit(&p->deadline_ns, memory_order_relaxed) ||
        poll(&fd, 1, 0) > 0) {
        atomic_store(&p->wanted, p->number * (DH_PREEMPT_WISHES + 1) + DH_PREEMPT_YIELD);
        dh_preempt_rearm(p, p->running);
    }
}

void dh_preempt_enter(struct dh_preempt *p, lua_State *co) {
    p->running = co;
    if (dh_preempt_is_overdue(p)) {
        hook_next(co);
    }
}

/* Has no block of memory moved for long, seen from a handler whose last signal was not heard? */
static bool is_still(struct dh_preempt *p, bool was_heard) {
    uint64_t now = dh_loop_now();
    if (p->moves == NULL) {
        return false;
    }
    if (was_heard || *p->moves != p->still_moves) {
        p->still_moves = *p->moves;
        p->still_since_ns = now;
    }
    return now - p->still_since_ns >= DH_STILL_NS;
}

/*
** Besides arming the hook the handler may look at the stack, though it comes at any instruction,
** under three conditions.
**
** - The hook that the last signal armed has not run: it would have at the next instruction of a Lua
**   function. So the innermost frame is that of a C function (or Lua code that hooks spare, in __gc
**   and in hooks), and each Lua function below stands in a call, with its position saved.
** - That innermost frame, which may be half made or half undone, is not looked at.
** - Frames point into the stack, and between the realloc that moves it and the correction of these
**   pointers they point nowhere. So nothing may have moved for DH_STILL_NS, a hundred times what
**   correcting the largest stack takes. Where nobody counts moves (plain lua5.4) the place stays
**   unknown.
**
** lua_getstack and lua_getinfo "Sl" only read.
*/
static void on_signal(int number) {
    struct dh_preempt *p = mine;
    lua_State *L = p != NULL ? p->running : NULL;
    (void)number;
    if (L == NULL) {
        return;
    }
    bool was_heard = p->unheard != p->number;
    bool can_look = is_still(p, was_heard);
    p->unheard = p->number;
    if (!was_heard) {
        note_holder(p, L, can_look ? 1 : -1);
    }
    /* a hook of the user's looks by itself; whoever arms just now need not be helped */
    if (!p->is_arming && !dh_debughook_is(lua_gethook(L))) {
        uint64_t began_ns = dh_loop_now();
        arm(p, L);
        atomic_store_explicit(&p->arming_ns, dh_loop_now() - began_ns, memory_order_relaxed);
    }
}

void dh_preempt_ask_to_collect(struct dh_preempt *p) {
    if (p->collect_in_slice != p->number) {
        p->collect_in_slice = p->number;
        dh_preempt_rearm(p, p->running);
    }
}

void dh_preempt_raise_in(struct dh_preempt *p, lua_State *co) {
    p->raises_in = co;
    arm(p, co);
}

DH_COLD void dh_preempt_force(const struct dh_preempt *p, lua_State *co) {
    if (lua_gethook(co) != on_event && !dh_debughook_is(lua_gethook(co))) {
        lua_sethook(co, on_forced_count, LUA_MASKCOUNT, p->force_count);
    }
}

void dh_preempt_listen(struct dh_preempt *p) {
    mine = p;
}

void dh_preempt_take_signal(void) {
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigfillset(&action.sa_mask);
    sigaction(DH_PREEMPT_SIGNAL, &action, NULL);
}
