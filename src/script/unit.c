/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/unit.h"

#include <lauxlib.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/group.h"
#include "script/declare.h"
#include "script/failure.h"
#include "script/instance.h"
#include "script/owned.h"
#include "script/run.h"
#include "script/table.h"
#include "script/vm.h"
#include "script/wait.h"
#include "script/worklog.h"

#define HANDLE_TYPE "decnet.handle"
#define SELF_TYPE "decnet.self"

/* Could the value at -1, when it is called, see an argument? */
static bool takes_argument(lua_State *L) {
    lua_Debug ar;
    if (!lua_isfunction(L, -1)) {
        return true;
    }
    lua_pushvalue(L, -1);
    lua_getinfo(L, ">u", &ar);
    return ar.nparams > 0 || ar.isvararg;
}

void dh_unit_set_body(lua_State *L, struct dh_unit *unit) {
    unit->takes_self = takes_argument(L);
    lua_setiuservalue(L, -2, 1);
}

struct dh_unit *dh_unit_new(lua_State *L, const char *name, size_t name_len) {
    size_t size = offsetof(struct dh_unit, name) + name_len + 1;
    struct dh_unit *unit = lua_newuserdatauv(L, size, 1);
    memset(unit, 0, size);
    memcpy(unit->name, name, name_len);
    unit->anchor = LUA_NOREF;
    lua_insert(L, -2);
    dh_unit_set_body(L, unit);
    luaL_setmetatable(L, HANDLE_TYPE);
    return unit;
}

/* Push a new 'self', with a coroutine: the spare one, if there is one. It is anchored. Raises on memory
** errors, and then nothing is changed but who is billed. */
static struct dh_spare make_self(lua_State *L, struct dh_vm *vm, struct dh_spare spare) {
    spare.run = lua_newuserdatauv(L, sizeof(*spare.run), 1);
    dh_vm_push_anchored(L, vm->self_type);
    lua_setmetatable(L, -2);
    if (spare.co != NULL) {
        dh_vm_push_anchored(L, spare.anchor);
    } else {
        spare.co = lua_newthread(L);
    }
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, -1);
    if (spare.anchor != 0) {
        dh_vm_anchor_again(L, spare.anchor);
    } else {
        uint32_t payer = dh_vm_bill(vm, DH_ACCOUNT_HOST); /* the registry grows for everybody */
        spare.anchor = dh_vm_anchor(L);
        dh_vm_bill(vm, payer);
    }
    return spare;
}

void dh_unit_start_run(lua_State *L, struct dh_unit *unit) {
    struct dh_vm *vm = unit->instance->vm;
    struct dh_spare found = {0};
    if (unit->trouble != NULL) {
        found = unit->trouble->spare;
    }
    if (found.run != NULL) {
        dh_vm_push_anchored(L, found.anchor);
    } else {
        found = make_self(L, vm, found);
    }
    struct dh_run *run = found.run;
    dh_run_init(run, unit->instance, unit, unit->worker.run);
    run->account = *vm->payer & (DH_ACCOUNTS_MAX - 1);
    dh_task_push_entry(found.co);
    dh_unit_push(found.co, unit);
    lua_getiuservalue(found.co, -1, 1);
    lua_replace(found.co, -2);
    run->is_known = unit->takes_self;
    if (run->is_known) {
        lua_pushvalue(L, -1);
        lua_xmove(L, found.co, 1);
    }
    lua_pop(L, 1);
    dh_task_begin(&run->main, run, found.co, found.anchor);
    unit->run = run;
    if (unit->trouble != NULL) {
        unit->trouble->cpu_ns = 0;
        unit->trouble->spare = (struct dh_spare){0};
    }
}

void dh_unit_push(lua_State *L, const struct dh_unit *unit) {
    if (unit->instance == NULL) {
        lua_pushnil(L);
    } else {
        dh_vm_push_anchored(L, unit->anchor);
    }
}

