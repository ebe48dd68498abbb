/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/series.h"

#include <lauxlib.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <uv.h>

#include "script/await.h"
#include "script/failure.h"
#include "script/run.h"
#include "script/spawn.h"
#include "script/stream.h"

static const char metatable_key = 0;

/* User values. The handle, so that its memory stays. Of the calls that wait, each is { arguments, n =
** their number }. The bound callback, see dh_series_keep. */
enum { IN_HANDLE = 1, IN_FUNCTION, IN_WAITING, IN_CALLBACK };

struct series {
    struct dh_run *run;
    uv_handle_t *handle; /* NULL: it has not begun */
    lua_Integer first;   /* calls that wait: from first to last */
    lua_Integer last;
    bool is_busy; /* a callback has not ended */
    bool is_over; /* not begun, stopped, closed, at its end, or followed by another */

    bool is_resting;
    union { /* how the handle goes on after its rest */
        struct {
            uv_alloc_cb alloc_cb;
            uv_read_cb read_cb;
        } stream;
        struct {
            uv_alloc_cb alloc_cb;
            uv_udp_recv_cb recv_cb;
        } udp;
        struct {
            uv_poll_cb poll_cb;
            int events;
        } poll;
    } rest;
};

void dh_series_new(lua_State *L, struct dh_run *run, int fn_idx) {
    fn_idx = lua_absindex(L, fn_idx);
    struct series *s = lua_newuserdatauv(L, sizeof(*s), IN_CALLBACK);
    memset(s, 0, sizeof(*s));
    s->run = run;
    s->is_over = true; /* until it begins: there may be no memory for that */
    s->first = 1;
    lua_pushvalue(L, fn_idx);
    lua_setiuservalue(L, -2, IN_FUNCTION);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &metatable_key);
    lua_setmetatable(L, -2);
}

void dh_series_push_function(lua_State *L, int idx) {
    lua_getiuservalue(L, idx, IN_FUNCTION);
}

/* Rest */

static int events_of(unsigned pevents) {
    return (pevents & POLLIN ? UV_READABLE : 0) | (pevents & POLLOUT ? UV_WRITABLE : 0) |
           (pevents & POLLRDHUP ? UV_DISCONNECT : 0) | (pevents & POLLPRI ? UV_PRIORITIZED : 0);
}

static void rest(struct series *s) {
    if (dh_stream_is(s->handle)) {
        uv_stream_t *stream = (uv_stream_t *)s->handle;
        if (stream->read_cb == NULL) { /* what was kept is handed over, and reading did not begin */
            return;
        }
        s->rest.stream.alloc_cb = stream->alloc_cb;
        s->rest.stream.read_cb = stream->read_cb;
        dh_stream_refuse(stream);
        s->is_resting = true;
    } else if (s->handle->type == UV_UDP) {
        uv_udp_t *udp = (uv_udp_t *)s->handle;
        s->rest.udp.alloc_cb = udp->alloc_cb;
        s->rest.udp.recv_cb = udp->recv_cb;
        uv_udp_recv_stop(udp);
        s->is_resting = true;
    } else if (s->handle->type == UV_POLL && uv_is_active(s->handle)) {
        uv_poll_t *poll = (uv_poll_t *)s->handle;
        s->rest.poll.poll_cb = poll->poll_cb;
        s->rest.poll.events = events_of(poll->io_watcher.pevents);
        uv_poll_stop(poll);
        s->is_resting = true;
    }
}

static void go_on(struct series *s) {
    if (!s->is_resting || uv_is_closing(s->handle)) {
        return;
    }
    s->is_resting = false;
    if (s->handle->type == UV_UDP) {
        uv_udp_recv_start((uv_udp_t *)s->handle, s->rest.udp.alloc_cb, s->rest.udp.recv_cb);
    } else if (s->handle->type == UV_POLL) {
        uv_poll_start((uv_poll_t *)s->handle, s->rest.poll.events, s->rest.poll.poll_cb);
    } else {
        dh_stream_accept((uv_stream_t *)s->handle, s->rest.stream.alloc_cb, s->rest.stream.read_cb);
    }
}

/* The user value of luv's userdata, which luv does not use: the current series of the handle; or what
** a stream had read when its series ended, packed; or nil. */

static int push_entry(lua_State *L, int handle_idx) {
    return lua_getiuservalue(L, handle_idx, 1);
}

