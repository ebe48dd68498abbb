/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** How much of a crash loop the log shows.
**
** A crash that is news is logged in full, one that repeats gets one line, and many are counted:
**
**   news           FULL      the first since the worker was well, or another error, or from another
**                            place, than those shown lately: with its traceback
**   repetition     SHORT     one line, no traceback
**   flood          SUPPRESS  nothing: DH_CRASHLOG_LINES are out in this window of 60 s
**   flood goes on  SUMMARY   one line at the first crash after a window with suppressed ones:
**                            "crashed 57 times in the last 60 s, same error"; the next window
**                            begins silent if the one before had more crashes than lines
**
** A new error breaks the silence of a flood, but at most DH_CRASHLOG_FULL_LINES lines of a window
** bring a traceback: an error text that changes each time is a flood too. What was suppressed is
** told by the next line, whichever it is, and by dh_crashlog_flush when no crash will follow.
**
** dh_crashlog_decide and dh_crashlog_flush are pure: virtual time, no log. dh_crashlog_crash and
** the like decide and write; they are what the host calls.
*/
#ifndef DH_OBS_CRASHLOG_H
#define DH_OBS_CRASHLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dh_log;

/* One a worker, owned and embedded (or allocated at the first crash) by the caller; all zero is a
** worker that never crashed. It needs no fini. */
struct dh_crash_loop {
    uint64_t window_us : 49; /* when the current window began: 17 years */
    uint64_t lines : 4;      /* of crashes, written in this window */
    uint64_t full_lines : 3; /* of these, with a traceback */
    uint64_t recoveries : 3; /* "recovered" lines written in this window */
    uint64_t is_open : 1;    /* there is a window */
    uint64_t is_mixed : 1;   /* not all of the window's crashes had the same error */
    uint64_t is_silent : 1;  /* the window began inside a flood: nothing but news is shown */
    uint64_t is_well : 1;    /* the streak is over: the next crash is news whatever its error */
    uint64_t is_told : 1;    /* the last crash has a line; the owner may clear it */
    uint32_t shown[2];       /* hashes of the errors last shown in full, latest seen first; or 0 */
    uint32_t crashes;        /* in this window; this and the next stay at their maximum */
    uint32_t suppressed;     /* crashes that no line has told yet */
};

enum dh_crash_action { DH_CRASH_FULL, DH_CRASH_SHORT, DH_CRASH_SUMMARY, DH_CRASH_SUPPRESS };

struct dh_crash_verdict {
    enum dh_crash_action action;
    uint32_t crashes;    /* in the time below, this one included, and logged ones */
    uint32_t suppressed; /* earlier ones that the line must tell because none did; 0 if SUPPRESS */
    uint64_t over_ns;    /* since the window began; to the microsecond */
    bool is_same_error;  /* all of them had this error */
};

/* A hash of an error's text and of its traceback. Addresses (0x5581...) count as equal, so that "bad
** table: 0x..." is the same error each time. Looks at the first DH_CRASHLOG_HASH_BYTES of each only.
** Never 0. The traceback decides the last DH_CRASHLOG_PLACE_BITS only: they tell whether the same
** error came another way. */
uint32_t dh_crashlog_hash(const char *error, size_t len, const char *traceback,
                          size_t traceback_len);

/* A crash at now_ns (monotonic or virtual, never going back) with that hash: what to log. */
void dh_crashlog_decide(struct dh_crash_loop *loop, uint64_t now_ns, uint32_t hash,
                        struct dh_crash_verdict *ret_verdict);

/* The loop is over (recovered, stopped for good, done, failed): the next crash is news again.
** Returns true if suppressed crashes are still to be told, with a SUMMARY in *ret_verdict whose
** crashes are all in the past. The line budget lives on: a loop that recovers briefly each time is
** a loop too. */
bool dh_crashlog_flush(struct dh_crash_loop *loop, uint64_t now_ns,
                       struct dh_crash_verdict *ret_verdict);

/* What a crash line says. Strings are borrowed for the call. */
struct dh_crash_report {
    const char *worker;
    const char *error; /* any bytes, any length */
    size_t error_len;
    const char *traceback; /* without the error in front; NULL: none */
    size_t traceback_len;
    uint32_t hash; /* dh_crashlog_hash of both */
    uint32_t run;
    uint32_t streak;        /* 1: news, whatever the error; written if above 1 */
    bool will_restart;      /* false: "crashed, not restarted" */
    bool is_rejected;       /* "crashed, goes back to the version that worked" */
    uint64_t restart_in_ns; /* if will_restart */
};

/* Log a crash, as much of it as dh_crashlog_decide allows: at level error. Returns what was done. A
** crash that will not be restarted as it is is never suppressed: it is the last of its loop. */
enum dh_crash_action dh_crashlog_crash(struct dh_log *log, struct dh_crash_loop *loop,
                                       uint64_t now_ns, const struct dh_crash_report *report);

/* Log "recovered" at level info, with the outage's length and the crashes not yet told, and end the
** loop. A worker that recovers over and over, more than DH_CRASHLOG_RECOVERIES times in a window,
** is in a loop still: nothing is logged or ended then, and the answer is false. */
bool dh_crashlog_recovered(struct dh_log *log, struct dh_crash_loop *loop, uint64_t now_ns,
                           const char *worker, uint32_t run, uint64_t outage_ns);

/* The worker is stopped for good, or the host ends: tell at level warn what no line told, if
** anything. Not for a stop by which a group's strategy restarts it: that loop goes on. */
void dh_crashlog_end(struct dh_log *log, struct dh_crash_loop *loop, uint64_t now_ns,
                     const char *worker);

#endif