void dh_unit_detach(struct dh_unit *unit) {
    dh_spare_drop(unit->instance->vm, unit);
    if (unit->trouble != NULL) {
        dh_failure_free(unit->trouble->failure);
        dh_failure_free(unit->trouble->cause);
        dh_dossier_fini(&unit->trouble->dossier);
        free(unit->trouble);
        unit->trouble = NULL;
    }
    dh_vm_release(unit->instance->vm, unit->anchor);
    unit->anchor = LUA_NOREF;
    unit->instance = NULL;
}

struct dh_trouble *dh_unit_trouble(struct dh_unit *unit) {
    if (unit->trouble == NULL) {
        unit->trouble = calloc(1, sizeof(*unit->trouble));
    }
    return unit->trouble;
}

/* self */

static struct dh_run *check_self(lua_State *L) {
    return luaL_checkudata(L, 1, SELF_TYPE);
}

/* The run of a method that makes sense only while it lives. */
static struct dh_run *live_run(lua_State *L) {
    struct dh_run *run = check_self(L);
    return run->instance != NULL && run->phase == DH_RUN_LIVE ? run : NULL;
}

static int self_ready(lua_State *L) {
    struct dh_run *run = live_run(L);
    if (run != NULL) {
        dh_sup_on_ready(&run->instance->host.sup, &run->unit->worker, run->number, true);
    }
    return 0;
}

static int self_beat(lua_State *L) {
    struct dh_run *run = live_run(L);
    if (run != NULL) {
        dh_sup_on_beat(&run->instance->host.sup, &run->unit->worker, run->number);
    }
    return 0;
}

static int self_healthy(lua_State *L) {
    struct dh_run *run = live_run(L);
    if (run != NULL) {
        dh_sup_on_healthy(&run->instance->host.sup, &run->unit->worker, run->number);
    }
    return 0;
}

static int self_defer(lua_State *L) {
    struct dh_run *run = check_self(L);
    dh_wait_check_callable(L, 2, "fn");
    if (run->instance == NULL || dh_run_is_over(run)) {
        return luaL_error(L, "defer: this run has ended");
    }
    if (run->is_killed) {
        return luaL_error(L, "defer: this run is being killed: its cleanup can grow no more");
    }
    struct dh_owned *owned = dh_owned_of(L, run);
    if (owned->defers == 0) {
        lua_newtable(L);
        owned->defers = dh_vm_anchor(L);
    }
    dh_vm_push_anchored(L, owned->defers);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    return 0;
}

static int self_index(lua_State *L) {
    const struct dh_run *run = lua_touserdata(L, 1);
    const char *key = lua_tostring(L, 2);
    if (key == NULL) {
        return 0;
    }
    if (strcmp(key, "name") == 0) {
        lua_pushstring(L, run->unit->name);
    } else if (strcmp(key, "run") == 0) {
        lua_pushinteger(L, run->number);
    } else if (strcmp(key, "restarts") == 0) {
        lua_pushinteger(L, run->unit->worker.restarts);
    } else if (strcmp(key, "log") == 0) {
        dh_worklog_push(L, 1);
    } else {
        lua_pushvalue(L, 2);
        lua_rawget(L, lua_upvalueindex(1));
    }
    return 1;
}

static int self_tostring(lua_State *L) {
    const struct dh_run *run = check_self(L);
    lua_pushfstring(L, "worker %s, run %d", run->unit->name, (int)run->number);
    return 1;
}

/* handle */

struct dh_unit *dh_unit_check(lua_State *L, int idx) {
    return luaL_checkudata(L, idx, HANDLE_TYPE);
}

static struct dh_unit *check_handle(lua_State *L) {
    return dh_unit_check(L, 1);
}

const char *dh_unit_name_of(lua_State *L, int idx) {
    const struct dh_unit *unit = luaL_testudata(L, idx, HANDLE_TYPE);
    return unit != NULL ? unit->name : NULL;
}

