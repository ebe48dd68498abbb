/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A log whose lines end up in memory, with a clock of its own and a file that fails on command.
*/
#ifndef DH_SPEC_OBS_SINK_H
#define DH_SPEC_OBS_SINK_H

#include "obs/log.h"

#define SINK_BYTES (1 << 20)
#define SINK_PLANS 16

struct sink {
    struct dh_log log;
    uint64_t now_ns;
    char text[SINK_BYTES]; /* all that was written, with a 0 behind */
    size_t len;
    int writes; /* calls, failed ones included */

    /* What the next calls of write do, first one first: 0 takes all, a positive number takes so
    ** many bytes, a negative one is the error. After them all is taken. */
    long plan[SINK_PLANS];
    int nplan;
};

/* 2026-11-22T12:44:45.123Z */
#define SINK_WALL_NS UINT64_C(1795351485123456789)

/* Begin anew. options->now_ns, write and arg are replaced; fd becomes 2. */
void sink_open(struct sink *s, const struct dh_log_options *options);

/* The same for a format and the defaults otherwise. */
void sink_open_format(struct sink *s, enum dh_log_format format);

/* Forget what was written. */
void sink_clear(struct sink *s);

/* Write a message without fields. */
void sink_say(struct sink *s, const char *msg);

#endif
