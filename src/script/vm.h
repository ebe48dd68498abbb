/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What belongs to one Lua state: its loop, its run queue, the task that has the CPU. Everything
** else in this layer is reached from here, so that a process can have several states.
*/
#ifndef DH_SCRIPT_VM_H
#define DH_SCRIPT_VM_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/loop.h"
#include "script/account.h"
#include "script/cap.h"
#include "script/collector.h"
#include "script/fetch.h"
#include "script/files.h"
#include "script/luvguard.h"
#include "script/preempt.h"
#include "script/task.h"
#include "script/turn.h"
#include "script/warning.h"

struct dh_instance;
struct dh_offload;

struct dh_vm {
    lua_State *L; /* main thread */
    struct dh_loop loop;
    struct dh_offload *offload;   /* threads of decnet.offload, made at its first call */
    struct dh_instance *instance; /* the host that runs or is being declared, or NULL */
    struct dh_task *current;      /* who has the CPU */
    struct dh_run *called_back;   /* or whose request luv calls back for, see request.h */
    struct dh_queue queue;        /* who has it next */
    struct dh_line in_nowait;     /* in uv.run "nowait": until libuv has been polled */
    struct dh_ledger *ledger;     /* who holds how much memory; NULL: the allocator is not ours */
    uint32_t *payer;              /* the account that allocations are billed to; never NULL */
    uint32_t nobody;              /* what 'payer' points to without a ledger */
    struct dh_ceiling ceiling;
    bool has_high_lines; /* some run's line may be above its max_memory */
    struct dh_collector collector;
    struct dh_leftover *leftovers; /* of dead runs */
    struct dh_warning warning;
    struct dh_preempt preempt;
    struct dh_files files;
    uint64_t uv_deadline_ns; /* of libuv's own timers when the turn began; DH_NEVER */
    unsigned boundaries;     /* resumes under way from where nobody can yield */
    lua_State *boundary;  /* the coroutine of the innermost of them, NULL: none that has a name */
    char *read_buffer;    /* of decnet.uv.read, made at its first call */
    uint64_t write_slice; /* the slice that had the last write at once of decnet.uv.write, */
    unsigned writes_at_once; /* and how many in a row */
    unsigned in_flight;      /* one-shot requests: the virtual clock stands for them */
    bool is_host_yield;      /* the yield under way is the host's, not the user's */
    bool has_loop;
    bool has_luv;
    bool has_pool; /* see slack.h */
    bool is_bared; /* somebody may have references to whatever is anchored */
    int cancelled; /* reference of the cancellation value */
    const void *cancelled_id;
    size_t errfunc_at; /* see errfunc.h */
    struct dh_fetch fetch;
    size_t libraries;        /* of C that were looked at, see spare.h */
    int library_list;        /* reference of all there are */
    int self_type;           /* reference of the metatable of 'self' */
    uint64_t listed;         /* idle coroutines: numbers them, see idle.h */
    unsigned closings;       /* coroutines being closed, each in a __close of the one before */
    const void *handle_type; /* the metatable of the last of luv's handles that was looked at */
    struct dh_luvguard luvguard;
    uint64_t luv_calls;    /* callbacks of luv's, so far */
    uint64_t late_wakeups; /* wake-ups that found their wait over */
};

/* Create the vm of L's state: loop, coroutine.* replaced, luv preloaded. The vm is anchored in the
** registry and closes when the state does. Returns the existing one if there is one. Raises. */
struct dh_vm *dh_vm_open(lua_State *L);

/* The vm of any coroutine of the state. Only after dh_vm_open. */
struct dh_vm *dh_vm_of(lua_State *L);

/* Close every handle of the state whose main thread is L, and let all close callbacks run; nothing
** where there is no vm. Needed before lua_close: luv frees a handle in __gc that is still closing, and
** the loop would call it back. */
void dh_vm_close_handles(lua_State *L);

/* Close every handle and the loop. Called by the state's end at the latest; returns uv_loop_close's
** result. */
int dh_vm_close(struct dh_vm *vm);

/* Keep the value on top of L's stack alive (pops it); returns a reference into the registry, greater than
** 0. Raises. */
int dh_vm_anchor(lua_State *L);

static inline void dh_vm_push_anchored(lua_State *L, int ref) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
}

/* Keep the value on top of L's stack (pops it) in place of the one that ref stands for. Raises nothing. */
static inline void dh_vm_anchor_again(lua_State *L, int ref) {
    lua_rawseti(L, LUA_REGISTRYINDEX, ref);
}

void dh_vm_release(struct dh_vm *vm, int ref);

/* Is the value at idx the cancellation value? */
bool dh_vm_is_cancelled(lua_State *L, int idx);

/* Push the cancellation value. */
void dh_vm_push_cancelled(struct dh_vm *vm, lua_State *L);

/* Give the CPU to t (NULL: to nobody). */
void dh_vm_set_current(struct dh_vm *vm, struct dh_task *t);

/* Bill allocations to this account until further notice; returns who was billed before. */
static inline uint32_t dh_vm_bill(struct dh_vm *vm, uint32_t account) {
    uint32_t before = *vm->payer;
    *vm->payer = account;
    return before;
}

/* Current time of the host under way (virtual in tests), else of the machine. */
uint64_t dh_vm_now(const struct dh_vm *vm);

#endif