static int fail(lua_State *L, int code, const char *text) {
    lua_pushnil(L);
    lua_pushstring(L, text);
    lua_pushstring(L, code == DH_ENOENT ? "ENOENT" : code == DH_ESHUTDOWN ? "ESHUTDOWN" : "ESTATE");
    return 3;
}

static int settle_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    dh_wait_end(L);
    lua_pushboolean(L, 1);
    return 1;
}

static const struct dh_wait_type settle_wait = {"a handle's verb", dh_wait_leave_line};

/* Give an order; in a task, wait until it is carried out. */
static int order(lua_State *L, int (*give)(struct dh_sup *, struct dh_worker *)) {
    struct dh_unit *unit = check_handle(L);
    struct dh_vm *vm = dh_vm_of(L);
    struct dh_instance *instance = unit->instance;
    if (instance == NULL) {
        return fail(L, DH_ENOENT, "not found: the worker has been removed, or its host has ended");
    }
    struct dh_task *t = vm->current;
    dh_load_refuse_order(L, 1);
    bool is_own_end = t != NULL && t->run == unit->run && t->run->phase != DH_RUN_LIVE;
    if (t != NULL && (t->is_killed || t->forbids_waits || is_own_end)) {
        t = NULL; /* the cleanup of a killed run cannot wait, nobody can for his own end: both ask */
    } else if (t != NULL) {
        t = dh_wait_begin(L, "a handle's verb");
        if (dh_task_is_cancelled(t)) {
            return dh_wait_cancelled(L, t);
        }
    }
    int err = give(&instance->host.sup, &unit->worker);
    if (err != 0) {
        return fail(L, err,
                    err == DH_ESTATE ? "nothing to do: the worker is done, stopped, or being "
                                       "removed; start it"
                                     : dh_error_text(err));
    }
    dh_loop_wake(&vm->loop);
    if (t == NULL) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_settop(L, 1);
    return dh_wait_in_line(L, t, &settle_wait, &instance->settling, DH_NEVER, 0, settle_k);
}

int dh_unit_settle(lua_State *L) {
    const struct dh_unit *unit = check_handle(L);
    struct dh_task *t = dh_wait_begin(L, "settle");
    if (dh_task_is_cancelled(t)) {
        return dh_wait_cancelled(L, t);
    }
    if (unit->instance == NULL || dh_worker_is_settled(&unit->worker)) {
        return 0;
    }
    lua_settop(L, 1);
    return dh_wait_in_line(L, t, &settle_wait, &unit->instance->settling, DH_NEVER, 0, settle_k);
}

static int handle_start(lua_State *L) {
    return order(L, dh_sup_start);
}

static int handle_stop(lua_State *L) {
    return order(L, dh_sup_stop);
}

static int handle_restart(lua_State *L) {
    return order(L, dh_sup_restart);
}

static int handle_retry(lua_State *L) {
    return order(L, dh_sup_retry);
}

static int handle_reset(lua_State *L) {
    return order(L, dh_sup_reset);
}

static int handle_remove(lua_State *L) {
    return order(L, dh_sup_remove);
}

static void push_last_error(lua_State *L, const struct dh_failure *f) {
    lua_createtable(L, 0, 4);
    lua_pushlstring(L, f->message, f->message_len);
    lua_setfield(L, -2, "message");
    lua_pushlstring(L, f->traceback, f->traceback_len);
    lua_setfield(L, -2, "traceback");
    dh_table_set_seconds(L, "at", f->at_ns);
    dh_table_set_integer(L, "run", f->run);
}

bool dh_unit_bill(const struct dh_unit *unit, struct dh_bill *ret_bill) {
    const struct dh_vm *vm = unit->instance->vm;
    const struct dh_run *run = unit->run;
    if (vm->ledger == NULL) {
        return false;
    }
    *ret_bill = (struct dh_bill){0, 0, 0};
    if (run != NULL && run->phase != DH_RUN_CLOSED) {
        ret_bill->held_bytes = dh_cap_held(vm, run);
        ret_bill->allocated_bytes = vm->ledger->accounts[run->account].allocated;
    }
    if (unit->trouble != NULL) {
        ret_bill->leftover_bytes = unit->trouble->leftover_bytes;
    }
    return true;
}

