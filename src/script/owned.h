/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What a run owns through luv: handles that are open, requests that are under way. Both are known by
** a record that lives in a Lua userdata; the run has lists of them.
*/
#ifndef DH_SCRIPT_OWNED_H
#define DH_SCRIPT_OWNED_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "script/task.h"

struct dh_run;
struct dh_vm;

/* A handle, from new_* until it is closed. Its record is found by the handle's userdata. */
struct dh_handle {
    struct dh_run *run;
    uv_handle_t **box; /* luv's userdata; NULL in it: luv's finalizer was first */
    struct dh_handle *prev;
    struct dh_handle *next;
    int closer; /* luv's reference of the callback by which its closing is counted; LUA_NOREF */

    /* a child */
    int told;            /* the signal by which it was told to end, 0: none yet ... */
    uint64_t told_ticks; /* ... and when, in the clock ticks of /proc */
    bool is_group;       /* it leads a process group */
    bool is_abandoned;   /* it lives, though its handle was closed by the user */
};

/* A request that libuv's threads work on, until its callback has come. */
struct dh_request {
    uv_req_t *req; /* NULL: it cannot be cancelled */
    bool has_fd;   /* it has a file descriptor, which must not become another file's meanwhile */
    struct dh_request *prev;
    struct dh_request *next;
};

/* A line that was printed in part, see printed.h. */
struct dh_begun {
    char *text;
    uint16_t len;
    uint16_t cap;
};

/* What most runs have nothing of. Made when a run opens its first handle, starts its first request or
** line, defers its first function or leaves its first coroutine idle; freed when it is closed. */
struct dh_owned {
    struct dh_handle *handles;  /* open, newest first */
    struct dh_handle *to_close; /* the next that the run's end has to close; NULL: none */
    struct dh_handle *lively;   /* the one that last kept uv.run waiting; NULL: any */
    struct dh_request *requests;
    uint32_t open_count;
    uint32_t handle_count;    /* open, or not yet fully closed */
    uint32_t request_count;   /* all that are under way, also those without a record */
    uint32_t backlog;         /* of them, those that libuv's threads work on, see backlog.h */
    struct dh_line waiting;   /* tasks that are to start more of these */
    uint32_t fd_count;        /* of them, those that have a file descriptor */
    struct dh_line in_run;    /* tasks that wait in uv.run: until nothing is left to wait for */
    struct dh_line in_once;   /* the same, until a callback has been called */
    uint32_t waiting_count;   /* tasks in uv.run, whatever its mode */
    int closer;               /* reference of that callback, 0: none yet */
    int defers;               /* reference of the list for self:defer, 0: none */
    int idle;                 /* reference of the table of idle coroutines, 0: none yet */
    int files;                /* reference of the set of its files, 0: none yet; see files.c */
    int first_fd;             /* it has none below */
    struct dh_begun begun[2]; /* on stdout, stderr */
    bool has_fds;             /* some are its own in vm->files */
    bool has_defaults;        /* default files of its own */
    bool is_stopped;          /* by uv.stop, for the next uv.run */
};

/* What the run owns, made if there is nothing yet. Raises when memory is out. */
struct dh_owned *dh_owned_of(lua_State *L, struct dh_run *run);

/* The same; NULL when memory is out. */
struct dh_owned *dh_owned_try(struct dh_run *run);

/* The handle at idx belongs to the run from now on. Raises. */
struct dh_handle *dh_owned_add(lua_State *L, int idx, struct dh_run *run);

/* The record of the handle at idx; NULL: it has no owner, or is closing. */
struct dh_handle *dh_owned_find(lua_State *L, int idx);

/* The handle at idx, which is h's, is being closed. */
void dh_owned_remove(lua_State *L, int idx, struct dh_handle *h);

/* The handle at idx, which is h's, will count itself out when it is closed without a callback. Needs no
** memory: what it takes was made with the handle. */
void dh_owned_count_closing(lua_State *L, struct dh_handle *h);

/* The same as remove, but for the table of records: its handle's userdata is gone. */
void dh_owned_unlink(struct dh_handle *h);

/* Push the userdata of an open handle. */
void dh_owned_push(lua_State *L, const struct dh_handle *h);

/* Is it a child process that has not ended? */
bool dh_owned_is_living_child(const struct dh_handle *h);

/* r has begun: its other fields are set. Its callback has come. */
void dh_owned_add_request(struct dh_owned *owned, struct dh_request *r);
void dh_owned_remove_request(struct dh_owned *owned, struct dh_request *r);

/* Cancel every request that has a record and that no thread works on yet, but for the closing of
** files. */
void dh_owned_cancel_requests(struct dh_owned *owned);

/* Does a handle or a request of the run keep its uv.run waiting? What luv says of a loop. */
bool dh_owned_is_alive(const struct dh_run *run);

/* Create the registry's table of records. Raises on memory errors. */
void dh_owned_open(lua_State *L);

#endif
