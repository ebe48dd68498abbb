/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/luvguard.h"

#include <assert.h>
#include <lauxlib.h>
#include <luv/lhandle.h>
#include <luv/lreq.h>
#include <stddef.h>
#include <stdlib.h>

#include "script/bound.h"
#include "script/limits.h"
#include "script/luvcall.h"
#include "script/owned.h"
#include "script/slack.h"
#include "script/stream.h"
#include "script/vm.h"

/* What a request is told that luv could not be told of; the other names. */
static const char enomem_key = 0;
static const char names_key = 0;

#define DATAGRAM_BYTES 65536u

/* A call of luv's callback. */
struct call {
    struct dh_vm *vm;
    void (*fn)(struct call *c);
    void *subject; /* handle or request */
    ssize_t n;     /* bytes, or status */
    const uv_buf_t *buf;
    const struct sockaddr *address;
    unsigned flags;
    void *result;
    const char *host;
    const char *service;
    uint64_t before; /* vm->luv_calls */
};

static struct dh_vm *vm_of(uv_loop_t *loop) {
    return (struct dh_vm *)((char *)loop - offsetof(struct dh_vm, loop) -
                            offsetof(struct dh_loop, uv));
}

static int run(lua_State *L) {
    struct call *c = lua_touserdata(L, 1);
    lua_settop(L, 0);
    c->fn(c);
    return 0;
}

static bool is_done(struct call *c) {
    lua_State *L = c->vm->L;
    c->before = c->vm->luv_calls;
    lua_pushcfunction(L, run);
    lua_pushlightuserdata(L, c);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        lua_pop(L, 1);
        return false;
    }
    return true;
}

/* Has what luv calls back been called, by what was not done? */
static bool was_called(const struct call *c) {
    return c->vm->luv_calls != c->before;
}

/* ---- handles ------------------------------------------------------------------------------------- */

static void crash_owner(struct dh_vm *vm, const uv_handle_t *handle) {
    const luv_handle_t *data = handle->data;
    lua_State *L = vm->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, data->ref);
    const struct dh_handle *h = dh_owned_find(L, -1);
    lua_pop(L, 1);
    if (h != NULL) {
        dh_bound_crash_for_memory(h->run);
    }
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf) {
    (void)handle;
    buf->base = malloc(size);
    buf->len = buf->base != NULL ? size : 0; /* UV_ENOBUFS, then */
}

static void on_datagram_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf) {
    if (uv_udp_using_recvmmsg((uv_udp_t *)handle)) {
        const luv_handle_t *data = handle->data;
        size = (size_t)DATAGRAM_BYTES * (size_t) * (const int *)data->extra;
    }
    on_alloc(handle, size, buf);
}

static void call_read(struct call *c) {
    c->vm->luvguard.read(c->subject, c->n, c->buf);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct call c = {vm_of(stream->loop), call_read, .subject = stream, .n = n, .buf = buf};
    if (!is_done(&c)) {
        if (n > 0 && !was_called(&c)) {
            free(buf->base); /* luv does, once it has made a string of it */
        }
        crash_owner(c.vm, (uv_handle_t *)stream);
    }
}

static void call_recv(struct call *c) {
    c->vm->luvguard.recv(c->subject, c->n, c->buf, c->address, c->flags);
}

static void on_recv(uv_udp_t *socket, ssize_t n, const uv_buf_t *buf,
                    const struct sockaddr *address, unsigned flags) {
    struct call c = {vm_of(socket->loop), call_recv,          .subject = socket, .n = n,
                     .buf = buf,          .address = address, .flags = flags};
    if (!is_done(&c)) {
        crash_owner(c.vm, (uv_handle_t *)socket);
    }
}

void dh_luvguard_handle(struct dh_vm *vm, uv_handle_t *handle) {
    if (handle->loop != &vm->loop.uv) {
        return;
    }
    if (dh_stream_is(handle)) {
        uv_stream_t *stream = (uv_stream_t *)handle;
        if (stream->read_cb != NULL && stream->read_cb != on_read) {
            vm->luvguard.read = stream->read_cb;
            stream->read_cb = on_read;
            stream->alloc_cb = on_alloc;
        }
    } else if (handle->type == UV_UDP) {
        uv_udp_t *socket = (uv_udp_t *)handle;
        if (socket->recv_cb != NULL && socket->recv_cb != on_recv) {
            vm->luvguard.recv = socket->recv_cb;
            socket->recv_cb = on_recv;
            socket->alloc_cb = on_datagram_alloc;
        }
    }
}

