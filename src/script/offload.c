/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/offload.h"

#include <assert.h>
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "script/compat.h"
#include "script/failure.h"
#include "script/instance.h"
#include "script/limits.h"
#include "script/plain.h"
#include "script/table.h"
#include "script/vm.h"
#include "script/wait.h"

#define JOB_TYPE "decnet.offload.job"

enum job_state { QUEUED, RUNNING, ENDED };

/* Freed by the loop's thread, when neither the pool nor the caller's stack has it any more. */
struct job {
    struct job *next;     /* in the queue, or among those that have ended */
    struct dh_task *task; /* who waits; the loop's thread only */
    enum job_state state; /* under the pool's mutex */
    bool is_abandoned;    /* under the pool's mutex */
    bool is_in_pool;      /* the loop's thread only */
    bool is_boxed;        /* the loop's thread only */
    atomic_bool must_stop;

    /* The caller's until it is queued, then the thread's until it has ended. */
    struct dh_plain code;
    struct dh_plain arguments;
    struct dh_plain search;  /* package.path, package.cpath */
    struct dh_plain results; /* or the error value */
    lua_State *root;         /* the coroutine that it runs in */
    char *traceback;         /* of an error; NULL: none */
    int status;
};

struct job_queue {
    struct job *first;
    struct job *last;
};

struct thread {
    pthread_t id;
    struct dh_offload *pool;
    struct job *job;     /* under the pool's mutex */
    bool is_over;        /* under the pool's mutex: to be joined */
    struct thread *next; /* the loop's thread only */
};

struct dh_offload {
    struct dh_vm *vm;       /* never changes */
    struct thread *threads; /* the loop's thread only */
    pthread_mutex_t mutex;
    pthread_cond_t has_work;
    pthread_cond_t has_ended; /* one of the threads */
    /* under the mutex: */
    struct job_queue waiting;
    struct job_queue ended;
    unsigned waiting_count;
    unsigned thread_count;
    unsigned idle_count;
    unsigned abandoned_count; /* threads that run abandoned jobs */
    bool is_closing;
};

static void push(struct job_queue *q, struct job *job) {
    job->next = NULL;
    if (q->last != NULL) {
        q->last->next = job;
    } else {
        q->first = job;
    }
    q->last = job;
}

static struct job *pop(struct job_queue *q) {
    struct job *job = q->first;
    if (job != NULL) {
        q->first = job->next;
        if (q->first == NULL) {
            q->last = NULL;
        }
        job->next = NULL;
    }
    return job;
}

static void take_out(struct job_queue *q, struct job *job) {
    struct job_queue rest = {NULL, NULL};
    struct job *other;
    while ((other = pop(q)) != NULL) {
        if (other != job) {
            push(&rest, other);
        }
    }
    *q = rest;
}

static void free_job_if_unused(struct job *job) {
    if (job->is_in_pool || job->is_boxed) {
        return;
    }
    dh_plain_fini(&job->code);
    dh_plain_fini(&job->arguments);
    dh_plain_fini(&job->search);
    dh_plain_fini(&job->results);
    free(job->traceback);
    free(job);
}

/* In a thread: the job's own lua_State. Nothing here may touch the caller's. */

/*
** The stop flag. The function runs in a coroutine, which is left by a yield: that cannot be caught.
** A coroutine in it is left in the same way, and whoever resumed it then meets the hook himself; so
** that this takes no time, not even where the coroutines are nested, hooks are called often from
** now on. Under a C function that cannot be suspended there is only an error.
*/
static void on_count(lua_State *L, lua_Debug *ar) {
    const struct job *job = *(struct job **)lua_getextraspace(L);
    (void)ar;
    if (!atomic_load_explicit(&job->must_stop, memory_order_relaxed)) {
        return;
    }
    lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    lua_sethook(job->root, on_count, LUA_MASKCOUNT, 1);
    if (lua_isyieldable(L)) {
        lua_yield(L, 0);
    } else {
        luaL_error(L, "this function was cancelled");
    }
}

static int refuse_call(lua_State *L) {
    return luaL_error(L, "%s in a function that was offloaded",
                      lua_tostring(L, lua_upvalueindex(1)));
}

