/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The record of a failure: what the error said, and where. Plain memory, made while the dead stack
** still stands (in a message handler), so that nobody needs Lua to read it.
**
** To write down a stack costs more than all else that a crash and a restart do. So when a worker
** crashes again and again by the same error, from functions at the same lines, its texts are written
** once: the record of a later crash points to those of the first.
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
    const char *variables; /* of the stack's functions, see variables.h; empty: none */
    size_t message_len;
    size_t traceback_len;
    size_t variables_len;
    uint64_t retry_after_ns; /* decnet.retry_after, else DH_NEVER */
    uint64_t at_ns;
    const void *identity; /* of the error value, to know it again; NULL: numbers and the like */
    struct dh_failure *origin; /* whose texts these are, held; NULL: its own */
    uint64_t place;            /* a hash of where the stack stood; 0: no stack */
    uint32_t hash;             /* of message and traceback, dh_crashlog_hash */
    uint32_t run;
    uint32_t holders; /* who will call dh_failure_free */
    bool is_fatal;    /* decnet.fatal */
};

/* Describe the error value at idx of L, with traceback and variables of L from 'level' on (0: the
** function that runs). Calls __tostring protected; raises nothing. Returns NULL when memory is out. */
struct dh_failure *dh_failure_capture(lua_State *L, int idx, int level);

/* The same for co, which that error may have ended; L can run and is alive. */
struct dh_failure *dh_failure_capture_of(lua_State *L, lua_State *co, int idx, int level);

/* The same where 'known' (or NULL) may have been the same error at the same place: then its texts are
** shared, variables included. */
struct dh_failure *dh_failure_capture_again(const struct dh_failure *known, lua_State *L,
                                            lua_State *co, int idx, int level);

/* The same for a plain text without a traceback. */
struct dh_failure *dh_failure_from_text(const char *text);

/* The same for a plain text, said of co as it stands. */
struct dh_failure *dh_failure_of_stack(const char *text, lua_State *co);

/* f with further levels, those of the text, in front of its traceback; f is taken over. When memory
** is out, f as it was. */
struct dh_failure *dh_failure_prepend_traceback(struct dh_failure *f, const char *text);

/* Let go of it; the last holder frees it. NULL is nothing. */
void dh_failure_free(struct dh_failure *f);

/* One more holder. Returns f. */
struct dh_failure *dh_failure_hold(struct dh_failure *f);

/* Do both say the same, word for word? */
bool dh_failure_is_equal(const struct dh_failure *a, const struct dh_failure *b);

/* The error value of f has become the string at idx of L, by a position put before it. Returns what
** replaces f, which is freed: f itself when memory is out. */
struct dh_failure *dh_failure_retell(struct dh_failure *f, lua_State *L, int idx);

/* Does f speak of the error value at idx of co? L can run and is alive. The address alone does not tell: the memory of an error
** that was caught is used again. Much cheaper than capturing it once more. */
bool dh_failure_speaks_of(const struct dh_failure *f, lua_State *L, lua_State *co, int idx);

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
