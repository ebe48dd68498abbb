/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/declare.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/group.h"
#include "script/fingerprint.h"
#include "script/hostlib.h"
#include "script/instance.h"
#include "script/limits.h"
#include "script/spawn.h"
#include "script/table.h"
#include "script/task.h"
#include "script/unit.h"
#include "script/vm.h"

#define LOAD_TYPE "decnet.load"

static int refuse(lua_State *L, const struct dh_error *err) {
    lua_pushnil(L);
    lua_pushstring(L, err->text);
    return 2;
}

/* Reading */

/* Where make_unit keeps what run was. */
#define RUN_GIVEN 5

/* Replace the coroutine at idx by the function it would start with, which it has, too, until
** spend_coroutine; false: it has started. */
static bool copy_body(lua_State *L, int idx) {
    lua_State *co = lua_tothread(L, idx);
    if (!dh_task_can_take(co)) {
        return false;
    }
    lua_pushvalue(co, -1);
    lua_xmove(co, L, 1);
    lua_replace(L, idx);
    return true;
}

/* It is declared: a coroutine that was given for it is of no more use. */
static void spend_coroutine(lua_State *L) {
    lua_State *co = lua_tothread(L, RUN_GIVEN);
    if (co != NULL) {
        lua_settop(co, 0);
    }
}

/* The group that the policy at idx names, or NULL if there is no such. */
static struct dh_group *find_group(lua_State *L, int idx, struct dh_sup *sup) {
    size_t len;
    lua_getfield(L, idx, "group");
    const char *name = lua_tolstring(L, -1, &len);
    struct dh_group *group = dh_sup_find_group(sup, name, len);
    lua_pop(L, 1);
    return group;
}

static int refuse_group(lua_State *L, int idx) {
    lua_getfield(L, idx, "group");
    lua_pushnil(L);
    lua_pushfstring(L,
                    "group: no group is named \"%s\"; declare it before its members with "
                    "decnet.group",
                    lua_tostring(L, -2));
    return 2;
}

/* The names in the policy's 'after'; they and their array stay on the stack. */
static void read_after(lua_State *L, int idx, struct dh_spec *spec) {
    lua_getfield(L, idx, "after");
    int list = lua_gettop(L);
    size_t count = lua_rawlen(L, list);
    luaL_checkstack(L, (int)count + LUA_MINSTACK, "too many names in 'after'");
    struct dh_name *after = lua_newuserdatauv(L, count * sizeof(*after), 0);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, list, (lua_Integer)i + 1);
        after[i].text = luaL_checklstring(L, -1, &after[i].len);
    }
    spec->after = after;
    spec->after_count = count;
}

/* All but the name, from the policy at the absolute index, which lua/decnet/spec.lua has checked and
** filled. What it refers to stays on the stack. False if its group is unknown. */
static bool read_spec(lua_State *L, int idx, struct dh_sup *sup, struct dh_spec *ret_spec) {
    memset(ret_spec, 0, sizeof(*ret_spec));
    const struct dh_declared *declared = dh_hostlib_policy(L, idx);
    if (declared->has_group && (ret_spec->group = find_group(L, idx, sup)) == NULL) {
        return false;
    }
    ret_spec->policy = &declared->policy;
    if (declared->has_after) {
        read_after(L, idx, ret_spec);
    }
    return true;
}

static void note_version(struct dh_unit *unit, uint32_t fingerprint, uint8_t script) {
    unit->fingerprint = fingerprint;
    unit->script = script & DH_SCRIPT_MAX;
}

/* Add the unit to the host, which keeps it from now on; its handle is at the absolute index. */
static int add_unit(lua_State *L, struct dh_instance *instance, int idx, struct dh_spec *spec) {
    struct dh_unit *unit = lua_touserdata(L, idx);
    struct dh_error err;
    lua_pushvalue(L, idx);
    unit->anchor = dh_vm_anchor(L);
    unit->instance = instance;
    if (dh_sup_add(&instance->host.sup, &unit->worker, spec, &err) != 0) {
        dh_unit_detach(unit);
        return refuse(L, &err);
    }
    dh_loop_wake(&instance->vm->loop);
    lua_pushvalue(L, idx);
    return 1;
}

