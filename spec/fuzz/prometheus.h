/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A strict reader of Prometheus' text format 0.0.4.
*/
#ifndef DH_SPEC_PROMETHEUS_H
#define DH_SPEC_PROMETHEUS_H

#include <stddef.h>

/* Called for each sample; label: the decoded value of its label 'worker', or NULL. */
typedef void (*prometheus_on)(void *arg, const char *name, const char *label, double value);

/* Read all of it; ends the process (fuzz.h) where it is not of the format: names, labels, values, a HELP
** and a TYPE before each family, each family in one piece, no sample twice. */
void prometheus_read(const char *text, size_t len, prometheus_on on, void *arg);

#endif
