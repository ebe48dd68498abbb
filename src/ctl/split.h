/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A big JSON object as it arrives, cut into its fields: {"host": H, "workers": [A, B]} becomes
** ("host", H), ("workers", A), ("workers", B), each as the text of one JSON value. So a hundred thousand
** workers are never in memory as JSON.
*/
#ifndef DH_CTL_SPLIT_H
#define DH_CTL_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

/* The text is the splitter's, and is overwritten afterwards. Returns false: no more of this. */
typedef bool (*dh_split_on)(void *arg, const char *key, const char *text, size_t len);

struct dh_split {
    dh_split_on on;
    void *arg;
    char key[32];
    char *text;
    size_t len;
    size_t cap;
    unsigned depth;
    bool is_list; /* in an array that is a field */
    bool has_key;
    bool in_string;
    bool is_escaped;
    bool is_complete; /* the object has ended */
};

void dh_split_init(struct dh_split *s, dh_split_on on, void *arg);
void dh_split_fini(struct dh_split *s);

/* The next bytes. Returns false when no more are wanted: 'on' has said so, a value is longer than
** DH_CTL_ITEM_BYTES, or memory is out. */
bool dh_split_feed(struct dh_split *s, const char *bytes, size_t len);

#endif