static void set_memory(lua_State *L, const struct dh_unit *unit) {
    struct dh_bill bill;
    if (dh_unit_bill(unit, &bill)) {
        dh_table_set_integer(L, "memory_bytes", (lua_Integer)bill.held_bytes);
        dh_table_set_integer(L, "allocated_bytes", (lua_Integer)bill.allocated_bytes);
        dh_table_set_integer(L, "leftover_bytes", (lua_Integer)bill.leftover_bytes);
    }
}

static int handle_status(lua_State *L) {
    struct dh_unit *unit = check_handle(L);
    if (unit->instance == NULL) {
        return fail(L, DH_ENOENT, "not found: the worker has been removed, or its host has ended");
    }
    struct dh_status st;
    dh_preempt_bill(&unit->instance->vm->preempt); /* it may ask about itself */
    dh_sup_status(&unit->instance->host.sup, &unit->worker, dh_host_now(&unit->instance->host),
                  &st);
    lua_createtable(L, 0, 20);
    dh_table_set_string(L, "name", unit->name);
    dh_table_set_string(L, "state", dh_state_name(st.state));
    dh_table_set_seconds(L, "since", st.since_ns);
    dh_table_set_integer(L, "run", st.run);
    dh_table_set_integer(L, "restarts", st.restarts);
    dh_table_set_integer(L, "streak", st.streak);
    dh_table_set_string(L, "wanted", st.is_wanted ? "up" : "down");
    dh_table_set_boolean(L, "ready", st.is_ready);
    if (st.next_retry_in_ns != DH_NEVER) {
        dh_table_set_seconds(L, "next_retry_in", st.next_retry_in_ns);
    }
    if (st.waiting_for[0] != '\0') {
        dh_table_set_string(L, "waiting_for", st.waiting_for);
    }
    if (unit->trouble != NULL && unit->trouble->failure != NULL) {
        push_last_error(L, unit->trouble->failure);
        lua_setfield(L, -2, "last_error");
    }
    if (unit->trouble != NULL) {
        dh_dossier_push(L, &unit->trouble->dossier);
        lua_setfield(L, -2, "endings");
    }
    dh_table_set_integer(L, "preemptions",
                         unit->trouble != NULL ? (lua_Integer)unit->trouble->preemptions : 0);
    dh_table_set_seconds(L, "slice_max_s", unit->trouble != NULL ? unit->trouble->slice_max_ns : 0);
    dh_table_set_seconds(L, "cpu_s", unit->trouble != NULL ? unit->trouble->cpu_ns : 0);
    set_memory(L, unit);
    dh_table_set_integer(L, "tasks", unit->run != NULL ? unit->run->task_count : 0);
    dh_table_set_integer(L, "handles", unit->run != NULL ? dh_run_handle_count(unit->run) : 0);
    return 1;
}

static const char *const restart_names[] = {
    [DH_RESTART_ON_FAILURE] = "on-failure",
    [DH_RESTART_ALWAYS] = "always",
    [DH_RESTART_NEVER] = "never",
};

static void push_name(lua_State *L, struct dh_name name) {
    lua_pushlstring(L, name.text, name.len);
}

