/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "obs/text.h"

#include <stdlib.h>

#include "obs/check.h"

#define FFFD "\xef\xbf\xbd"

static char out[4096];

static void check_oneline(const char *src, size_t len, const char *expected) {
    size_t n = dh_text_oneline(out, sizeof out, src, len);
    CHECK_BYTES(out, n, expected);
}

#define ONELINE(literal, expected) check_oneline(literal, sizeof literal - 1, expected)

static void text_stays_as_it_is(void) {
    ONELINE("workers.lua:3: boom", "workers.lua:3: boom");
    ONELINE("back\\slash \"quoted\" =", "back\\slash \"quoted\" =");
    ONELINE("na\xc3\xafve \xe2\x82\xac \xf0\x9f\x99\x82",
            "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x99\x82");
    ONELINE("", "");
    CHECK_INT(dh_text_oneline(out, sizeof out, NULL, 0), 0);
}

static void controls_are_escaped(void) {
    ONELINE("a\nb\r\n\tc", "a\\nb\\r\\n\\tc");
    ONELINE("zero\0zero", "zero\\x00zero");
    ONELINE("\x1b[31mred\x7f", "\\x1b[31mred\\x7f");
    ONELINE("c1 \xc2\x9b", "c1 \\u009b");
    ONELINE("line\xe2\x80\xa8sep, bidi\xe2\x80\xae", "line\\u2028sep, bidi\\u202e");
}

static void a_second_pass_changes_nothing(void) {
    static const char src[] = "a\nb\0\x1b\\ \xff \xe2\x80\xae";
    char again[256];
    size_t n = dh_text_oneline(out, sizeof out, src, sizeof src - 1);
    CHECK_INT(dh_text_oneline(again, sizeof again, out, n), n);
    CHECK_TEXT(again, out);
}

