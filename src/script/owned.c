/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/owned.h"

#include <lauxlib.h>
#include <luv/lhandle.h>
#include <stdlib.h>
#include <string.h>

#include "script/bound.h"
#include "script/run.h"
#include "script/stream.h"
#include "script/vm.h"

/* Handle's userdata -> its record. */
static const char records_key = 0;

struct dh_owned *dh_owned_try(struct dh_run *run) {
    if (run->owned == NULL) {
        run->owned = calloc(1, sizeof(*run->owned));
    }
    return run->owned;
}

struct dh_owned *dh_owned_of(lua_State *L, struct dh_run *run) {
    struct dh_owned *owned = dh_owned_try(run);
    if (owned == NULL) {
        luaL_error(L, "out of memory");
    }
    return owned;
}

/* The callback that counts a handle of the run out, the same for all of them. */
static void push_closer(lua_State *L, struct dh_run *run, struct dh_owned *owned) {
    if (owned->closer == 0) {
        lua_pushnil(L);
        dh_bound_make(L, -1, run, DH_BOUND_CLOSE);
        owned->closer = dh_vm_anchor(L);
    }
    dh_vm_push_anchored(L, owned->closer);
}

struct dh_handle *dh_owned_add(lua_State *L, int idx, struct dh_run *run) {
    struct dh_owned *owned = dh_owned_of(L, run);
    idx = lua_absindex(L, idx);
    push_closer(L, run, owned);
    int closer = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &records_key);
    lua_pushvalue(L, idx);
    struct dh_handle *h = lua_newuserdatauv(L, sizeof(*h), 0);
    memset(h, 0, sizeof(*h));
    lua_rawset(L, -3);
    lua_pop(L, 1);
    h->run = run;
    h->closer = closer;
    h->box = lua_touserdata(L, idx);
    h->next = owned->handles;
    if (h->next != NULL) {
        h->next->prev = h;
    }
    owned->handles = h;
    owned->open_count++;
    owned->handle_count++;
    return h;
}

struct dh_handle *dh_owned_find(lua_State *L, int idx) {
    idx = lua_absindex(L, idx);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &records_key);
    lua_pushvalue(L, idx);
    lua_rawget(L, -2);
    struct dh_handle *h = lua_touserdata(L, -1);
    lua_pop(L, 2);
    return h;
}

void dh_owned_unlink(struct dh_handle *h) {
    struct dh_owned *owned = h->run->owned;
    if (h->prev != NULL) {
        h->prev->next = h->next;
    } else {
        owned->handles = h->next;
    }
    if (h->next != NULL) {
        h->next->prev = h->prev;
    }
    if (owned->lively == h) {
        owned->lively = NULL;
    }
    if (owned->to_close == h) {
        owned->to_close = h->next;
    }
    owned->open_count--;
}

void dh_owned_remove(lua_State *L, int idx, struct dh_handle *h) {
    idx = lua_absindex(L, idx);
    dh_owned_unlink(h);
    luaL_unref(L, LUA_REGISTRYINDEX, h->closer);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &records_key);
    lua_pushvalue(L, idx);
    lua_pushnil(L);
    lua_rawset(L, -3); /* frees h */
    lua_pop(L, 1);
}

void dh_owned_count_closing(lua_State *L, struct dh_handle *h) {
    luv_handle_t *data = (*h->box)->data;
    if (h->closer != LUA_NOREF) {
        luaL_unref(L, LUA_REGISTRYINDEX, data->callbacks[LUV_CLOSED]);
        data->callbacks[LUV_CLOSED] = h->closer;
        h->closer = LUA_NOREF;
    }
}

void dh_owned_push(lua_State *L, const struct dh_handle *h) {
    const luv_handle_t *data = (*h->box)->data;
    lua_rawgeti(L, LUA_REGISTRYINDEX, data->ref);
}

bool dh_owned_is_living_child(const struct dh_handle *h) {
    return *h->box != NULL && (*h->box)->type == UV_PROCESS && uv_is_active(*h->box);
}

void dh_owned_add_request(struct dh_owned *owned, struct dh_request *r) {
    r->prev = NULL;
    r->next = owned->requests;
    if (r->next != NULL) {
        r->next->prev = r;
    }
    owned->requests = r;
    owned->request_count++;
    owned->fd_count += r->has_fd;
}

void dh_owned_remove_request(struct dh_owned *owned, struct dh_request *r) {
    if (r->prev != NULL) {
        r->prev->next = r->next;
    } else {
        owned->requests = r->next;
    }
    if (r->next != NULL) {
        r->next->prev = r->prev;
    }
    owned->request_count--;
    owned->fd_count -= r->has_fd;
}

static bool is_closing_file(const struct dh_request *r) {
    uv_fs_type type = r->req->type == UV_FS ? ((const uv_fs_t *)r->req)->fs_type : UV_FS_CUSTOM;
    return type == UV_FS_CLOSE || type == UV_FS_CLOSEDIR;
}

void dh_owned_cancel_requests(struct dh_owned *owned) {
    for (struct dh_request *r = owned->requests; r != NULL; r = r->next) {
        if (r->req != NULL && !is_closing_file(r)) {
            uv_cancel(r->req); /* EBUSY: a thread works on it, or it has been */
        }
    }
}

static bool keeps_waiting(const struct dh_handle *h) {
    const uv_handle_t *handle = *h->box;
    return handle != NULL && !h->is_abandoned && uv_is_active(handle) && uv_has_ref(handle) &&
           !dh_stream_is_watched(handle);
}

/* Most often the handle that kept it alive the last time still does: a server's listener. */
bool dh_owned_is_alive(const struct dh_run *run) {
    struct dh_owned *owned = run->owned;
    if (owned == NULL) {
        return false;
    }
    if (owned->request_count > 0 || owned->handle_count > owned->open_count ||
        (owned->lively != NULL && keeps_waiting(owned->lively))) {
        return true;
    }
    owned->lively = owned->handles;
    while (owned->lively != NULL && !keeps_waiting(owned->lively)) {
        owned->lively = owned->lively->next;
    }
    return owned->lively != NULL;
}

void dh_owned_open(lua_State *L) {
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &records_key);
}