static void set_entry(lua_State *L, int handle_idx) {
    lua_setiuservalue(L, handle_idx, 1);
}

/* Calling */

/* Pack the nargs arguments on top of L's stack into a table, which replaces them. */
static void pack(lua_State *L, int nargs) {
    lua_createtable(L, nargs, 1);
    lua_insert(L, -1 - nargs);
    for (int i = nargs; i > 0; i--) {
        lua_rawseti(L, -1 - i, i);
    }
    lua_pushinteger(L, nargs);
    lua_setfield(L, -2, "n");
}

/* Replace the packed arguments on top of L's stack by what they were; returns their number. */
static int unpack(lua_State *L) {
    int at = lua_gettop(L);
    lua_getfield(L, at, "n");
    int nargs = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    luaL_checkstack(L, nargs, "too many arguments");
    for (int i = 1; i <= nargs; i++) {
        lua_rawgeti(L, at, i);
    }
    lua_remove(L, at);
    return nargs;
}

static int callback_k(lua_State *L, int status, lua_KContext ctx) {
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

/* What a stream had read when its series ended goes to the next one. Stack: series, arguments. */
static void hand_over(lua_State *L, const struct series *s) {
    int nargs = lua_gettop(L) - 1;
    if (!dh_stream_is(s->handle) || uv_is_closing(s->handle) ||
        dh_stream_give(L, s->handle, nargs)) {
        return;
    }
    lua_getiuservalue(L, 1, IN_HANDLE);
    lua_insert(L, 2);
    if (push_entry(L, 2) == LUA_TUSERDATA) {
        lua_insert(L, 3);
        dh_series_call(L, 3, nargs);
        return;
    }
    lua_pop(L, 1);
    pack(L, nargs);
    set_entry(L, 2);
}

/* Body of a task: series, arguments. However it ends, on_ended is called. */
static int callback(lua_State *L) {
    const struct series *s = lua_touserdata(L, 1);
    if (s->is_over) {
        hand_over(L, s);
        return 0;
    }
    lua_getiuservalue(L, 1, IN_FUNCTION);
    lua_insert(L, 2);
    lua_toclose(L, 1);
    lua_callk(L, lua_gettop(L) - 2, 0, 0, callback_k);
    return 0;
}

/* Make a task of the series at idx and the nargs arguments on top of L's stack, which are popped. */
static bool begin(lua_State *L, int idx, int nargs) {
    struct series *s = lua_touserdata(L, idx);
    lua_pushvalue(L, idx);
    lua_insert(L, -1 - nargs);
    lua_pushcfunction(L, callback);
    lua_insert(L, -2 - nargs);
    s->is_busy = dh_spawn_callback(L, s->run, nargs + 1);
    return s->is_busy;
}

/* __close: the callback has ended, or was killed. */
static int on_ended(lua_State *L) {
    struct series *s = lua_touserdata(L, 1);
    s->is_busy = false;
    if (s->is_over || s->run->is_killed) {
        return 0;
    }
    if (s->first > s->last) {
        go_on(s);
        return 0;
    }
    lua_settop(L, 1);
    lua_getiuservalue(L, 1, IN_WAITING);
    lua_rawgeti(L, 2, s->first);
    lua_pushnil(L);
    lua_rawseti(L, 2, s->first++);
    lua_remove(L, 2);
    if (!begin(L, 1, unpack(L))) {
        return luaL_error(L, "out of memory in a luv callback");
    }
    return 0;
}

/* Stack: series, arguments. */
static int wait_in_series(lua_State *L) {
    struct series *s = lua_touserdata(L, 1);
    pack(L, lua_gettop(L) - 1);
    if (lua_getiuservalue(L, 1, IN_WAITING) == LUA_TNIL) {
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, 1, IN_WAITING);
    }
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, s->last + 1);
    s->last++;
    return 0;
}

static bool join(lua_State *L, int idx, int nargs) {
    lua_pushcfunction(L, wait_in_series);
    lua_insert(L, -1 - nargs);
    lua_pushvalue(L, idx);
    lua_insert(L, -1 - nargs);
    if (lua_pcall(L, nargs + 1, 0, 0) != LUA_OK) {
        lua_pop(L, 1);
        return false;
    }
    return true;
}

