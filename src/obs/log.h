/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The log: one event a line, by one write.
**
**   pretty  12:44:45.123 ERROR flaky    crashed: boom  run=3 restart_in=4s
**               stack traceback: ...
**   logfmt  ts=2026-11-22T12:44:45.123Z level=error worker=flaky msg=crashed error=boom run=3 ...
**   json    {"ts":"2026-11-22T12:44:45.123Z","level":"error","worker":"flaky","msg":"crashed",...}
**
** Whatever bytes come in, a line is valid UTF-8 (wrong bytes become U+FFFD), JSON is valid JSON,
** control characters are escaped, and no event is longer than DH_LOG_LINE_BYTES: what is too long
** is cut and says by how much, "…[+N bytes]"; fields that do not fit are counted in
** log_fields_left_off. Only a DH_FIELD_LINES field in pretty makes more than one line, all of its
** lines indented.
**
** In pretty a string field "error" is written behind the message ("crashed: boom") and a worker of
** NULL as "host"; the other formats write the field as it is and no worker. Fields with the names
** that a line has itself (ts t level worker msg), or that a field before them has, get a '_' behind
** their key: no line has a key twice.
**
** A line that cannot be written is lost and counted; the next one that can be carries
** log_dropped=N. A write is never waited for by this module: it blocks only if fd does. The caller
** ignores SIGPIPE, and sees to it that fd is open, or is -1 for no log at all: a number that turned
** out to be closed (EBADF) is not written to again, since it may come to mean another file.
**
** The caller owns struct dh_log, which must not move or be copied once in use. No heap, no lock, no
** globals: threads may write to one log at the same time, and each line still is one write.
*/
#ifndef DH_OBS_LOG_H
#define DH_OBS_LOG_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "obs/field.h"
#include "obs/journal.h"

enum dh_level { DH_LEVEL_DEBUG, DH_LEVEL_INFO, DH_LEVEL_WARN, DH_LEVEL_ERROR };

enum dh_log_format { DH_LOG_PRETTY, DH_LOG_LOGFMT, DH_LOG_JSON };

/* For usage messages. */
#define DH_LEVEL_NAMES "debug, info, warn, error"
#define DH_LOG_FORMAT_NAMES "pretty, logfmt, json"

/* What the nanoseconds of the clock mean. */
enum dh_log_clock {
    DH_LOG_CLOCK_WALL,   /* since 1970, UTC: ts=2026-11-22T12:44:45.123Z */
    DH_LOG_CLOCK_ELAPSED /* since the start of a virtual clock: t=12.345000 (seconds) */
};

/* Where a line comes from: the log, or what a worker prints. */
enum dh_source { DH_SOURCE_LOG, DH_SOURCE_STDOUT, DH_SOURCE_STDERR };

/* One line on its way to a tap. text: of the log one event, in the log's own format but without
** colours; else any bytes. Without its line end. */
struct dh_tap_line {
    uint64_t time_ns;
    enum dh_source source;
    enum dh_level level; /* of what is printed: info */
    const char *worker;  /* NULL: the host */
    const char *text;
    size_t len;
};

/* Somebody who wants to have each line, too: after it was written, and if it could not be. fn is
** called by the thread that logs, must not wait, and may not log. The owner keeps it until the log has
** another. */
struct dh_tap {
    void (*fn)(struct dh_tap *tap, const struct dh_tap_line *line);
};

/* All zero but fd is a useful default: pretty, everything, no colours, real clock, write(2). */
struct dh_log_options {
    enum dh_log_format format;
    enum dh_level level;     /* lower ones are not written */
    int fd;                  /* 2; -1: nothing is ever written */
    bool has_colors;         /* pretty only: a terminal, and the user did not set NO_COLOR */
    bool has_priority;       /* fd is read by the journal: a line begins with <3> for an error */
    bool is_local_time;      /* pretty only: the wall clock in the time zone of the process */
    enum dh_log_clock clock; /* how to read now_ns */

    /* The journal's socket (DH_JOURNAL_SOCKET), or NULL: each event goes there with its fields, and
    ** to fd only if it is not taken. Read by dh_log_init. */
    const char *journal;

    /* Nanoseconds; NULL: CLOCK_REALTIME. Called once a line, by whatever thread writes. */
    uint64_t (*now_ns)(void *arg);

    /* As write(2), but a failure is a negative errno; NULL: write(2). */
    ssize_t (*write)(void *arg, int fd, const void *data, size_t len);

    void *arg; /* for both functions */
};

struct dh_log {
    struct dh_log_options options; /* a copy; its level is the initial one */
    struct dh_journal journal;
    struct dh_tap *_Atomic tap;  /* or NULL */
    _Atomic int level;           /* enum dh_level */
    _Atomic uint32_t name_width; /* of the pretty column, in characters */
    _Atomic uint64_t dropped;    /* lines lost since init */
    _Atomic uint64_t untold;     /* of these, the ones no line has spoken of yet */
    _Atomic bool is_torn;        /* the last line got out in part: begin with a line end */
    _Atomic bool is_closed;      /* fd is gone for good */
};

void dh_log_init(struct dh_log *log, const struct dh_log_options *options);

/* Say what was dropped and not yet told. Does not close fd. NULL and a zeroed log are fine. */
void dh_log_fini(struct dh_log *log);

void dh_log_set_level(struct dh_log *log, enum dh_level level);

/* Whether a line of this level would be written: ask before you collect costly fields. */
static inline bool dh_log_is_on(struct dh_log *log, enum dh_level level) {
    return (int)level >= atomic_load_explicit(&log->level, memory_order_relaxed);
}

/* From now on tap has the lines; NULL: nobody. */
void dh_log_set_tap(struct dh_log *log, struct dh_tap *tap);

/* Does somebody have the lines, too? Cheap. */
static inline bool dh_log_has_tap(struct dh_log *log) {
    return atomic_load_explicit(&log->tap, memory_order_relaxed) != NULL;
}

/* Give a line to the tap, if there is one, that this log does not write. */
void dh_log_pass(struct dh_log *log, enum dh_source source, const char *worker, const char *text,
                 size_t len);

/* Write one event. worker NULL: the host. errno is left as it was. */
void dh_log_write(struct dh_log *log, enum dh_level level, const char *worker, const char *msg,
                  size_t msg_len, const struct dh_field *fields, size_t nfields);

/* The same with a printf-style message and no fields. */
void dh_log_print(struct dh_log *log, enum dh_level level, const char *worker, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Does the user want colours on a terminal? Not if NO_COLOR is set, and not empty (no-color.org). */
bool dh_log_wants_colors(void);

/* Names as users write them: "info", "json". Return 0 or DH_EINVAL. */
int dh_log_level_parse(const char *name, enum dh_level *ret_level);
int dh_log_format_parse(const char *name, enum dh_log_format *ret_format);

/* Static strings. */
const char *dh_log_level_name(enum dh_level level);
const char *dh_log_format_name(enum dh_log_format format);

#endif
