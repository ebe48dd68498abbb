/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What is known as JSON (docs/control.md): whole, or NULL when memory is out.
*/
#ifndef DH_CONTROL_JSON_H
#define DH_CONTROL_JSON_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "control/orders.h"
#include "control/snapshot.h"

/* How all of it is written. */
#define DH_JSON_FLAGS                                                                              \
    (JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15))

/* A string of any bytes: wrong UTF-8 becomes U+FFFD. */
json_t *dh_json_text(const char *text, size_t len);

/* Set a field. Where there is no memory for it, or for the value, which is NULL then, the object is freed and
** NULL from there on. */
void dh_json_set(json_t **object, const char *key, json_t *value);

/* As text, without a 0 at its end; NULL when memory is out, for the JSON, too. (json_dumps makes an object
** without a key of one whose key there was no memory for.) */
char *dh_json_print(const json_t *json, size_t *ret_len);

/* Nanoseconds as seconds. */
json_t *dh_json_seconds(uint64_t ns);

/* A status table. */
json_t *dh_json_worker(const struct dh_view *view, uint64_t now_ns);

/* The list of a worker's endings. */
json_t *dh_json_endings(const struct dh_order *order);

#endif
