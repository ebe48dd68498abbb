/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/loop.h"

#include "core/timerq.h"

#define NS_PER_MS 1000000u

static void on_wake(uv_async_t *async) {
    struct dh_loop *loop = async->data;
    if (loop->on_wake != NULL) {
        loop->on_wake(loop);
    }
}

static void on_deadline(uv_timer_t *timer) {
    struct dh_loop *loop = timer->data;
    loop->armed_ms = UINT64_MAX;
    dh_loop_interrupt(loop);
}

int dh_loop_init(struct dh_loop *loop) {
    int err = uv_loop_init(&loop->uv);
    if (err != 0) {
        return err;
    }
    loop->on_wake = NULL;
    loop->is_polling = false;
    loop->armed_ms = UINT64_MAX;
    err = uv_async_init(&loop->uv, &loop->wake, on_wake);
    if (err != 0) {
        goto err_after_loop;
    }
    loop->wake.data = loop;
    uv_unref((uv_handle_t *)&loop->wake);
    uv_timer_init(&loop->uv, &loop->deadline);
    loop->deadline.data = loop;
    uv_unref((uv_handle_t *)&loop->deadline);
    return 0;

err_after_loop:
    uv_loop_close(&loop->uv);
    return err;
}

int dh_loop_close(struct dh_loop *loop) {
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->deadline, NULL);
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    return uv_loop_close(&loop->uv);
}

uint64_t dh_loop_now(void) {
    return uv_hrtime();
}

static void arm_deadline(struct dh_loop *loop, uint64_t deadline_ns) {
    uint64_t at_ms = deadline_ns / NS_PER_MS + (deadline_ns % NS_PER_MS != 0);
    if (at_ms == loop->armed_ms) {
        return;
    }
    uv_update_time(&loop->uv);
    uint64_t now_ms = uv_now(&loop->uv);
    uv_timer_start(&loop->deadline, on_deadline, at_ms > now_ms ? at_ms - now_ms : 0, 0);
    loop->armed_ms = at_ms;
}

/* uv_run looks at nothing, not even at the wake-up, unless some handle keeps the loop alive. */
static void run(struct dh_loop *loop, uv_run_mode mode) {
    uv_ref((uv_handle_t *)&loop->wake);
    loop->is_polling = true;
    uv_run(&loop->uv, mode);
    loop->is_polling = false;
    uv_unref((uv_handle_t *)&loop->wake);
}

void dh_loop_poll(struct dh_loop *loop, uint64_t deadline_ns) {
    if (deadline_ns == 0) {
        run(loop, UV_RUN_NOWAIT);
        return;
    }
    if (deadline_ns != DH_NEVER) {
        arm_deadline(loop, deadline_ns);
    } else if (loop->armed_ms != UINT64_MAX) {
        uv_timer_stop(&loop->deadline);
        loop->armed_ms = UINT64_MAX;
    }
    run(loop, UV_RUN_ONCE);
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
    return handle == (const uv_handle_t *)&loop->wake ||
           handle == (const uv_handle_t *)&loop->deadline;
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
