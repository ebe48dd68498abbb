/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/wait.h"

#include <assert.h>
#include <lauxlib.h>
#include <math.h>
#include <string.h>

#include "core/cold.h"
#include "script/fetch.h"
#include "script/instance.h"
#include "script/limits.h"
#include "script/tag.h"
#include "script/vm.h"

/* Push the shortest name by which the function on top of L's stack, which is popped, stands in a
** loaded library; false and nothing if it stands in none. */
static bool push_library_name(lua_State *L) {
    int f = lua_gettop(L);
    const char *best = NULL; /* belongs to a key of a library */
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushnil(L);
    while (lua_next(L, f + 1) != 0) {
        lua_pushnil(L);
        while (lua_istable(L, f + 3) && lua_next(L, f + 3) != 0) {
            if (lua_type(L, -2) == LUA_TSTRING && lua_rawequal(L, -1, f)) {
                const char *name = lua_tostring(L, -2);
                best = best == NULL || strlen(name) < strlen(best) ? name : best;
            }
            lua_pop(L, 1);
        }
        lua_settop(L, f + 2);
    }
    if (best != NULL) {
        lua_pushstring(L, best);
        lua_replace(L, f);
    }
    lua_settop(L, best != NULL ? f : f - 1);
    return best != NULL;
}

static bool can_be_suspended(const char *name) {
    return strcmp(name, "pcall") == 0 || strcmp(name, "xpcall") == 0;
}

/*
** Push on L the name of the C function that keeps co from being suspended, by the name of a library
** or else by that which its caller used; false and nothing if it has none. pcall and xpcall can be
** suspended and are passed over.
*/
static bool push_boundary_name(lua_State *L, lua_State *co) {
    lua_Debug ar;
    luaL_checkstack(L, 8, NULL);
    if (!lua_checkstack(co, 1)) { /* an error of co, which stands in a call, would not unwind L */
        return false;
    }
    for (int level = co == L ? 1 : 0; lua_getstack(co, level, &ar); level++) {
        lua_getinfo(co, "nSf", &ar);
        lua_xmove(co, L, 1);
        if (strcmp(ar.what, "C") != 0) {
            lua_pop(L, 1);
            continue;
        }
        if (!push_library_name(L)) {
            if (ar.name == NULL || level == 0) { /* 0: what resumes or closes a coroutine */
                continue;
            }
            lua_pushstring(L, ar.name);
        }
        if (!can_be_suspended(lua_tostring(L, -1))) {
            return true;
        }
        lua_pop(L, 1);
    }
    return false;
}

/* Nobody can wait here: say why. */
DH_COLD static void refuse(lua_State *L, const char *what) {
    const struct dh_vm *vm = dh_vm_of(L);
    const struct dh_task *t = vm->current;
    if (t == NULL || t->run->is_loading) {
        luaL_error(L, "%s: only a worker can wait: call it inside one", what);
        return;
    }
    if (t->is_killed || t->forbids_waits) {
        luaL_error(L, "%s: this run is being killed and can wait no more", what);
    }
    if (t->atomic_depth > 0) {
        luaL_error(L, "%s: cannot wait inside decnet.atomic", what);
    }
    if ((!lua_isyieldable(L) && push_boundary_name(L, L)) ||
        (vm->boundary != NULL && push_boundary_name(L, vm->boundary))) {
        luaL_error(L, "%s: cannot wait inside '%s', a C function that cannot be suspended", what,
                   lua_tostring(L, -1));
    }
    luaL_error(L, "%s: cannot wait inside a C function that cannot be suspended", what);
}

struct dh_task *dh_wait_begin(lua_State *L, const char *what) {
    if (!lua_isyieldable(L)) {
        refuse(L, what);
    }
    const struct dh_vm *vm = dh_vm_of(L);
    struct dh_task *t = vm->current;
    if (t == NULL || t->run->is_loading || t->is_killed || t->forbids_waits ||
        t->atomic_depth > 0 || vm->boundaries > 0) {
        refuse(L, what);
    }
    return t;
}

/* As dh_vm_of, for somebody who has a task at hand. */
static struct dh_vm *vm_of_task(const struct dh_task *t) {
    return t->run->instance->vm;
}

static int leave(lua_State *L, struct dh_task *t, lua_KContext ctx, lua_KFunction k) {
    struct dh_vm *vm = vm_of_task(t);
    t->inner = L;
    t->nresults = 0;
    vm->is_host_yield = true;
    return lua_yieldk(L, 0, ctx, k);
}

static int raise_cancelled(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    dh_task_see_cancel(vm->current);
    dh_vm_push_cancelled(vm, L);
    return lua_error(L);
}

static int cancelled_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    return raise_cancelled(L);
}

int dh_wait_turn(lua_State *L, struct dh_task *t, lua_KContext ctx, lua_KFunction k) {
    t->wake = DH_WAKE_DONE;
    dh_ready(vm_of_task(t), t);
    return leave(L, t, ctx, k);
}

int dh_wait_cancelled(lua_State *L, struct dh_task *t) {
    return dh_wait_turn(L, t, 0, cancelled_k);
}

