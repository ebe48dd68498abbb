/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/service.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/host.h"
#include "obs/log.h"
#include "obs/text.h"

/* Bits of 'untold', in the order in which they are told. */
enum { RELOADING = 1, READY = 2, STOPPING = 4, EXTEND = 8, WATCHDOG = 16, STATUS = 32 };

/* The environment */

static void warn_unfed(struct dh_log *log, const char *name, const char *value, const char *what) {
    dh_log_print(log, DH_LEVEL_WARN, NULL,
                 "the service manager's watchdog is not fed: %s: %s expected, got '%.40s'", name,
                 what, value);
}

/* How long between two meals; DH_NEVER: no watchdog, or not of this process. */
static uint64_t watchdog_interval(struct dh_log *log) {
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    uint64_t id = (uint64_t)getpid();
    uint64_t n = 0;
    if (usec == NULL) {
        return DH_NEVER;
    }
    if (pid != NULL && (!dh_text_number(pid, &id) || id == 0)) {
        warn_unfed(log, "WATCHDOG_PID", pid, "a process");
        return DH_NEVER;
    }
    if (id != (uint64_t)getpid()) {
        return DH_NEVER;
    }
    if (!dh_text_number(usec, &n) || n == 0 || n >= UINT64_MAX / 1000) {
        warn_unfed(log, "WATCHDOG_USEC", usec, "microseconds, a whole number from 1 on");
        return DH_NEVER;
    }
    if (n * 1000 / 2 < DH_WATCHDOG_MIN_NS) {
        dh_log_print(
            log, DH_LEVEL_WARN, NULL,
            "WATCHDOG_USEC: the service manager's watchdog is fed every %u us, which is too "
            "late for one of %" PRIu64 " us: set WatchdogSec to seconds",
            DH_WATCHDOG_MIN_NS / 1000, n);
        return DH_WATCHDOG_MIN_NS;
    }
    return n * 1000 / 2;
}