/* TABLE.KEY, in the table on top of the stack, raises. */
static void forbid(lua_State *L, const char *key, const char *why) {
    lua_pushstring(L, why);
    lua_pushcclosure(L, refuse_call, 1);
    lua_setfield(L, -2, key);
}

static void open_libraries(lua_State *L, const struct job *job) {
    luaL_openlibs(L);
    lua_getglobal(L, "os");
    forbid(L, "exit", "os.exit: the host cannot be ended");
    lua_getglobal(L, "debug");
    forbid(L, "sethook", "debug.sethook: the hook is the host's");
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    forbid(L, "decnet", "there is no decnet");
    forbid(L, "decnet.core", "there is no decnet");
    lua_getglobal(L, "package");
    dh_plain_decode(L, &job->search);
    lua_setfield(L, -3, "cpath");
    lua_setfield(L, -2, "path");
    lua_settop(L, 1);
}

static void keep_traceback(struct job *job) {
    char text[DH_TRACEBACK_MAX];
    dh_traceback_write(job->root, 0, text, sizeof(text));
    job->traceback = strdup(text);
}

/* An error that is no plain value arrives as what it says. */
static void encode_error(lua_State *L, struct job *job) {
    char text[DH_MESSAGE_MAX];
    int index;
    if (!dh_plain_encode(L, lua_gettop(L), 1, &job->results, &index)) {
        lua_pop(L, 1);
        dh_plain_fini(&job->results);
        lua_pushlstring(L, text, dh_failure_describe(L, lua_gettop(L), text, sizeof(text)));
        dh_plain_encode(L, lua_gettop(L), 1, &job->results, &index);
    }
}

static void encode_results(lua_State *L, struct job *job, int first) {
    int index = 0;
    if (dh_plain_encode(L, first, lua_gettop(L) - first + 1, &job->results, &index)) {
        return;
    }
    lua_pushfstring(L, "offload: result #%d%s", index, lua_tostring(L, -1));
    dh_plain_fini(&job->results);
    job->status = LUA_ERRRUN;
    encode_error(L, job);
}

/* Call the function in the job's coroutine; results, or the error, get onto the stack of L. */
static int call_function(lua_State *L, struct job *job) {
    lua_State *co = job->root;
    int status = luaL_loadbufferx(L, job->code.data, job->code.len, "=offload", "b");
    if (status != LUA_OK) {
        return status;
    }
    int n = dh_plain_decode(L, &job->arguments);
    luaL_checkstack(co, n + 1, "too many arguments");
    lua_xmove(L, co, n + 1);
    status = lua_resume(co, L, n, &n);
    if (status == LUA_YIELD) {
        lua_pushliteral(L, "attempt to yield from outside a coroutine");
        return LUA_ERRRUN;
    }
    if (status != LUA_OK) {
        keep_traceback(job);
        dh_close_thread(co, L);
        n = 1;
    }
    luaL_checkstack(L, n, "too many results");
    lua_xmove(co, L, n);
    return status;
}

static int run_protected(lua_State *L) {
    struct job *job = lua_touserdata(L, 1);
    open_libraries(L, job);
    job->root = lua_newthread(L); /* gets the hook, too */
    job->status = call_function(L, job);
    if (atomic_load(&job->must_stop)) {
        return 0;
    }
    if (job->status == LUA_OK) {
        encode_results(L, job, 3);
    } else {
        encode_error(L, job);
    }
    return 0;
}

static void run_job(struct job *job) {
    lua_State *L = luaL_newstate();
    if (L == NULL) {
        job->status = LUA_ERRMEM;
        return;
    }
    *(struct job **)lua_getextraspace(L) = job; /* new coroutines copy it, and the hook */
    lua_sethook(L, on_count, LUA_MASKCOUNT, DH_OFFLOAD_HOOK_COUNT);
    lua_pushcfunction(L, run_protected);
    lua_pushlightuserdata(L, job);
    int status = lua_pcall(L, 1, 0, 0);
    if (status != LUA_OK) { /* outside of the function: no memory for its results, say */
        dh_plain_fini(&job->results);
        job->status = LUA_ERRMEM;
    }
    lua_close(L);
}

/* The pool is locked. */
static bool is_surplus(const struct dh_offload *pool) {
    return pool->thread_count - pool->abandoned_count > DH_OFFLOAD_THREADS;
}

