/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Streams of luv's, for tasks: decnet.uv.read, and decnet.uv.write where that needs no request.
**
** To read a piece by read_start, a callback and read_stop takes two calls of epoll_ctl, a closure and a
** coroutine. Here libuv calls us: the piece goes to the task that waits for it, and libuv goes on
** watching the stream, for it will mostly read again. What comes while nobody waits is left to the
** kernel, which slows down the sender:
**
**   not watched --read--> watched, somebody waits --piece--> watched, nobody waits
**        ^                       ^                              |            |
**        |                       +------------ read ------------+            |
**        +--------- more has come, and at the next poll still nobody --------+
**        +--------- read_start; read_stop, close, the end, an error: who waits is told
**
** What a stream has of ours is in luv's place for what some handles have besides (extra), and goes with
** the handle.
*/
#ifndef DH_SCRIPT_STREAM_H
#define DH_SCRIPT_STREAM_H

#include <lua.h>
#include <stdbool.h>
#include <uv.h>

/* TCP, pipe, terminal? */
static inline bool dh_stream_is(const uv_handle_t *handle) {
    return handle->type == UV_TCP || handle->type == UV_NAMED_PIPE || handle->type == UV_TTY;
}

/* Leave to the kernel what comes on a stream that is being read, until dh_stream_accept with the callbacks
** it had. libuv goes on watching it until something has come twice: most rests are over by then. */
void dh_stream_refuse(uv_stream_t *stream);
void dh_stream_accept(uv_stream_t *stream, uv_alloc_cb alloc_cb, uv_read_cb read_cb);

/* The stream is about to be read by callbacks. Returns false if a task waits in decnet.uv.read. */
bool dh_stream_make_way(uv_handle_t *handle);

/* A callback that was stopped before it began was to get the nargs arguments on top of L's stack: they go
** to a task that waits. Returns false if none does. Raises on memory errors. */
bool dh_stream_give(lua_State *L, uv_handle_t *handle, int nargs);

/* The stream was stopped or closed: tell those who wait. Raises on memory errors. */
void dh_stream_end(lua_State *L, uv_handle_t *handle);

/* Is it watched for decnet.uv.read? That alone keeps no loop alive: the tasks that wait do. */
bool dh_stream_is_watched(const uv_handle_t *handle);

/* Add read and writer to the module on top of L's stack. Raises on memory errors. */
void dh_stream_open(lua_State *L);

#endif
