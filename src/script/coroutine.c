/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/coroutine.h"

#include <assert.h>
#include <lauxlib.h>
#include <lualib.h>

#include "script/compat.h"
#include "script/errfunc.h"
#include "script/failure.h"
#include "script/idle.h"
#include "script/limits.h"
#include "script/tag.h"
#include "script/vm.h"
#include "script/wait.h"

/*
** How a host call's yield passes through a user's coroutine.
**
**   task root --resume--> A --resume--> B --sleep--> lua_yieldk(B), vm->is_host_yield
**
** lua_resume(B) returns LUA_YIELD to our 'resume' running in A, which sees that this yield is not
** the user's and yields in turn, and so on to the scheduler. Later the scheduler resumes the root;
** its continuation resumes A, whose continuation resumes B, which goes on where it was. Nothing
** of this can be seen by the user: B never "returned" from resume.
**
** Where A cannot yield (a sort comparator that calls a generator), 'boundaries' says so to whoever
** wants to wait inside B.
*/

static lua_State *check_coroutine(lua_State *L, int arg) {
    lua_State *co = lua_tothread(L, arg);
    luaL_argexpected(L, co != NULL, arg, "coroutine");
    return co;
}

/* Push the results of a finished or yielding co for 'resume' (with true) or 'wrap'. */
static int pass_results(lua_State *L, lua_State *co, int n, bool is_wrap) {
    if (!lua_checkstack(L, n + 1)) {
        lua_pop(co, n);
        if (is_wrap) {
            return luaL_error(L, "too many results to resume");
        }
        lua_pushboolean(L, 0);
        lua_pushliteral(L, "too many results to resume");
        return 2;
    }
    if (!is_wrap) {
        lua_pushboolean(L, 1);
    }
    lua_xmove(co, L, n);
    return is_wrap ? n : n + 1;
}

int dh_coroutine_close(struct dh_vm *vm, lua_State *L, lua_State *co) {
    lua_State *boundary = vm->boundary;
    if (vm->closings == DH_CLOSINGS_MAX) {
        return luaL_error(L, "C stack overflow: too many coroutines are being closed");
    }
    vm->closings++;
    vm->boundaries++;
    vm->boundary = L;
    dh_errfunc_clear(co, vm->errfunc_at);
    dh_preempt_enter(&vm->preempt, co);
    int status = dh_close_thread(co, L);
    dh_preempt_back(&vm->preempt, L);
    vm->boundaries--;
    vm->closings--;
    vm->boundary = boundary;
    return status;
}

static int pass_error(lua_State *L, lua_State *co, bool is_wrap) {
    if (!is_wrap) {
        if (dh_tag_is_unlisted(co) && lua_status(co) > LUA_YIELD) {
            dh_idle_list(L, dh_vm_of(L), co);
        }
        lua_xmove(co, L, 1);
        lua_pushboolean(L, 0); /* after the move: co is L where somebody resumes himself */
        lua_insert(L, -2);
        return 2;
    }
    struct dh_vm *vm = dh_vm_of(L);
    struct dh_task *t = vm->current;
    int status = lua_status(co);
    bool is_noted = false;
    if (status != LUA_OK && status != LUA_YIELD) {
        if (t != NULL && !dh_vm_is_cancelled(co, -1)) {
            dh_task_note_error(t, L, co, -1, 0); /* closing takes the stack down */
            is_noted = true;
        }
        status = dh_coroutine_close(vm, L, co);
    }
    lua_xmove(co, L, 1);
    if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
        if (is_noted && t->failure != NULL) {
            t->failure = dh_failure_retell(t->failure, L, -1);
        }
    }
    return lua_error(L);
}

static int resume_k(lua_State *L, int status, lua_KContext ctx);
static int wrap_k(lua_State *L, int status, lua_KContext ctx);

static int resume(lua_State *L, struct dh_vm *vm, lua_State *co, int nargs, bool is_wrap) {
    bool can_yield = lua_isyieldable(L);
    lua_State *boundary = vm->boundary;
    int n = 0;
    if (!can_yield) {
        vm->boundaries++;
        vm->boundary = L;
    }
    vm->preempt.running = co;
    int status = lua_resume(co, L, nargs, &n);
    dh_preempt_back(&vm->preempt, L);
    vm->boundaries -= !can_yield;
    vm->boundary = boundary;
    if (status == LUA_YIELD && vm->is_host_yield) {
        assert(can_yield); /* within a boundary nobody waits, or is preempted */
        dh_tag_set(co, L, DH_TAG_NESTED);
        return lua_yieldk(L, 0, (lua_KContext)co, is_wrap ? wrap_k : resume_k);
    }
    if (status == LUA_YIELD && dh_tag_is_unlisted(co)) {
        dh_idle_list(L, vm, co);
    }
    if (status == LUA_OK || status == LUA_YIELD) {
        return pass_results(L, co, n, is_wrap);
    }
    return pass_error(L, co, is_wrap);
}

