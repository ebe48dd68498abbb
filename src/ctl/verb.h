/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The verbs: each asks the host at h->path, prints, and returns an exit code.
*/
#ifndef DH_CTL_VERB_H
#define DH_CTL_VERB_H

#include <stdbool.h>
#include <stddef.h>

#include "ctl/http.h"
#include "ctl/options.h"
#include "ctl/row.h"

enum dh_exit {
    DH_EXIT_FINE = 0,
    DH_EXIT_NO = 1,    /* a worker that should run does not; refused; not in time */
    DH_EXIT_USAGE = 2, /* the command line */
    DH_EXIT_NOBODY = 3 /* no host answers */
};

int dh_verb_status(const struct dh_options *o, struct dh_http *h);
int dh_verb_order(const struct dh_options *o,
                  struct dh_http *h); /* start stop restart retry reset */
int dh_verb_reload(const struct dh_options *o, struct dh_http *h);
int dh_verb_shutdown(const struct dh_options *o, struct dh_http *h);
int dh_verb_logs(const struct dh_options *o, struct dh_http *h);
int dh_verb_events(const struct dh_options *o, struct dh_http *h);
int dh_verb_wait(const struct dh_options *o, struct dh_http *h);
int dh_verb_top(const struct dh_options *o, struct dh_http *h);

/* Say on stderr what is wrong; returns the exit code that fits. */
int dh_verb_complain(const struct dh_error *err);

/* The target of a worker: "/v1/workers/NAME" and 'rest'. Returns 0, DH_EINVAL (nobody has such a name),
** or DH_ENOMEM. */
#define DH_VERB_TARGET 800
int dh_verb_target(char dst[DH_VERB_TARGET], const char *name, const char *rest,
                   struct dh_error *err);

/* Nobody of these has the name: *err says so, and who or what may have been meant. Returns DH_ESTATE. */
int dh_verb_no_worker(const struct dh_rows *rows, const char *name, struct dh_error *err);

/* The same for a question about a worker that the host has answered with 404: asks for all of them.
** *err stays as it is where the host has answered something else, or does no longer. */
void dh_verb_explain(struct dh_http *h, const char *name, struct dh_error *err);

/* stdout: does it know colours? how wide is it? SIZE_MAX: it is no terminal. */
bool dh_verb_has_colour(void);
size_t dh_verb_width(void);

#endif
