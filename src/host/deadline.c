/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/deadline.h"

#include "core/timerq.h"
#include "host/limits.h"

#ifdef __linux__

#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define NS_PER_S 1000000000u

static void note_armed(struct dh_deadline *deadline) {
    deadline->armed_ns = deadline->alarms.at_ns[dh_alarms_first(&deadline->alarms)];
}

static void on_readable(uv_poll_t *handle, int status, int events) {
    struct dh_timerfd *timerfd = (struct dh_timerfd *)handle;
    struct dh_deadline *deadline = handle->data;
    uint64_t expirations;
    (void)status;
    (void)events;
    if (read(timerfd->fd, &expirations, sizeof(expirations)) != sizeof(expirations)) {
        return;
    }
    dh_alarms_on_ring(&deadline->alarms, (unsigned)(timerfd - deadline->timerfds));
    note_armed(deadline);
    deadline->on_due(deadline);
}

static int open_timerfd(struct dh_timerfd *timerfd, struct dh_deadline *deadline, uv_loop_t *loop) {
    timerfd->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timerfd->fd < 0) {
        return uv_translate_sys_error(errno);
    }
    int err = uv_poll_init(loop, &timerfd->handle, timerfd->fd);
    if (err != 0) {
        close(timerfd->fd);
        return err;
    }
    timerfd->handle.data = deadline;
    uv_poll_start(&timerfd->handle, UV_READABLE, on_readable);
    uv_unref((uv_handle_t *)&timerfd->handle);
    return 0;
}

static void close_timerfd(struct dh_timerfd *timerfd) {
    uv_close((uv_handle_t *)&timerfd->handle, NULL);
    close(timerfd->fd);
}

/* The kernel's slack, if that is more: timerfds do not know it. Not by prctl(), whose int has no room
** for some seconds. */
static uint64_t slack(void) {
    long ns = syscall(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0);
    if (ns <= (long)DH_SLACK_NS) {
        return DH_SLACK_NS;
    }
    return ns < (long)DH_SLACK_MAX_NS ? (uint64_t)ns : DH_SLACK_MAX_NS;
}

int dh_deadline_init(struct dh_deadline *deadline, uv_loop_t *loop,
                     void (*on_due)(struct dh_deadline *deadline)) {
    deadline->on_due = on_due;
    dh_alarms_init(&deadline->alarms, slack());
    note_armed(deadline);
    int err = open_timerfd(&deadline->timerfds[0], deadline, loop);
    if (err != 0) {
        return err;
    }
    err = open_timerfd(&deadline->timerfds[1], deadline, loop);
    if (err != 0) {
        close_timerfd(&deadline->timerfds[0]);
        uv_run(loop, UV_RUN_NOWAIT);
    }
    return err;
}

void dh_deadline_close(struct dh_deadline *deadline) {
    close_timerfd(&deadline->timerfds[0]);
    close_timerfd(&deadline->timerfds[1]);
}

static void arm(struct dh_deadline *deadline, unsigned i) {
    uint64_t at_ns = deadline->alarms.at_ns[i];
    struct itimerspec at = {
        .it_value = {(time_t)(at_ns / NS_PER_S), (long)(at_ns % NS_PER_S)},
    };
    timerfd_settime(deadline->timerfds[i].fd, TFD_TIMER_ABSTIME, &at, NULL);
}

void dh_deadline_arm(struct dh_deadline *deadline, uint64_t at_ns) {
    unsigned changed = dh_alarms_plan(&deadline->alarms, at_ns);
    unsigned first = dh_alarms_first(&deadline->alarms);
    if (changed & 1u << first) { /* first: behind it the other one is cheap */
        arm(deadline, first);
    }
    if (changed & 1u << !first) {
        arm(deadline, !first);
    }
    note_armed(deadline);
}

bool dh_deadline_owns(const struct dh_deadline *deadline, const uv_handle_t *handle) {
    return handle == (const uv_handle_t *)&deadline->timerfds[0].handle ||
           handle == (const uv_handle_t *)&deadline->timerfds[1].handle;
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
    at_ns += DH_SLACK_NS;
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

bool dh_deadline_owns(const struct dh_deadline *deadline, const uv_handle_t *handle) {
    return handle == (const uv_handle_t *)&deadline->handle;
}

#endif
