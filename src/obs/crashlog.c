/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "obs/crashlog.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "obs/limits.h"
#include "obs/log.h"

#define S_NS UINT64_C(1000000000)
#define WINDOW_US (DH_CRASHLOG_WINDOW_S * UINT64_C(1000000))
#define PLACE_MASK ((UINT32_C(1) << DH_CRASHLOG_PLACE_BITS) - 1)

_Static_assert(sizeof(struct dh_crash_loop) <= 24, "each of 100,000 workers pays for it");

/* ---- which crashes are the same -------------------------------------------------------------- */

static bool is_hex(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static uint32_t hash_text(const char *text, size_t len) {
    uint32_t hash = 2166136261u; /* FNV-1a */
    if (len > DH_CRASHLOG_HASH_BYTES) {
        len = DH_CRASHLOG_HASH_BYTES;
    }
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (unsigned char)text[i]) * 16777619u;
        if (text[i] == 'x' && i > 0 && text[i - 1] == '0') {
            while (i + 1 < len && is_hex(text[i + 1])) {
                i++;
            }
        }
    }
    return hash;
}

uint32_t dh_crashlog_hash(const char *error, size_t len, const char *traceback,
                          size_t traceback_len) {
    uint32_t place = hash_text(traceback, traceback_len);
    place ^= place >> 16; /* the low bits of FNV are its weakest */
    uint32_t hash = (hash_text(error, len) & ~PLACE_MASK) | (place & PLACE_MASK);
    return hash != 0 ? hash : 1;
}

static bool is_same_error(uint32_t a, uint32_t b) {
    return (a & ~PLACE_MASK) == (b & ~PLACE_MASK);
}

static bool is_news(const struct dh_crash_loop *loop, uint32_t hash) {
    return loop->is_well || (hash != loop->shown[0] && hash != loop->shown[1]);
}

/* Make hash the latest of the two errors that the reader knows. */
static void remember(struct dh_crash_loop *loop, uint32_t hash) {
    if (loop->shown[0] != hash) {
        loop->shown[1] = loop->shown[0];
        loop->shown[0] = hash;
    }
}

/* ---- decisions ------------------------------------------------------------------------------- */

static uint64_t elapsed_us(const struct dh_crash_loop *loop, uint64_t now_ns) {
    uint64_t now_us = now_ns / 1000;
    return now_us > loop->window_us ? now_us - loop->window_us : 0;
}

static void count(uint32_t *counter) {
    *counter += *counter < UINT32_MAX;
}

/* Fill v with what the window has to tell, and forget the part that no line has told. */
static void tell(struct dh_crash_loop *loop, uint64_t now_ns, struct dh_crash_verdict *v) {
    v->crashes = loop->crashes;
    v->suppressed = loop->suppressed;
    v->over_ns = elapsed_us(loop, now_ns) * 1000;
    v->is_same_error = !loop->is_mixed;
    loop->suppressed = 0;
}

static void open_window(struct dh_crash_loop *loop, uint64_t now_ns) {
    loop->window_us = now_ns / 1000 & ((UINT64_C(1) << 49) - 1);
    loop->lines = 0;
    loop->full_lines = 0;
    loop->recoveries = 0;
    loop->is_open = 1;
    loop->is_mixed = 0;
    loop->is_silent = 0;
    loop->crashes = 0;
}

/* Count a crash to its window. */
static void enter(struct dh_crash_loop *loop, uint32_t hash) {
    if (loop->crashes > 0 && !is_same_error(hash, loop->shown[0])) {
        loop->is_mixed = 1;
    }
    count(&loop->crashes);
}

/* The first crash after a window with suppressed ones still counts to that window, and tells of
** it. After two windows' time the flood was over long ago: an ordinary line then tells the rest. */
static void roll_over(struct dh_crash_loop *loop, uint64_t now_ns, uint32_t hash,
                      struct dh_crash_verdict *v) {
    bool is_recent = elapsed_us(loop, now_ns) < 2 * WINDOW_US;
    enter(loop, hash);
    tell(loop, now_ns, v);
    open_window(loop, now_ns);
    loop->is_silent = is_recent && v->crashes > DH_CRASHLOG_LINES;
    if (is_news(loop, hash)) {
        v->action = DH_CRASH_FULL;
        loop->full_lines = 1;
    } else {
        v->action = is_recent ? DH_CRASH_SUMMARY : DH_CRASH_SHORT;
    }
}

static void admit(struct dh_crash_loop *loop, uint64_t now_ns, uint32_t hash,
                  struct dh_crash_verdict *v) {
    enter(loop, hash);
    if (is_news(loop, hash) && loop->full_lines < DH_CRASHLOG_FULL_LINES) {
        v->action = DH_CRASH_FULL;
        loop->full_lines++;
    } else if (!loop->is_silent && loop->lines < DH_CRASHLOG_LINES) {
        v->action = DH_CRASH_SHORT;
    } else {
        v->action = DH_CRASH_SUPPRESS;
        count(&loop->suppressed);
        return;
    }
    loop->lines++; /* at most LINES + FULL_LINES: 15 */
    tell(loop, now_ns, v);
}

