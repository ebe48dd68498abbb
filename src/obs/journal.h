/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** systemd's journal, told events as fields (systemd.journal-fields(7)) instead of lines of text:
**
**   PRIORITY=3
**   SYSLOG_IDENTIFIER=decnet-host
**   MESSAGE=flaky: crashed: boom  run=3 restart_in=4s
**       stack traceback:
**       ...
**   DECNET_WORKER=flaky
**   DECNET_ERROR=boom  DECNET_RUN=3  DECNET_RESTART_IN=4  DECNET_TRACEBACK=...
**
** Numbers are as in logfmt: durations in seconds. All of it is valid UTF-8 and bounded as lines are.
*/
#ifndef DH_OBS_JOURNAL_H
#define DH_OBS_JOURNAL_H

#include <stdbool.h>

#include "obs/datagram.h"

#define DH_JOURNAL_SOCKET "/run/systemd/journal/socket"

enum dh_level;
struct dh_line_event;

/* A zeroed one is closed. */
struct dh_journal {
    bool is_open;
    struct dh_datagram socket;
};

/* Is fd a stream that the journal reads? variable: the value of JOURNAL_STREAM, or NULL. */
bool dh_journal_is_at(const char *variable, int fd);

/* The digit that stands for a level. */
char dh_journal_priority(enum dh_level level);

/* Open the socket of that path. If that cannot be, it stays closed. */
void dh_journal_open(struct dh_journal *j, const char *path);
void dh_journal_close(struct dh_journal *j);

/* Returns false if the journal has not taken it: it is closed, nobody is there, its queue is full, the
** event is too long for a datagram. Does not wait. For any thread. */
bool dh_journal_send(const struct dh_journal *j, const struct dh_line_event *ev);

#endif
