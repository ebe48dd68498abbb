/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** malloc and its relatives, for all that is loaded; Lua's allocator, so that each of its requests is
** a point and not only those for which the pool asks the system; new threads.
*/
#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "core/error.h"
#include "core/timerq.h"
#include "starve/starve.h"

#define SLACK_BYTES 16384
#define SLACK_THREADS 4

#define FRESH 0xa5
#define FREED 0x5a

#define VISIBLE __attribute__((visibility("default")))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);

void *__real_dh_pool_realloc(void *ud, void *block, size_t old_size, size_t new_size);
void *__wrap_dh_pool_realloc(void *ud, void *block, size_t old_size, size_t new_size);

struct lua_State;
int __real_lua_checkstack(struct lua_State *L, int n);
int __wrap_lua_checkstack(struct lua_State *L, int n);
int __real_dh_timerq_arm(struct dh_timerq *q, struct dh_timer *timer, uint64_t deadline_ns);
int __wrap_dh_timerq_arm(struct dh_timerq *q, struct dh_timer *timer, uint64_t deadline_ns);

bool __real_dh_slack_of_memory(void);
bool __wrap_dh_slack_of_memory(void);
bool __real_dh_slack_for_handle(const uv_handle_t *handle);
bool __wrap_dh_slack_for_handle(const uv_handle_t *handle);

/* What libraries do when they are unloaded is not ours, and libc ends the process when it has no memory
** for a thread's variables. */
VISIBLE int dlclose(void *library) {
    int (*real)(void *);
    *(void **)&real = dlsym(RTLD_NEXT, "dlclose");
    bool was_armed = starve_is_armed();
    starve_disarm();
    int err = real(library);
    if (was_armed) {
        starve_arm();
    }
    return err;
}

/* libc has no memory to say which assertion it is that failed. */
VISIBLE void __assert_fail(const char *assertion, const char *file, unsigned line,
                           const char *function) {
    void (*real)(const char *, const char *, unsigned, const char *);
    starve_disarm();
    *(void **)&real = dlsym(RTLD_NEXT, "__assert_fail");
    real(assertion, file, line, function);
    abort();
}

struct dh_preempt;
void __real_dh_preempt_end_slice(struct dh_preempt *p);
void __wrap_dh_preempt_end_slice(struct dh_preempt *p);
struct dh_vm;
bool __real_dh_slack_of_threads(struct dh_vm *vm);
bool __wrap_dh_slack_of_threads(struct dh_vm *vm);

/* Who asks for slack (script/slack.h) and gets it has this much, without a look: bytes, and threads. */
static __thread size_t slack_bytes;
static __thread unsigned slack_threads;

static __thread bool is_pools; /* what it asks for has been a point, and its bytes are counted */

static bool is_refused(size_t growth) {
    if (growth <= slack_bytes) {
        slack_bytes -= growth;
        return false;
    }
    if (is_pools ? !starve_is_place_refused() : !starve_is_memory_refused(growth)) {
        return false;
    }
    errno = ENOMEM;
    return true;
}

static void *taken(void *block, bool is_filled) {
    if (block != NULL) {
        size_t bytes = malloc_usable_size(block);
        if (is_filled) {
            memset(block, FRESH, bytes);
        }
        starve_on_taken(block, is_pools ? 0 : bytes);
    }
    return block;
}

static void on_freed(void *block) {
    if (block != NULL) {
        starve_on_freed(block, is_pools ? 0 : malloc_usable_size(block));
    }
}

VISIBLE void *malloc(size_t size) {
    return is_refused(size) ? NULL : taken(__libc_malloc(size), true);
}

VISIBLE void *calloc(size_t count, size_t size) {
    return is_refused(count * size) ? NULL : taken(__libc_calloc(count, size), false);
}

VISIBLE void *realloc(void *block, size_t size) {
    size_t before = block != NULL ? malloc_usable_size(block) : 0;
    if (size > before && is_refused(size - before)) {
        return NULL;
    }
    on_freed(block);
    return taken(__libc_realloc(block, size), false);
}

VISIBLE void free(void *block) {
    if (block != NULL) {
        int saved = errno;
        on_freed(block);
        memset(block, FREED, malloc_usable_size(block));
        __libc_free(block);
        errno = saved;
    }
}

VISIBLE void *memalign(size_t alignment, size_t size) {
    return is_refused(size) ? NULL : taken(__libc_memalign(alignment, size), true);
}

VISIBLE void *aligned_alloc(size_t alignment, size_t size) {
    return memalign(alignment, size);
}

VISIBLE int posix_memalign(void **ret_block, size_t alignment, size_t size) {
    void *block = memalign(alignment, size);
    if (block == NULL) {
        return ENOMEM;
    }
    *ret_block = block;
    return 0;
}

/* Slack is not for Lua, which looks. */
static bool is_luas_refused(size_t growth) {
    size_t bytes = slack_bytes;
    slack_bytes = 0;
    bool is = is_refused(growth);
    slack_bytes = bytes;
    return is;
}

/* Lua counts on shrinking: only growth is refused. What is freed is overwritten here, too, as the pool
** keeps it. */
void *__wrap_dh_pool_realloc(void *ud, void *block, size_t old_size, size_t new_size) {
    size_t before = block != NULL ? old_size : 0;
    if (new_size > before && is_luas_refused(new_size - before)) {
        return NULL;
    }
    if (block != NULL && new_size == 0) {
        memset(block, FREED, old_size);
    }
    is_pools = true;
    void *result = __real_dh_pool_realloc(ud, block, old_size, new_size);
    is_pools = false;
    if (result != NULL || new_size == 0) {
        starve_on_bytes((int64_t)new_size - (int64_t)before);
    }
    return result;
}

VISIBLE int pthread_create(pthread_t *ret_thread, const pthread_attr_t *attributes,
                           void *(*start)(void *), void *arg) {
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    if (slack_threads > 0) {
        slack_threads--;
    } else if (is_refused(1)) {
        return EAGAIN;
    }
    return real(ret_thread, attributes, start, arg);
}

/* What needs memory now and then. */

VISIBLE void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset) {
    if (fd == -1 && starve_is_place_refused()) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, len, protection, flags, fd, offset);
}

int __wrap_lua_checkstack(struct lua_State *L, int n) {
    return starve_is_place_refused() ? 0 : __real_lua_checkstack(L, n);
}

int __wrap_dh_timerq_arm(struct dh_timerq *q, struct dh_timer *timer, uint64_t deadline_ns) {
    if (!dh_timer_is_armed(timer) && starve_is_place_refused()) {
        return DH_ENOMEM;
    }
    return __real_dh_timerq_arm(q, timer, deadline_ns);
}

static bool has_given_slack(bool is_there) {
    slack_bytes = is_there ? SLACK_BYTES : 0;
    return is_there;
}

bool __wrap_dh_slack_of_memory(void) {
    slack_bytes = 0;
    return has_given_slack(__real_dh_slack_of_memory());
}

bool __wrap_dh_slack_for_handle(const uv_handle_t *handle) {
    slack_bytes = 0;
    return has_given_slack(__real_dh_slack_for_handle(handle));
}

/* It is for the call that follows, not for other tasks. */
void __wrap_dh_preempt_end_slice(struct dh_preempt *p) {
    slack_bytes = 0;
    __real_dh_preempt_end_slice(p);
}

bool __wrap_dh_slack_of_threads(struct dh_vm *vm) {
    static bool has_given;
    bool is_there = __real_dh_slack_of_threads(vm);
    if (is_there && !has_given) {
        has_given = true;
        slack_threads = SLACK_THREADS;
    }
    return is_there;
}