/* What is on top of L's stack a task that was preempted in co has to raise: co is closed, as if it had
** raised. */
static int raise_in_place_of(lua_State *L, struct dh_vm *vm, lua_State *co, bool is_wrap) {
    dh_coroutine_close(vm, L, co);
    lua_settop(co, 0);
    if (is_wrap) {
        return lua_error(L);
    }
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

static int go_on(lua_State *L, lua_State *co, bool is_wrap) {
    struct dh_vm *vm = dh_vm_of(L);
    bool raises = vm->current->raises != DH_RAISE_NOTHING && vm->current->inner == co &&
                  vm->preempt.raises_in == NULL;
    if (raises) { /* while co is a part of the task: a timeout that cancels may stand in it */
        dh_task_push_raised(L, vm->current);
    }
    dh_tag_set(co, vm, DH_TAG_VM);
    if (raises) {
        return raise_in_place_of(L, vm, co, is_wrap);
    }
    return resume(L, vm, co, vm->current->inner == co ? vm->current->nresults : 0, is_wrap);
}

static int resume_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    return go_on(L, (lua_State *)ctx, false);
}

static int wrap_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    return go_on(L, (lua_State *)ctx, true);
}

static const struct dh_wait_type park_wait = {"coroutine.yield", NULL};
static const struct dh_wait_type decnet_park_wait = {"park", NULL};

static bool is_parked(const struct dh_task *t) {
    return t->state == DH_TASK_WAITING && (t->wait == &park_wait || t->wait == &decnet_park_wait);
}

/* Push why nobody can resume or close a coroutine of this task. */
static void push_refusal(lua_State *L, const char *verb, const struct dh_task *t) {
    if (t->state == DH_TASK_WAITING) {
        lua_pushfstring(L, "cannot %s a task that waits in %s", verb, t->wait->name);
    } else {
        lua_pushfstring(L, "cannot %s a task that is ready to run", verb);
    }
}

/* A task that handed itself out was preempted before it could yield: what it is resumed with is what
** that yield returns. */
static int remember(lua_State *L, struct dh_task *t, int nargs) {
    lua_createtable(L, nargs, 1);
    lua_insert(L, -1 - nargs);
    for (int i = nargs; i > 0; i--) {
        lua_rawseti(L, -1 - i, i);
    }
    lua_pushinteger(L, nargs);
    lua_setfield(L, -2, "n");
    t->early = dh_vm_anchor(L);
    lua_pushboolean(L, 1);
    return 1;
}

/* What remember kept. */
static int early_results(lua_State *L, struct dh_vm *vm, struct dh_task *t) {
    lua_settop(L, 0);
    dh_vm_push_anchored(L, t->early);
    dh_vm_release(vm, t->early);
    t->early = 0;
    t->handed_out = false;
    lua_getfield(L, 1, "n");
    int n = (int)lua_tointeger(L, -1);
    luaL_checkstack(L, n, "too many results");
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, 1, i);
    }
    return n;
}

/* Resume a coroutine that is, or belongs to, a task: only a parked one accepts it. It goes on in
** its own turn; the resumer sees true. */
static int resume_task(lua_State *L, struct dh_vm *vm, lua_State *co, int nargs) {
    struct dh_task *t = dh_task_of(co);
    if (t == NULL || t == vm->current) { /* NULL: ended */
        lua_pushboolean(L, 0);
        lua_pushfstring(L, "cannot resume %s coroutine", t != NULL ? "non-suspended" : "dead");
        return 2;
    }
    if (co == t->co && t->is_preempted && t->handed_out && t->early == 0) {
        return remember(L, t, nargs);
    }
    if (!is_parked(t)) {
        lua_pushboolean(L, 0);
        push_refusal(L, "resume", t);
        return 2;
    }
    if (!lua_checkstack(t->inner, nargs)) {
        lua_pushboolean(L, 0);
        lua_pushliteral(L, "too many arguments to resume");
        return 2;
    }
    lua_xmove(L, t->inner, nargs);
    dh_wake(vm, t, DH_WAKE_DONE, nargs);
    lua_pushboolean(L, 1);
    return 1;
}

