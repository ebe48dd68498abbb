/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The real supervisor in the fake world of spec/core, as a Lua module for the comparison with
** spec/model/supervisor.lua: a whole sequence of steps in, the trace of what happened out, as one
** string each, so that a million of them take seconds.
**
**   core.scenario(table) -> scenario            the fields: see read_worker and read_group
**   scenario:play("f1t1s1" [, from]) -> trace   in a fresh world; its lines from step 'from' on
**   core.is_sanitised                           is everything ten times slower here?
**
** The trace has a line for each step: the step, '?' if it was refused, then a word for each
** worker, as write_worker puts it together. Times are milliseconds.
*/
#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec/core/check.h"
#include "spec/core/world.h"

#define SCENARIO "decnet.spec.scenario"

enum { WORKERS = 3, TICKS = 3 };

struct role {
    struct dh_policy policy;
    char after[2 * WORKERS];
    bool is_grouped;
    uint64_t stop_in;
    uint64_t close_in;
};

struct scenario {
    struct role roles[WORKERS][2]; /* the second: what it may be changed to */
    int count;
    enum dh_strategy strategy;
    uint32_t max_restarts;
    uint64_t within_ns;
    uint64_t ticks_ns[TICKS];
};

struct play {
    struct world world;
    const struct scenario *scenario;
    struct dh_group *group;
    struct body *bodies[WORKERS]; /* NULL: not there */
    int declared[WORKERS];        /* which of its roles was declared last */
    luaL_Buffer *trace;
};

/* --- reading a scenario ----------------------------------------------------------------------- */

/* A field of the table on top, an integer or math.huge, which is 'huge'. */
static uint64_t read_number(lua_State *L, const char *key, uint64_t unit, uint64_t huge) {
    uint64_t n = huge;

    lua_getfield(L, -1, key);
    if (lua_tonumber(L, -1) != HUGE_VAL) {
        n = (uint64_t)luaL_checkinteger(L, -1) * unit;
    }
    lua_pop(L, 1);
    return n;
}

static uint64_t read_time(lua_State *L, const char *key) {
    return read_number(L, key, MS, DH_NEVER);
}

static uint32_t read_limit(lua_State *L) {
    return (uint32_t)read_number(L, "max_restarts", 1, DH_UNLIMITED);
}

static bool read_flag(lua_State *L, const char *key) {
    bool is_set;

    lua_getfield(L, -1, key);
    is_set = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return is_set;
}

static int read_choice(lua_State *L, const char *key, const char *const choices[]) {
    int choice;

    lua_getfield(L, -1, key);
    choice = luaL_checkoption(L, -1, NULL, choices);
    lua_pop(L, 1);
    return choice;
}

static void read_worker(lua_State *L, struct role *role) {
    static const char *const restarts[] = {"on-failure", "always", "never", NULL};
    struct dh_policy *p = &role->policy;

    dh_policy_init_defaults(p);
    p->restart = (uint8_t)read_choice(L, "restart", restarts);
    p->min_backoff_ns = read_time(L, "min_backoff");
    p->max_backoff_ns = read_time(L, "max_backoff");
    p->backoff_factor = 2;
    p->reset_after_ns = read_time(L, "reset_after");
    p->max_restarts = read_limit(L);
    p->within_ns = read_time(L, "within");
    p->stop_timeout_ns = read_time(L, "stop_timeout");
    p->notifies = read_flag(L, "notify");
    role->is_grouped = read_flag(L, "grouped");
    role->stop_in = read_time(L, "stops_in");
    role->close_in = read_time(L, "closes_in");
    lua_getfield(L, -1, "after"); /* "a b" */
    snprintf(role->after, sizeof role->after, "%s", luaL_optstring(L, -1, ""));
    lua_pop(L, 1);
}

static void read_group(lua_State *L, struct scenario *s) {
    static const char *const strategies[] = {"one_for_one", "one_for_all", "rest_for_one", NULL};

    s->strategy = (enum dh_strategy)read_choice(L, "strategy", strategies);
    s->max_restarts = read_limit(L);
    s->within_ns = read_time(L, "within");
}

