/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Orders, and what the host answers to them.
*/
#ifndef DH_CTL_ORDER_H
#define DH_CTL_ORDER_H

#include <jansson.h>

#include "ctl/http.h"

/* The host's own patience with an order, and the longest it may be told. */
#define DH_ORDER_TIMEOUT_S 60.0
#define DH_ORDER_TIMEOUT_MAX_S 3600.0

/* Give an order, and wait for at most so long until it has been carried out: POST 'target'. Returns 0
** and the answer, to be released, or an error as dh_http_ask and dh_http_check. */
int dh_order_give(struct dh_http *h, const char *target, double timeout_s, json_t **ret_answer,
                  struct dh_error *err);

#endif
