/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The record of a failure: what the error said, and where. Plain memory, one block, made while the
** dead stack still stands (in a message handler), so that nobody needs Lua to read it.
*/
#ifndef DH_SCRIPT_FAILURE_H
#define DH_SCRIPT_FAILURE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dh_failure {
    const char *message;   /* bounded, on one line, valid UTF-8 */
    const char *traceback; /* bounded; empty: none */
    size_t message_len;
    size_t traceback_len;
    uint64_t retry_after_ns; /* decnet.retry_after, else DH_NEVER */
    uint64_t at_ns;
    const void *identity; /* of the error value, to know it again; NULL: numbers and the like */
    uint32_t run;
    bool is_fatal; /* decnet.fatal */
};

/* Describe the error value at idx of L, with the traceback of L from 'level' on (0: the function
** that runs). Calls __tostring protected; raises nothing. Returns NULL when memory is out. */
struct dh_failure *dh_failure_capture(lua_State *L, int idx, int level);

/* The same for a plain text without a traceback. */
struct dh_failure *dh_failure_from_text(const char *text);

/* f with further levels, those of the text, in front of its traceback; f is taken over. When memory
** is out, f as it was. */
struct dh_failure *dh_failure_prepend_traceback(struct dh_failure *f, const char *text);

void dh_failure_free(struct dh_failure *f);

/* The error value of f has become the string at idx of L, by a position put before it. Returns what
** replaces f, which is freed: f itself when memory is out. */
struct dh_failure *dh_failure_retell(struct dh_failure *f, lua_State *L, int idx);

/* Do both speak of the same error value? The address alone does not tell: the memory of an error
** that was caught is used again. */
bool dh_failure_is_same(const struct dh_failure *a, const struct dh_failure *b);

/* Write a traceback of co from 'level' on, at most DH_TRACEBACK_LEVELS levels; returns its length.
** Never raises, calls nothing. */
size_t dh_traceback_write(lua_State *co, int level, char *dst, size_t cap);

/* Describe the value at idx as an error message: bounded, one line. Returns its length. */
size_t dh_failure_describe(lua_State *L, int idx, char *dst, size_t cap);

/* decnet.fatal and decnet.retry_after: lua_CFunctions. */
int dh_failure_fatal(lua_State *L);
int dh_failure_retry_after(lua_State *L);

/* Create the metatable of the values these raise. Raises on memory errors. */
void dh_failure_open(lua_State *L);

#endif
