/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Text for terminals: control characters made visible, measured in cells (a Chinese character has two,
** an accent of its own none). Characters are UTF-8, whatever the locale says.
*/
#ifndef DH_CTL_CELLS_H
#define DH_CTL_CELLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Call once, before anything else here: a locale that knows UTF-8. */
void dh_cells_init(void);

/* How many cells a text takes, control characters made visible. */
size_t dh_cells_width(const char *text, size_t len);

enum dh_align { DH_ALIGN_NONE, DH_ALIGN_LEFT, DH_ALIGN_RIGHT };

/* Print a text in at most 'width' cells (SIZE_MAX: all of it), on one line: what does not fit is cut, and
** ends in "…"; what is shorter is filled with blanks on the other side, unless 'align' is NONE. */
void dh_cells_print(FILE *out, const char *text, size_t len, size_t width, enum dh_align align);

/* Print a text of several lines; each begins with 'indent'. Tabs stay, other control characters are made
** visible. */
void dh_cells_print_lines(FILE *out, const char *text, size_t len, const char *indent);

/* Durations in at most 6 cells ("4.2s", "42s", "12m03s", "3h05m", "5d03h"), sizes in 6 ("12.3K"). */
#define DH_CELLS_UNIT 24
void dh_cells_seconds(char dst[DH_CELLS_UNIT], double seconds);
void dh_cells_bytes(char dst[DH_CELLS_UNIT], double bytes);

/* Seconds since 1970 as local time, in strftime's format; "-" if that is no moment of the years up to
** 9999: numbers come from whoever answered. */
#define DH_CELLS_MOMENT 32
void dh_cells_moment(char dst[DH_CELLS_MOMENT], double time, const char *format);

#endif
