/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What workers print, line by line, for somebody who taps the host's log (obs/log.h). It has been
** written to stdout or stderr already, or is about to be; here it only becomes known whose it is.
**
** What lacks its line end is kept for the run, at most DH_PRINTED_BYTES of it: longer lines come in
** pieces. While nobody taps the log nothing is kept.
*/
#ifndef DH_SCRIPT_PRINTED_H
#define DH_SCRIPT_PRINTED_H

#include <stddef.h>

#include "obs/log.h"

struct dh_run;
struct dh_vm;

/* The run whose code prints, if somebody wants to know; else NULL. */
struct dh_run *dh_printed_by(const struct dh_vm *vm);

/* The run prints this. */
void dh_printed_add(struct dh_run *run, enum dh_source source, const char *text, size_t len);

/* The run is over: what it did not end is a line, too. */
void dh_printed_end(struct dh_run *run);

#endif