static int new_scenario(lua_State *L) {
    struct scenario *s;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    s = lua_newuserdatauv(L, sizeof *s, 0);
    memset(s, 0, sizeof *s);
    luaL_setmetatable(L, SCENARIO);
    s->count = (int)luaL_len(L, 1);
    luaL_argcheck(L, s->count <= WORKERS, 1, "too many workers");
    for (int i = 0; i < s->count; i++) {
        lua_geti(L, 1, i + 1);
        read_worker(L, &s->roles[i][0]);
        s->roles[i][1] = s->roles[i][0];
        if (lua_getfield(L, -1, "other") == LUA_TTABLE) {
            read_worker(L, &s->roles[i][1]);
        }
        lua_pop(L, 2);
    }
    lua_getfield(L, 1, "group");
    read_group(L, s);
    lua_getfield(L, 1, "ticks");
    luaL_argcheck(L, luaL_len(L, -1) <= TICKS, 1, "too many ticks");
    for (int i = 0; i < (int)luaL_len(L, -1); i++) {
        lua_geti(L, -1, i + 1);
        s->ticks_ns[i] = (uint64_t)luaL_checkinteger(L, -1) * MS;
        lua_pop(L, 1);
    }
    lua_pushvalue(L, 2);
    return 1;
}

/* --- steps ------------------------------------------------------------------------------------ */

/* A run awaits at once; one of which 'notify' is asked is ready when a step says so. */
static void on_event(struct world *world, const struct dh_event *ev) {
    (void)world;
    if (ev->kind == DH_EVENT_START) {
        ((struct body *)ev->worker)->ready_in = ev->worker->policy->notifies ? DH_NEVER : 0;
    }
}

static bool add(struct play *play, int i) {
    const struct role *role = &play->scenario->roles[i][0];
    char name[2] = {(char)('a' + i), '\0'};
    struct body *b = world_try_add(&play->world, name, &role->policy, role->after,
                                   role->is_grouped ? play->group : NULL, NULL);

    if (b == NULL) {
        return false;
    }
    b->stop_in = role->stop_in;
    b->close_in = role->close_in;
    play->bodies[i] = b;
    play->declared[i] = 0;
    return true;
}

static bool change(struct play *play, int i, bool is_trial) {
    int to = 1 - play->declared[i];
    const struct role *role = &play->scenario->roles[i][to];
    struct dh_group *group = role->is_grouped ? play->group : NULL;

    if (play->bodies[i] == NULL ||
        world_change(play->bodies[i], &role->policy, role->after, group, is_trial) < 0) {
        return false;
    }
    play->declared[i] = to;
    return true;
}

static bool order(struct play *play, char verb, struct body *b) {
    struct dh_sup *sup = &play->world.sup;

    switch (verb) {
        case 's':
            return dh_sup_start(sup, &b->w) == 0;
        case 'p':
            return dh_sup_stop(sup, &b->w) == 0;
        case 'R':
            return dh_sup_restart(sup, &b->w) == 0;
        case 'y':
            return dh_sup_retry(sup, &b->w) == 0;
        case 'z':
            return dh_sup_reset(sup, &b->w) == 0;
        default: /* r */
            return dh_sup_remove(sup, &b->w) == 0;
    }
}

static bool end(struct body *b, char verb) {
    if (b == NULL || !b->is_live || b->has_ended) {
        return false;
    }
    b->is_fatal = verb == 'x';
    body_end(b, verb == 'i' ? DH_RETURNED : DH_RAISED);
    b->is_fatal = false;
    return true;
}

static bool say_ready(struct play *play, struct body *b) {
    if (b == NULL || !b->is_live || b->has_ended) {
        return false;
    }
    dh_sup_on_ready(&play->world.sup, &b->w, b->run, true);
    return true;
}

static bool end_all(struct play *play, int returning) {
    bool is_any = false;

    for (int i = 0; i < play->scenario->count; i++) {
        is_any |= end(play->bodies[i], i == returning ? 'i' : 'f');
    }
    return is_any;
}

static void stand_still(struct play *play, int i) {
    struct world *world = &play->world;

    world->now_ns += play->scenario->ticks_ns[i];
    dh_sup_on_look(&world->sup, world->now_ns, 0); /* something had been due since */
}

/* Returns false if it was refused, or there is nobody who could do it. */
static bool step(struct play *play, char verb, int i) {
    struct body *b = play->bodies[i];

    switch (verb) {
        case 't': /* tick: the time passes of which i is the number */
            world_advance(&play->world, play->scenario->ticks_ns[i]);
            return true;
        case 'h': /* halt: the host stands still for as long */
            stand_still(play, i);
            return true;
        case 'e': /* everybody who runs fails, in the same turn */
            return end_all(play, -1);
        case 'm': /* the same, but this one finishes */
            return end_all(play, i);
        case 'q': /* the host stops */
            dh_sup_shutdown(&play->world.sup);
            return true;
        case 'a': /* add */
            return add(play, i);
        case 'd': /* it says that it is ready */
            return say_ready(play, b);
        case 'c': /* change to the other role */
        case 'v': /* the same, on trial */
            return change(play, i, verb == 'v');
        case 's': /* start */
        case 'p': /* stop */
        case 'R': /* restart */
        case 'y': /* retry */
        case 'z': /* reset */
        case 'r': /* remove */
            return b != NULL && order(play, verb, b);
        default: /* f: fail, x: fail fatally, i: finish */
            return end(b, verb);
    }
}

