/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Events as log lines.
*/
#ifndef DH_HOST_REPORT_H
#define DH_HOST_REPORT_H

#include "core/worker.h"
#include "obs/crashlog.h"

struct dh_host;

/* What the log line of a crash says of the error. */
struct dh_report_error {
    const char *message;
    size_t message_len;
    const char *traceback;
    size_t traceback_len;
    uint32_t hash; /* dh_crashlog_hash of both */
};

/* Is there ever a line about such an event? */
static inline bool dh_report_wants(const struct dh_event *ev) {
    return ev->kind != DH_EVENT_STATE && ev->kind != DH_EVENT_RESTART;
}

/* Log ev. error belongs to crash events, loop is the worker's crash-loop record; both may be NULL
** for events of workers that never crashed. */
void dh_report_event(struct dh_host *host, const struct dh_event *ev,
                     const struct dh_report_error *error, struct dh_crash_loop *loop);

/* Log a sentence of the host's own, at level info. */
void dh_report_text(struct dh_host *host, const char *text);

#endif