void dh_service_init(struct dh_service *s, struct dh_log *log, uint32_t watchdog_kind,
                     uint32_t timer_kind) {
    const char *address = getenv("NOTIFY_SOCKET");
    struct dh_error err;
    memset(s, 0, sizeof(*s));
    s->watchdog.kind = watchdog_kind;
    s->timer.kind = timer_kind;
    s->watchdog_ns = address != NULL ? watchdog_interval(log) : DH_NEVER;
    if (address != NULL && dh_datagram_open(&s->manager, address, &err) != 0) {
        dh_log_print(log, DH_LEVEL_WARN, NULL,
                     "the service manager is told nothing: NOTIFY_SOCKET: %s", err.text);
    } else if (address != NULL) {
        s->is_on = true;
        s->is_dirty = true;
        s->untold = s->watchdog_ns != DH_NEVER ? WATCHDOG : 0;
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void dh_service_fini(struct dh_service *s) {
    if (s->is_on) {
        dh_datagram_close(&s->manager);
        s->is_on = false;
    }
}

/* What happens */

void dh_service_on_event(struct dh_service *s, const struct dh_event *ev) {
    if (ev->kind == DH_EVENT_STATE && ev->to == DH_BACKOFF) {
        s->retrying = ev->worker;
    } else if (ev->kind == DH_EVENT_STATE && ev->worker == s->retrying) {
        s->retrying = NULL;
    } else if (ev->kind == DH_EVENT_GONE && ev->worker == s->coming_up) {
        s->coming_up = NULL;
    }
    s->is_dirty = true;
}

void dh_service_on_reload(struct dh_service *s, bool is_over) {
    s->untold &= ~(unsigned)READY;
    if (!is_over) {
        s->untold |= RELOADING;
    } else if (s->is_up && !s->is_stopping) {
        s->untold |= READY;
    }
    s->is_dirty = true;
}

void dh_service_on_timer(struct dh_service *s, const struct dh_timer *t) {
    if (t == &s->watchdog) {
        s->untold |= WATCHDOG;
    }
    s->is_dirty = true;
}

/* Its first run is under way and has not made it ready, or has returned and is not closed. One that
** crashed has had its chance; one that waits does so for another, who counts. */
static bool is_coming_up(const struct dh_worker *w) {
    return w->run == 1 && ((w->state == DH_RUNNING && !w->is_ready) ||
                           (w->state == DH_CLOSING && w->after_closing == DH_DONE));
}

/* Has every worker been ready, or failed to become so? Looks at each twice: when the last one is
** found to be, those may have started that waited for it. */
static bool has_come_up(struct dh_host *host) {
    struct dh_service *s = &host->service;
    struct dh_worker *first = dh_sup_first(&host->sup);
    const struct dh_worker *from = s->coming_up != NULL ? s->coming_up : first;
    for (const struct dh_worker *w = from; w != NULL; w = w->next) {
        if (is_coming_up(w)) {
            s->coming_up = w;
            return false;
        }
    }
    for (const struct dh_worker *w = first; w != from; w = w->next) {
        if (is_coming_up(w)) {
            s->coming_up = w;
            return false;
        }
    }
    return true;
}

/* What the manager reads */

struct text {
    char *dst;
    size_t len;
    size_t cap;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(t->dst + t->len, t->cap - t->len, fmt, args);
    va_end(args);
    t->len = t->len + (size_t)n < t->cap ? t->len + (size_t)n : t->cap - 1;
}

static void put_count(struct text *t, uint32_t n, const char *what) {
    if (n > 0) {
        put(t, ", %" PRIu32 " %s", n, what);
    }
}

static void put_retry(struct text *t, const struct dh_service *s, uint32_t n, uint64_t now_ns) {
    if (s->retrying == NULL) {
        put_count(t, n, "in backoff");
        return;
    }
    uint64_t at_ns = s->retrying->retry_at_ns;
    uint64_t seconds = at_ns > now_ns ? (at_ns - now_ns + 999999999) / 1000000000 : 0;
    put(t, ", %.*s retries in %" PRIu64 " s", s->retrying->name_len, s->retrying->name, seconds);
    if (n > 1) {
        put(t, " and %" PRIu32 " more", n - 1);
    }
}

/* "7/8 running, ingest retries in 12 s" */
static void write_status(const struct dh_host *host, char *dst, size_t cap, uint64_t now_ns) {
    const struct dh_sup *sup = &host->sup;
    const uint32_t *n = sup->counts;
    struct text t = {dst, 0, cap};
    put(&t, "%s%" PRIu32 "/%" PRIu32 " running", host->service.is_stopping ? "stopping: " : "",
        n[DH_RUNNING], sup->worker_count);
    put_count(&t, n[DH_FAILED], "failed");
    if (n[DH_BACKOFF] > 0) {
        put_retry(&t, &host->service, n[DH_BACKOFF], now_ns);
    }
    put_count(&t, n[DH_WAITING], "waiting");
    put_count(&t, n[DH_STOPPING] + n[DH_CLOSING], "ending");
    put_count(&t, n[DH_DONE], "done");
    put_count(&t, n[DH_STOPPED], "stopped");
}

/* Telling */

static void look(struct dh_host *host, bool is_over, uint64_t now_ns) {
    struct dh_service *s = &host->service;
    if (!s->is_up && has_come_up(host)) {
        s->is_up = true;
        s->untold |= READY;
    }
    if (!s->is_stopping && (is_over || host->is_stopping || host->sup.essential_failed)) {
        s->is_stopping = true;
        s->untold |= STOPPING;
    }
    if (s->is_stopping && now_ns - s->extended_ns >= DH_EXTEND_NS / 2) {
        s->untold |= EXTEND;
    }
}

/* Returns false if it is not taken now. That nobody is there is none of the host's business. */
static bool is_taken(struct dh_service *s, const char *text, size_t len) {
    int err = dh_datagram_send(&s->manager, text, len);
    return err != -EAGAIN && err != -EINTR && err != -ENOBUFS;
}

static bool tell(struct dh_service *s, unsigned what, const char *status, uint64_t now_ns) {
    char text[DH_STATUS_BYTES + 100];
    struct text t = {text, 0, sizeof(text)};
    switch (what) {
        case RELOADING:
            put(&t, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, dh_loop_now() / 1000);
            break;
        case READY:
            put(&t, "READY=1\nSTATUS=%s", status);
            break;
        case STOPPING:
            put(&t, "STOPPING=1\nSTATUS=%s", status);
            break;
        case EXTEND:
            put(&t, "EXTEND_TIMEOUT_USEC=%" PRIu64, DH_EXTEND_NS / 1000);
            break;
        case WATCHDOG:
            put(&t, "WATCHDOG=1");
            break;
        default:
            put(&t, "STATUS=%s", status);
            break;
    }
    if (!is_taken(s, t.dst, t.len)) {
        return false;
    }
    s->untold &= ~what;
    if (what & (READY | STOPPING | STATUS)) {
        memcpy(s->status, status, sizeof(s->status));
        s->status_ns = now_ns;
    } else if (what == EXTEND) {
        s->extended_ns = now_ns;
    }
    return true;
}

static void arm(struct dh_host *host, struct dh_timer *t, uint64_t at_ns) {
    if (dh_timerq_deadline(&host->timers, t) > at_ns &&
        dh_timerq_arm(&host->timers, t, at_ns) != 0) {
        host->service.is_dirty = true; /* no memory: in the next turn */
    }
}

/* When there may be something to tell that no event announces. */
static void arm_timers(struct dh_host *host, bool is_refused, bool has_status, uint64_t now_ns) {
    struct dh_service *s = &host->service;
    if (s->watchdog_ns != DH_NEVER) {
        arm(host, &s->watchdog, now_ns + s->watchdog_ns);
    }
    if (is_refused) { /* the times of what was told last say nothing then */
        arm(host, &s->timer, now_ns + DH_NOTIFY_RETRY_NS);
        return;
    }
    if (has_status) {
        arm(host, &s->timer, s->status_ns + DH_STATUS_NS);
    }
    if (s->is_stopping) {
        arm(host, &s->timer, s->extended_ns + DH_EXTEND_NS / 2);
    }
}

void dh_service_tell(struct dh_host *host, bool is_over) {
    struct dh_service *s = &host->service;
    uint64_t now_ns = dh_host_now(host);
    char status[DH_STATUS_BYTES] = {0};
    s->is_dirty = false;
    look(host, is_over, now_ns);
    write_status(host, status, sizeof(status), now_ns);
    bool is_refused = false;
    for (unsigned what = 1; what < STATUS && !is_refused; what *= 2) {
        is_refused = (s->untold & what) && !tell(s, what, status, now_ns);
    }
    bool has_status = strcmp(status, s->status) != 0;
    bool is_too_soon = s->status_ns != 0 && now_ns - s->status_ns < DH_STATUS_NS;
    if (has_status && s->untold == 0 && (is_over || !is_too_soon)) {
        s->untold |= STATUS;
        is_refused = !tell(s, STATUS, status, now_ns);
        has_status = false;
        s->untold &= ~(unsigned)STATUS; /* there will be another one */
    }
    arm_timers(host, is_refused, has_status, now_ns);
}
