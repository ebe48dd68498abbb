/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** "Did you mean": how far apart two words are, and the nearest of those that are offered.
*/
#ifndef DH_CORE_NEAR_H
#define DH_CORE_NEAR_H

#include <stddef.h>
#include <stdint.h>

/* Edits (insert, delete, replace, swap of neighbours) between two byte strings; SIZE_MAX where one of
** them is longer than DH_NAME_MAX. */
size_t dh_near_distance(const char *a, size_t a_len, const char *b, size_t b_len);

struct dh_near {
    const char *word;
    size_t word_len;
    size_t limit;      /* edits: more of them are another word */
    const char *found; /* the nearest so far, the first of several; NULL: none is near */
    size_t found_len;
};

void dh_near_init(struct dh_near *n, const char *word, size_t len);

/* What is found is the caller's text. */
void dh_near_offer(struct dh_near *n, const char *candidate, size_t len);

#endif