static struct job *wait_for_job(struct dh_offload *pool) {
    while (pool->waiting.first == NULL && !pool->is_closing && !is_surplus(pool)) {
        pool->idle_count++;
        pthread_cond_wait(&pool->has_work, &pool->mutex);
        pool->idle_count--;
    }
    if (pool->is_closing || is_surplus(pool)) {
        return NULL;
    }
    pool->waiting_count--;
    return pop(&pool->waiting);
}

static void *thread_main(void *arg) {
    struct thread *thread = arg;
    struct dh_offload *pool = thread->pool;
    struct job *job;
    pthread_mutex_lock(&pool->mutex);
    while ((job = wait_for_job(pool)) != NULL) {
        thread->job = job;
        job->state = RUNNING;
        pthread_mutex_unlock(&pool->mutex);
        run_job(job);
        pthread_mutex_lock(&pool->mutex);
        thread->job = NULL;
        job->state = ENDED;
        if (job->is_abandoned) {
            pool->abandoned_count--;
        }
        push(&pool->ended, job);
        if (!pool->is_closing) { /* under the mutex: the loop is there until is_closing */
            dh_loop_wake(&pool->vm->loop);
        }
    }
    pool->thread_count--;
    thread->is_over = true;
    pthread_cond_signal(&pool->has_ended);
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

/* In the loop's thread */

/* Join the threads that have ended. */
static void reap(struct dh_offload *pool) {
    struct thread **at = &pool->threads;
    while (*at != NULL) {
        struct thread *thread = *at;
        pthread_mutex_lock(&pool->mutex);
        bool is_over = thread->is_over;
        pthread_mutex_unlock(&pool->mutex);
        if (!is_over) {
            at = &thread->next;
            continue;
        }
        *at = thread->next;
        pthread_join(thread->id, NULL);
        free(thread);
    }
}

/* One thread more, if jobs wait for it and there may be one. The pool is locked. */
static void grow(struct dh_offload *pool) {
    if (pool->waiting_count <= pool->idle_count ||
        pool->thread_count - pool->abandoned_count >= DH_OFFLOAD_THREADS ||
        pool->thread_count >= DH_OFFLOAD_THREADS_MAX) {
        return;
    }
    struct thread *thread = calloc(1, sizeof(*thread));
    if (thread == NULL) {
        return;
    }
    thread->pool = pool;
    if (pthread_create(&thread->id, NULL, thread_main, thread) != 0) {
        free(thread);
        return;
    }
    pool->thread_count++;
    thread->next = pool->threads;
    pool->threads = thread;
}

/* Give the job to the pool. False when there is no thread to ever run it. */
static bool submit(struct dh_offload *pool, struct job *job) {
    reap(pool);
    pthread_mutex_lock(&pool->mutex);
    push(&pool->waiting, job);
    pool->waiting_count++;
    grow(pool);
    bool can_run = pool->thread_count > 0;
    if (can_run) {
        pthread_cond_signal(&pool->has_work);
    } else {
        pop(&pool->waiting);
        pool->waiting_count--;
    }
    pthread_mutex_unlock(&pool->mutex);
    job->is_in_pool = can_run;
    pool->vm->in_flight += can_run;
    return can_run;
}

static void abandon(struct dh_offload *pool, struct job *job) {
    job->task = NULL;
    pthread_mutex_lock(&pool->mutex);
    bool was_queued = job->state == QUEUED;
    if (was_queued) {
        take_out(&pool->waiting, job);
        pool->waiting_count--;
    } else if (job->state == RUNNING) {
        job->is_abandoned = true;
        pool->abandoned_count++;
        atomic_store_explicit(&job->must_stop, true, memory_order_relaxed);
        grow(pool);
    }
    pthread_mutex_unlock(&pool->mutex);
    if (was_queued) {
        job->is_in_pool = false;
        pool->vm->in_flight--;
    }
}

/* Wake those whose jobs have ended. */
static void collect(struct dh_loop *loop) {
    struct dh_vm *vm = (struct dh_vm *)((char *)loop - offsetof(struct dh_vm, loop));
    struct dh_offload *pool = vm->offload;
    pthread_mutex_lock(&pool->mutex);
    struct job_queue ended = pool->ended;
    pool->ended = (struct job_queue){NULL, NULL};
    pthread_mutex_unlock(&pool->mutex);
    struct job *job;
    while ((job = pop(&ended)) != NULL) {
        vm->in_flight--;
        job->is_in_pool = false;
        if (job->task != NULL) {
            struct dh_task *t = job->task;
            job->task = NULL;
            dh_wake(vm, t, DH_WAKE_DONE, 0);
        }
        free_job_if_unused(job);
    }
}

/* Not by the wall clock, which may be set meanwhile. */
static void init_monotonic(pthread_cond_t *cond) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

static struct dh_offload *pool_of(lua_State *L, struct dh_vm *vm) {
    if (vm->offload == NULL) {
        struct dh_offload *pool = calloc(1, sizeof(*pool));
        if (pool == NULL) {
            luaL_error(L, "offload: not enough memory");
            return NULL;
        }
        pthread_mutex_init(&pool->mutex, NULL);
        pthread_cond_init(&pool->has_work, NULL);
        init_monotonic(&pool->has_ended);
        pool->vm = vm;
        vm->offload = pool;
        vm->loop.on_wake = collect;
    }
    return vm->offload;
}

/* For so long at most. The pool is locked. */
static void wait_for_threads(struct dh_offload *pool) {
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += DH_OFFLOAD_CLOSE_S;
    while (pool->thread_count > 0 &&
           pthread_cond_timedwait(&pool->has_ended, &pool->mutex, &deadline) == 0) {
    }
}

void dh_offload_close(struct dh_vm *vm) {
    struct dh_offload *pool = vm->offload;
    if (pool == NULL) {
        return;
    }
    struct job *job;
    pthread_mutex_lock(&pool->mutex);
    pool->is_closing = true;
    struct job_queue waiting = pool->waiting;
    pool->waiting = (struct job_queue){NULL, NULL};
    for (struct thread *t = pool->threads; t != NULL; t = t->next) {
        if (t->job != NULL) {
            atomic_store_explicit(&t->job->must_stop, true, memory_order_relaxed);
        }
    }
    pthread_cond_broadcast(&pool->has_work);
    wait_for_threads(pool);
    pthread_mutex_unlock(&pool->mutex);
    while ((job = pop(&waiting)) != NULL) {
        job->is_in_pool = false;
        free_job_if_unused(job);
    }
    reap(pool);
    for (struct thread *t = pool->threads; t != NULL; t = t->next) {
        pthread_detach(t->id);
    }
    vm->offload = NULL;
    vm->loop.on_wake = NULL;
    pthread_mutex_lock(&pool->mutex);
    struct job_queue ended = pool->ended;
    pool->ended = (struct job_queue){NULL, NULL};
    pthread_mutex_unlock(&pool->mutex);
    while ((job = pop(&ended)) != NULL) {
        job->is_in_pool = false;
        free_job_if_unused(job);
    }
    if (pool->threads == NULL) { /* else it belongs to those that were left behind */
        pthread_cond_destroy(&pool->has_work);
        pthread_cond_destroy(&pool->has_ended);
        pthread_mutex_destroy(&pool->mutex);
        free(pool);
    }
}

/* offload(fn, ...): the job is boxed at 1 of the waiting function's stack */

static void offload_withdraw(struct dh_task *t) {
    abandon(t->run->instance->vm->offload, t->wait_data);
}

static const struct dh_wait_type offload_wait = {"offload", offload_withdraw};

static int box_gc(lua_State *L) {
    struct job **box = lua_touserdata(L, 1);
    if (*box != NULL) {
        (*box)->is_boxed = false;
        free_job_if_unused(*box);
        *box = NULL;
    }
    return 0;
}

/* The caller's record of the error shows where it came from on the other side. */
static int raise_error(lua_State *L, struct job *job) {
    if (job->results.count == 0) {
        return luaL_error(L, "offload: not enough memory");
    }
    dh_plain_decode(L, &job->results);
    struct dh_task *t = dh_vm_of(L)->current;
    dh_failure_free(t->failure);
    t->failure = NULL;
    dh_task_note_error(t, L, L, -1, 0);
    if (job->traceback != NULL && t->failure != NULL) {
        t->failure = dh_failure_prepend_traceback(t->failure, job->traceback);
    }
    return lua_error(L);
}

static int offload_k(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    dh_wait_end(L);
    struct job *job = *(struct job **)lua_touserdata(L, 1);
    return job->status == LUA_OK ? dh_plain_decode(L, &job->results) : raise_error(L, job);
}

static int refuse_argument(lua_State *L, int arg, const char *why) {
    return luaL_error(L, "bad argument #%d to 'offload' (%s)", arg, why);
}

static int dump_writer(lua_State *L, const void *bytes, size_t len, void *ud) {
    (void)L;
    return dh_plain_append(ud, bytes, len) ? 0 : 1;
}

/* The function at 1 as bytecode. Its only upvalue can be _ENV; without debug information, it is
** known by its value. */
static void dump_function(lua_State *L, struct dh_plain *code) {
    if (!lua_isfunction(L, 1)) {
        refuse_argument(L, 1, lua_pushfstring(L, "function expected, got %s", luaL_typename(L, 1)));
    }
    if (lua_iscfunction(L, 1)) {
        refuse_argument(L, 1, "a C function cannot run on another thread");
    }
    const char *name;
    lua_pushglobaltable(L);
    for (int i = 1; (name = lua_getupvalue(L, 1, i)) != NULL; i++) {
        bool is_env = strcmp(name, "_ENV") == 0 || lua_rawequal(L, -1, -2);
        if (!is_env || i > 1) {
            refuse_argument(L, 1,
                            lua_pushfstring(L,
                                            "it uses '%s', a local variable of another "
                                            "function: pass that as an argument",
                                            name));
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    lua_pushvalue(L, 1);
    if (lua_dump(L, dump_writer, code, 0) != 0) {
        luaL_error(L, "offload: not enough memory");
    }
    lua_pop(L, 1);
}

/* Push the string package.KEY; nil if somebody has made something else of it. */
static void push_search(lua_State *L, const char *key) {
    int top = lua_gettop(L);
    lua_pushnil(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushliteral(L, "package");
    if (lua_rawget(L, -2) == LUA_TTABLE) {
        lua_pushstring(L, key);
        if (lua_rawget(L, -2) == LUA_TSTRING) {
            lua_replace(L, top + 1);
        }
    }
    lua_settop(L, top + 1);
}

/* package.path and cpath, so that the function finds what its caller would find. */
static void encode_search(lua_State *L, struct dh_plain *search) {
    int index;
    push_search(L, "path");
    push_search(L, "cpath");
    dh_plain_encode(L, lua_gettop(L) - 1, 2, search, &index); /* strings and nils can be copied */
    lua_pop(L, 2);
}

static int l_offload(lua_State *L) {
    struct dh_vm *vm = dh_vm_of(L);
    struct dh_task *t = dh_wait_begin(L, "offload");
    if (lua_isnone(L, 1)) {
        lua_pushnil(L);
    }
    struct dh_offload *pool = pool_of(L, vm);
    struct job **box = lua_newuserdatauv(L, sizeof(*box), 0);
    *box = NULL;
    luaL_setmetatable(L, JOB_TYPE);
    struct job *job = *box = calloc(1, sizeof(*job));
    if (job == NULL) {
        return luaL_error(L, "offload: not enough memory");
    }
    job->is_boxed = true;
    int nargs = lua_gettop(L) - 2;
    int index = 0;
    dump_function(L, &job->code);
    encode_search(L, &job->search);
    if (!dh_plain_encode(L, 2, nargs, &job->arguments, &index)) {
        const char *message = lua_tostring(L, -1);
        return refuse_argument(L, index + 1, message + (*message == ' '));
    }
    if (dh_task_is_cancelled(t)) {
        return dh_wait_cancelled(L, t);
    }
    lua_replace(L, 1);
    lua_settop(L, 1);
    if (!submit(pool, job)) {
        return luaL_error(L, "offload: no thread can be made");
    }
    job->task = t;
    return dh_wait_suspend(L, t, &offload_wait, job, DH_NEVER, 0, offload_k);
}

void dh_offload_open(lua_State *L) {
    luaL_newmetatable(L, JOB_TYPE);
    dh_table_seal(L);
    lua_pushcfunction(L, box_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_pushcfunction(L, l_offload);
    lua_setfield(L, -2, "offload");
}
