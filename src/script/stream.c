/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/stream.h"

#include <lauxlib.h>
#include <limits.h>
#include <luv/lhandle.h>
#include <stdlib.h>

#include "script/bound.h"
#include "script/limits.h"
#include "script/luvcall.h"
#include "script/request.h"
#include "script/run.h"
#include "script/series.h"
#include "script/slack.h"
#include "script/vm.h"
#include "script/wait.h"

struct reader {
    struct dh_vm *vm;
    struct dh_line waiting;
};

static void free_reader(void *r) {
    free(r);
}

/* NULL: nobody has called decnet.uv.read with it yet. */
static struct reader *reader_of(const uv_handle_t *handle) {
    const luv_handle_t *data = handle->data;
    return data->extra_gc == free_reader ? data->extra : NULL;
}

/* What is read lies there until a string has been made of it. */
static bool make_buffer(struct dh_vm *vm) {
    if (vm->read_buffer == NULL) {
        vm->read_buffer = malloc(DH_READ_BYTES);
    }
    return vm->read_buffer != NULL;
}

/* Raises. */
static struct reader *make_reader(lua_State *L, uv_handle_t *handle) {
    struct reader *r = reader_of(handle);
    if (r != NULL) {
        return r;
    }
    luv_handle_t *data = handle->data;
    struct dh_vm *vm = dh_vm_of(L);
    r = make_buffer(vm) ? calloc(1, sizeof(*r)) : NULL;
    if (r == NULL) {
        luaL_error(L, "uv.read: out of memory");
        return NULL;
    }
    r->vm = vm;
    data->extra = r;
    data->extra_gc = free_reader;
    return r;
}

/* ---- rest ---------------------------------------------------------------------------------------- */

/* libuv takes no room for a refusal, UV_ENOBUFS. */
static void alloc_nothing(uv_handle_t *handle, size_t size, uv_buf_t *buf) {
    (void)handle;
    (void)size;
    *buf = uv_buf_init(NULL, 0);
}

/* Not to be read any more. libuv keeps the callbacks when it stops by itself. */
static void stop(uv_stream_t *stream) {
    uv_read_stop(stream);
    stream->read_cb = NULL;
}

static void on_refused_again(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    (void)n;
    (void)buf;
    stop(stream);
}

/* An end that libuv has seen by itself comes again. */
static void on_refused(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    (void)buf;
    if (n == UV_ENOBUFS) {
        stream->read_cb = on_refused_again;
    } else {
        stop(stream);
    }
}

static bool is_refusing(const uv_stream_t *stream) {
    return stream->read_cb == on_refused || stream->read_cb == on_refused_again;
}

void dh_stream_refuse(uv_stream_t *stream) {
    stream->alloc_cb = alloc_nothing;
    stream->read_cb = on_refused;
}

void dh_stream_accept(uv_stream_t *stream, uv_alloc_cb alloc_cb, uv_read_cb read_cb) {
    if (is_refusing(stream)) {
        stream->alloc_cb = alloc_cb;
        stream->read_cb = read_cb;
    } else {
        uv_read_start(stream, alloc_cb, read_cb);
    }
}

/* ---- what libuv calls ---------------------------------------------------------------------------- */

/* Wake who waits longest with the value on top of L's stack, which is popped. */
static void wake_first(lua_State *L, struct reader *r) {
    struct dh_task *t = r->waiting.first;
    lua_xmove(L, t->inner, 1);
    dh_line_leave(&r->waiting, t);
    dh_wake(r->vm, t, DH_WAKE_DONE, 1);
}

struct piece {
    struct reader *reader;
    ssize_t n; /* bytes; below 0: why there are no more */
    const char *bytes;
};

/* Protected; the only argument is a struct piece. */
static int hand_out(lua_State *L) {
    const struct piece *p = lua_touserdata(L, 1);
    struct reader *r = p->reader;
    if (p->n > 0) {
        lua_pushlstring(L, p->bytes, (size_t)p->n);
        if (r->waiting.first != NULL) { /* else a __gc has closed the stream */
            wake_first(L, r);
        }
    } else if (p->n == UV_EOF) {
        lua_pushnil(L);
        dh_wake_line(r->vm, L, &r->waiting, 1);
    } else {
        dh_wake_line(r->vm, L, &r->waiting, dh_luv_fail(L, (int)p->n));
    }
    return 0;
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf) {
    const struct reader *r = reader_of(handle);
    bool is_wanted = r->waiting.first != NULL;
    (void)size;
    buf->base = is_wanted ? r->vm->read_buffer : NULL;
    buf->len = is_wanted ? DH_READ_BYTES : 0;
}

