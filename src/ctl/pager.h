/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A text of many lines, of which a screen shows some.
*/
#ifndef DH_CTL_PAGER_H
#define DH_CTL_PAGER_H

#include <stdbool.h>
#include <stddef.h>

struct dh_pager {
    char *text; /* lines, each ended by a 0; NULL: nothing to show */
    size_t count;
    size_t first; /* the one at the top of the screen */
};

/* Takes over a text from malloc (NULL: shows nothing). */
void dh_pager_set(struct dh_pager *p, char *text, size_t len);
void dh_pager_close(struct dh_pager *p);

/* Go down by so many lines (< 0: up), with 'rows' lines on the screen. */
void dh_pager_move(struct dh_pager *p, long by, size_t rows);

#endif
