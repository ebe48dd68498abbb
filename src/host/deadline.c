/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/deadline.h"

#include "core/timerq.h"

#ifdef __linux__

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define NS_PER_S 1000000000u

static void on_readable(uv_poll_t *handle, int status, int events) {
    struct dh_deadline *deadline = handle->data;
    uint64_t expirations;
    (void)status;
    (void)events;
    if (read(deadline->fd, &expirations, sizeof(expirations)) != sizeof(expirations)) {
        return;
    }
    deadline->armed_ns = DH_NEVER;
    deadline->on_due(deadline);
}

int dh_deadline_init(struct dh_deadline *deadline, uv_loop_t *loop,
                     void (*on_due)(struct dh_deadline *deadline)) {
    int err;
    deadline->armed_ns = DH_NEVER;
    deadline->on_due = on_due;
    deadline->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (deadline->fd < 0) {
        return uv_translate_sys_error(errno);
    }
    err = uv_poll_init(loop, &deadline->handle, deadline->fd);
    if (err != 0) {
        close(deadline->fd);
        return err;
    }
    deadline->handle.data = deadline;
    uv_poll_start(&deadline->handle, UV_READABLE, on_readable);
    uv_unref((uv_handle_t *)&deadline->handle);
    return 0;
}

void dh_deadline_close(struct dh_deadline *deadline) {
    uv_close((uv_handle_t *)&deadline->handle, NULL);
    close(deadline->fd);
}

void dh_deadline_arm(struct dh_deadline *deadline, uint64_t at_ns) {
    if (at_ns >= deadline->armed_ns) {
        return;
    }
    struct itimerspec at = {
        .it_value = {(time_t)(at_ns / NS_PER_S), (long)(at_ns % NS_PER_S)},
    };
    timerfd_settime(deadline->fd, TFD_TIMER_ABSTIME, &at, NULL);
    deadline->armed_ns = at_ns;
}

#else

#define NS_PER_MS 1000000u

static void on_timer(uv_timer_t *handle) {
    struct dh_deadline *deadline = handle->data;
    deadline->armed_ns = DH_NEVER;
    deadline->on_due(deadline);
}

int dh_deadline_init(struct dh_deadline *deadline, uv_loop_t *loop,
                     void (*on_due)(struct dh_deadline *deadline)) {
    deadline->armed_ns = DH_NEVER;
    deadline->on_due = on_due;
    uv_timer_init(loop, &deadline->handle);
    deadline->handle.data = deadline;
    uv_unref((uv_handle_t *)&deadline->handle);
    return 0;
}

void dh_deadline_close(struct dh_deadline *deadline) {
    uv_close((uv_handle_t *)&deadline->handle, NULL);
}

/* For the first millisecond that is not before it. */
void dh_deadline_arm(struct dh_deadline *deadline, uint64_t at_ns) {
    if (at_ns >= deadline->armed_ns) {
        return;
    }
    uv_loop_t *loop = deadline->handle.loop;
    uv_update_time(loop);
    uint64_t at_ms = at_ns / NS_PER_MS + (at_ns % NS_PER_MS != 0);
    uint64_t now_ms = uv_now(loop);
    uv_timer_start(&deadline->handle, on_timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
    deadline->armed_ns = at_ns;
}

#endif