/* Move nargs arguments from L to co and resume it; false (nothing moved) if they do not fit. */
static int resume_with(lua_State *L, lua_State *co, int nargs, bool is_wrap) {
    struct dh_vm *vm = dh_vm_of(L);
    if (dh_tag_of(co) != DH_TAG_VM) {
        int n = resume_task(L, vm, co, nargs);
        if (is_wrap && !lua_toboolean(L, -n)) {
            return lua_error(L);
        }
        return is_wrap ? 0 : n;
    }
    if (!lua_checkstack(co, nargs)) {
        if (is_wrap) {
            return luaL_error(L, "too many arguments to resume");
        }
        lua_pushboolean(L, 0);
        lua_pushliteral(L, "too many arguments to resume");
        return 2;
    }
    lua_xmove(L, co, nargs);
    return resume(L, vm, co, nargs, is_wrap);
}

static int co_resume(lua_State *L) {
    lua_State *co = check_coroutine(L, 1);
    return resume_with(L, co, lua_gettop(L) - 1, false);
}

static int wrapped(lua_State *L) {
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    return resume_with(L, co, lua_gettop(L), true);
}

static int co_wrap(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushcclosure(L, wrapped, 1);
    return 1;
}

static int park_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    dh_wait_end(L);
    return lua_gettop(L);
}

static int co_yield(lua_State *L) {
    if (dh_tag_of(L) != DH_TAG_ROOT) {
        return lua_yield(L, lua_gettop(L));
    }
    struct dh_task *t = dh_wait_begin(L, "coroutine.yield");
    if (dh_task_is_cancelled(t)) {
        return dh_wait_cancelled(L, t);
    }
    if (t->early != 0) {
        return early_results(L, dh_vm_of(L), t);
    }
    if (!t->handed_out) {
        return dh_wait_turn(L, t, 0, NULL);
    }
    lua_settop(L, 0);
    return dh_wait_suspend(L, t, &park_wait, NULL, DH_NEVER, 0, park_k);
}

int dh_coroutine_park(lua_State *L) {
    struct dh_task *t = dh_wait_begin(L, "park");
    if (dh_task_is_cancelled(t)) {
        return dh_wait_cancelled(L, t);
    }
    lua_settop(L, 0);
    return dh_wait_suspend(L, t, &decnet_park_wait, NULL, DH_NEVER, 0, park_k);
}

int dh_coroutine_turn(lua_State *L) {
    struct dh_task *t = dh_wait_begin(L, "yield");
    if (dh_task_is_cancelled(t)) {
        return dh_wait_cancelled(L, t);
    }
    return dh_wait_turn(L, t, 0, NULL);
}

static int co_running(lua_State *L) {
    if (dh_tag_of(L) == DH_TAG_ROOT) {
        struct dh_task *t = dh_tag_pointer(L);
        t->handed_out = t->is_known = true;
    }
    int is_main = lua_pushthread(L);
    lua_pushboolean(L, is_main);
    return 2;
}

static const char *status_of(lua_State *L, lua_State *co) {
    if (L == co) {
        return "running";
    }
    if (dh_tag_of(co) == DH_TAG_NESTED) {
        return "normal";
    }
    if (dh_tag_of(co) == DH_TAG_ENDED) {
        return "dead";
    }
    switch (lua_status(co)) {
        case LUA_YIELD:
            return "suspended";
        case LUA_OK: {
            lua_Debug ar;
            if (lua_getstack(co, 0, &ar)) {
                return "normal";
            }
            return lua_gettop(co) == 0 ? "dead" : "suspended";
        }
        default:
            return "dead";
    }
}

static int co_status(lua_State *L) {
    lua_pushstring(L, status_of(L, check_coroutine(L, 1)));
    return 1;
}

static int co_isyieldable(lua_State *L) {
    lua_State *co = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;
    lua_pushboolean(L, lua_isyieldable(co));
    return 1;
}

static int co_close(lua_State *L) {
    lua_State *co = check_coroutine(L, 1);
    const char *status = status_of(L, co);
    if (status[0] != 's' && status[0] != 'd') {
        return luaL_error(L, "cannot close a %s coroutine", status);
    }
    if (dh_tag_of(co) == DH_TAG_ENDED) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (dh_tag_of(co) != DH_TAG_VM) {
        push_refusal(L, "close", dh_task_of(co));
        return luaL_error(L, "%s", lua_tostring(L, -1));
    }
    struct dh_vm *vm = dh_vm_of(L);
    int err = dh_coroutine_close(vm, L, co);
    if (err == LUA_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);
    return 2;
}

static const luaL_Reg replaced[] = {
    {"close", co_close},   {"isyieldable", co_isyieldable},
    {"resume", co_resume}, {"running", co_running},
    {"status", co_status}, {"wrap", co_wrap},
    {"yield", co_yield},   {NULL, NULL},
};

void dh_coroutine_replace(lua_State *L) {
    lua_getglobal(L, LUA_COLIBNAME);
    if (lua_istable(L, -1)) {
        luaL_setfuncs(L, replaced, 0);
    }
    lua_pop(L, 1);
}