/* ---- requests ------------------------------------------------------------------------------------ */

/* Tell the callback on top that there was no memory for what it was to get. */
static void refuse(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &enomem_key);
    dh_bound_call(L, 1, 0, 0);
}

static void tell(struct call *c) {
    const luv_req_t *data = c->subject;
    lua_rawgeti(c->vm->L, LUA_REGISTRYINDEX, data->callback_ref);
    refuse(c->vm->L);
}

/* What luv does when it is done with a request. */
static void drop(const struct call *failed) {
    struct dh_vm *vm = failed->vm;
    uv_req_t *req = failed->subject;
    luv_req_t *data = req->data;
    struct call c = {vm, tell, .subject = data};
    if (!was_called(failed)) {
        is_done(&c);
    }
    luaL_unref(vm->L, LUA_REGISTRYINDEX, data->req_ref);
    luaL_unref(vm->L, LUA_REGISTRYINDEX, data->callback_ref);
    luaL_unref(vm->L, LUA_REGISTRYINDEX, data->data_ref);
    free(data->data);
    free(data);
    req->data = NULL;
}

static void call_fs(struct call *c) {
    c->vm->luvguard.fs(c->subject);
}

static void on_fs(uv_fs_t *req) {
    struct call c = {vm_of(req->loop), call_fs, .subject = req};
    if (!is_done(&c) && req->data != NULL) {
        drop(&c);
        uv_fs_req_cleanup(req);
    }
}

static void call_getaddrinfo(struct call *c) {
    c->vm->luvguard.getaddrinfo(c->subject, (int)c->n, c->result);
}

static void on_getaddrinfo(uv_getaddrinfo_t *req, int status, struct addrinfo *result) {
    struct call c = {vm_of(req->loop), call_getaddrinfo, .subject = req, .n = status,
                     .result = result};
    c.before = c.vm->luv_calls;
    /* luv looks up the names of protocols, and takes it that there are some */
    if ((!dh_slack_of_memory() || !is_done(&c)) && req->data != NULL) {
        drop(&c);
        uv_freeaddrinfo(result);
    }
}

static void call_getnameinfo(struct call *c) {
    c->vm->luvguard.getnameinfo(c->subject, (int)c->n, c->host, c->service);
}

static void on_getnameinfo(uv_getnameinfo_t *req, int status, const char *host,
                           const char *service) {
    struct call c = {vm_of(req->loop), call_getnameinfo, .subject = req,
                     .n = status,      .host = host,     .service = service};
    if (!is_done(&c) && req->data != NULL) {
        drop(&c);
    }
}

/* Ours takes the place of luv's in a new request, which is kept. */
#define GUARD(place, kept, ours) ((kept) = (place), (place) = (ours))

void dh_luvguard_request(struct dh_vm *vm, uv_req_t *req) {
    struct dh_luvguard *g = &vm->luvguard;
    if (req->type == UV_FS) {
        GUARD(((uv_fs_t *)req)->cb, g->fs, on_fs);
    } else if (req->type == UV_GETADDRINFO) {
        GUARD(((uv_getaddrinfo_t *)req)->cb, g->getaddrinfo, on_getaddrinfo);
    } else {
        assert(req->type == UV_GETNAMEINFO); /* uv.random is ours */
        GUARD(((uv_getnameinfo_t *)req)->getnameinfo_cb, g->getnameinfo, on_getnameinfo);
    }
}

/* ---- random bytes: luv gives no request that could be guarded, and never lets go of it ------------- */

struct random {
    uv_random_t req;
    int ref; /* of this userdata, whose user value is the callback */
    size_t len;
    char bytes[];
};

static void push_random_callback(const struct call *c) {
    const struct random *r = c->subject;
    lua_State *L = c->vm->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->ref);
    lua_getiuservalue(L, -1, 1);
}

static void call_random(struct call *c) {
    const struct random *r = c->subject;
    lua_State *L = c->vm->L;
    push_random_callback(c);
    if (c->n < 0) {
        lua_pushstring(L, uv_err_name((int)c->n));
        dh_bound_call(L, 1, 0, 0);
    } else {
        lua_pushnil(L);
        lua_pushlstring(L, r->bytes, r->len);
        dh_bound_call(L, 2, 0, 0);
    }
}