/* The examples of the Unicode standard, chapter 3.9, "U+FFFD Substitution of Maximal Subparts". */
static void wrong_utf8_is_replaced_as_unicode_recommends(void) {
    ONELINE("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD "A");
    ONELINE("\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD "A");
    ONELINE("\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", FFFD FFFD FFFD FFFD FFFD "A" FFFD FFFD "B");
    ONELINE("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", FFFD FFFD FFFD FFFD "A");
    ONELINE("half \xe2\x82", "half " FFFD);
}

static void every_code_point_survives_or_is_escaped(void) {
    int wrong = 0;
    for (uint32_t cp = 0x80; cp <= 0x10ffff; cp++) {
        char src[4];
        size_t n = 0;
        uint32_t got;
        bool is_valid;
        bool is_surrogate = cp >= 0xd800 && cp <= 0xdfff;
        if (cp < 0x800) {
            src[n++] = (char)(0xc0 | (cp >> 6));
        } else if (cp < 0x10000) {
            src[n++] = (char)(0xe0 | (cp >> 12));
            src[n++] = (char)(0x80 | ((cp >> 6) & 0x3f));
        } else {
            src[n++] = (char)(0xf0 | (cp >> 18));
            src[n++] = (char)(0x80 | ((cp >> 12) & 0x3f));
            src[n++] = (char)(0x80 | ((cp >> 6) & 0x3f));
        }
        src[n++] = (char)(0x80 | (cp & 0x3f));
        wrong +=
            (dh_text_decode(src, n, &got, &is_valid) == n && got == cp && is_valid) == is_surrogate;
        wrong += dh_text_decode(src, n - 1, &got, &is_valid) > n - 1 || is_valid;
    }
    CHECK_INT(wrong, 0);
}

static void a_cut_says_by_how_much(void) {
    char small[32];
    size_t n = dh_text_oneline(small, sizeof small, "0123456789012345678901234567890123456789", 40);
    CHECK_BYTES(small, n, "01234567890123456\xe2\x80\xa6[+23 bytes]");
    CHECK_INT(n, 31);
    n = dh_text_oneline(small, sizeof small, "0123456789012345678901234567890", 31);
    CHECK_BYTES(small, n, "0123456789012345678901234567890");
    /* Never in the middle of a character or of an escape. */
    n = dh_text_oneline(small, sizeof small, "0123456789012345\xe2\x82\xac 89012345678901234567",
                        40);
    CHECK_BYTES(small, n, "0123456789012345\xe2\x80\xa6[+24 bytes]");
    n = dh_text_oneline(small, sizeof small, "01234567890123\0\0 01234567890123456789", 37);
    CHECK_BYTES(small, n, "01234567890123\xe2\x80\xa6[+23 bytes]");
}

static void tiny_buffers_are_enough_to_be_safe(void) {
    char tiny[8] = "xxxxxxx";
    CHECK_INT(dh_text_oneline(tiny, 0, "abc", 3), 0);
    CHECK_INT(tiny[0], 'x');
    CHECK_INT(dh_text_oneline(tiny, 1, "abc", 3), 0);
    CHECK_INT(tiny[0], 0);
    CHECK_INT(dh_text_oneline(tiny, 3, "abc", 3), 2);
    CHECK_TEXT(tiny, "ab");
    CHECK_INT(dh_text_oneline(tiny, 4, "ab\n", 3), 2); /* "\n" would need one byte more */
    CHECK_TEXT(tiny, "ab");
}

static void k02_a_megabyte_costs_nothing_and_is_bounded(void) {
    static char big[1 << 20];
    char text[256];
    size_t n;
    memset(big, 'x', sizeof big);
    n = dh_text_oneline(text, sizeof text, big, sizeof big);
    CHECK_INT(n, 255);
    CHECK_TEXT(text + 236, "\xe2\x80\xa6[+1048340 bytes]");
    memset(big, 0xff, sizeof big);
    CHECK(dh_text_oneline(text, sizeof text, big, sizeof big) < 256);
    memset(big, 0, sizeof big);
    for (int i = 0; i < 100000; i++) { /* would take minutes if all of it were read */
        n = dh_text_quoted(text, sizeof text, big, sizeof big);
    }
    CHECK(n < 256);
}

static void quoted_text_is_json(void) {
    static const char src[] = "say \"hi\" C:\\ \n\r\t\b\f\0\x1b\x7f\xc2\x85\xe2\x80\xae\xff";
    size_t n = dh_text_quoted(out, sizeof out, src, sizeof src - 1);
    CHECK_BYTES(out, n,
                "say \\\"hi\\\" C:\\\\ \\n\\r\\t\\b\\f\\u0000\\u001b\\u007f\\u0085\\u202e" FFFD);
}

/* Random bytes, random buffers: bounded, ended by a 0, valid, without controls, and the same as
** what a wide buffer gets, up to the cut. */
static void random_bytes_in_random_buffers(void) {
    int wrong = 0;
    srand(1);
    for (int round = 0; round < 200000; round++) {
        static const char pieces[] = "ab \n\0\x1b\"\\\xe2\x82\xac\xc3\xa9\xf0\x9f\x99\x82\xff\x80";
        char src[64];
        char dst[66];
        char wide[1024];
        size_t len = (size_t)rand() % sizeof src;
        size_t cap = (size_t)rand() % 65;
        size_t n;
        size_t common;
        for (size_t i = 0; i < len; i++) {
            src[i] = rand() % 4 ? pieces[(size_t)rand() % (sizeof pieces - 1)] : (char)rand();
        }
        memset(dst, '?', sizeof dst);
        if (rand() % 2) {
            n = dh_text_oneline(dst, cap, src, len);
            dh_text_oneline(wide, sizeof wide, src, len);
        } else {
            n = dh_text_quoted(dst, cap, src, len);
            dh_text_quoted(wide, sizeof wide, src, len);
        }
        wrong += dst[cap] != '?' || (cap > 0 && (n >= cap || dst[n] != '\0'));
        for (size_t i = 0; i < n;) {
            uint32_t cp;
            bool is_valid;
            i += dh_text_decode(dst + i, n - i, &cp, &is_valid);
            wrong += !is_valid || dh_text_is_control(cp);
        }
        for (common = 0; common < n && dst[common] == wide[common];) {
            common++;
        }
        wrong += common < n && !strstr(dst, "\xe2\x80\xa6[+");
    }
    CHECK_INT(wrong, 0);
}

static void numbers_are_digits_and_nothing_else(void) {
    static const char *const none[] = {"",    " 1",  "1 ",  "+1",  "-1",
                                       "0x1", "1e9", "10x", "1.5", "18446744073709551616"};
    uint64_t n = 7;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        CHECK(!dh_text_number(none[i], &n));
    }
    CHECK(n == 7);
    CHECK(dh_text_number("0", &n) && n == 0);
    CHECK(dh_text_number("007", &n) && n == 7);
    CHECK(dh_text_number("18446744073709551615", &n) && n == UINT64_MAX);
}

static const struct check_case cases[] = {
    {"text stays as it is", text_stays_as_it_is},
    {"controls are escaped", controls_are_escaped},
    {"a second pass changes nothing", a_second_pass_changes_nothing},
    {"wrong UTF-8 is replaced", wrong_utf8_is_replaced_as_unicode_recommends},
    {"every code point survives or is escaped", every_code_point_survives_or_is_escaped},
    {"a cut says by how much", a_cut_says_by_how_much},
    {"tiny buffers", tiny_buffers_are_enough_to_be_safe},
    {"K02 a megabyte costs nothing and is bounded", k02_a_megabyte_costs_nothing_and_is_bounded},
    {"numbers are digits and nothing else", numbers_are_digits_and_nothing_else},
    {"quoted text is JSON", quoted_text_is_json},
    {"random bytes in random buffers", random_bytes_in_random_buffers},
};

CHECK_MAIN(cases)
