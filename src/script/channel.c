/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/channel.h"

#include <lauxlib.h>
#include <limits.h>
#include <string.h>

#include "core/cold.h"
#include "script/table.h"
#include "script/vm.h"
#include "script/wait.h"

#define CHANNEL_TYPE "decnet.channel"

/* The values stand in the table that is user value 1, an array used as a ring: 'count' of them from
** 'head' on. It has 'size' places, a power of two, and grows when they are full; so no place is ever
** new to the table, which would have it count all its keys. It shrinks when it is nearly empty and the values
** have gone round once, or when they begin at the front, being the first after none, for the 64th time: what
** that costs, those who made it grow or came since have paid for. Only senders do either: an error, for memory
** is out, loses no value. A blocked sender's value is on top of its own
** stack. Receivers wait only while there is no value, senders only while there is no room, so
** never both. */
struct channel {
    const void *type; /* &channel_type */
    struct dh_vm *vm;
    lua_Integer capacity;
    lua_Integer size;
    lua_Integer head; /* from 0 */
    lua_Integer count;
    unsigned lulls; /* how often it was empty since it has this size */
    struct dh_line senders;
    struct dh_line receivers;
    bool is_closed;
};

#define FIRST_SIZE 4
#define LULLS 64

/* Nearly empty: this part of the places are taken, at most. */
#define SPARSE 8

/* A channel is known by what it holds: metatables can be exchanged by debug, and to find one by its name
** costs as much as the rest of a call. */
static const char channel_type = 0;

DH_COLD static void refuse(lua_State *L) {
    luaL_typeerror(L, 1, CHANNEL_TYPE);
}

static inline struct channel *check_channel(lua_State *L) {
    struct channel *ch = lua_touserdata(L, 1);
    if (ch == NULL || lua_rawlen(L, 1) != sizeof(*ch) || ch->type != &channel_type) {
        refuse(L);
    }
    return ch;
}

/* Where in the ring the i-th value from the first stands, in Lua's counting. */
static lua_Integer place_of(const struct channel *ch, lua_Integer i) {
    return ((ch->head + i) & (ch->size - 1)) + 1;
}

/* So many places, the first value in the first of them. */
static void resize(lua_State *L, struct channel *ch, lua_Integer size) {
    lua_createtable(L, size <= INT_MAX ? (int)size : INT_MAX, 0); /* unreached: more than 32 GB */
    lua_getiuservalue(L, 1, 1);
    for (lua_Integer i = 0; i < ch->count; i++) {
        lua_rawgeti(L, -1, place_of(ch, i));
        lua_rawseti(L, -3, i + 1);
    }
    lua_pop(L, 1);
    lua_setiuservalue(L, 1, 1);
    ch->size = size;
    ch->head = 0;
    ch->lulls = 0;
}

static void shrink(lua_State *L, struct channel *ch) {
    lua_Integer size = FIRST_SIZE;
    while (size < 2 * ch->count) {
        size *= 2;
    }
    resize(L, ch, size);
}

/* A value is about to be put, and there is more room than a ring has at first. */
static void settle(lua_State *L, struct channel *ch) {
    if (ch->count == 0) {
        ch->head = 0;
        if (++ch->lulls == LULLS) {
            shrink(L, ch);
        }
    } else if (place_of(ch, ch->count) == 1 && SPARSE * ch->count <= ch->size) {
        shrink(L, ch);
    }
}

/* Append the value at 2. */
static void put(lua_State *L, struct channel *ch) {
    if (ch->count == ch->size) {
        resize(L, ch, ch->size == 0 ? FIRST_SIZE : 2 * ch->size);
    } else if (ch->size > FIRST_SIZE) {
        settle(L, ch);
    }
    lua_getiuservalue(L, 1, 1);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, place_of(ch, ch->count));
    ch->count++;
}

/* Push the first value; what is below it is of no use. */
static void take(lua_State *L, struct channel *ch) {
    lua_Integer place = place_of(ch, 0);
    lua_getiuservalue(L, 1, 1);
    lua_rawgeti(L, -1, place);
    lua_pushnil(L);
    lua_rawseti(L, -3, place);
    ch->head = place & (ch->size - 1);
    ch->count--;
}

/* Push the first value of a channel that is full, and append the first blocked sender's, which stands
** on top of his stack. In a ring that is full that is the same place. */
static void exchange(lua_State *L, struct channel *ch) {
    lua_Integer place = place_of(ch, 0);
    lua_getiuservalue(L, 1, 1);
    lua_rawgeti(L, -1, place);
    if (ch->count < ch->size) {
        lua_pushnil(L);
        lua_rawseti(L, -3, place);
    }
    lua_xmove(ch->senders.first->inner, L, 1);
    lua_rawseti(L, -3, place_of(ch, ch->count));
    ch->head = place & (ch->size - 1);
}

/* The first blocked sender, whose value has been taken, goes on with true. */
static void release_sender(struct channel *ch) {
    struct dh_task *t = ch->senders.first;
    lua_pushboolean(t->inner, 1);
    dh_line_leave(&ch->senders, t);
    dh_wake(ch->vm, t, DH_WAKE_DONE, 1);
}

/* Give the value on top of the stack, which is popped, to the first who waits for one. */
static void hand_over(lua_State *L, struct channel *ch) {
    struct dh_task *t = ch->receivers.first;
    lua_xmove(L, t->inner, 1);
    dh_line_leave(&ch->receivers, t);
    dh_wake(ch->vm, t, DH_WAKE_DONE, 1);
}

