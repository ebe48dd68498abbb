/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** All that is known of one worker, with the dossier of how it ended before, as text of many lines.
*/
#ifndef DH_CTL_DETAIL_H
#define DH_CTL_DETAIL_H

#include <jansson.h>
#include <stdio.h>

#include "ctl/http.h"

/* Ask for a worker. Returns 0 and an object to be released, or an error as dh_http_ask and
** dh_http_check. */
int dh_detail_ask(struct dh_http *h, const char *name, json_t **ret_worker, struct dh_error *err);

/* 'host': for its clock. */
void dh_detail_print(FILE *out, const json_t *worker, const json_t *host);

#endif
