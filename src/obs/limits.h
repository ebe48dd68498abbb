/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The bounds of the log, each with its reason. Sizes are bytes of output, after escaping.
*/
#ifndef DH_OBS_LIMITS_H
#define DH_OBS_LIMITS_H

enum {
    /* A whole event, newline (and, in pretty, traceback lines) included. It is built on the stack
    ** and written by one write(2); twice PIPE_BUF holds the 22 lines that luaL_traceback shows. */
    DH_LOG_LINE_BYTES = 8192,

    /* An event for the journal: the line as its message, and its fields. */
    DH_JOURNAL_BYTES = 3 * DH_LOG_LINE_BYTES,

    /* The message, and a field "error": they leave half of a line to fields and traceback. */
    DH_LOG_MESSAGE_BYTES = 2048,

    /* One string field that is not DH_FIELD_LINES: a long query is still to be recognised. */
    DH_LOG_VALUE_BYTES = 1024,

    /* Keys, and worker names with their escapes (DH_NAME_MAX is 200). Longer ones are cut. */
    DH_LOG_KEY_BYTES = 64,
    DH_LOG_NAME_BYTES = 256,

    /* Fields of one event; what comes after is counted, not shown. */
    DH_LOG_FIELDS = 32,

    /* DH_FIELD_LINES fields of one event, and what other fields leave to them together; what comes
    ** after is written like a string. */
    DH_LOG_BLOCKS = 4,
    DH_LOG_BLOCKS_BYTES = 2048,

    /* The pretty name column starts this wide (characters) and grows up to the second number;
    ** longer names stick out. */
    DH_LOG_NAME_WIDTH_MIN = 8,
    DH_LOG_NAME_WIDTH_MAX = 16,

    /* A write that signals keep interrupting is given up, as a full pipe is. */
    DH_LOG_INTERRUPTS = 100,

    /* A crash loop: lines of one worker in one window, and how many of a window's lines may bring
    ** a traceback. A new error may still come in full when the lines are used up, so the worst
    ** case is the sum of both and one summary. */
    DH_CRASHLOG_LINES = 10,
    DH_CRASHLOG_FULL_LINES = 5,
    DH_CRASHLOG_WINDOW_S = 60,

    /* "recovered" lines in a window: a run that counts as healthy after a blink recovers at each
    ** crash. */
    DH_CRASHLOG_RECOVERIES = 5,

    /* What is read of an error to tell it from others: a text of a megabyte must cost nothing. */
    DH_CRASHLOG_HASH_BYTES = 4096,

    /* Of the 32 bits that a crash is remembered by, so many are its traceback's: one change of it in
    ** 4096 is missed, and one other error in a million. */
    DH_CRASHLOG_PLACE_BITS = 12
};

#endif