void dh_crashlog_decide(struct dh_crash_loop *loop, uint64_t now_ns, uint32_t hash,
                        struct dh_crash_verdict *ret_verdict) {
    struct dh_crash_verdict v = {DH_CRASH_SUPPRESS, 0, 0, 0, true};
    bool is_over = !loop->is_open || elapsed_us(loop, now_ns) >= WINDOW_US;
    if (is_over && loop->suppressed > 0) {
        roll_over(loop, now_ns, hash, &v);
    } else {
        if (is_over) {
            open_window(loop, now_ns);
        }
        admit(loop, now_ns, hash, &v);
    }
    if (v.action == DH_CRASH_FULL) {
        loop->is_well = 0;
        remember(loop, hash);
    } else if (!is_news(loop, hash)) {
        remember(loop, hash);
    }
    *ret_verdict = v;
}

bool dh_crashlog_flush(struct dh_crash_loop *loop, uint64_t now_ns,
                       struct dh_crash_verdict *ret_verdict) {
    bool is_untold = loop->suppressed > 0;
    loop->is_well = 1;
    if (is_untold) {
        ret_verdict->action = DH_CRASH_SUMMARY;
        tell(loop, now_ns, ret_verdict);
    }
    return is_untold;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* "crashed 57 times in the last 60 s" */
static size_t write_times(char *dst, size_t cap, const struct dh_crash_verdict *v) {
    uint64_t over_s = (v->over_ns + S_NS / 2) / S_NS;
    const char *plural = v->crashes == 1 ? "" : "s";
    return (size_t)snprintf(dst, cap, "crashed %" PRIu32 " time%s in the last %" PRIu64 " s",
                            v->crashes, plural, over_s > 0 ? over_s : 1);
}

static const char *outlook(const struct dh_crash_report *r) {
    if (r->is_rejected) {
        return ", goes back to the version that worked";
    }
    return r->will_restart ? "" : ", not restarted";
}

static void write_line(struct dh_log *log, const struct dh_crash_verdict *v,
                       const struct dh_crash_report *r) {
    struct dh_field fields[6];
    size_t n = 0;
    char msg[128];
    size_t len;
    if (v->action == DH_CRASH_SUMMARY) {
        len = write_times(msg, sizeof msg, v);
        len += (size_t)snprintf(msg + len, sizeof msg - len, ", %s error%s",
                                v->is_same_error ? "same" : "last", outlook(r));
    } else {
        len = (size_t)snprintf(msg, sizeof msg, "crashed%s", outlook(r));
    }
    fields[n++] = dh_field_string("error", r->error, r->error_len);
    fields[n++] = dh_field_integer("run", r->run);
    if (r->will_restart && !r->is_rejected) {
        fields[n++] = dh_field_duration("restart_in", r->restart_in_ns);
    }
    if (r->streak > 1) {
        fields[n++] = dh_field_integer("streak", r->streak);
    }
    if (v->suppressed > 0) {
        fields[n++] = dh_field_integer("suppressed", v->suppressed);
    }
    if (v->action == DH_CRASH_FULL && r->traceback && r->traceback_len > 0) {
        fields[n++] = dh_field_lines("traceback", r->traceback, r->traceback_len);
    }
    dh_log_write(log, DH_LEVEL_ERROR, r->worker, msg, len, fields, n);
}

enum dh_crash_action dh_crashlog_crash(struct dh_log *log, struct dh_crash_loop *loop,
                                       uint64_t now_ns, const struct dh_crash_report *report) {
    struct dh_crash_verdict v;
    if (report->streak == 1) {
        loop->is_well = 1;
    }
    dh_crashlog_decide(loop, now_ns, report->hash, &v);
    if (v.action == DH_CRASH_SUPPRESS && (!report->will_restart || report->is_rejected)) {
        loop->suppressed--; /* this one */
        tell(loop, now_ns, &v);
        v.action = DH_CRASH_SHORT;
    }
    loop->is_told = v.action != DH_CRASH_SUPPRESS;
    if (loop->is_told) {
        write_line(log, &v, report);
    }
    return v.action;
}

bool dh_crashlog_recovered(struct dh_log *log, struct dh_crash_loop *loop, uint64_t now_ns,
                           const char *worker, uint32_t run, uint64_t outage_ns) {
    struct dh_crash_verdict v;
    struct dh_field fields[3];
    size_t n = 0;
    bool is_over = !loop->is_open || elapsed_us(loop, now_ns) >= WINDOW_US;
    if (!dh_log_is_on(log, DH_LEVEL_INFO)) {
        loop->is_well = 1; /* the next crash's line will tell */
        return false;
    }
    if (!is_over) {
        if (loop->recoveries == DH_CRASHLOG_RECOVERIES) {
            return false;
        }
        loop->recoveries++;
    }
    fields[n++] = dh_field_integer("run", run);
    fields[n++] = dh_field_duration("outage", outage_ns);
    if (dh_crashlog_flush(loop, now_ns, &v)) {
        fields[n++] = dh_field_integer("suppressed", v.suppressed);
    }
    dh_log_write(log, DH_LEVEL_INFO, worker, "recovered", strlen("recovered"), fields, n);
    return true;
}

void dh_crashlog_end(struct dh_log *log, struct dh_crash_loop *loop, uint64_t now_ns,
                     const char *worker) {
    struct dh_crash_verdict v;
    if (dh_crashlog_flush(loop, now_ns, &v)) {
        char msg[128];
        size_t len = write_times(msg, sizeof msg, &v);
        struct dh_field suppressed = dh_field_integer("suppressed", v.suppressed);
        dh_log_write(log, DH_LEVEL_WARN, worker, msg, len, &suppressed, 1);
    }
}