/* decnet.await's resume takes one call, at once; the next is for the next series. */
static bool resume_await(lua_State *L, int idx, int nargs) {
    struct series *s = lua_touserdata(L, idx);
    lua_getiuservalue(L, idx, IN_FUNCTION);
    if (lua_tocfunction(L, -1) != dh_await_resume) {
        lua_pop(L, 1);
        return false;
    }
    lua_insert(L, -1 - nargs);
    if (lua_pcall(L, nargs, 0, 0) != LUA_OK) {
        dh_run_crash(s->run, dh_failure_capture(L, -1, 0));
        lua_pop(L, 1);
    }
    return true;
}

bool dh_series_call(lua_State *L, int idx, int nargs) {
    struct series *s = lua_touserdata(L, idx);
    idx = lua_absindex(L, idx);
    if (s->is_over || !lua_checkstack(L, 4)) {
        lua_pop(L, nargs);
        return s->is_over;
    }
    if (!dh_stream_is(s->handle) || (nargs == 2 && !lua_isnil(L, -1))) {
        rest(s); /* of a stream, the end and errors are the last */
    }
    if (resume_await(L, idx, nargs)) {
        return true;
    }
    if (!s->is_busy) {
        return begin(L, idx, nargs);
    }
    if (nargs == 0 && s->first <= s->last && !dh_stream_is(s->handle)) {
        return true; /* it would say nothing that the one that waits does not say */
    }
    return join(L, idx, nargs);
}

/* Beginning and ending */

void dh_series_end(lua_State *L, int handle_idx) {
    handle_idx = lua_absindex(L, handle_idx);
    if (push_entry(L, handle_idx) == LUA_TUSERDATA) {
        ((struct series *)lua_touserdata(L, -1))->is_over = true;
        lua_pushnil(L);
        set_entry(L, handle_idx);
    }
    lua_pop(L, 1);
    dh_stream_end(L, *(uv_handle_t **)lua_touserdata(L, handle_idx));
}

void dh_series_begin(lua_State *L, int handle_idx, int series_idx) {
    struct series *s = lua_touserdata(L, series_idx);
    handle_idx = lua_absindex(L, handle_idx);
    series_idx = lua_absindex(L, series_idx);
    s->handle = *(uv_handle_t **)lua_touserdata(L, handle_idx);
    s->is_over = false;
    lua_pushvalue(L, handle_idx);
    lua_setiuservalue(L, series_idx, IN_HANDLE);
    int before = push_entry(L, handle_idx);
    lua_pushvalue(L, series_idx);
    set_entry(L, handle_idx);
    if (before == LUA_TTABLE) {
        dh_series_call(L, series_idx, unpack(L));
        return;
    }
    if (before == LUA_TUSERDATA) {
        ((struct series *)lua_touserdata(L, -1))->is_over = true;
    }
    lua_pop(L, 1);
}

void dh_series_keep(lua_State *L, int series_idx, int callback_idx) {
    series_idx = lua_absindex(L, series_idx);
    lua_pushvalue(L, callback_idx);
    lua_setiuservalue(L, series_idx, IN_CALLBACK);
}

bool dh_series_is_resting(lua_State *L, int handle_idx) {
    const struct series *s =
        push_entry(L, handle_idx) == LUA_TUSERDATA ? lua_touserdata(L, -1) : NULL;
    lua_pop(L, 1);
    return s != NULL && s->is_resting;
}

int dh_series_take_kept(lua_State *L, int handle_idx) {
    if (push_entry(L, handle_idx) != LUA_TTABLE) {
        lua_pop(L, 1);
        return -1;
    }
    handle_idx = lua_absindex(L, handle_idx);
    lua_pushnil(L);
    set_entry(L, handle_idx);
    return unpack(L);
}

bool dh_series_resume(lua_State *L, int handle_idx, const struct dh_run *run, int fn_idx) {
    int top = lua_gettop(L);
    const struct series *s =
        push_entry(L, handle_idx) == LUA_TUSERDATA ? lua_touserdata(L, -1) : NULL;
    bool goes_on = s != NULL && s->run == run && !s->is_busy && !s->is_resting &&
                   lua_getiuservalue(L, -1, IN_CALLBACK) == LUA_TFUNCTION;
    if (goes_on) {
        lua_pushvalue(L, fn_idx);
        lua_setiuservalue(L, -3, IN_FUNCTION);
        lua_replace(L, fn_idx);
    }
    lua_settop(L, top);
    return goes_on;
}

void dh_series_open(lua_State *L) {
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, on_ended);
    lua_setfield(L, -2, "__close");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &metatable_key);
}