static void refuse_random(struct call *c) {
    push_random_callback(c);
    refuse(c->vm->L);
}

static void on_random(uv_random_t *req, int status, void *bytes, size_t len) {
    struct random *r = (struct random *)req; /* first member */
    struct call c = {vm_of(req->loop), call_random, .subject = r, .n = status};
    (void)bytes;
    (void)len;
    if (!is_done(&c) && !was_called(&c)) {
        c.fn = refuse_random;
        is_done(&c);
    }
    luaL_unref(c.vm->L, LUA_REGISTRYINDEX, r->ref);
}

int dh_luvguard_random(lua_State *L, size_t len, unsigned flags, int callback) {
    struct dh_vm *vm = dh_vm_of(L);
    struct random *r = lua_newuserdatauv(L, sizeof(*r) + len, 1);
    lua_pushvalue(L, callback);
    lua_setiuservalue(L, -2, 1);
    r->len = len;
    r->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    int err = uv_random(&vm->loop.uv, &r->req, r->bytes, len, flags, on_random);
    if (err != 0) {
        luaL_unref(L, LUA_REGISTRYINDEX, r->ref);
        return dh_luv_fail(L, err);
    }
    dh_preempt_note_others(&vm->preempt);
    lua_pushinteger(L, 0);
    return 1;
}

/* ---- fs_scandir: its request is what the collector ends -------------------------------------------- */

/* Upvalue 1: luv's finalizer, which takes it that there is something to finalize. */
static int finalize_scandir(lua_State *L) {
    const uv_fs_t *req = luaL_testudata(L, 1, "uv_fs");
    if (req != NULL && req->data != NULL) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushvalue(L, 1);
        lua_call(L, 1, 0);
    }
    return 0;
}

/* ---- handles: a table may have their metatable, too ------------------------------------------------ */

/* luv anchors the handle at 1 until it is closed. */
static bool is_anchored(lua_State *L) {
    const uv_handle_t *handle = *(uv_handle_t **)lua_touserdata(L, 1);
    if (handle == NULL) {
        return false;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, ((const luv_handle_t *)handle->data)->ref);
    bool is = lua_touserdata(L, -1) == lua_touserdata(L, 1);
    lua_pop(L, 1);
    return is;
}

/* Upvalue 1: luv's finalizer, which takes it that it is given a handle, and that libuv is through with
** one that is closing. One that is not closed is finalized where its state ends, when no function
** runs, or by a script. */
static int finalize_handle(lua_State *L) {
    if (lua_type(L, 1) != LUA_TUSERDATA) {
        return 0;
    }
    if (is_anchored(L)) {
        lua_Debug caller;
        if (lua_getstack(L, 1, &caller)) {
            return 0;
        }
        dh_vm_close_handles(L);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_call(L, 1, 0);
    return 0;
}

/* Put finalize before luv's finalizer in the metatable on top of the stack. */
static void guard_finalizer(lua_State *L, lua_CFunction finalize) {
    lua_getfield(L, -1, "__gc");
    lua_pushcclosure(L, finalize, 1);
    lua_setfield(L, -2, "__gc");
}

static void guard_handles(lua_State *L) {
    lua_getfield(L, LUA_REGISTRYINDEX, "uv_handle"); /* luv's set of their metatables */
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        lua_pop(L, 1);
        guard_finalizer(L, finalize_handle);
    }
    lua_pop(L, 1);
}

void dh_luvguard_reserve(lua_State *L) {
    int refs[DH_LUV_REFS];
    for (int i = 0; i < DH_LUV_REFS; i++) {
        lua_pushboolean(L, 1);
        refs[i] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    for (int i = 0; i < DH_LUV_REFS; i++) {
        luaL_unref(L, LUA_REGISTRYINDEX, refs[i]);
    }
}

void dh_luvguard_open(lua_State *L) {
    luaL_getmetatable(L, "uv_fs");
    guard_finalizer(L, finalize_scandir);
    lua_pop(L, 1);
    guard_handles(L);
    static const int codes[] = {
#define CODE(name, text) UV_##name,
        UV_ERRNO_MAP(CODE)
#undef CODE
    };
    size_t count = sizeof(codes) / sizeof(*codes);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushstring(L, uv_err_name(codes[i]));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, &names_key);
    lua_pushliteral(L, "ENOMEM: not enough memory");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &enomem_key);
}
