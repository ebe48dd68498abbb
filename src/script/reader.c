/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/reader.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>
#include <uv.h>

#include "script/await.h"
#include "script/task.h"

enum { UP_FUNCTION = 1, UP_READER = 2 };

/* One read_start. Its user value is the stream's userdata, so that the stream's memory stays. */
struct reader {
    uv_stream_t *stream;
    uv_alloc_cb alloc_cb; /* luv's, kept while the stream rests */
    uv_read_cb read_cb;   /* NULL: it does not rest */
    bool is_wanted;       /* not stopped, not at its end, not followed by another read_start */
};

/* Stream's userdata -> the reader of its last read_start. Weak keys. */
static const char readers_key = 0;

static struct reader *reader_of(lua_State *L, int handle_idx) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &readers_key);
    lua_pushvalue(L, handle_idx);
    lua_rawget(L, -2);
    struct reader *reader = lua_touserdata(L, -1);
    lua_pop(L, 2);
    return reader;
}

void dh_reader_stop(lua_State *L, int handle_idx) {
    struct reader *reader = reader_of(L, handle_idx);
    if (reader != NULL) {
        reader->is_wanted = false;
    }
}

void dh_reader_bind(lua_State *L, int handle_idx, int fn_idx) {
    luaL_checkstack(L, 5, NULL);
    dh_reader_stop(L, handle_idx);
    lua_pushvalue(L, fn_idx);
    struct reader *reader = lua_newuserdatauv(L, sizeof(*reader), 1);
    memset(reader, 0, sizeof(*reader));
    reader->stream = *(uv_stream_t **)lua_touserdata(L, handle_idx);
    reader->is_wanted = true;
    lua_pushvalue(L, handle_idx);
    lua_setiuservalue(L, -2, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &readers_key);
    lua_pushvalue(L, handle_idx);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    lua_pushcclosure(L, dh_reader_task, 2);
    lua_replace(L, fn_idx);
}

void dh_reader_rest(lua_State *L, int idx) {
    lua_getupvalue(L, idx, UP_READER);
    struct reader *reader = lua_touserdata(L, -1);
    lua_pop(L, 1);
    uv_stream_t *stream = reader->stream;
    if (lua_isnil(L, idx + 2)) {
        reader->is_wanted = false;
    } else if (reader->is_wanted && stream->read_cb != NULL) {
        reader->alloc_cb = stream->alloc_cb;
        reader->read_cb = stream->read_cb;
        uv_read_stop(stream);
    }
}

static int go_on(lua_State *L, int status, lua_KContext ctx) {
    (void)ctx;
    struct reader *reader = lua_touserdata(L, lua_upvalueindex(UP_READER));
    uv_read_cb read_cb = reader->read_cb;
    reader->read_cb = NULL;
    if (reader->is_wanted && read_cb != NULL && !uv_is_closing((uv_handle_t *)reader->stream)) {
        uv_read_start(reader->stream, reader->alloc_cb, read_cb);
    }
    if (status != LUA_OK && status != LUA_YIELD) {
        return lua_error(L); /* ends a worker's run; of a shared stream it ends nothing */
    }
    return 0;
}

int dh_reader_task(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(UP_FUNCTION));
    lua_insert(L, 1);
    if (lua_tocfunction(L, 1) == dh_await_resume) { /* it takes one piece: the next read_start's */
        lua_call(L, lua_gettop(L) - 1, 0);
        return 0;
    }
    lua_pushcfunction(L, dh_task_on_error);
    lua_insert(L, 1);
    return go_on(L, lua_pcallk(L, lua_gettop(L) - 2, 0, 1, 0, go_on), 0);
}

void dh_reader_open(lua_State *L) {
    lua_newtable(L);
    lua_newtable(L);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &readers_key);
}
