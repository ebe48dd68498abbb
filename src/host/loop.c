/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/loop.h"

#include <stddef.h>

#include "core/timerq.h"
#include "host/limits.h"
#include "host/room.h"

#define NS_PER_MS 1000000u

static void on_wake(uv_async_t *async) {
    struct dh_loop *loop = async->data;
    if (loop->on_wake != NULL) {
        loop->on_wake(loop);
    }
}

static void on_deadline(struct dh_deadline *deadline) {
    dh_loop_interrupt((struct dh_loop *)((char *)deadline - offsetof(struct dh_loop, deadline)));
}

int dh_loop_init(struct dh_loop *loop) {
    int err = dh_room_for_files(DH_LOOP_FILES) ? uv_loop_init(&loop->uv) : UV_EMFILE;
    if (err != 0) {
        return err;
    }
    loop->on_wake = NULL;
    loop->on_polled = NULL;
    loop->is_polling = false;
    loop->must_not_wait = false;
    loop->is_touched = true;
    err = dh_deadline_init(&loop->deadline, &loop->uv, on_deadline);
    if (err != 0) {
        goto err_after_loop;
    }
    err = uv_async_init(&loop->uv, &loop->wake, on_wake);
    if (err != 0) {
        goto err_after_deadline;
    }
    loop->wake.data = loop;
    uv_unref((uv_handle_t *)&loop->wake);
    for (int i = 0; i < DH_LOOP_WATCHERS; i++) {
        uv_signal_init(&loop->uv, &loop->watchers[i]); /* cannot fail: the loop watches children */
    }
    return 0;

err_after_deadline:
    dh_deadline_close(&loop->deadline);
    uv_run(&loop->uv, UV_RUN_NOWAIT);
err_after_loop:
    uv_loop_close(&loop->uv);
    return err;
}

int dh_loop_close(struct dh_loop *loop) {
    uv_close((uv_handle_t *)&loop->wake, NULL);
    for (int i = 0; i < DH_LOOP_WATCHERS; i++) {
        uv_close((uv_handle_t *)&loop->watchers[i], NULL);
    }
    dh_deadline_close(&loop->deadline);
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    return uv_loop_close(&loop->uv);
}

uint64_t dh_loop_now(void) {
    return uv_hrtime();
}

/* uv_run looks at nothing, not even at the wake-up, unless some handle keeps the loop alive. */
static void run(struct dh_loop *loop, uv_run_mode mode) {
    uv_ref((uv_handle_t *)&loop->wake);
    loop->is_polling = true;
    uv_run(&loop->uv, mode);
    loop->is_polling = false;
    loop->is_touched = true;
    uv_unref((uv_handle_t *)&loop->wake);
    if (loop->on_polled != NULL) {
        loop->on_polled(loop);
    }
}

void dh_loop_poll(struct dh_loop *loop, uint64_t deadline_ns) {
    if (loop->must_not_wait) {
        deadline_ns = 0;
    }
    if (deadline_ns < loop->deadline.armed_ns) {
        if (deadline_ns == 0 || deadline_ns <= dh_loop_now()) {
            run(loop, UV_RUN_NOWAIT);
            return;
        }
        dh_deadline_arm(&loop->deadline, deadline_ns);
    }
    run(loop, UV_RUN_ONCE);
}

uint64_t dh_loop_next_timer(struct dh_loop *loop) {
    if (loop->is_touched) {
        loop->is_touched = false;
        /* without a handle that keeps the loop alive libuv's answer is 0 */
        uv_ref((uv_handle_t *)&loop->wake);
        int ms = uv_backend_timeout(&loop->uv);
        uv_unref((uv_handle_t *)&loop->wake);
        loop->next_timer_ns = ms < 0 ? DH_NEVER : (uv_now(&loop->uv) + (uint64_t)ms) * NS_PER_MS;
    }
    return loop->next_timer_ns;
}

void dh_loop_interrupt(struct dh_loop *loop) {
    if (loop->is_polling) {
        uv_stop(&loop->uv);
    }
}

void dh_loop_wake(struct dh_loop *loop) {
    uv_async_send(&loop->wake);
}

bool dh_loop_owns(const struct dh_loop *loop, const uv_handle_t *handle) {
    for (int i = 0; i < DH_LOOP_WATCHERS; i++) {
        if (handle == (const uv_handle_t *)&loop->watchers[i]) {
            return true;
        }
    }
    return handle == (const uv_handle_t *)&loop->wake || dh_deadline_owns(&loop->deadline, handle);
}

struct count {
    const struct dh_loop *loop;
    unsigned n;
};

static void count_handle(uv_handle_t *handle, void *arg) {
    struct count *count = arg;
    if (!dh_loop_owns(count->loop, handle) && !uv_is_closing(handle)) {
        count->n++;
    }
}

unsigned dh_loop_count_handles(struct dh_loop *loop) {
    struct count count = {loop, 0};
    uv_walk(&loop->uv, count_handle, &count);
    return count.n;
}
