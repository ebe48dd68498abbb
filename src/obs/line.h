/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** One event turned into the bytes of one log line: pure, no clock, no file. See
** log.h for what the formats look like and DH_LOG_* in limits.h for where they are cut.
*/
#ifndef DH_OBS_LINE_H
#define DH_OBS_LINE_H

#include "obs/limits.h"
#include "obs/log.h"

struct dh_line_event {
    enum dh_level level;
    const char *worker; /* NULL: the host */
    const char *msg;
    size_t msg_len;
    const struct dh_field *fields;
    size_t nfields;
    uint64_t time_ns;  /* of options->clock */
    uint64_t dropped;  /* lines lost before this one */
    size_t name_width; /* of the pretty column */
};

/* Write ev with its line end into dst; returns the length, at most DH_LOG_LINE_BYTES. dst has one
** byte more, for a 0. */
size_t dh_line_write(char dst[DH_LOG_LINE_BYTES + 1], const struct dh_log_options *options,
                     const struct dh_line_event *ev);

/* Write ev as pretty does, but without time, level and line end: "flaky: crashed: boom  run=3", and
** below it the traceback. As above. */
size_t dh_line_write_message(char dst[DH_LOG_LINE_BYTES + 1], const struct dh_line_event *ev);

/* How wide a worker's name is in the pretty column, in characters. */
size_t dh_line_name_width(const char *worker);

#endif
