/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What a run that crashed leaves to the next run of its worker, so that a restart need not make it anew:
**
**   its coroutine   if nobody else can have a reference to it: its code did not ask for it
**                   (coroutine.running), nobody looked at what the host anchors (debug.getregistry,
**                   debug.getuservalue), and no library of C is loaded that could do either
**   its 'self'      if nobody was given it: its function has no parameter, nothing asked for it
**   its account     because these are billed to it, if it holds little (DH_SPARE_BYTES)
**
** It is kept while the worker is in BACKOFF. A worker with a max_memory gets everything anew: what its
** run before left is not held against it.
*/
#ifndef DH_SCRIPT_SPARE_H
#define DH_SCRIPT_SPARE_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct dh_run;
struct dh_unit;
struct dh_vm;

struct dh_spare {
    lua_State *co;      /* NULL: there is none */
    struct dh_run *run; /* the 'self', whose user value is co; NULL: somebody may have it */
    int anchor;         /* of 'self', else of co */
    uint32_t account;
};

/* Watch what hands out references. Raises. */
void dh_spare_open(lua_State *L);

/* The run is closed, and its worker's supervisor knows: keep what the next one can have. Returns whether
** anything is kept; if not, to be let go. */
bool dh_spare_keep(struct dh_vm *vm, struct dh_run *run);

/* The run is Lua's again, but for its account, which is closed when nothing is left in it. */
void dh_spare_let_go(struct dh_vm *vm, struct dh_run *run);

/* Nothing is kept any more. */
void dh_spare_drop(struct dh_vm *vm, struct dh_unit *unit);

/* Whom the next run is to be billed to: what is kept, unless that has become unfit, or a new account;
** DH_ACCOUNT_HOST: there is none. */
uint32_t dh_spare_account(struct dh_vm *vm, struct dh_unit *unit);

/* Does the next run need neither a coroutine nor a 'self'? */
bool dh_spare_has_all(const struct dh_unit *unit);

#endif
