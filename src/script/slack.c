/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/slack.h"

#include <stdlib.h>
#include <uv.h>

#include "script/limits.h"
#include "script/vm.h"

bool dh_slack_of_memory(void) {
    /* volatile: else the compiler knows that nobody uses it, and asks nobody */
    void *volatile block = malloc(DH_SLACK_BYTES);
    bool is_there = block != NULL;
    free(block);
    return is_there;
}

/* As libuv reads it. */
static unsigned pool_size(void) {
    const char *text = getenv("UV_THREADPOOL_SIZE");
    int size = text != NULL ? atoi(text) : DH_POOL_THREADS;
    return size < 1 ? 1 : size > DH_POOL_THREADS_MAX ? DH_POOL_THREADS_MAX : (unsigned)size;
}

static void wait_for_all(void *arg) {
    uv_sem_wait(arg);
}

/* Start as many threads as the pool has, all at a time. */
static bool try_threads(void) {
    uv_thread_t threads[DH_POOL_THREADS_MAX];
    unsigned wanted = pool_size();
    unsigned count = 0;
    uv_sem_t sem;
    if (uv_sem_init(&sem, 0) != 0) { /* unreached: it has no limit but its number */
        return false;
    }
    while (count < wanted && uv_thread_create(&threads[count], wait_for_all, &sem) == 0) {
        count++;
    }
    for (unsigned i = 0; i < count; i++) {
        uv_sem_post(&sem);
    }
    for (unsigned i = 0; i < count; i++) {
        uv_thread_join(&threads[i]);
    }
    uv_sem_destroy(&sem);
    return count == wanted;
}

bool dh_slack_of_threads(struct dh_vm *vm) {
    if (!vm->has_pool) {
        vm->has_pool = try_threads();
    }
    return vm->has_pool;
}