static void on_piece(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct reader *r = reader_of((uv_handle_t *)stream);
    if (buf->base == NULL && n == UV_ENOBUFS) {
        /* who got the piece before may be about to ask for the next */
        stream->alloc_cb = alloc_nothing;
        stream->read_cb = on_refused_again;
        return;
    }
    if (n < 0) { /* an end that nobody waits for comes again when somebody does */
        stop(stream);
    }
    struct dh_task *t = r->waiting.first;
    if (n == 0 || t == NULL) {
        return;
    }
    struct piece piece = {r, n, buf->base};
    struct dh_run *run = t->run;
    lua_State *L = r->vm->L;
    uint32_t before = dh_vm_bill(r->vm, run->account);
    lua_pushcfunction(L, hand_out);
    lua_pushlightuserdata(L, &piece);
    int status = lua_pcall(L, 1, 0, 0);
    dh_vm_bill(r->vm, before);
    if (status != LUA_OK) {
        lua_pop(L, 1);
        dh_bound_crash_for_memory(run);
    }
}

/* What was read for a callback that was stopped before it had been called: its arguments are on top. */
static int kept_results(lua_State *L, int nargs) {
    if (nargs == 0) {
        lua_pushnil(L);
        return 1;
    }
    if (nargs >= 2) {
        return 1; /* nil, data */
    }
    const char *code = lua_tostring(L, -1);
    lua_pushnil(L);
    dh_request_push_message(L, code);
    lua_pushvalue(L, -3);
    return 3;
}

bool dh_stream_give(lua_State *L, uv_handle_t *handle, int nargs) {
    struct reader *r = reader_of(handle);
    if (r == NULL || r->waiting.first == NULL) {
        return false;
    }
    int nresults = kept_results(L, nargs);
    if (nargs < 2) {
        dh_wake_line(r->vm, L, &r->waiting, nresults);
        return true;
    }
    wake_first(L, r);
    return true;
}

/* ---- what becomes of a stream -------------------------------------------------------------------- */

bool dh_stream_is_watched(const uv_handle_t *handle) {
    const uv_stream_t *stream = (const uv_stream_t *)handle;
    return dh_stream_is(handle) && reader_of(handle) != NULL &&
           (stream->read_cb == on_piece || is_refusing(stream));
}

bool dh_stream_make_way(uv_handle_t *handle) {
    uv_stream_t *stream = (uv_stream_t *)handle;
    if (!dh_stream_is(handle) || (stream->read_cb != on_piece && !is_refusing(stream))) {
        return true;
    }
    const struct reader *r = reader_of(handle);
    if (r != NULL && r->waiting.first != NULL) {
        return false;
    }
    uv_read_stop(stream);
    return true;
}

void dh_stream_end(lua_State *L, uv_handle_t *handle) {
    struct reader *r = dh_stream_is(handle) ? reader_of(handle) : NULL;
    if (r != NULL && r->waiting.first != NULL) {
        luaL_checkstack(L, LUA_MINSTACK, NULL);
        dh_wake_line(r->vm, L, &r->waiting, dh_luv_fail(L, UV_ECANCELED));
    }
}

/* ---- read ---------------------------------------------------------------------------------------- */

/* The stream at 1; raises if there is none. */
static uv_stream_t *check_stream(lua_State *L) {
    uv_handle_t *handle = dh_luv_handle_at(L, 1);
    luaL_argexpected(L, handle != NULL && dh_stream_is(handle), 1, "stream of luv's");
    return (uv_stream_t *)handle;
}

/* Returns 0 or a libuv error code. */
static int watch(lua_State *L, struct reader *r, uv_stream_t *stream) {
    if (stream->read_cb == on_piece) {
        return 0;
    }
    if (dh_series_is_resting(L, 1)) {
        return UV_EALREADY;
    }
    if (is_refusing(stream)) {
        dh_stream_accept(stream, on_alloc, on_piece);
        return 0;
    }
    if (!dh_slack_for_handle((uv_handle_t *)stream)) {
        return UV_ENOMEM;
    }
    dh_loop_touch(&r->vm->loop);
    dh_preempt_note_others(&r->vm->preempt);
    return uv_read_start(stream, on_alloc, on_piece);
}

static int fail_to_watch(lua_State *L, int err) {
    if (err != UV_EALREADY) {
        return dh_luv_fail(L, err);
    }
    return dh_luv_fail_with(L, UV_EBUSY,
                            "the callback of a read_start reads this stream: read_stop it first");
}

static const struct dh_wait_type read_wait = {"uv.read", dh_wait_leave_line};

