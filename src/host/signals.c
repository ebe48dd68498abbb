/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/signals.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "core/error.h"
#include "host/host.h"
#include "host/limits.h"
#include "host/loop.h"

static const struct {
    int number;
    unsigned bit;
} taken[] = {
    {SIGTERM, DH_SIGNAL_TERM},
    {SIGINT, DH_SIGNAL_INT},
    {SIGHUP, DH_SIGNAL_HUP},
    {SIGUSR1, DH_SIGNAL_USR1},
};
enum { TAKEN = sizeof(taken) / sizeof(taken[0]) };
_Static_assert(TAKEN + 1 == DH_LOOP_WATCHERS, "one watcher for each, and one for SIGPIPE");

static atomic_uint pending;
static atomic_uint stops;      /* not yet taken */
static atomic_uint asked;      /* in all */
static atomic_uint patience_s; /* for the first; 0: for ever */
static _Atomic(struct dh_loop *) waiting;
static _Atomic(const char *const *) holder;
static struct sigaction before[TAKEN + 2];
static _Atomic(void (*)(int)) libuv_handler[TAKEN]; /* of those that are shared */

static void on_signal(int number) {
    int saved = errno;
    for (size_t i = 0; i < TAKEN; i++) {
        if (taken[i].number == number) {
            atomic_fetch_or(&pending, taken[i].bit);
            void (*handler)(int) = atomic_load(&libuv_handler[i]);
            if (handler != NULL) {
                handler(number);
            }
        }
    }
    if (number == SIGTERM || number == SIGINT) {
        atomic_fetch_add(&stops, 1);
        bool is_first = atomic_fetch_add(&asked, 1) == 0;
        unsigned limit_s = is_first ? atomic_load(&patience_s) : DH_STUCK_SECONDS;
        if (limit_s > 0) {
            alarm(limit_s);
        }
    }
    struct dh_loop *loop = atomic_load(&waiting);
    if (loop != NULL) {
        dh_loop_wake(loop);
    }
    errno = saved;
}

static void say(const char *text) {
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&fd, 1, 0) != 1) {
        return; /* nobody reads: writing would wait for ever */
    }
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written;
}

static void on_pipe(int number) {
    (void)number;
}

/* The loop did not come round in time: nothing polite is left. */
static void on_alarm(int number) {
    (void)number;
    const char *const *place = atomic_load(&holder);
    const char *name = place != NULL ? *place : NULL;
    say("decnet-host: ");
    say(name != NULL ? "worker " : "something");
    say(name != NULL ? name : "");
    say(" would not stop: it did not give up the CPU\n");
    _exit(DH_EXIT_STUCK);
}

void dh_signals_ignore_pipe(struct sigaction *ret_before) {
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_flags = SA_RESTART;
    action.sa_handler = on_pipe;
    sigaction(SIGPIPE, &action, ret_before);
}

/* The loop keeps the limit itself, and then takes DH_STUCK_SECONDS to name who is late. The alarm,
** for a loop that is stuck, comes a little later. */
static unsigned whole_seconds(uint64_t limit_ns) {
    uint64_t s = limit_ns / 1000000000u + 2 + DH_STUCK_SECONDS;
    return limit_ns == DH_NEVER || s > UINT32_MAX ? 0 : (unsigned)s;
}

static void take(size_t i) {
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_flags = SA_RESTART;
    sigfillset(&action.sa_mask);
    action.sa_handler = on_signal;
    sigaction(taken[i].number, &action, &before[i]);
}

/* Sharing. Watcher i is for taken[i], the last one for SIGPIPE, which has no handler to share: only
** the default must not come back. */

static void on_watched(uv_signal_t *watcher, int number) {
    (void)watcher;
    (void)number;
}

static bool is_shared(const struct dh_loop *loop, size_t i) {
    return uv_is_active((const uv_handle_t *)&loop->watchers[i]);
}

/* libuv's handler is in force: put ours in front of it. */
static void take_from_libuv(size_t i) {
    struct sigaction original = before[i];
    take(i);
    atomic_store(&libuv_handler[i], before[i].sa_handler);
    before[i] = original;
}

static int watch(struct dh_loop *loop, size_t i, int number) {
    sigset_t all, mask;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    int err = uv_signal_start(&loop->watchers[i], on_watched, number);
    if (err == 0 && i < TAKEN && atomic_load(&waiting) == loop) {
        take_from_libuv(i);
    }
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    uv_unref((uv_handle_t *)&loop->watchers[i]);
    return err;
}

int dh_signals_share(struct dh_loop *loop, int number) {
    if (number == SIGALRM) {
        return UV_EPERM;
    }
    size_t i = 0;
    while (i < TAKEN && taken[i].number != number) {
        i++;
    }
    if ((i == TAKEN && number != SIGPIPE) || is_shared(loop, i)) {
        return 0;
    }
    return watch(loop, i, number);
}

static void stop_sharing(struct dh_loop *loop) {
    for (size_t i = 0; i < DH_LOOP_WATCHERS; i++) {
        uv_signal_stop(&loop->watchers[i]);
    }
    for (size_t i = 0; i < TAKEN; i++) {
        atomic_store(&libuv_handler[i], NULL);
    }
}

int dh_signals_start(struct dh_loop *loop, uint64_t limit_ns) {
    struct dh_loop *nobody = NULL;
    if (!atomic_compare_exchange_strong(&waiting, &nobody, loop)) {
        return DH_EBUSY;
    }
    atomic_store(&pending, 0);
    atomic_store(&stops, 0);
    atomic_store(&asked, 0);
    atomic_store(&patience_s, whole_seconds(limit_ns));
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_flags = SA_RESTART;
    sigfillset(&action.sa_mask);
    action.sa_handler = on_signal;
    for (size_t i = 0; i < TAKEN; i++) {
        if (is_shared(loop, i)) { /* by the script, while it was loaded */
            memset(&before[i], 0, sizeof(before[i]));
            take_from_libuv(i);
        } else {
            take(i);
        }
    }
    dh_signals_ignore_pipe(&before[TAKEN]);
    action.sa_handler = on_alarm;
    sigaction(SIGALRM, &action, &before[TAKEN + 1]);
    return 0;
}

void dh_signals_stop(struct dh_loop *loop, bool raises_again) {
    if (atomic_load(&waiting) != loop) {
        return;
    }
    stop_sharing(loop);
    for (size_t i = 0; i < TAKEN; i++) {
        sigaction(taken[i].number, &before[i], NULL);
    }
    sigaction(SIGPIPE, &before[TAKEN], NULL);
    alarm(0);
    sigaction(SIGALRM, &before[TAKEN + 1], NULL);
    atomic_store(&waiting, NULL);
    unsigned left = atomic_exchange(&pending, 0);
    for (size_t i = 0; raises_again && i < TAKEN; i++) {
        if (left & taken[i].bit & (DH_SIGNAL_TERM | DH_SIGNAL_INT)) {
            raise(taken[i].number);
        }
    }
}

void dh_signals_leave(struct dh_loop *loop) {
    if (atomic_load(&waiting) == loop) {
        atomic_store(&waiting, NULL);
    }
}

unsigned dh_signals_take(unsigned *ret_stops) {
    unsigned n = atomic_exchange(&stops, 0);
    if (n > 0 && atomic_load(&asked) > 1) {
        alarm(2 * DH_STUCK_SECONDS); /* it came round: it can name who is late, if it still moves */
    }
    *ret_stops += n > 2 ? 2 : n;
    return atomic_exchange(&pending, 0);
}

void dh_signals_set_holder(const char *const *name) {
    atomic_store_explicit(&holder, name, memory_order_relaxed);
}
