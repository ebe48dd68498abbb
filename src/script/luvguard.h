/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** luv makes what a callback gets (the data that came, a list of addresses) before it calls anything
** that could be protected. Without memory for that, Lua would jump out of the middle of libuv, to
** wherever the host is protected: to its end. So libuv calls us, and we call luv, protected, where what
** it makes can be large. What is refused there crashes the run that was to have it.
**
** What libuv reads into is allocated here, too: luv's own asserts that it got it.
*/
#ifndef DH_SCRIPT_LUVGUARD_H
#define DH_SCRIPT_LUVGUARD_H

#include <lua.h>
#include <uv.h>

struct dh_vm;

/* luv's own, as it gave them to libuv. */
struct dh_luvguard {
    uv_read_cb read;
    uv_udp_recv_cb recv;
    uv_fs_cb fs;
    uv_getaddrinfo_cb getaddrinfo;
    uv_getnameinfo_cb getnameinfo;
};

/* luv has started this handle, or this request that libuv's threads work on. */
void dh_luvguard_handle(struct dh_vm *vm, uv_handle_t *handle);
void dh_luvguard_request(struct dh_vm *vm, uv_req_t *req);

/* uv.random with a callback, at that index: as luv's, which would not be guarded. Returns like luv's;
** raises on memory errors. */
int dh_luvguard_random(lua_State *L, size_t len, unsigned flags, int callback);

/* To be called before luv makes a handle, or a request of fs_scandir: it first makes what is left to the
** collector, or to libuv, and then asks Lua for a place to keep it, before there is anything to end. See to
** it that there is one. Raises. */
void dh_luvguard_reserve(lua_State *L);

/* luv is open. Keep the names of libuv's errors, so that luv can push them without memory, and mind
** what the collector ends. Raises. */
void dh_luvguard_open(lua_State *L);

#endif
