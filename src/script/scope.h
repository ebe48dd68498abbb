/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Scopes: what decnet.timeout, decnet.shield and decnet.shared put around a function.
**
** A task has a list of them, innermost first. An await asks from the inside outwards: an expired
** timeout cancels; a shield that has not expired keeps everything outside it away; else the task's
** own cancellation decides. What is opened asks whether one of them is shared. A scope that was
** entered in a coroutine which its user has suspended in the meantime (a generator that yields
** inside a timeout) is not in force while it is.
*/
#ifndef DH_SCRIPT_SCOPE_H
#define DH_SCRIPT_SCOPE_H

#include "script/task.h"

struct dh_scope {
    struct dh_task *task; /* NULL: left, or the task has ended */
    struct dh_scope *outer;
    lua_State *co; /* where it was entered */
    struct dh_timer timer;
    bool is_shield;
    bool is_expired;
    bool is_seen;   /* the timeout has been raised */
    bool is_shared; /* neither timeout nor shield */
};

/* The scope that decides about an await of t: an expired timeout, which cancels it, or a shield. NULL:
** there is none. */
struct dh_scope *dh_scope_that_decides(const struct dh_task *t);

/* Does what t opens now belong to the host? */
bool dh_scope_is_shared(const struct dh_task *t);

/* t has ended: its scopes are void. */
void dh_scope_detach_all(struct dh_task *t);

/* The deadline of a scope was due. */
void dh_scope_on_deadline(struct dh_timer *timer);

/* decnet.timeout(s, fn, ...), decnet.shield(s, fn, ...), decnet.shared(fn, ...): lua_CFunctions. */
int dh_scope_timeout(lua_State *L);
int dh_scope_shield(lua_State *L);
int dh_scope_shared(lua_State *L);

/* Create the metatable of scopes. Raises on memory errors. */
void dh_scope_open(lua_State *L);

#endif
