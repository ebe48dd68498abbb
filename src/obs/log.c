/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "obs/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/error.h"
#include "obs/limits.h"
#include "obs/line.h"

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const format_names[] = {"pretty", "logfmt", "json"};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static uint64_t wall_clock(void *arg) {
    struct timespec ts = {0};
    (void)arg;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static ssize_t write_fd(void *arg, int fd, const void *data, size_t len) {
    ssize_t n = write(fd, data, len);
    (void)arg;
    return n < 0 ? -errno : n;
}

void dh_log_init(struct dh_log *log, const struct dh_log_options *options) {
    memset(log, 0, sizeof *log);
    log->options = *options;
    if (!log->options.now_ns) {
        log->options.now_ns = wall_clock;
    }
    if (!log->options.write) {
        log->options.write = write_fd;
    }
    if (log->options.format != DH_LOG_PRETTY) {
        log->options.has_colors = false;
    }
    atomic_init(&log->level, (int)options->level);
    atomic_init(&log->name_width, DH_LOG_NAME_WIDTH_MIN);
    atomic_init(&log->is_closed, options->fd < 0);
    if (options->journal != NULL) {
        dh_journal_open(&log->journal, options->journal);
    }
}

void dh_log_fini(struct dh_log *log) {
    /* A line of its own, whatever the level: its log_dropped field is what matters. */
    if (log && atomic_load(&log->untold) > 0) {
        atomic_store(&log->level, (int)DH_LEVEL_DEBUG);
        dh_log_print(log, DH_LEVEL_WARN, NULL, "log lines were lost");
    }
    if (log) {
        dh_journal_close(&log->journal);
    }
}

void dh_log_set_level(struct dh_log *log, enum dh_level level) {
    atomic_store(&log->level, (int)level);
}

void dh_log_set_tap(struct dh_log *log, struct dh_tap *tap) {
    atomic_store(&log->tap, tap);
}

/* Write all of it, or as much as goes without waiting; returns how much that was. */
static size_t write_all(struct dh_log *log, const char *data, size_t len) {
    size_t done = 0;
    int interrupts = 0;
    while (done < len) {
        ssize_t n = log->options.write(log->options.arg, log->options.fd, data + done, len - done);
        if (n == -EINTR && interrupts++ < DH_LOG_INTERRUPTS) {
            continue;
        }
        if (n == -EBADF) {
            atomic_store(&log->is_closed, true);
        }
        if (n <= 0) {
            break;
        }
        done += (size_t)n;
    }
    return done;
}

/* The width of the name column once this name is in it. */
static size_t widen(struct dh_log *log, const char *worker) {
    uint32_t width = atomic_load_explicit(&log->name_width, memory_order_relaxed);
    size_t wanted = worker ? dh_line_name_width(worker) : 0;
    if (wanted > DH_LOG_NAME_WIDTH_MAX) {
        wanted = DH_LOG_NAME_WIDTH_MAX;
    }
    while (wanted > width) {
        if (atomic_compare_exchange_weak(&log->name_width, &width, (uint32_t)wanted)) {
            width = (uint32_t)wanted;
        }
    }
    return width;
}

/* buf: the line as it was written, which has colours if the log has. */
static void give_to_tap(struct dh_log *log, struct dh_tap *tap, const struct dh_line_event *ev,
                        char *buf, size_t len) {
    if (log->options.has_colors) {
        struct dh_log_options plain = log->options;
        plain.has_colors = false;
        len = dh_line_write(buf, &plain, ev);
    }
    const struct dh_tap_line line = {
        .time_ns = ev->time_ns,
        .source = DH_SOURCE_LOG,
        .level = ev->level,
        .worker = ev->worker,
        .text = buf,
        .len = len - 1,
    };
    tap->fn(tap, &line);
}

void dh_log_pass(struct dh_log *log, enum dh_source source, const char *worker, const char *text,
                 size_t len) {
    struct dh_tap *tap = atomic_load(&log->tap);
    if (tap != NULL) {
        const struct dh_tap_line line = {
            .time_ns = log->options.now_ns(log->options.arg),
            .source = source,
            .level = DH_LEVEL_INFO,
            .worker = worker,
            .text = text,
            .len = len,
        };
        tap->fn(tap, &line);
    }
}

/* The line stands in buf behind a place for the line end that a torn line before it lacks, and for its
** priority. */
#define HEAD_BYTES (sizeof "\n<6>" - 1)

/* len: of the line itself. */
static void write_line(struct dh_log *log, const struct dh_line_event *ev, char *buf, size_t len) {
    char *at = buf + HEAD_BYTES;
    bool was_torn = atomic_exchange(&log->is_torn, false);
    size_t done;
    if (log->options.has_priority) {
        at -= 3;
        at[0] = '<';
        at[1] = dh_journal_priority(ev->level);
        at[2] = '>';
    }
    if (was_torn) {
        *--at = '\n';
    }
    len = (size_t)(buf + HEAD_BYTES + len - at);
    done = write_all(log, at, len);
    if (done < len) {
        atomic_fetch_add(&log->dropped, 1);
        atomic_fetch_add(&log->untold, ev->dropped + 1);
        if (done > 0 || was_torn) {
            atomic_store(&log->is_torn, true);
        }
    }
}

void dh_log_write(struct dh_log *log, enum dh_level level, const char *worker, const char *msg,
                  size_t msg_len, const struct dh_field *fields, size_t nfields) {
    char buf[HEAD_BYTES + DH_LOG_LINE_BYTES + 1];
    struct dh_line_event ev = {
        .level = level,
        .worker = worker,
        .msg = msg,
        .msg_len = msg_len,
        .fields = fields,
        .nfields = nfields,
    };
    int saved_errno = errno;
    struct dh_tap *tap;
    size_t len = 0;
    bool is_taken;
    assert((size_t)level < COUNT(level_names));
    if (!dh_log_is_on(log, level) || log->options.fd < 0) {
        return;
    }
    if (atomic_load(&log->is_closed)) {
        atomic_fetch_add(&log->dropped, 1);
        return;
    }
    ev.time_ns = log->options.now_ns(log->options.arg);
    ev.dropped = atomic_exchange(&log->untold, 0);
    if (log->options.format == DH_LOG_PRETTY) {
        ev.name_width = widen(log, worker);
    }
    tap = atomic_load(&log->tap);
    is_taken = dh_journal_send(&log->journal, &ev);
    if (!is_taken || tap != NULL) {
        len = dh_line_write(buf + HEAD_BYTES, &log->options, &ev);
    }
    if (!is_taken) {
        write_line(log, &ev, buf, len);
    }
    if (tap != NULL) {
        give_to_tap(log, tap, &ev, buf + HEAD_BYTES, len);
    }
    errno = saved_errno;
}

void dh_log_print(struct dh_log *log, enum dh_level level, const char *worker, const char *fmt,
                  ...) {
    char msg[DH_LOG_MESSAGE_BYTES + 1];
    va_list args;
    int len;
    if (!dh_log_is_on(log, level)) {
        return;
    }
    va_start(args, fmt);
    len = vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    if (len < 0) {
        len = 0;
    }
    if ((size_t)len >= sizeof msg) {
        len = (int)sizeof msg - 1;
    }
    dh_log_write(log, level, worker, msg, (size_t)len, NULL, 0);
}

static int parse(const char *const *names, size_t count, const char *name, size_t *ret_index) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            *ret_index = i;
            return 0;
        }
    }
    return DH_EINVAL;
}

bool dh_log_wants_colors(void) {
    const char *no = getenv("NO_COLOR");
    return no == NULL || no[0] == '\0';
}

int dh_log_level_parse(const char *name, enum dh_level *ret_level) {
    size_t i;
    int rc = parse(level_names, COUNT(level_names), name, &i);
    if (rc == 0) {
        *ret_level = (enum dh_level)i;
    }
    return rc;
}

int dh_log_format_parse(const char *name, enum dh_log_format *ret_format) {
    size_t i;
    int rc = parse(format_names, COUNT(format_names), name, &i);
    if (rc == 0) {
        *ret_format = (enum dh_log_format)i;
    }
    return rc;
}

const char *dh_log_level_name(enum dh_level level) {
    return level_names[level];
}

const char *dh_log_format_name(enum dh_log_format format) {
    return format_names[format];
}