/* Send the value at 2, on top of the stack, if that needs no waiting. */
static bool send_now(lua_State *L, struct channel *ch) {
    if (ch->receivers.first != NULL) {
        hand_over(L, ch);
        return true;
    }
    if (ch->count < ch->capacity) {
        put(L, ch);
        return true;
    }
    return false;
}

/* Push a value if there is one. */
static bool recv_now(lua_State *L, struct channel *ch) {
    if (ch->senders.first == NULL) {
        if (ch->count > 0) {
            take(L, ch);
            return true;
        }
        return false;
    }
    if (ch->count > 0) {
        exchange(L, ch);
    } else {
        lua_xmove(ch->senders.first->inner, L, 1);
    }
    release_sender(ch);
    return true;
}

/* An await that needs no waiting is one still: it raises a cancellation. Outside of tasks only what
** needs no waiting is possible. */
static bool is_cancelled(const struct channel *ch) {
    const struct dh_task *t = ch->vm->current;
    return t != NULL && dh_task_is_cancelled(t) && !t->is_killed && !t->forbids_waits;
}

/* The deadline of a wait whose limit may be given behind so many arguments; more are dropped. */
static uint64_t limit(lua_State *L, const struct channel *ch, int nargs) {
    uint64_t deadline_ns = DH_NEVER;
    if (lua_gettop(L) > nargs) {
        deadline_ns = dh_wait_opt_deadline(L, ch->vm, nargs + 1, "seconds");
        lua_settop(L, nargs);
    }
    return deadline_ns;
}

static const struct dh_wait_type send_wait = {"send", dh_wait_leave_line};
static const struct dh_wait_type recv_wait = {"recv", dh_wait_leave_line};

static int l_send(lua_State *L) {
    struct channel *ch = check_channel(L);
    luaL_argcheck(L, !lua_isnoneornil(L, 2), 2, "value: nil cannot be sent");
    uint64_t deadline_ns = limit(L, ch, 2);
    if (is_cancelled(ch)) {
        return dh_wait_cancelled(L, dh_wait_begin(L, "send"));
    }
    if (ch->is_closed) {
        return dh_wait_answer(L, "closed");
    }
    if (send_now(L, ch)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    struct dh_task *t = dh_wait_begin(L, "send");
    return dh_wait_in_line(L, t, &send_wait, &ch->senders, deadline_ns, 0, dh_wait_results_k);
}

static int l_recv(lua_State *L) {
    struct channel *ch = check_channel(L);
    uint64_t deadline_ns = limit(L, ch, 1);
    if (is_cancelled(ch)) {
        return dh_wait_cancelled(L, dh_wait_begin(L, "recv"));
    }
    if (recv_now(L, ch)) {
        return 1;
    }
    if (ch->is_closed) {
        return dh_wait_answer(L, "closed");
    }
    struct dh_task *t = dh_wait_begin(L, "recv");
    return dh_wait_in_line(L, t, &recv_wait, &ch->receivers, deadline_ns, 0, dh_wait_results_k);
}

static int l_try_send(lua_State *L) {
    struct channel *ch = check_channel(L);
    luaL_argcheck(L, !lua_isnoneornil(L, 2), 2, "value: nil cannot be sent");
    lua_settop(L, 2);
    if (ch->is_closed) {
        return dh_wait_answer(L, "closed");
    }
    if (!send_now(L, ch)) {
        return dh_wait_answer(L, "full");
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int l_try_recv(lua_State *L) {
    struct channel *ch = check_channel(L);
    if (recv_now(L, ch)) {
        return 1;
    }
    return dh_wait_answer(L, ch->is_closed ? "closed" : "empty");
}

static int l_close(lua_State *L) {
    struct channel *ch = check_channel(L);
    ch->is_closed = true;
    lua_pushnil(L);
    lua_pushliteral(L, "closed");
    dh_wake_line(ch->vm, L, &ch->receivers, 2);
    lua_pushnil(L);
    lua_pushliteral(L, "closed");
    dh_wake_line(ch->vm, L, &ch->senders, 2);
    return 0;
}

static int l_len(lua_State *L) {
    lua_pushinteger(L, check_channel(L)->count);
    return 1;
}

/* for passes the value before, too: recv would take it for its time limit. */
static int next_value(lua_State *L) {
    lua_settop(L, 1);
    return l_recv(L);
}

static int l_iter(lua_State *L) {
    check_channel(L);
    lua_pushcfunction(L, next_value);
    lua_pushvalue(L, 1);
    return 2;
}

static int l_channel(lua_State *L) {
    int is_integer = 1;
    lua_Integer capacity = lua_isnoneornil(L, 1) ? 0 : lua_tointegerx(L, 1, &is_integer);
    if (!is_integer || capacity < 0) {
        luaL_argerror(L, 1,
                      lua_pushfstring(L, "capacity: an integer >= 0 expected, got %s",
                                      luaL_tolstring(L, 1, NULL)));
    }
    struct channel *ch = lua_newuserdatauv(L, sizeof(*ch), 1);
    memset(ch, 0, sizeof(*ch));
    ch->type = &channel_type;
    ch->vm = dh_vm_of(L);
    ch->capacity = capacity;
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, CHANNEL_TYPE);
    return 1;
}

static const luaL_Reg methods[] = {
    {"send", l_send},
    {"recv", l_recv},
    {"try_send", l_try_send},
    {"try_recv", l_try_recv},
    {"close", l_close},
    {"iter", l_iter},
    {NULL, NULL},
};

void dh_channel_open(lua_State *L) {
    dh_table_new_type(L, CHANNEL_TYPE, methods);
    lua_pushcfunction(L, l_len);
    lua_setfield(L, -2, "__len");
    lua_pop(L, 1);
    lua_pushcfunction(L, l_channel);
    lua_setfield(L, -2, "channel");
}
