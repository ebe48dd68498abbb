/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "obs/text.h"

#include <stdio.h>
#include <string.h>

/* The longest piece that one character becomes ("\u202e"), with room to spare. */
#define PIECE_BYTES 16

/* "…[+" and " bytes]" and the digits of a size_t. */
#define NOTE_BYTES 40

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

static size_t reject(size_t len, uint32_t *ret_code_point, bool *ret_is_valid) {
    *ret_code_point = 0xfffd;
    *ret_is_valid = false;
    return len;
}

size_t dh_text_decode(const char *src, size_t len, uint32_t *ret_code_point, bool *ret_is_valid) {
    const unsigned char *s = (const unsigned char *)src;
    uint32_t cp = s[0];
    /* What the second byte may be: narrower than 80..bf where the first one allows overlong forms
    ** (e0, f0), surrogates (ed) or values above 10ffff (f4). */
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    size_t need;
    if (cp < 0x80) {
        *ret_code_point = cp;
        *ret_is_valid = true;
        return 1;
    }
    if (cp >= 0xc2 && cp <= 0xdf) {
        need = 2;
        cp &= 0x1f;
    } else if (cp >= 0xe0 && cp <= 0xef) {
        need = 3;
        low = cp == 0xe0 ? 0xa0 : 0x80;
        high = cp == 0xed ? 0x9f : 0xbf;
        cp &= 0x0f;
    } else if (cp >= 0xf0 && cp <= 0xf4) {
        need = 4;
        low = cp == 0xf0 ? 0x90 : 0x80;
        high = cp == 0xf4 ? 0x8f : 0xbf;
        cp &= 0x07;
    } else {
        return reject(1, ret_code_point, ret_is_valid);
    }
    for (size_t i = 1; i < need; i++) {
        if (i == len || s[i] < low || s[i] > high) {
            return reject(i, ret_code_point, ret_is_valid);
        }
        cp = (cp << 6) | (s[i] & 0x3f);
        low = 0x80;
        high = 0xbf;
    }
    *ret_code_point = cp;
    *ret_is_valid = true;
    return need;
}

bool dh_text_is_control(uint32_t cp) {
    return cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) || /* C0, DEL, C1 (U+009B is a CSI) */
           (cp >= 0x2028 && cp <= 0x202e) ||          /* line separators, bidi overrides */
           (cp >= 0x2066 && cp <= 0x2069);            /* bidi isolates */
}

/* The letter of a short escape, or 0. */
static char escape_letter(uint32_t cp, bool is_quoted) {
    switch (cp) {
        case '\n':
            return 'n';
        case '\r':
            return 'r';
        case '\t':
            return 't';
        case '\b':
            return is_quoted ? 'b' : 0;
        case '\f':
            return is_quoted ? 'f' : 0;
        case '"':
        case '\\':
            return is_quoted ? (char)cp : 0;
        default:
            return 0;
    }
}

/* Write what the n bytes of one character become; returns the length. */
static size_t write_piece(char piece[PIECE_BYTES], const char *src, size_t n, uint32_t cp,
                          bool is_valid, bool is_quoted) {
    static const char hex[] = "0123456789abcdef";
    char letter;
    if (!is_valid) {
        memcpy(piece, replacement, 3);
        return 3;
    }
    letter = escape_letter(cp, is_quoted);
    if (letter != 0) {
        piece[0] = '\\';
        piece[1] = letter;
        return 2;
    }
    if (!dh_text_is_control(cp)) {
        memcpy(piece, src, n);
        return n;
    }
    piece[0] = '\\';
    if (cp < 0x80 && !is_quoted) {
        piece[1] = 'x';
        piece[2] = hex[cp >> 4];
        piece[3] = hex[cp & 15];
        return 4;
    }
    /* No control character is above U+FFFF: no surrogate pairs. */
    piece[1] = 'u';
    for (int i = 0; i < 4; i++) {
        piece[2 + i] = hex[(cp >> (12 - 4 * i)) & 15];
    }
    return 6;
}

/* Does the byte stand for itself? Nearly all do: this is why a long text takes little time. */
static bool is_plain(unsigned char c, bool is_quoted) {
    return c >= 0x20 && c < 0x7f && !(is_quoted && (c == '"' || c == '\\'));
}

static size_t write_note(char note[NOTE_BYTES], size_t bytes) {
    return (size_t)snprintf(note, NOTE_BYTES, "\xe2\x80\xa6[+%zu bytes]", bytes);
}

static size_t copy(char *dst, size_t cap, const char *src, size_t len, bool is_quoted) {
    char note[NOTE_BYTES];
    size_t note_len = write_note(note, len); /* the longest that can be needed */
    size_t at = 0;
    size_t out = 0;
    size_t cut_at = 0; /* the last place where a note would still fit behind */
    size_t cut_out = 0;
    size_t room;
    if (cap == 0) {
        return 0;
    }
    room = cap - 1;
    while (at < len) {
        char piece[PIECE_BYTES];
        uint32_t cp;
        bool is_valid;
        size_t n = 1;
        size_t piece_len = 1;
        if (is_plain((unsigned char)src[at], is_quoted)) {
            piece[0] = src[at];
        } else {
            n = dh_text_decode(src + at, len - at, &cp, &is_valid);
            piece_len = write_piece(piece, src + at, n, cp, is_valid, is_quoted);
        }
        if (piece_len > room - out) {
            break;
        }
        if (piece_len == 1) {
            dst[out] = piece[0];
        } else {
            memcpy(dst + out, piece, piece_len);
        }
        out += piece_len;
        at += n;
        if (note_len <= room - out) {
            cut_at = at;
            cut_out = out;
        }
    }
    if (at < len && note_len <= room) {
        note_len = write_note(note, len - cut_at);
        memcpy(dst + cut_out, note, note_len);
        out = cut_out + note_len;
    }
    dst[out] = '\0';
    return out;
}

size_t dh_text_oneline(char *dst, size_t cap, const char *src, size_t len) {
    return copy(dst, cap, src, len, false);
}

size_t dh_text_quoted(char *dst, size_t cap, const char *src, size_t len) {
    return copy(dst, cap, src, len, true);
}

bool dh_text_number(const char *text, uint64_t *ret_number) {
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        unsigned digit = (unsigned)(*at - '0');
        if (number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        number = 10 * number + digit;
    }
    if (at == text || *at != '\0') {
        return false;
    }
    *ret_number = number;
    return true;
}
