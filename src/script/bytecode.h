/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What a Lua function's code says, read from its dump (lua_dump, stripped): a hash that moving the
** function to another line does not change, which of its upvalues it or a function in it assigns,
** and which fields it reads of them by a constant name. For _ENV those are its globals.
**
** Knows Lua 5.4's format; of another one only the hash is to be had.
*/
#ifndef DH_SCRIPT_BYTECODE_H
#define DH_SCRIPT_BYTECODE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A field of an upvalue that the code reads or writes by name. */
struct dh_field_access {
    const char *name; /* in the dump: until the next read */
    size_t len;
    uint8_t upvalue; /* from 0 */
};

struct dh_span {
    const char *text;
    size_t len;
};

/* A reader: zeroed before the first use, kept for the next to save its memory. */
struct dh_bytecode {
    uint64_t hash;
    uint64_t assigned[4]; /* bit i: upvalue i */
    uint64_t escapes[4];  /* used as a value, not only for fields by name */
    struct dh_field_access *accesses;
    size_t access_count;

    size_t access_cap; /* private from here */
    char *dump;
    size_t dump_len;
    size_t dump_cap;
    struct dh_span *constants;
    size_t constant_count;
    size_t constant_cap;
};

/* Read the Lua function on top of L's stack. False when memory is out. */
bool dh_bytecode_read(struct dh_bytecode *b, lua_State *L);

void dh_bytecode_fini(struct dh_bytecode *b);

static inline bool dh_bytecode_has(const uint64_t *set, int upvalue) {
    return (set[(upvalue >> 6) & 3] >> (upvalue & 63) & 1) != 0;
}

/* Hashing, for whatever is to be compared within one process. */

static inline uint64_t dh_mix(uint64_t x) { /* splitmix64's finalizer */
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline uint64_t dh_combine(uint64_t h, uint64_t x) {
    return dh_mix(h * UINT64_C(0x9e3779b97f4a7c15) + x + 1);
}

uint64_t dh_hash_bytes(uint64_t h, const char *bytes, size_t len);

#endif
