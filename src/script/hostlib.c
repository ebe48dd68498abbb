/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/hostlib.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/group.h"
#include "host/limits.h"
#include "script/declare.h"
#include "script/event.h"
#include "script/instance.h"
#include "script/leftover.h"
#include "script/limits.h"
#include "script/luv.h"
#include "script/memory.h"
#include "script/spawn.h"
#include "script/table.h"
#include "script/unit.h"
#include "script/vm.h"
#include "script/wait.h"

#define HOST_TYPE "decnet.host"

/* Policy tables that have been read: table -> userdata with a struct dh_declared. Weak keys. */
static const char policies_key = 0;

struct dh_instance *dh_hostlib_check(lua_State *L) {
    struct dh_instance *instance = luaL_checkudata(L, 1, HOST_TYPE);
    if (instance->vm == NULL) {
        luaL_error(L, "this host is closed");
    }
    return instance;
}

/* Options */

static uint64_t option_ns(lua_State *L, int idx, const char *key) {
    if (lua_getfield(L, idx, key) != LUA_TNUMBER) {
        lua_pop(L, 1);
        return DH_NEVER;
    }
    double ns = lua_tonumber(L, -1) * 1e9;
    lua_pop(L, 1);
    return ns < 18e18 ? (uint64_t)llround(ns) : DH_NEVER;
}

/* Bytes, or UINT64_MAX for math.huge and for none. */
static uint64_t option_bytes(lua_State *L, int idx, const char *key) {
    lua_getfield(L, idx, key);
    double bytes = luaL_optnumber(L, -1, HUGE_VAL);
    lua_pop(L, 1);
    return bytes < 1e18 ? (uint64_t)bytes : UINT64_MAX;
}

static double option_number(lua_State *L, int idx, const char *key, double otherwise) {
    lua_getfield(L, idx, key);
    double x = luaL_optnumber(L, -1, otherwise);
    lua_pop(L, 1);
    return x;
}

static uint32_t option_count(lua_State *L, int idx, const char *key) {
    double n = option_number(L, idx, key, HUGE_VAL);
    return n < DH_UNLIMITED ? (uint32_t)n : DH_UNLIMITED;
}

static bool option_boolean(lua_State *L, int idx, const char *key) {
    lua_getfield(L, idx, key);
    bool b = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return b;
}

static uint8_t option_restart(lua_State *L, int idx) {
    static const char *const names[] = {"on-failure", "always", "never", NULL};
    lua_getfield(L, idx, "restart");
    int choice = luaL_checkoption(L, -1, "on-failure", names);
    lua_pop(L, 1);
    return (uint8_t)choice; /* the order of enum dh_restart */
}

/* Read a table that lua/decnet/spec.lua has checked and filled. */
static void read_policy(lua_State *L, int idx, struct dh_policy *p) {
    dh_policy_init_defaults(p);
    p->min_backoff_ns = option_ns(L, idx, "min_backoff");
    p->max_backoff_ns = option_ns(L, idx, "max_backoff");
    p->backoff_factor = option_number(L, idx, "backoff_factor", p->backoff_factor);
    p->jitter = option_number(L, idx, "jitter", p->jitter);
    p->reset_after_ns = option_ns(L, idx, "reset_after");
    p->within_ns = option_ns(L, idx, "within");
    p->stop_timeout_ns = option_ns(L, idx, "stop_timeout");
    p->start_timeout_ns = option_ns(L, idx, "start_timeout");
    p->watchdog_ns = option_ns(L, idx, "watchdog");
    p->max_restarts = option_count(L, idx, "max_restarts");
    p->restart = option_restart(L, idx);
    p->is_essential = option_boolean(L, idx, "essential");
    p->notifies = option_boolean(L, idx, "notify");
    p->hang_timeout_ns = option_ns(L, idx, "hang_timeout");
    p->is_preemptible = option_boolean(L, idx, "preempt");
    p->max_memory_bytes = option_bytes(L, idx, "max_memory");
}

static void read_declared(lua_State *L, int idx, struct dh_declared *ret_declared) {
    read_policy(L, idx, &ret_declared->policy);
    ret_declared->has_group = lua_getfield(L, idx, "group") == LUA_TSTRING;
    lua_getfield(L, idx, "after");
    ret_declared->has_after = lua_rawlen(L, -1) > 0;
    lua_pop(L, 2);
}

