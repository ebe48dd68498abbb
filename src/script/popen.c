/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/popen.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "script/luv.h"
#include "script/request.h"
#include "script/vm.h"
#include "script/wait.h"

/* The user value of the file. Its own user value: the handle, once there is one. */
struct child {
    struct dh_task *waiter; /* in file:close() */
    bool has_ended;
    lua_Integer code;
    lua_Integer signal;
};

/* What io's own close returns. */
static int result_of(lua_State *L, const struct child *child) {
    if (child->signal == 0 && child->code == 0) {
        lua_pushboolean(L, 1);
    } else {
        lua_pushnil(L);
    }
    lua_pushstring(L, child->signal != 0 ? "signal" : "exit");
    lua_pushinteger(L, child->signal != 0 ? child->signal : child->code);
    return 3;
}

static void stop_waiting(struct dh_task *t) {
    ((struct child *)t->wait_data)->waiter = NULL;
}

static const struct dh_wait_type close_wait = {"file:close", stop_waiting};

static int close_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    dh_wait_end(L);
    return result_of(L, (const struct child *)ctx); /* the file at 1 keeps it */
}

static bool can_wait(lua_State *L, const struct dh_task *t) {
    return t != NULL && lua_isyieldable(L) && dh_vm_of(L)->boundaries == 0 && !t->forbids_waits;
}

/* closef: by file:close(), __close or the collector; the last cannot wait. */
static int close_file(lua_State *L) {
    luaL_Stream *stream = luaL_checkudata(L, 1, LUA_FILEHANDLE);
    lua_getiuservalue(L, 1, 1);
    struct child *child = lua_touserdata(L, -1);
    lua_settop(L, 1);
    fclose(stream->f);
    struct dh_task *t = dh_vm_of(L)->current;
    if (child->has_ended) {
        return result_of(L, child);
    }
    if (!can_wait(L, t) || child->waiter != NULL) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (dh_task_is_cancelled(t)) {
        return dh_wait_cancelled(L, t);
    }
    child->waiter = t;
    return dh_wait_suspend(L, t, &close_wait, child, DH_NEVER, (lua_KContext)child, close_k);
}

/* exit callback: upvalue 1 is the struct child. */
static int on_exit(lua_State *L) {
    struct child *child = lua_touserdata(L, lua_upvalueindex(1));
    child->has_ended = true;
    child->code = lua_tointeger(L, 1);
    child->signal = lua_tointeger(L, 2);
    struct dh_task *t = child->waiter;
    if (t != NULL) {
        child->waiter = NULL;
        dh_wake(dh_vm_of(L), t, DH_WAKE_DONE, 0);
    }
    dh_luv_push_function(L, "close");
    lua_getiuservalue(L, lua_upvalueindex(1), 1);
    lua_call(L, 1, 0);
    return 0;
}

/* Push { args = { "-c", command }, stdio = { ... }, detached = true }: end is number 'at' of stdio. */
static void push_options(lua_State *L, int command_idx, int end, int at) {
    lua_createtable(L, 0, 3);
    lua_createtable(L, 2, 0);
    lua_pushliteral(L, "-c");
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, command_idx);
    lua_rawseti(L, -2, 2);
    lua_setfield(L, -2, "args");
    lua_createtable(L, 3, 0);
    for (int i = 0; i < 3; i++) {
        lua_pushinteger(L, i == at ? end : i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "stdio");
    lua_pushboolean(L, 1); /* what the shell starts ends with it */
    lua_setfield(L, -2, "detached");
}

/* Stack: command, file, end, at. Returns what uv.spawn does. */
static int spawn_shell(lua_State *L) {
    dh_luv_push_function(L, "spawn");
    lua_pushliteral(L, "/bin/sh");
    push_options(L, 1, (int)lua_tointeger(L, 3), (int)lua_tointeger(L, 4));
    lua_getiuservalue(L, 2, 1);
    lua_pushcclosure(L, on_exit, 1);
    dh_request_make(L); /* another run than that of the child may wait for it */
    lua_call(L, 3, 3);
    return 3;
}

/* Start the command at 1 for the file at 3, whose child it is. Leaves what uv.spawn returns: handle and
** pid, or nil, message, code. Raises on memory errors, after closing 'end'. */
static void start(lua_State *L, struct child *child, int end, bool is_read) {
    lua_pushcfunction(L, spawn_shell);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 3);
    lua_pushinteger(L, end);
    lua_pushinteger(L, is_read ? 1 : 0);
    int status = lua_pcall(L, 4, 3, 0);
    close(end);
    if (status != LUA_OK) {
        lua_error(L);
    }
    if (!lua_isnil(L, -3)) {
        child->has_ended = false;
        uv_unref(*(uv_handle_t **)lua_touserdata(L, -3)); /* uv.run does not wait for files */
        lua_getiuservalue(L, 3, 1);
        lua_pushvalue(L, -4);
        lua_setiuservalue(L, -2, 1);
        lua_pop(L, 1);
    }
}

/* Push a file that is closed, with its child. */
static luaL_Stream *push_file(lua_State *L, struct child **ret_child) {
    luaL_Stream *stream = lua_newuserdatauv(L, sizeof(*stream), 1);
    stream->closef = NULL;
    struct child *child = lua_newuserdatauv(L, sizeof(*child), 1);
    memset(child, 0, sizeof(*child));
    child->has_ended = true;
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, LUA_FILEHANDLE);
    *ret_child = child;
    return stream;
}

int dh_popen(lua_State *L) {
    luaL_checkstring(L, 1);
    const char *mode = luaL_optstring(L, 2, "r");
    luaL_argcheck(L, (mode[0] == 'r' || mode[0] == 'w') && mode[1] == '\0', 2, "invalid mode");
    lua_settop(L, 2);
    bool is_read = mode[0] == 'r';
    int ends[2];
    struct child *child;
    luaL_Stream *stream = push_file(L, &child);
    fflush(NULL);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return luaL_fileresult(L, 0, lua_tostring(L, 1));
    }
    stream->f = fdopen(ends[is_read ? 0 : 1], is_read ? "r" : "w");
    if (stream->f == NULL) {
        close(ends[0]);
        close(ends[1]);
        errno = ENOMEM;
        return luaL_fileresult(L, 0, lua_tostring(L, 1));
    }
    stream->closef = close_file; /* from here on the collector closes it */
    start(L, child, ends[is_read ? 1 : 0], is_read);
    if (child->has_ended) {
        stream->closef = NULL;
        fclose(stream->f);
        return 3;
    }
    lua_settop(L, 3);
    return 1;
}