/* read(stream [, seconds]). In 'for data in read, stream' the second one is the piece before. */
static int l_read(lua_State *L) {
    uv_stream_t *stream = check_stream(L);
    struct dh_task *t = dh_wait_begin(L, "uv.read");
    uint64_t deadline_ns = DH_NEVER;
    if (lua_type(L, 2) != LUA_TSTRING) {
        deadline_ns = dh_wait_opt_deadline(L, dh_vm_of(L), 2, "seconds");
    }
    if (dh_task_is_cancelled(t)) {
        return dh_wait_cancelled(L, t);
    }
    if (uv_is_closing((uv_handle_t *)stream)) {
        return dh_luv_fail(L, UV_EBADF);
    }
    lua_settop(L, 1);
    struct reader *r = make_reader(L, (uv_handle_t *)stream);
    int kept = dh_series_take_kept(L, 1);
    if (kept >= 0) {
        return kept_results(L, kept);
    }
    int err = watch(L, r, stream);
    if (err != 0) {
        return fail_to_watch(L, err);
    }
    return dh_wait_in_line(L, t, &read_wait, &r->waiting, deadline_ns, 0, dh_wait_results_k);
}

/* ---- write --------------------------------------------------------------------------------------- */

/* Can the caller wait, and is no cancellation in force? */
static bool can_wait(lua_State *L, const struct dh_vm *vm) {
    const struct dh_task *t = vm->current;
    return t != NULL && !t->run->is_loading && !t->forbids_waits && vm->boundaries == 0 &&
           lua_isyieldable(L) && !dh_task_is_cancelled(t);
}

/* The stream that takes the string at 2 at once if it has room; NULL: that is for a request. */
static uv_stream_t *stream_to_write(lua_State *L, const struct dh_vm *vm) {
    if (lua_gettop(L) != 2 || lua_type(L, 2) != LUA_TSTRING || !can_wait(L, vm)) {
        return NULL;
    }
    uv_handle_t *handle = dh_luv_handle_at(L, 1);
    if (handle == NULL || !dh_stream_is(handle) || uv_is_closing(handle)) {
        return NULL;
    }
    return (uv_stream_t *)handle;
}

static int answered_k(lua_State *L, int status, lua_KContext ctx) {
    (void)L;
    (void)status;
    return (int)ctx;
}

/* The socket has answered at once: so many values on top of the stack. Who writes without end, and waits
** for nothing in between, gives way. */
static int answered(lua_State *L, struct dh_vm *vm, int nresults) {
    uint64_t slice = dh_preempt_slice(&vm->preempt);
    if (vm->write_slice != slice) {
        vm->write_slice = slice;
        vm->writes_at_once = 0;
    }
    if (++vm->writes_at_once == DH_WRITES_AT_ONCE) {
        return dh_wait_turn(L, vm->current, nresults, answered_k);
    }
    return nresults;
}

static int requested_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    return lua_gettop(L);
}

/* All of it, or what is left. Upvalue 1: the function that makes a request and waits for it. */
static int request(lua_State *L) {
    dh_wait_begin(L, "uv.write");
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, requested_k);
    return lua_gettop(L);
}

/* write(stream, data): what a socket takes at once needs no request, as a send needs no wait where a
** channel has room. The request is also for those who cannot wait, to be told so, and for other arguments. */
static int l_write(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    uv_stream_t *stream = stream_to_write(L, vm);
    size_t len = 0;
    const char *bytes = stream != NULL ? lua_tolstring(L, 2, &len) : NULL;
    int n = UV_EAGAIN;
    if (len > 0 && len <= INT_MAX) {
        uv_buf_t buf = uv_buf_init((char *)bytes, (unsigned)len);
        n = uv_try_write(stream, &buf, 1);
    }
    if (n > 0 && (size_t)n == len) {
        lua_pushboolean(L, 1);
        return answered(L, vm, 1);
    }
    if (n < 0 && n != UV_EAGAIN) { /* to be told now: a socket tells why it was reset only once */
        return answered(L, vm, dh_luv_fail(L, n));
    }
    if (n > 0) {
        lua_pushlstring(L, bytes + n, len - (size_t)n);
        lua_replace(L, 2);
    }
    return request(L);
}

/* writer(fn): decnet.uv.write, which calls fn as itself for a request. */
static int l_writer(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_pushcclosure(L, l_write, 1);
    return 1;
}

static const luaL_Reg functions[] = {
    {"read", l_read},
    {"writer", l_writer},
    {NULL, NULL},
};

void dh_stream_open(lua_State *L) {
    luaL_setfuncs(L, functions, 0);
}
