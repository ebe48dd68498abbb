/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** JSON passed on to programs, and to terminals: the same values, but no control character as it is.
*/
#ifndef DH_CTL_JSON_H
#define DH_CTL_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct dh_json_out {
    FILE *file;
    char carry[4]; /* the first bytes of a character */
    size_t carry_len;
};

/* A piece of JSON as it comes. A dh_http_take: 'arg' is a struct dh_json_out. */
bool dh_json_out(void *arg, const char *bytes, size_t len);

/* A value, on a line. */
void dh_json_print(FILE *out, const json_t *json);

#endif