/* The new unit of (name, run, policy) at 2, 3, 4, at the index returned; 0 and a refusal on the stack
** if it cannot be. */
static int make_unit(lua_State *L, struct dh_sup *sup, struct dh_spec *ret_spec) {
    size_t len;
    const char *name = luaL_checklstring(L, 2, &len);
    luaL_checkany(L, 3);
    luaL_checktype(L, 4, LUA_TTABLE);
    lua_settop(L, 4);
    lua_pushvalue(L, 3); /* RUN_GIVEN */
    if (lua_isthread(L, 3) && !copy_body(L, 3)) {
        lua_pushnil(L);
        lua_pushliteral(L, "run: the coroutine has already started or ended: pass a function, or a "
                           "coroutine that has not started");
        return 0;
    }
    if (!read_spec(L, 4, sup, ret_spec)) {
        refuse_group(L, 4);
        return 0;
    }
    if (ret_spec->policy->max_memory_bytes != UINT64_MAX && dh_vm_of(L)->ledger == NULL) {
        lua_pushnil(L);
        lua_pushliteral(L, "max_memory: only decnet-host can count a run's memory: remove it, or "
                           "host the script with decnet-host");
        return 0;
    }
    lua_pushvalue(L, 3);
    const struct dh_unit *unit = dh_unit_new(L, name, len);
    ret_spec->name.text = unit->name;
    ret_spec->name.len = len;
    return lua_gettop(L);
}

/* host:declare(name, run, policy): returns the handle, or nil and a message. */
static int host_declare(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    struct dh_spec spec;
    int idx = make_unit(L, &instance->host.sup, &spec);
    int nresults = idx == 0 ? 2 : add_unit(L, instance, idx, &spec);
    if (nresults == 1) {
        spend_coroutine(L);
    }
    return nresults;
}