int dh_wait_suspend(lua_State *L, struct dh_task *t, const struct dh_wait_type *type, void *data,
                    uint64_t deadline_ns, lua_KContext ctx, lua_KFunction k) {
    struct dh_vm *vm = vm_of_task(t);
    t->wait = type;
    t->wait_data = data;
    if (deadline_ns != DH_NEVER &&
        dh_timerq_arm(&vm->instance->host.timers, &t->timer, deadline_ns) != 0) {
        t->inner = L;
        if (type->withdraw != NULL) {
            type->withdraw(t);
        }
        return luaL_error(L, "%s: out of memory", type->name);
    }
    t->state = DH_TASK_WAITING;
    return leave(L, t, ctx, k);
}

void dh_line_join(struct dh_line *line, struct dh_task *t) {
    t->next_in_line = NULL;
    if (line->first == NULL) {
        line->first = t;
    } else {
        t->prev_in_line = line->first->prev_in_line;
        t->prev_in_line->next_in_line = t;
    }
    line->first->prev_in_line = t;
}

void dh_line_leave(struct dh_line *line, struct dh_task *t) {
    if (t == line->first) {
        line->first = t->next_in_line;
    } else {
        t->prev_in_line->next_in_line = t->next_in_line;
    }
    if (t->next_in_line != NULL) {
        t->next_in_line->prev_in_line = t->prev_in_line;
    } else if (line->first != NULL) {
        line->first->prev_in_line = t->prev_in_line;
    }
    t->prev_in_line = t->next_in_line = NULL;
}

int dh_wait_in_line(lua_State *L, struct dh_task *t, const struct dh_wait_type *type,
                    struct dh_line *line, uint64_t deadline_ns, lua_KContext ctx, lua_KFunction k) {
    dh_line_join(line, t);
    return dh_wait_suspend(L, t, type, line, deadline_ns, ctx, k);
}

void dh_wait_leave_line(struct dh_task *t) {
    dh_line_leave(t->wait_data, t);
}

enum dh_wake dh_wait_end(lua_State *L) {
    struct dh_task *t = dh_vm_of(L)->current;
    if (t->wake == DH_WAKE_CANCEL) {
        raise_cancelled(L);
    }
    return (enum dh_wake)t->wake;
}

int dh_wait_results_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    const struct dh_task *t = dh_vm_of(L)->current;
    if (t->wake == DH_WAKE_DONE) {
        return t->nresults;
    }
    dh_wait_end(L);
    return dh_wait_answer(L, "timeout");
}

int dh_wait_answer(lua_State *L, const char *why) {
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

bool dh_wake(struct dh_vm *vm, struct dh_task *t, enum dh_wake wake, int nresults) {
    if (t->state != DH_TASK_WAITING) {
        vm->late_wakeups++;
        return false;
    }
    dh_fetch_coroutine(t->co);
    dh_timerq_disarm(&vm->instance->host.timers, &t->timer);
    t->state = DH_TASK_READY;
    if (wake != DH_WAKE_DONE && t->wait->withdraw != NULL) {
        t->wait->withdraw(t);
    }
    t->wait = NULL;
    t->wait_data = NULL;
    t->wake = (uint8_t)wake;
    t->nresults = (uint16_t)nresults;
    dh_ready(vm, t);
    return true;
}

void dh_wake_line(struct dh_vm *vm, lua_State *L, struct dh_line *line, int nresults) {
    struct dh_task *t;
    while ((t = line->first) != NULL) {
        for (int i = 0; i < nresults; i++) {
            lua_pushvalue(L, -nresults);
        }
        lua_xmove(L, t->inner, nresults);
        dh_line_leave(line, t);
        dh_wake(vm, t, DH_WAKE_DONE, nresults);
    }
    lua_pop(L, nresults);
}

uint64_t dh_wait_deadline(const struct dh_vm *vm, double seconds) {
    double ns = seconds * 1e9;
    if (!(ns < (double)(INT64_MAX / 2))) { /* 146 years: the sum with any clock has room */
        return DH_NEVER;
    }
    return dh_vm_now(vm) + (uint64_t)llround(ns);
}

double dh_wait_seconds(lua_State *L, int arg, const char *name) {
    int is_number;
    double seconds = lua_tonumberx(L, arg, &is_number);
    if (!is_number || isnan(seconds) || seconds < 0) {
        luaL_argerror(L, arg,
                      lua_pushfstring(L, "%s: seconds >= 0 expected, got %s", name,
                                      is_number ? lua_tostring(L, arg) : luaL_typename(L, arg)));
    }
    return seconds;
}

uint64_t dh_wait_opt_deadline(lua_State *L, const struct dh_vm *vm, int arg, const char *name) {
    if (lua_isnoneornil(L, arg)) {
        return DH_NEVER;
    }
    return dh_wait_deadline(vm, dh_wait_seconds(L, arg, name));
}

void dh_wait_check_callable(lua_State *L, int arg, const char *name) {
    if (lua_isfunction(L, arg)) {
        return;
    }
    if (luaL_getmetafield(L, arg, "__call") == LUA_TNIL) {
        luaL_argerror(
            L, arg,
            lua_pushfstring(L, "%s: a function expected, got %s", name, luaL_typename(L, arg)));
    }
    lua_pop(L, 1);
}
