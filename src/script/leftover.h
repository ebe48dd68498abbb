/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What dead runs still hold: values in tables that others share, closures in hooks, ...
**
** The account of a run that ended stays open until nothing is billed to it. What it holds after the
** next complete cycle of the collector is no garbage: it is shown as the worker's leftover_bytes, and
** logged when it is much, again only when it has doubled.
*/
#ifndef DH_SCRIPT_LEFTOVER_H
#define DH_SCRIPT_LEFTOVER_H

#include <stdint.h>

struct dh_unit;
struct dh_vm;

/* A run of the worker is closed, and no other run goes on with its account. */
void dh_leftover_add(struct dh_vm *vm, struct dh_unit *unit, uint32_t run, uint32_t account);

/* The collector has completed a cycle. */
void dh_leftover_on_cycle(struct dh_vm *vm);

/* The worker is removed; NULL: all are, their host ends. */
void dh_leftover_forget(struct dh_vm *vm, const struct dh_unit *unit);

/* The vm closes: its runs' accounts go with the allocator. */
void dh_leftover_close(struct dh_vm *vm);

#endif
