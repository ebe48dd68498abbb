/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/slack.h"

#include <stdlib.h>
#include <uv.h>

#include "script/limits.h"
#include "script/vm.h"

static bool is_there(size_t bytes) {
    /* volatile: else the compiler knows that nobody uses it, and asks nobody */
    void *volatile block = malloc(bytes);
    bool is = block != NULL;
    free(block);
    return is;
}

bool dh_slack_of_memory(void) {
    return is_there(DH_SLACK_BYTES);
}

/* A socket that has no descriptor yet is made when it is started, and gets the lowest one that is free. */
static size_t growth_of_watchers(const uv_handle_t *handle) {
    uv_os_fd_t fd;
    int err = uv_fileno(handle, &fd);
    size_t count = handle->loop->nwatchers;
    if ((err == 0 && (size_t)fd < count) || (err != 0 && err != UV_EBADF)) {
        return 0;
    }
    size_t wanted = err == 0 ? (size_t)fd + 1 : count + 1;
    return 2 * (wanted + 2) * sizeof(void *);
}

bool dh_slack_for_handle(const uv_handle_t *handle) {
    return is_there(DH_SLACK_BYTES + (handle != NULL ? growth_of_watchers(handle) : 0));
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