static int add_group(lua_State *L, struct dh_sup *sup) {
    struct dh_group_spec spec;
    struct dh_group *group;
    struct dh_error err;
    dh_hostlib_read_group(L, &spec);
    if (dh_sup_add_group(sup, &spec, &group, &err) != 0) {
        return refuse(L, &err);
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* host:group(name, options): declare a group from options that lua/decnet/spec.lua has checked and
** filled; true, or nil and a message. */
static int host_group(lua_State *L) {
    return add_group(L, &dh_hostlib_check(L)->host.sup);
}

/* Changing what is declared */

/* The unit whose handle is at 2, if it is in the host; else NULL. */
static struct dh_unit *check_unit(lua_State *L, struct dh_instance *instance) {
    struct dh_unit *unit = dh_unit_check(L, 2);
    return unit->instance == instance ? unit : NULL;
}

/* host:version(handle): what it is declared to run, its fingerprint, and the number of its script (0:
** none); nil if it is not in the host. */
static int host_version(lua_State *L) {
    const struct dh_unit *unit = check_unit(L, dh_hostlib_check(L));
    if (unit == NULL) {
        lua_pushnil(L);
        return 1;
    }
    lua_getiuservalue(L, 2, 1);
    lua_pushinteger(L, (lua_Integer)unit->fingerprint);
    lua_pushinteger(L, unit->script);
    return 3;
}

static bool is_same_name(struct dh_name a, const char *text, size_t len) {
    return a.len == len && memcmp(a.text, text, len) == 0;
}

/* Is w in the group that the policy at the absolute index names? */
static bool is_same_group(lua_State *L, int idx, const struct dh_worker *w) {
    const struct dh_group *group = dh_sup_group(w);
    size_t len = 0;
    bool is_named = lua_getfield(L, idx, "group") == LUA_TSTRING;
    const char *name = is_named ? lua_tolstring(L, -1, &len) : NULL;
    bool is_same =
        is_named ? group != NULL && is_same_name(dh_group_name(group), name, len) : group == NULL;
    lua_pop(L, 1);
    return is_same;
}

/* host:is_same(handle, policy): is it declared with this policy? */
static int host_is_same(lua_State *L) {
    const struct dh_unit *unit = check_unit(L, dh_hostlib_check(L));
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    struct dh_spec spec = {0};
    bool is_same =
        unit != NULL && is_same_group(L, 3, &unit->worker) &&
        dh_policy_is_equal(&dh_hostlib_policy(L, 3)->policy, dh_sup_policy(&unit->worker));
    if (is_same) {
        read_after(L, 3, &spec);
        is_same = spec.after_count == dh_sup_after_count(&unit->worker);
    }
    for (size_t i = 0; is_same && i < spec.after_count; i++) {
        is_same =
            is_same_name(dh_sup_after(&unit->worker, i), spec.after[i].text, spec.after[i].len);
    }
    lua_pushboolean(L, is_same);
    return 1;
}

/* Is it down because somebody wants it so? One that is done or has failed may try its new version. */
static bool is_kept_down(const struct dh_worker *w) {
    bool is_done =
        w->state == DH_DONE || w->state == DH_FAILED ||
        (w->state == DH_CLOSING && (w->after_closing == DH_DONE || w->after_closing == DH_FAILED));
    return !w->is_wanted && !is_done;
}

/* host:change(handle, run, policy, fingerprint, script, is_trial): give a worker another version, and
** restart it, unless it is kept down. True and whether it restarts, or nil and a message. Does not wait. */
static int host_change(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    struct dh_sup *sup = &instance->host.sup;
    struct dh_unit *unit = check_unit(L, instance);
    luaL_checkany(L, 3);
    luaL_checktype(L, 4, LUA_TTABLE);
    lua_Integer fingerprint = luaL_checkinteger(L, 5);
    uint8_t script = (uint8_t)luaL_checkinteger(L, 6);
    bool is_trial = lua_toboolean(L, 7);
    struct dh_error err = {DH_ENOENT, "the worker has been removed"};
    struct dh_spec spec;
    if (unit == NULL) {
        return refuse(L, &err);
    }
    if (!read_spec(L, 4, sup, &spec)) {
        return refuse_group(L, 4);
    }
    bool must_restart = !is_kept_down(&unit->worker);
    if (dh_sup_change(sup, &unit->worker, &spec, is_trial, &err) != 0) {
        return refuse(L, &err);
    }
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    dh_unit_set_body(L, unit);
    lua_pop(L, 1);
    note_version(unit, (uint32_t)fingerprint, script);
    if (must_restart) {
        dh_sup_restart(sup, &unit->worker);
    }
    dh_loop_wake(&instance->vm->loop);
    lua_pushboolean(L, 1);
    lua_pushboolean(L, must_restart);
    return 2;
}

/* host:adopt(handle, policy, fingerprint, script): add a worker that a load, which has been kept, declared. The
** handle, or nil and a message. */
static int host_adopt(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    struct dh_unit *unit = dh_unit_check(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_Integer fingerprint = luaL_checkinteger(L, 4);
    uint8_t script = (uint8_t)luaL_checkinteger(L, 5);
    struct dh_spec spec;
    luaL_argcheck(L, unit->instance == NULL, 2, "it has a host");
    if (!read_spec(L, 3, &instance->host.sup, &spec)) {
        return refuse_group(L, 3);
    }
    spec.name.text = unit->name;
    spec.name.len = strlen(unit->name);
    note_version(unit, (uint32_t)fingerprint, script);
    return add_unit(L, instance, 2, &spec);
}

/* host:is_removing(handle) */
static int host_is_removing(lua_State *L) {
    const struct dh_unit *unit = check_unit(L, dh_hostlib_check(L));
    lua_pushboolean(L, unit != NULL && unit->worker.is_removing);
    return 1;
}

/* host:remove(handle): ask for its end; does not wait. */
static int host_remove(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    struct dh_unit *unit = check_unit(L, instance);
    if (unit != NULL) {
        dh_sup_remove(&instance->host.sup, &unit->worker);
        dh_loop_wake(&instance->vm->loop);
    }
    return 0;
}

/* host:move_last(handle): in order of declaration. */
static int host_move_last(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    struct dh_unit *unit = check_unit(L, instance);
    if (unit != NULL) {
        dh_sup_move_last(&instance->host.sup, &unit->worker);
    }
    return 0;
}

/* host:change_group(name, options): a group that exists; host:drop_group(name): forget it when
** nobody is in it. */
static int host_change_group(lua_State *L) {
    struct dh_sup *sup = &dh_hostlib_check(L)->host.sup;
    struct dh_group_spec spec;
    struct dh_error err;
    dh_hostlib_read_group(L, &spec);
    struct dh_group *group = dh_sup_find_group(sup, spec.name.text, spec.name.len);
    if (group == NULL) {
        return add_group(L, sup);
    }
    if (dh_sup_change_group(sup, group, &spec, &err) != 0) {
        return refuse(L, &err);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int host_drop_group(lua_State *L) {
    struct dh_sup *sup = &dh_hostlib_check(L)->host.sup;
    size_t len;
    const char *name = luaL_checklstring(L, 2, &len);
    struct dh_group *group = dh_sup_find_group(sup, name, len);
    if (group != NULL) {
        dh_sup_drop_group(sup, group);
    }
    return 0;
}

/* host:fingerprint(session, script): the workers that no script has been noted for were declared by
** this one while it was loaded; note that, and what their functions are now. */
static int host_fingerprint(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    struct dh_sup *sup = &instance->host.sup;
    uint8_t script = (uint8_t)luaL_checkinteger(L, 3);
    lua_settop(L, 3);
    for (struct dh_worker *w = dh_sup_first(sup); w != NULL; w = dh_sup_next(w)) {
        struct dh_unit *unit = dh_unit_of(w);
        if (unit->script == 0) {
            dh_unit_push(L, unit);
            lua_getiuservalue(L, -1, 1);
            note_version(unit, dh_fingerprint(L, 2, -1), script);
            lua_settop(L, 3);
        }
    }
    return 0;
}

/* Loads */

static struct dh_load *check_load(lua_State *L) {
    struct dh_load *load = luaL_checkudata(L, 1, LOAD_TYPE);
    assert(load->staged.env != NULL); /* lua/decnet/stage.lua calls none that is over */
    return load;
}

/* host:load(): begin one. User value 1: what it declared, which must stay where it is. */
static int host_load(lua_State *L) {
    struct dh_instance *instance = dh_hostlib_check(L);
    struct dh_load *load = lua_newuserdatauv(L, sizeof(*load), 1);
    memset(load, 0, sizeof(*load));
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, LOAD_TYPE);
    lua_pushvalue(L, -1);
    int anchor = dh_vm_anchor(L);
    dh_run_init(&load->run, instance, NULL, 0);
    load->run.main.anchor = anchor;
    load->run.is_loading = true;
    dh_sup_init(&load->staged, &instance->host.env); /* its clock and memory; it is never booted */
    load->next = instance->loads;
    instance->loads = load;
    return 1;
}

/* load:spawn(fn, ...): a task that cannot wait, as a script cannot. */
static int load_spawn(lua_State *L) {
    struct dh_load *load = check_load(L);
    dh_spawn(L, &load->run, lua_gettop(L) - 2);
    return 1;
}

/* load:declare(name, run, policy): a handle, of the worker of that name if the host has one, else of
** one that host:adopt brings to life, and the function to run; or nil and a message. */
static int load_declare(lua_State *L) {
    struct dh_load *load = check_load(L);
    struct dh_spec spec;
    struct dh_error err;
    int idx = make_unit(L, &load->staged, &spec);
    if (idx == 0) {
        return 2;
    }
    struct dh_unit *unit = lua_touserdata(L, idx);
    lua_getiuservalue(L, 1, 1);
    lua_pushvalue(L, idx);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    if (dh_sup_add(&load->staged, &unit->worker, &spec, &err) != 0) {
        return refuse(L, &err);
    }
    spend_coroutine(L);
    struct dh_worker *w = dh_sup_find(&load->run.instance->host.sup, unit->name, spec.name.len);
    if (w != NULL && !w->is_removing) {
        dh_unit_push(L, dh_unit_of(w));
    } else {
        lua_pushvalue(L, idx);
    }
    lua_pushvalue(L, 3);
    return 2;
}

static int load_group(lua_State *L) {
    return add_group(L, &check_load(L)->staged);
}

/* load:check(): dh_hostlib_check_all of what it declared. */
static int load_check(lua_State *L) {
    return dh_hostlib_check_all(L, &check_load(L)->staged);
}

static void end_load(struct dh_load *load) {
    load->run.is_loading = false;
    dh_sup_fini(&load->staged);
}

/* load:keep(): it is over; what it opened stays open until the host ends. */
static int load_keep(lua_State *L) {
    struct dh_load *load = check_load(L);
    end_load(load);
    lua_pushnil(L);
    lua_setiuservalue(L, 1, 1);
    if (load->run.owned == NULL && load->run.task_count == 0) {
        dh_run_end_own(&load->run);
    }
    return 0;
}

/* load:drop(): it is over, and what it opened is closed. */
static int load_drop(lua_State *L) {
    struct dh_load *load = check_load(L);
    end_load(load);
    dh_run_end_own(&load->run);
    return 0;
}

void dh_load_on_closed(struct dh_run *run) {
    struct dh_load *load = (struct dh_load *)run; /* first member */
    struct dh_instance *instance = run->instance;
    struct dh_load **link = &instance->loads;
    while (*link != load) {
        link = &(*link)->next;
    }
    *link = load->next;
    dh_closing_free(run->instance, run->closing);
    run->closing = NULL;
    run->instance = NULL;
    dh_vm_release(instance->vm, run->main.anchor);
}

void dh_load_end_all(struct dh_instance *instance) {
    struct dh_load *next;
    for (struct dh_load *load = instance->loads; load != NULL; load = next) {
        next = load->next;
        if (load->staged.env != NULL) {
            end_load(load);
        }
        if (load->run.phase == DH_RUN_LIVE) {
            dh_run_end_own(&load->run);
        }
    }
}

void dh_load_refuse_order(lua_State *L, int level) {
    const struct dh_vm *vm = dh_vm_of(L);
    if (vm->current != NULL && vm->current->run->is_loading) {
        luaL_where(L, level);
        lua_pushliteral(L, "a script gives no orders while it is loaded again, beside what runs: "
                           "give them in a worker");
        lua_concat(L, 2);
        lua_error(L);
    }
}

/* refuse_order(level): see above; levels as error counts them. */
static int l_refuse_order(lua_State *L) {
    dh_load_refuse_order(L, (int)luaL_checkinteger(L, 1));
    return 0;
}

bool dh_load_push(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    if (vm->current == NULL || !vm->current->run->is_loading) {
        return false;
    }
    dh_vm_push_anchored(L, vm->current->run->main.anchor);
    return true;
}

/* is_printable(value): is it a string, not empty, and of nothing but the printable characters of ASCII? */
static int l_is_printable(lua_State *L) {
    size_t len = 0;
    const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &len) : NULL;
    size_t printable = 0;
    while (printable < len && text[printable] >= ' ' && text[printable] <= '~') {
        printable++;
    }
    lua_pushboolean(L, len > 0 && printable == len);
    return 1;
}

static const luaL_Reg load_methods[] = {
    {"check", load_check}, {"declare", load_declare}, {"drop", load_drop}, {"group", load_group},
    {"keep", load_keep},   {"spawn", load_spawn},     {NULL, NULL},
};

const luaL_Reg dh_declare_host_methods[] = {
    {"adopt", host_adopt},
    {"change", host_change},
    {"change_group", host_change_group},
    {"declare", host_declare},
    {"drop_group", host_drop_group},
    {"fingerprint", host_fingerprint},
    {"group", host_group},
    {"is_removing", host_is_removing},
    {"is_same", host_is_same},
    {"load", host_load},
    {"move_last", host_move_last},
    {"remove", host_remove},
    {"version", host_version},
    {NULL, NULL},
};

void dh_declare_open(lua_State *L) {
    luaL_newmetatable(L, LOAD_TYPE);
    dh_table_seal(L);
    luaL_newlib(L, load_methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushcfunction(L, l_is_printable);
    lua_setfield(L, -2, "is_printable");
    lua_pushcfunction(L, l_refuse_order);
    lua_setfield(L, -2, "refuse_order");
    lua_pushcfunction(L, dh_unit_settle);
    lua_setfield(L, -2, "settle");
}
