/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Text in cells: what is cut, filled, made visible; units that fit into their columns.
*/
#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/cells.h"

static void is(char *got, const char *expected) {
    if (strcmp(got, expected) != 0) {
        fprintf(stderr, "got '%s'\nnot '%s'\n", got, expected);
        abort();
    }
    free(got);
}

static char *printed(const char *text, size_t len, size_t width, enum dh_align align) {
    char *out = NULL;
    size_t out_len = 0;
    FILE *stream = open_memstream(&out, &out_len);
    assert(stream != NULL);
    dh_cells_print(stream, text, len, width, align);
    fclose(stream);
    return out;
}

static char *cell(const char *text, size_t width, enum dh_align align) {
    return printed(text, strlen(text), width, align);
}

static char *lines(const char *text, const char *indent) {
    char *out = NULL;
    size_t out_len = 0;
    FILE *stream = open_memstream(&out, &out_len);
    assert(stream != NULL);
    dh_cells_print_lines(stream, text, strlen(text), indent);
    fclose(stream);
    return out;
}

static void text_is_filled_and_cut(void) {
    is(cell("abc", 5, DH_ALIGN_LEFT), "abc  ");
    is(cell("abc", 5, DH_ALIGN_RIGHT), "  abc");
    is(cell("abc", 5, DH_ALIGN_NONE), "abc");
    is(cell("abc", 3, DH_ALIGN_LEFT), "abc");
    is(cell("abcd", 3, DH_ALIGN_LEFT), "ab…");
    is(cell("abcd", 1, DH_ALIGN_LEFT), "…");
    is(cell("abcd", 0, DH_ALIGN_LEFT), "");
    is(cell("", 2, DH_ALIGN_LEFT), "  ");
    is(cell("abcd", SIZE_MAX, DH_ALIGN_NONE), "abcd");
}

static void cells_are_not_bytes(void) {
    assert(dh_cells_width("é", 2) == 1);
    assert(dh_cells_width("e\xcc\x81", 3) == 1); /* an accent of its own */
    assert(dh_cells_width("日本", 6) == 4);
    is(cell("é", 3, DH_ALIGN_LEFT), "é  ");
    is(cell("日本語", 5, DH_ALIGN_LEFT), "日本…");
    is(cell("日本語", 4, DH_ALIGN_LEFT), "日… "); /* half a character is none */
    is(cell("日本語", 6, DH_ALIGN_LEFT), "日本語");
}

static void nothing_reaches_a_terminal_as_it_is(void) {
    is(cell("\x1b[31m", 20, DH_ALIGN_NONE), "\\x1b[31m");
    is(cell("\x1b[31m", 5, DH_ALIGN_NONE), "\\x1b…");
    is(cell("\x1b[31m", 4, DH_ALIGN_LEFT), "…   "); /* no half of an escape */
    is(cell("a\nb\tc\r", SIZE_MAX, DH_ALIGN_NONE), "a\\nb\\tc\\r");
    is(cell("\xc2\x9b\xe2\x80\xae", SIZE_MAX, DH_ALIGN_NONE), "\\u009b\\u202e");
    is(cell("a\xff\xe2\x82", SIZE_MAX, DH_ALIGN_NONE), "a\xef\xbf\xbd\xef\xbf\xbd");
    is(printed("a\0b", 3, SIZE_MAX, DH_ALIGN_NONE), "a\\x00b");
    is(lines("one\n\ttwo\x1b\n\nfour", "  "), "  one\n  \ttwo\\x1b\n  \n  four\n");
    is(lines("", "  "), "");
    is(lines("one\n", ""), "one\n");
}

static void any_text_keeps_its_width(void) {
    static const char *const pieces[] = {"a",    "é",         "日",       "\x1b",
                                         "\xff", "e\xcc\x81", "\xc2\x9b", "\n"};
    uint32_t random = 1;
    for (int round = 0; round < 20000; round++) {
        char text[64] = "";
        for (int i = 0; i < 8; i++) {
            random = random * 1664525u + 1013904223u;
            strcat(text, pieces[(random >> 16) % 8]);
        }
        size_t width = (random >> 8) % 20;
        char *out = cell(text, width, DH_ALIGN_LEFT);
        assert(dh_cells_width(out, strlen(out)) == width);
        free(out);
    }
}

static void units_fit(void) {
    static const struct {
        double seconds;
        const char *text;
    } times[] = {{-1, "0.0s"},     {-1e300, "0.0s"},   {0, "0.0s"},      {9.94, "9.9s"},
                 {9.96, "10s"},    {59.4, "59s"},      {59.6, "1m00s"},  {3599.6, "1h00m"},
                 {11100, "3h05m"}, {86399.9, "1d00h"}, {1e7, "115d17h"}, {1e300, "11574d01h"}};
    static const struct {
        double bytes;
        const char *text;
    } sizes[] = {{0, "0B"},        {1023, "1023B"},   {1024, "1.0K"}, {10240, "10.0K"},
                 {102400, "100K"}, {1048575, "1.0M"}, {1e12, "931G"}, {1e18, "888P"}};
    char text[DH_CELLS_UNIT];
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        dh_cells_seconds(text, times[i].seconds);
        is(strdup(text), times[i].text);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        dh_cells_bytes(text, sizes[i].bytes);
        is(strdup(text), sizes[i].text);
    }
    dh_cells_seconds(text, NAN);
    dh_cells_bytes(text, INFINITY);
}

static void a_moment_is_one_of_the_calendar(void) {
    static const struct {
        double time;
        const char *text;
    } moments[] = {{0, "1970-01-01 00:00:00"},
                   {1763841600.75, "2025-11-22 20:00:00"},
                   {253402300799.9, "9999-12-31 23:59:59"},
                   {253402300800.0, "-"},
                   {1e300, "-"},
                   {-1, "-"},
                   {-1e300, "-"},
                   {NAN, "-"}};
    char text[DH_CELLS_MOMENT];
    for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
        dh_cells_moment(text, moments[i].time, "%Y-%m-%d %H:%M:%S");
        is(strdup(text), moments[i].text);
    }
}

int main(void) {
    setenv("TZ", "UTC", 1);
    dh_cells_init();
    text_is_filled_and_cut();
    cells_are_not_bytes();
    nothing_reaches_a_terminal_as_it_is();
    any_text_keeps_its_width();
    units_fit();
    a_moment_is_one_of_the_calendar();
    return 0;
}