const struct dh_declared *dh_hostlib_policy(lua_State *L, int idx) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &policies_key);
    lua_pushvalue(L, idx);
    if (lua_rawget(L, -2) == LUA_TUSERDATA) {
        lua_remove(L, -2);
        return lua_touserdata(L, -1);
    }
    lua_pop(L, 1);
    struct dh_declared *declared = lua_newuserdatauv(L, sizeof(*declared), 0);
    read_declared(L, idx, declared);
    lua_pushvalue(L, idx);
    lua_pushvalue(L, -2);
    lua_rawset(L, -4);
    lua_remove(L, -2);
    return declared;
}

static uint64_t log_clock(void *arg) {
    return dh_host_now(arg);
}

static void open_log(lua_State *L, int idx, struct dh_instance *instance) {
    struct dh_log_options options = {.fd = STDERR_FILENO, .level = DH_LEVEL_INFO};
    if (lua_getfield(L, idx, "log_level") == LUA_TSTRING) {
        const char *name = lua_tostring(L, -1);
        if (dh_log_level_parse(name, &options.level) != 0) {
            luaL_error(L, "log_level: one of %s expected, got '%s'", DH_LEVEL_NAMES, name);
        }
    }
    options.format = isatty(STDERR_FILENO) ? DH_LOG_PRETTY : DH_LOG_LOGFMT;
    options.has_colors = isatty(STDERR_FILENO) && dh_log_wants_colors();
    bool has_format = lua_getfield(L, idx, "log_format") == LUA_TSTRING;
    if (has_format) {
        const char *name = lua_tostring(L, -1);
        if (dh_log_format_parse(name, &options.format) != 0) {
            luaL_error(L, "log_format: one of %s expected, got '%s'", DH_LOG_FORMAT_NAMES, name);
        }
    }
    if (lua_getfield(L, idx, "log_fd") == LUA_TNUMBER) {
        options.fd = (int)lua_tointeger(L, -1);
    }
    if (lua_getfield(L, idx, "log") == LUA_TBOOLEAN && !lua_toboolean(L, -1)) {
        options.fd = -1;
    }
    lua_pop(L, 4);
    if (option_boolean(L, idx, "virtual")) {
        options.clock = DH_LOG_CLOCK_ELAPSED;
        options.now_ns = log_clock;
        options.arg = &instance->host;
    }
    if (options.fd == STDERR_FILENO && options.clock == DH_LOG_CLOCK_WALL) {
        options.has_priority = dh_journal_is_at(getenv("JOURNAL_STREAM"), options.fd);
        options.journal = options.has_priority && !has_format ? DH_JOURNAL_SOCKET : NULL;
    }
    dh_log_init(&instance->log, &options);
}

/* host(options): a new host, which becomes the current one. Options: virtual, signals,
** ends_process, service, keep_alive (booleans), shutdown_timeout, slice (seconds), max_memory (bytes, of all
** that Lua holds), monitor (false: none, to measure what it costs), preempt_every (instructions, for
** tests), seed, log (false: none), log_level, log_format, log_fd. */
static int l_host(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    if (vm->instance != NULL) {
        return luaL_error(L, "a host is running already: there can be one at a time");
    }
    luaL_checkstack(vm->L, 2 * LUA_MINSTACK, NULL);
    struct dh_instance *instance = lua_newuserdatauv(L, sizeof(*instance), 0);
    memset(instance, 0, sizeof(*instance));
    open_log(L, 1, instance);
    struct dh_host_options options = {
        .alloc = dh_memory_alloc(),
        .loop = &vm->loop,
        .log = &instance->log,
        .runner = &dh_instance_runner,
        .is_virtual = option_boolean(L, 1, "virtual"),
        .takes_signals = option_boolean(L, 1, "signals"),
        .ends_process = option_boolean(L, 1, "ends_process"),
        .is_service = option_boolean(L, 1, "service"),
        .keeps_alive = option_boolean(L, 1, "keep_alive"),
        .shutdown_timeout_ns = option_ns(L, 1, "shutdown_timeout"),
        .seed = (uint64_t)option_number(L, 1, "seed", 0),
    };
    lua_newtable(L);
    instance->events = luaL_ref(L, LUA_REGISTRYINDEX);
    instance->on_event = LUA_NOREF;
    instance->stop_event = LUA_NOREF;
    instance->on_reload = LUA_NOREF;
    lua_pushvalue(L, -1);
    instance->anchor = dh_vm_anchor(L);
    dh_host_init(&instance->host, &options);
    dh_run_init(&instance->own, instance, NULL, 0);
    instance->vm = vm;
    vm->instance = instance;
    vm->warning.began_ns = 0; /* its log has none yet */
    vm->warning.untold = 0;
    dh_queue_restart(&vm->queue);
    uint64_t slice_ns = option_ns(L, 1, "slice");
    int force_count = (int)option_number(L, 1, "preempt_every", 0);
    lua_getfield(L, 1, "monitor");
    bool has_monitor = lua_isnil(L, -1) || lua_toboolean(L, -1);
    lua_pop(L, 1);
    int err = dh_preempt_start(&vm->preempt, vm, slice_ns != DH_NEVER ? slice_ns : DH_SLICE_NS,
                               has_monitor);
    vm->preempt.force_count = force_count;
    uint64_t max_memory = option_bytes(L, 1, "max_memory");
    dh_cap_set_ceiling(vm, max_memory != UINT64_MAX ? max_memory : 0);
    if (err != 0) {
        dh_log_print(&instance->log, DH_LEVEL_WARN, NULL,
                     "no thread for the monitor (%s): no worker can be preempted",
                     uv_strerror(err));
    }
    luaL_setmetatable(L, HOST_TYPE);
    return 1;
}

