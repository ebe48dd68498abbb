/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The extra space of a coroutine: a tagged pointer, see task.h.
*/
#ifndef DH_SCRIPT_TAG_H
#define DH_SCRIPT_TAG_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct dh_task;
struct dh_vm;

enum { DH_TAG_VM = 0, DH_TAG_ROOT = 1, DH_TAG_NESTED = 2, DH_TAG_ENDED = 3, DH_TAG_MASK = 3 };

/* Beside any of these: made in a worker's task, and not yet suspended by its user, see idle.h. New
** coroutines have it from the main thread, as they have its vm. */
enum { DH_TAG_UNLISTED = 4 };

static inline uintptr_t *dh_tag_slot(lua_State *L) {
    return (uintptr_t *)lua_getextraspace(L);
}

static inline unsigned dh_tag_of(lua_State *L) {
    return (unsigned)(*dh_tag_slot(L) & DH_TAG_MASK);
}

static inline void *dh_tag_pointer(lua_State *L) {
    return (void *)(*dh_tag_slot(L) & ~(uintptr_t)(DH_TAG_MASK | DH_TAG_UNLISTED));
}

/* Whatever was there before: Lua leaves a main thread's as malloc gave it. */
static inline void dh_tag_init(lua_State *L, struct dh_vm *vm) {
    *dh_tag_slot(L) = (uintptr_t)vm | DH_TAG_VM;
}

static inline void dh_tag_set(lua_State *L, void *pointer, unsigned tag) {
    *dh_tag_slot(L) = (uintptr_t)pointer | tag | (*dh_tag_slot(L) & DH_TAG_UNLISTED);
}

static inline bool dh_tag_is_unlisted(lua_State *L) {
    return (*dh_tag_slot(L) & DH_TAG_UNLISTED) != 0;
}

static inline void dh_tag_set_unlisted(lua_State *L, bool is_unlisted) {
    uintptr_t others = *dh_tag_slot(L) & ~(uintptr_t)DH_TAG_UNLISTED;
    *dh_tag_slot(L) = others | (is_unlisted ? DH_TAG_UNLISTED : 0u);
}

#endif
