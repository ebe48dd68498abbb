/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Arbitrary bytes made fit to be read: bounded, on one line, valid UTF-8.
**
** Error values and messages come from anywhere: a megabyte, embedded zeros, half a character, an
** escape sequence that repaints the terminal. These functions copy such bytes so that nothing of
** the kind is left, look at no more of the source than fits, and say what they left off:
** "…[+N bytes]", N counted in the source.
**
** Sizes are bytes. dst always ends up with a 0 (unless cap is 0); the length returned is without
** it. src may be NULL if len is 0. dst and src must not overlap.
*/
#ifndef DH_OBS_TEXT_H
#define DH_OBS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* To be read by people: \n \r \t \x1b \u202e for what does not print (control characters, line
** separators, bidirectional overrides). Backslashes and quotes stay as they are, so that a second
** pass over the result changes nothing. */
size_t dh_text_oneline(char *dst, size_t cap, const char *src, size_t len);

/* To stand between the quotes of a JSON string or a quoted logfmt value (without these quotes):
** \" \\ \n \r \t \b \f \u001b. Nothing but wrong UTF-8 and what was cut is lost. */
size_t dh_text_quoted(char *dst, size_t cap, const char *src, size_t len);

/* Decode the character at src (len > 0): returns how many bytes it takes, at least 1, and its code
** point; for wrong bytes U+FFFD and the length of the longest piece that could have become a
** character, as Unicode recommends (so "\xe2\x82" at the end is one U+FFFD, not two). */
size_t dh_text_decode(const char *src, size_t len, uint32_t *ret_code_point, bool *ret_is_valid);

/* Write the digits of a number so that they end in front of 'end', 20 at most. Returns where they begin.
** Signal handlers may call it. */
static inline char *dh_text_digits(char *end, uint64_t number) {
    do {
        *--end = (char)('0' + number % 10);
    } while ((number /= 10) > 0);
    return end;
}

/* Read a whole number: decimal digits and nothing else. False: it is none, or does not fit. */
bool dh_text_number(const char *text, uint64_t *ret_number);

/* Whether a character must not reach a terminal or a log line as it is. */
bool dh_text_is_control(uint32_t code_point);

#endif
