/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Plain values as bytes, to be copied from one Lua state into another one: nil, booleans, numbers
** (integers stay integers), strings, and tables of those without a metatable. A table that occurs
** several times is one table in the copy, too; one that contains itself is refused.
**
** The bytes are in memory of the C library. They are good within this process only.
*/
#ifndef DH_SCRIPT_PLAIN_H
#define DH_SCRIPT_PLAIN_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

struct dh_plain {
    char *data;
    size_t len;
    size_t cap;
    int count; /* values */
};

/* Append the count values from index 'first' of L on. Returns true; or false, and then a message is
** pushed (PATH of the culprit in the value, a blank, WHY), and *ret_index is the number, from 1, of
** the value that has it. Raises when memory is out. */
bool dh_plain_encode(lua_State *L, int first, int count, struct dh_plain *plain, int *ret_index);

/* Push copies of all values; returns how many. Raises when memory is out. */
int dh_plain_decode(lua_State *L, const struct dh_plain *plain);

/* Append bytes; false when memory is out. */
bool dh_plain_append(struct dh_plain *plain, const void *bytes, size_t len);

void dh_plain_fini(struct dh_plain *plain);

#endif
