/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A strict reader (RFC 8259) of the JSON that the log may write: one flat object of strings,
** numbers and booleans.
*/
#ifndef DH_SPEC_OBS_JSON_H
#define DH_SPEC_OBS_JSON_H

#include <stdbool.h>
#include <stddef.h>

#define JSON_MEMBERS 64
#define JSON_BYTES 16384

struct json_member {
    const char *key;
    const char *text; /* a string decoded, else as it stands; ended by a 0 */
    size_t len;
    bool is_string;
};

struct json {
    struct json_member members[JSON_MEMBERS];
    size_t count;
    char store[JSON_BYTES];
    size_t used;
};

/* Read all len bytes as one object; false if anything is wrong with them. */
bool json_read(struct json *j, const char *src, size_t len);

/* The member with that key, or NULL. */
const struct json_member *json_find(const struct json *j, const char *key);

/* Whether bytes are valid UTF-8: written from RFC 3629's grammar, apart from dh_text_decode. */
bool json_is_utf8(const char *src, size_t len);

#endif
