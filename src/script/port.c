/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/port.h"

#include <lauxlib.h>

#include "script/hostlib.h"
#include "script/instance.h"
#include "script/unit.h"
#include "script/vm.h"

struct dh_instance *dh_port_check(lua_State *L) {
    return dh_hostlib_check(L);
}

void dh_port_attach(struct dh_instance *instance, struct dh_port *port) {
    instance->port = port;
}

void dh_port_wake(struct dh_instance *instance) {
    dh_loop_wake(&instance->vm->loop);
}

void dh_port_set_tap(struct dh_instance *instance, struct dh_tap *tap) {
    dh_log_set_tap(&instance->log, tap);
}

void dh_port_look_host(struct dh_instance *instance, struct dh_port_host *ret_host) {
    const struct dh_vm *vm = instance->vm;
    *ret_host = (struct dh_port_host){
        .began_ns = instance->host.began_ns,
        .now_ns = dh_host_now(&instance->host),
        .turns = vm->preempt.turns / 2,
        .log_dropped = atomic_load(&instance->log.dropped),
        .late_wakeups = vm->late_wakeups,
        .lua_bytes = dh_collector_held(vm),
        .collector_cycles = vm->collector.cycles,
        .collector_ns = vm->collector.spent_ns,
        .lateness = instance->host.lateness,
        .is_stopping = instance->host.is_stopping || instance->host.sup.is_shutting_down,
    };
}

static struct dh_unit *unit_or_null(struct dh_worker *w) {
    return w != NULL ? dh_unit_of(w) : NULL;
}

struct dh_unit *dh_port_first(struct dh_instance *instance) {
    return unit_or_null(dh_sup_first(&instance->host.sup));
}

struct dh_unit *dh_port_next(struct dh_unit *unit) {
    return unit_or_null(dh_sup_next(&unit->worker));
}

struct dh_unit *dh_port_find(struct dh_instance *instance, const char *name, size_t len) {
    return unit_or_null(dh_sup_find(&instance->host.sup, name, len));
}

struct dh_unit *dh_port_unit(const struct dh_event *ev) {
    return dh_unit_of(ev->worker);
}

/* That of the run which is being closed, or of the last one that failed. */
static const struct dh_failure *last_failure(const struct dh_unit *unit) {
    const struct dh_run *run = unit->run;
    if (run != NULL && run->closing != NULL && run->closing->failure != NULL) {
        return run->closing->failure;
    }
    return unit->trouble != NULL ? unit->trouble->failure : NULL;
}

void dh_port_look(struct dh_instance *instance, struct dh_unit *unit,
                  struct dh_port_worker *ret_worker) {
    const struct dh_worker *w = &unit->worker;
    const struct dh_trouble *trouble = unit->trouble;
    *ret_worker = (struct dh_port_worker){
        .name = w->name,
        .name_len = w->name_len,
        .cpu_ns = trouble != NULL ? trouble->cpu_ns : 0,
        .preemptions = trouble != NULL ? trouble->preemptions : 0,
        .slice_max_ns = trouble != NULL ? trouble->slice_max_ns : 0,
        .tasks = unit->run != NULL ? unit->run->task_count : 0,
        .handles = unit->run != NULL ? dh_run_handle_count(unit->run) : 0,
        .failure = last_failure(unit),
        .endings = trouble != NULL ? &trouble->dossier : NULL,
    };
    dh_unit_bill(unit, &ret_worker->bill);
    dh_sup_status(&instance->host.sup, w, dh_host_now(&instance->host), &ret_worker->status);
}

void **dh_port_record(struct dh_unit *unit) {
    return &unit->record;
}

int dh_port_give(struct dh_instance *instance, struct dh_unit *unit, enum dh_port_order order) {
    static int (*const give[])(struct dh_sup *, struct dh_worker *) = {
        [DH_ORDER_START] = dh_sup_start,     [DH_ORDER_STOP] = dh_sup_stop,
        [DH_ORDER_RESTART] = dh_sup_restart, [DH_ORDER_RETRY] = dh_sup_retry,
        [DH_ORDER_RESET] = dh_sup_reset,
    };
    return give[order](&instance->host.sup, &unit->worker);
}

bool dh_port_is_settled(const struct dh_unit *unit) {
    return dh_worker_is_settled(&unit->worker);
}

void dh_port_stop(struct dh_instance *instance, bool is_now) {
    struct dh_host *host = &instance->host;
    for (unsigned wanted = is_now ? 2 : 1; host->stops < wanted;) {
        dh_host_stop(host);
    }
}

/* done(ok, text); upvalues: the host's userdata, the token. */
static int on_reloaded(lua_State *L) {
    struct dh_instance *instance = lua_touserdata(L, lua_upvalueindex(1));
    size_t len;
    bool is_ok = lua_toboolean(L, 1);
    const char *text = luaL_tolstring(L, 2, &len);
    if (instance->vm != NULL && instance->port != NULL) {
        instance->port->on_reloaded(instance->port, lua_touserdata(L, lua_upvalueindex(2)), is_ok,
                                    text);
    }
    return 0;
}

static int call_reload(lua_State *L) {
    struct dh_instance *instance = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, instance->on_reload);
    dh_instance_push(L, instance);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, on_reloaded, 2);
    lua_call(L, 1, 0);
    return 0;
}

int dh_port_reload(struct dh_instance *instance, void *token) {
    lua_State *L = instance->vm->L;
    if (instance->on_reload == LUA_NOREF) {
        return DH_ENOENT;
    }
    lua_pushcfunction(L, call_reload);
    lua_pushlightuserdata(L, instance);
    lua_pushlightuserdata(L, token);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
        lua_pop(L, 1);
        return DH_ENOMEM;
    }
    return 0;
}

bool dh_port_ending(const struct dh_dossier *endings, uint32_t n,
                    struct dh_ending_view *ret_ending) {
    return dh_dossier_get(endings, n, ret_ending);
}

bool dh_port_get_holder(struct dh_instance *instance, struct dh_holder *ret_holder) {
    return dh_preempt_holder(&instance->vm->preempt, ret_holder);
}