void dh_instance_push(lua_State *L, struct dh_instance *instance) {
    dh_vm_push_anchored(L, instance->anchor);
}

/* Declaring */

static enum dh_strategy check_strategy(lua_State *L, int idx) {
    static const char *const names[] = {"one_for_one", "one_for_all", "rest_for_one", NULL};
    lua_getfield(L, idx, "strategy");
    int choice = luaL_checkoption(L, -1, NULL, names);
    lua_pop(L, 1);
    return (enum dh_strategy)choice; /* the order of the enum */
}

void dh_hostlib_read_group(lua_State *L, struct dh_group_spec *ret_spec) {
    dh_group_spec_init_defaults(ret_spec);
    ret_spec->name.text = luaL_checklstring(L, 2, &ret_spec->name.len);
    luaL_checktype(L, 3, LUA_TTABLE);
    ret_spec->strategy = check_strategy(L, 3);
    ret_spec->max_restarts = option_count(L, 3, "max_restarts");
    ret_spec->within_ns = option_ns(L, 3, "within");
}

int dh_hostlib_check_all(lua_State *L, struct dh_sup *sup) {
    struct dh_error err;
    struct dh_worker *at;
    if (dh_sup_check(sup, &at, &err) != 0) {
        lua_pushnil(L);
        lua_pushstring(L, err.text);
        lua_pushlstring(L, at->name, at->name_len);
        return 3;
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* host:check(): dh_hostlib_check_all of what has been declared. */
static int host_check(lua_State *L) {
    return dh_hostlib_check_all(L, &dh_hostlib_check(L)->host.sup);
}

/* Running */

/* host:run(): run to the end; returns the exit code, and a message if it is 2. */
static int host_run(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    struct dh_error err = {0, ""};
    if (instance->host.is_running || instance->host.options.is_virtual) {
        return luaL_error(L, "this host is running already");
    }
    dh_collector_expect(instance->vm, instance->host.sup.worker_count);
    int code = dh_host_run(&instance->host, &err);
    lua_pushinteger(L, code);
    if (code == DH_EXIT_USAGE) {
        lua_pushstring(L, err.text);
        return 2;
    }
    return 1;
}

/* host:boot(): virtual clock only; true, or nil and a message. */
static int host_boot(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    struct dh_error err;
    if (!instance->host.sup.is_booted && dh_sup_boot(&instance->host.sup, &err) != 0) {
        lua_pushnil(L);
        lua_pushstring(L, err.text);
        return 2;
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* host:step(limit_ns): one move of a virtual clock; false when there is nothing left to do until
** then. */
static int host_step(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    uint64_t limit_ns = (uint64_t)luaL_checkinteger(L, 2);
    luaL_argcheck(L, instance->host.options.is_virtual, 1, "a host with a virtual clock expected");
    if (instance->vm->current != NULL) {
        return luaL_error(L, "the clock cannot be moved from inside a worker");
    }
    lua_pushboolean(L, dh_host_advance(&instance->host, limit_ns));
    return 1;
}

/* host:after(seconds): the nanosecond that long from now, as host:step takes it. */
static int host_after(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    uint64_t at = dh_wait_deadline(instance->vm, dh_wait_seconds(L, 2, "seconds"));
    lua_pushinteger(L, at > (uint64_t)INT64_MAX ? INT64_MAX : (lua_Integer)at);
    return 1;
}

/* host:idle_for(): seconds of a virtual clock until something is to be done; 0: there is now,
** math.huge: nothing ever will be, unless somebody outside does something. */
static int host_idle_for(lua_State *L) {
    struct dh_host *host = &dh_hostlib_check(L)->host;
    uint64_t next = dh_host_next(host);
    uint64_t now = dh_host_now(host);
    lua_Number seconds = next > now ? (lua_Number)(next - now) / 1e9 : 0;
    lua_pushnumber(L, next == DH_NEVER ? (lua_Number)HUGE_VAL : seconds);
    return 1;
}

static int host_now(lua_State *L) {
    lua_pushnumber(L, (lua_Number)dh_host_now(&dh_hostlib_check(L)->host) / 1e9);
    return 1;
}

/* host:stop(): ask it to stop politely. Asking again changes nothing: only a signal can be that
** impatient. */
static int host_stop(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    if (!instance->host.is_stopping) {
        dh_host_stop(&instance->host);
        dh_loop_wake(&instance->vm->loop);
    }
    return 0;
}

/* host:kill(): stop it at once, as a second signal does. */
static int host_kill(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    do {
        dh_host_stop(&instance->host);
    } while (instance->host.stops < 2);
    dh_loop_wake(&instance->vm->loop);
    return 0;
}

static int host_is_over(lua_State *L) {
    lua_pushboolean(L, dh_host_is_over(&dh_hostlib_check(L)->host));
    return 1;
}

static int host_exit_code(lua_State *L) {
    lua_pushinteger(L, dh_host_exit_code(&dh_hostlib_check(L)->host));
    return 1;
}

static void set_ref(lua_State *L, int *ref, int idx) {
    luaL_unref(L, LUA_REGISTRYINDEX, *ref);
    *ref = LUA_NOREF;
    if (!lua_isnoneornil(L, idx)) {
        lua_pushvalue(L, idx);
        *ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
}

/* host:on_event(fn [, with_states]): fn(event) for each event, after the step that caused it; must
** not wait. With states each move of a worker's state machine is an event, too. */
static int host_on_event(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    instance->wants_states = lua_toboolean(L, 3);
    set_ref(L, &instance->on_event, 2);
    return 0;
}

/* host:stop_on(event): stop when this decnet.event is set. */
static int host_stop_on(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    set_ref(L, &instance->stop_event, 2);
    return 0;
}

/* host:on_reload(fn): called when SIGHUP comes; must not wait. */
static int host_on_reload(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    set_ref(L, &instance->on_reload, 2);
    return 0;
}

bool dh_hostlib_stop_is_set(struct dh_instance *instance) {
    lua_State *L = instance->vm->L;
    if (instance->stop_event == LUA_NOREF) {
        return false;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, instance->stop_event);
    bool is_set = dh_event_is_set(L, -1);
    lua_pop(L, 1);
    return is_set;
}

/* host:spawn(fn, ...): a task that belongs to no worker. */
static int host_spawn(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    if (dh_run_is_over(&instance->own)) {
        return 0; /* the host is being closed: nobody would run it */
    }
    dh_spawn(L, &instance->own, lua_gettop(L) - 2);
    return 1;
}

/* host:hold(fn, ...): the same, and the host does not end before it has ended. */
static int host_hold(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    if (dh_run_is_over(&instance->own)) {
        return 0;
    }
    dh_spawn(L, &instance->own, lua_gettop(L) - 2)->holds_host = true;
    dh_host_hold(&instance->host);
    return 1;
}

/* host:has_ended(task) */
static int host_has_ended(lua_State *L) {
    lua_pushboolean(L, dh_spawn_check(L, 2)->state == DH_TASK_ENDED);
    return 1;
}

/* host:reloading(is_over): the script is to be loaded again, or has been. */
static int host_reloading(lua_State *L) {
    dh_host_on_reload(&dh_hostlib_check(L)->host, lua_toboolean(L, 2));
    return 0;
}

/* host:log(level, message): a line of the host's own. */
static int host_log(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    enum dh_level level;
    if (dh_log_level_parse(luaL_checkstring(L, 2), &level) != 0) {
        return luaL_argerror(L, 2, "one of " DH_LEVEL_NAMES " expected");
    }
    size_t len;
    const char *msg = luaL_checklstring(L, 3, &len);
    dh_log_write(&instance->log, level, NULL, msg, len, NULL, 0);
    return 0;
}

/* host:get(name): the handle, or nil and a message. */
static int host_get(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    size_t len;
    const char *name = luaL_checklstring(L, 2, &len);
    struct dh_worker *w = dh_sup_find(&instance->host.sup, name, len);
    if (w == NULL) {
        lua_pushnil(L);
        lua_pushfstring(L, "no worker is named '%s'", name);
        lua_pushliteral(L, "ENOENT");
        return 3;
    }
    dh_vm_push_anchored(L, dh_unit_of(w)->anchor);
    return 1;
}

/* host:has_workers(): is any declared? */
static int host_has_workers(lua_State *L) {
    lua_pushboolean(L, dh_sup_first(&dh_hostlib_check(L)->host.sup) != NULL);
    return 1;
}

/* host:workers(): the handles in order of declaration. */
static int host_workers(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    lua_createtable(L, (int)instance->host.sup.worker_count, 0);
    lua_Integer n = 0;
    for (struct dh_worker *w = dh_sup_first(&instance->host.sup); w != NULL; w = dh_sup_next(w)) {
        dh_vm_push_anchored(L, dh_unit_of(w)->anchor);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

static void push_group(lua_State *L, const struct dh_group *group) {
    struct dh_name name = dh_group_name(group);
    uint32_t max_restarts = dh_group_max_restarts(group);
    lua_createtable(L, 0, 4);
    lua_pushlstring(L, name.text, name.len);
    lua_setfield(L, -2, "name");
    dh_table_set_string(L, "strategy", dh_strategy_name(dh_group_strategy(group)));
    lua_pushnumber(L, max_restarts != DH_UNLIMITED ? (lua_Number)max_restarts : HUGE_VAL);
    lua_setfield(L, -2, "max_restarts");
    dh_table_set_seconds(L, "within", dh_group_within_ns(group));
}

/* host:groups(): { name =, strategy =, max_restarts =, within = } for each, as declared. */
static int host_groups(lua_State *L) {
    lua_newtable(L);
    lua_Integer n = 0;
    for (const struct dh_group *g = dh_hostlib_check(L)->host.sup.groups; g != NULL; g = g->next) {
        push_group(L, g);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* host:holder(): who has had the CPU for long and has it still, the caller for instance: a table with
** worker, run, since and line (nil while it is not known), or nil. */
static int host_holder(lua_State *L) {
    struct dh_holder holder;
    if (!dh_preempt_holder(&dh_hostlib_check(L)->vm->preempt, &holder)) {
        return 0;
    }
    lua_createtable(L, 0, 4);
    if (holder.worker[0] != '\0') {
        dh_table_set_string(L, "worker", holder.worker);
        dh_table_set_integer(L, "run", holder.run);
    }
    dh_table_set_seconds(L, "since", holder.since_ns);
    if (holder.place[0] != '\0') {
        dh_table_set_string(L, "line", holder.place);
    }
    return 1;
}

/* Closing */

/* End what is still alive, at once; whatever hangs after that is left behind. */
static void end_everything(struct dh_instance *instance) {
    struct dh_host *host = &instance->host;
    struct dh_run *own = &instance->own;
    dh_sup_shutdown_now(&host->sup);
    dh_sup_step(&host->sup);
    dh_instance_runner.kill_all(host);
    dh_run_end_own(own);
    dh_load_end_all(instance);
    uint64_t until = dh_loop_now() + DH_VIRTUAL_STAND_NS;
    while (!dh_sup_is_quiet(&host->sup) || own->phase != DH_RUN_CLOSED || instance->loads != NULL) {
        if (dh_loop_now() >= until) {
            break;
        }
        struct dh_budget budget;
        dh_budget_init(&budget, DH_NEVER);
        dh_vm_turn(instance->vm, &budget);
        dh_sup_step(&host->sup);
        dh_instance_runner.on_stepped(host);
        dh_loop_poll(&instance->vm->loop, dh_loop_now() + 1000000u);
    }
    dh_sup_step(&host->sup);
    dh_instance_runner.on_stepped(host);
}

static void close_instance(lua_State *L, struct dh_instance *instance) {
    struct dh_vm *vm = instance->vm;
    if (!instance->host.sup.is_booted) { /* nothing has started: there is nothing to tell */
        instance->host.options.log = NULL;
        luaL_unref(L, LUA_REGISTRYINDEX, instance->on_event);
        instance->on_event = LUA_NOREF;
    }
    end_everything(instance);
    dh_leftover_forget(vm, NULL);
    for (struct dh_worker *w = dh_sup_first(&instance->host.sup); w != NULL; w = dh_sup_next(w)) {
        dh_unit_detach(dh_unit_of(w));
    }
    dh_cap_set_ceiling(vm, 0);
    dh_preempt_stop(&vm->preempt);
    dh_host_fini(&instance->host);
    dh_log_fini(&instance->log);
    dh_closing_free(instance, instance->own.closing);
    instance->own.closing = NULL;
    instance->own.instance = NULL;
    while (instance->loads != NULL) { /* what would not close */
        dh_load_on_closed(&instance->loads->run);
    }
    dh_closing_free_kept(instance);
    luaL_unref(L, LUA_REGISTRYINDEX, instance->events);
    luaL_unref(L, LUA_REGISTRYINDEX, instance->on_event);
    luaL_unref(L, LUA_REGISTRYINDEX, instance->stop_event);
    luaL_unref(L, LUA_REGISTRYINDEX, instance->on_reload);
    dh_vm_release(vm, instance->anchor);
    vm->instance = NULL;
    instance->vm = NULL;
}

/* host:close(): end it and everything that belongs to it; status no longer answers. */
static int host_close(lua_State *L) {
    struct dh_instance *instance = luaL_checkudata(L, 1, HOST_TYPE);
    if (instance->vm == NULL) {
        return 0;
    }
    if (instance->host.is_running || instance->vm->current != NULL) {
        return luaL_error(L, "a host cannot be closed from inside");
    }
    close_instance(L, instance);
    return 0;
}

static int host_gc(lua_State *L) {
    struct dh_instance *instance = lua_touserdata(L, 1);
    if (instance->vm != NULL) {
        close_instance(L, instance);
    }
    return 0;
}

/* current_host(): the host that is being declared or runs, or nil; and the load that the code asking is
** part of, if it is of one. */
static int l_current_host(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    if (vm->instance == NULL) {
        lua_pushnil(L);
    } else {
        dh_instance_push(L, vm->instance);
    }
    return dh_load_push(L) ? 2 : 1;
}

/* count_handles(): handles on the loop that are not the host's own. */
static int l_count_handles(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)dh_loop_count_handles(&dh_vm_of(L)->loop));
    return 1;
}

static const luaL_Reg methods[] = {
    {"after", host_after},
    {"boot", host_boot},
    {"check", host_check},
    {"close", host_close},
    {"exit_code", host_exit_code},
    {"get", host_get},
    {"holder", host_holder},
    {"groups", host_groups},
    {"idle_for", host_idle_for},
    {"has_ended", host_has_ended},
    {"has_workers", host_has_workers},
    {"hold", host_hold},
    {"is_over", host_is_over},
    {"kill", host_kill},
    {"log", host_log},
    {"now", host_now},
    {"on_event", host_on_event},
    {"on_reload", host_on_reload},
    {"reloading", host_reloading},
    {"run", host_run},
    {"spawn", host_spawn},
    {"step", host_step},
    {"stop", host_stop},
    {"stop_on", host_stop_on},
    {"workers", host_workers},
    {NULL, NULL},
};

void dh_hostlib_open(lua_State *L) {
    luaL_newmetatable(L, HOST_TYPE);
    dh_table_seal(L);
    luaL_newlib(L, methods);
    luaL_setfuncs(L, dh_declare_host_methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, host_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_newtable(L);
    lua_newtable(L);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &policies_key);
    lua_pushcfunction(L, l_host);
    lua_setfield(L, -2, "host");
    lua_pushcfunction(L, l_current_host);
    lua_setfield(L, -2, "current_host");
    lua_pushcfunction(L, l_count_handles);
    lua_setfield(L, -2, "count_handles");
}