/* What w waits for: a list. */
static void push_after(lua_State *L, const struct dh_worker *w) {
    size_t count = dh_sup_after_count(w);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        push_name(L, dh_sup_after(w, i));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* The name of w's group, or false. */
static void push_group(lua_State *L, const struct dh_worker *w) {
    const struct dh_group *group = dh_sup_group(w);
    if (group == NULL) {
        lua_pushboolean(L, 0);
    } else {
        push_name(L, dh_group_name(group));
    }
}

/* The options declared last, defaults filled in. */
static int handle_options(lua_State *L) {
    struct dh_unit *unit = check_handle(L);
    if (unit->instance == NULL) {
        return fail(L, DH_ENOENT, "not found: the worker has been removed, or its host has ended");
    }
    const struct dh_policy *p = dh_sup_policy(&unit->worker);
    lua_createtable(L, 0, 20);
    dh_table_set_string(L, "restart", restart_names[p->restart]);
    dh_table_set_seconds(L, "min_backoff", p->min_backoff_ns);
    dh_table_set_seconds(L, "max_backoff", p->max_backoff_ns);
    lua_pushnumber(L, p->backoff_factor);
    lua_setfield(L, -2, "backoff_factor");
    lua_pushnumber(L, p->jitter);
    lua_setfield(L, -2, "jitter");
    dh_table_set_seconds(L, "reset_after", p->reset_after_ns);
    if (p->max_restarts == DH_UNLIMITED) {
        dh_table_set_seconds(L, "max_restarts", DH_NEVER);
    } else {
        dh_table_set_integer(L, "max_restarts", p->max_restarts);
    }
    dh_table_set_seconds(L, "within", p->within_ns);
    dh_table_set_boolean(L, "essential", p->is_essential);
    dh_table_set_seconds(L, "stop_timeout", p->stop_timeout_ns);
    push_after(L, &unit->worker);
    lua_setfield(L, -2, "after");
    dh_table_set_boolean(L, "notify", p->notifies);
    dh_table_set_seconds(L, "start_timeout", p->start_timeout_ns);
    if (p->watchdog_ns == DH_NEVER) {
        dh_table_set_boolean(L, "watchdog", false);
    } else {
        dh_table_set_seconds(L, "watchdog", p->watchdog_ns);
    }
    dh_table_set_seconds(L, "hang_timeout", p->hang_timeout_ns);
    if (p->max_memory_bytes == UINT64_MAX) {
        dh_table_set_boolean(L, "max_memory", false);
    } else {
        dh_table_set_integer(L, "max_memory", (lua_Integer)p->max_memory_bytes);
    }
    dh_table_set_boolean(L, "preempt", p->is_preemptible);
    push_group(L, &unit->worker);
    lua_setfield(L, -2, "group");
    return 1;
}

static int handle_index(lua_State *L) {
    const struct dh_unit *unit = lua_touserdata(L, 1);
    const char *key = lua_tostring(L, 2);
    if (key != NULL && strcmp(key, "name") == 0) {
        lua_pushstring(L, unit->name);
        return 1;
    }
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    return 1;
}

static int handle_tostring(lua_State *L) {
    const struct dh_unit *unit = check_handle(L);
    lua_pushfstring(L, "worker %s%s", unit->name, unit->instance == NULL ? " (gone)" : "");
    return 1;
}

static const luaL_Reg self_methods[] = {
    {"beat", self_beat},   {"defer", self_defer}, {"healthy", self_healthy},
    {"ready", self_ready}, {NULL, NULL},
};

static const luaL_Reg handle_methods[] = {
    {"options", handle_options}, {"remove", handle_remove}, {"reset", handle_reset},
    {"restart", handle_restart}, {"retry", handle_retry},   {"start", handle_start},
    {"status", handle_status},   {"stop", handle_stop},     {NULL, NULL},
};

static void open_type(lua_State *L, const char *type, const luaL_Reg *methods, lua_CFunction index,
                      lua_CFunction tostring) {
    luaL_newmetatable(L, type);
    dh_table_seal(L);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_pushcclosure(L, index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pop(L, 1);
}

void dh_unit_open(lua_State *L) {
    open_type(L, SELF_TYPE, self_methods, self_index, self_tostring);
    luaL_getmetatable(L, SELF_TYPE);
    dh_vm_of(L)->self_type = dh_vm_anchor(L);
    open_type(L, HANDLE_TYPE, handle_methods, handle_index, handle_tostring);
}