/* --- the trace -------------------------------------------------------------------------------- */

static void write_number(luaL_Buffer *out, char before, uint64_t n) {
    char digits[24];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    if (before != '\0') {
        digits[--at] = before;
    }
    luaL_addlstring(out, digits + at, sizeof digits - at);
}

static char letter_of(const struct record *r) {
    switch (r->kind) {
        case CALL_CANCEL: /* the state says it */
            return ' ';
        case CALL_KILL:
            return 'k';
        case DH_EVENT_CRASH:
            return r->is_stopping ? '~' : '!';
        default:
            return " + !*^xdsgGXvj  "[r->kind]; /* in the order of DH_EVENT_MAP */
    }
}

/* The state's letter, small if it is not wanted; run, restarts, streak; what is left of a delay; and
** what happened to it during the step. */
static void write_worker(struct play *play, int i) {
    luaL_Buffer *out = play->trace;
    const struct body *b = play->bodies[i];
    struct world *world = &play->world;
    struct dh_status status;

    luaL_addchar(out, ' ');
    if (b == NULL || b->is_gone) {
        luaL_addchar(out, '-');
    } else {
        char letter;
        dh_sup_status(&world->sup, &b->w, world->now_ns, &status);
        letter = "WRPCBDFS"[status.state];
        letter = strncmp(status.waiting_for, "group", 5) == 0 ? 'G' : letter;
        luaL_addchar(out, status.is_wanted ? letter : (char)(letter - 'A' + 'a'));
        write_number(out, 0, status.run);
        write_number(out, '.', status.restarts);
        write_number(out, '.', status.streak);
        if (status.next_retry_in_ns != DH_NEVER) {
            write_number(out, '+', status.next_retry_in_ns / MS);
        }
    }
    luaL_addchar(out, ':');
    for (size_t k = 0; k < world->record_count; k++) {
        const struct record *r = &world->records[k];
        char letter = letter_of(r);
        if (letter != ' ' && r->name[0] == 'a' + i) {
            luaL_addchar(out, letter);
        }
    }
}

static void write_step(struct play *play) {
    for (int i = 0; i < play->scenario->count; i++) {
        write_worker(play, i);
    }
    luaL_addchar(play->trace, '\n');
}

static void forget_step(struct play *play) {
    for (int i = 0; i < play->scenario->count; i++) {
        if (play->bodies[i] != NULL && play->bodies[i]->is_gone) {
            play->bodies[i] = NULL;
        }
    }
    world_clear_log(&play->world);
}

static int play_sequence(lua_State *L) {
    const struct scenario *s = luaL_checkudata(L, 1, SCENARIO);
    size_t len;
    const char *steps = luaL_checklstring(L, 2, &len);
    size_t from = 2 * ((size_t)luaL_optinteger(L, 3, 1) - 1);
    struct play *play = calloc(1, sizeof *play);
    luaL_Buffer trace;
    int failures;

    luaL_buffinit(L, &trace);
    check_state()->failures = 0;
    play->scenario = s;
    play->trace = &trace;
    world_init(&play->world);
    play->world.on_event = on_event;
    play->group = world_group(&play->world, "group", s->strategy, s->max_restarts, s->within_ns);
    for (int i = 0; i < s->count; i++) {
        add(play, i);
    }
    world_boot(&play->world);
    world_clear_log(&play->world);
    for (size_t at = 0; at + 1 < len; at += 2) {
        bool is_done = step(play, steps[at], (steps[at + 1] - '1') % WORKERS);
        world_turn(&play->world);
        if (at >= from) {
            luaL_addlstring(&trace, steps + at, 2);
            luaL_addstring(&trace, is_done ? "" : "?");
            write_step(play);
        }
        forget_step(play);
    }
    world_fini(&play->world);
    free(play);
    luaL_pushresult(&trace);
    failures = check_state()->failures;
    return failures == 0 ? 1 : luaL_error(L, "%d checks of the world failed", failures);
}

int luaopen_spec_model_core(lua_State *L);

__attribute__((visibility("default"))) int luaopen_spec_model_core(lua_State *L) {
    luaL_newmetatable(L, SCENARIO);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, play_sequence);
    lua_setfield(L, -2, "play");
    lua_newtable(L);
    lua_pushcfunction(L, new_scenario);
    lua_setfield(L, -2, "scenario");
#if defined(__SANITIZE_ADDRESS__)
    lua_pushboolean(L, true);
#else
    lua_pushboolean(L, false);
#endif
    lua_setfield(L, -2, "is_sanitised");
    return 1;
}
