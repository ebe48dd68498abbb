/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "obs/text.h"

#include <stdio.h>
#include <string.h>

/* The longest escape ("\u202e"), with room to spare. */
#define ESCAPE_BYTES 16

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

/* Write the escape of a character; returns its length, 0 for one that stands for itself. */
static size_t write_escape(char dst[ESCAPE_BYTES], uint32_t cp, bool is_quoted) {
    static const char hex[] = "0123456789abcdef";
    char letter = escape_letter(cp, is_quoted);
    if (letter != 0) {
        dst[0] = '\\';
        dst[1] = letter;
        return 2;
    }
    if (!dh_text_is_control(cp)) {
        return 0;
    }
    dst[0] = '\\';
    if (cp < 0x80 && !is_quoted) {
        dst[1] = 'x';
        dst[2] = hex[cp >> 4];
        dst[3] = hex[cp & 15];
        return 4;
    }
    /* No control character is above U+FFFF: no surrogate pairs. */
    dst[1] = 'u';
    for (int i = 0; i < 4; i++) {
        dst[2 + i] = hex[(cp >> (12 - 4 * i)) & 15];
    }
    return 6;
}

/* Does the byte stand for itself? Nearly all do: this is why a long text takes little time. */
static bool is_plain(unsigned char c, bool is_quoted) {
    return c >= 0x20 && c < 0x7f && !(is_quoted && (c == '"' || c == '\\'));
}

static size_t count_plain(const char *src, size_t len, bool is_quoted) {
    size_t n = 0;
    while (n < len && is_plain((unsigned char)src[n], is_quoted)) {
        n++;
    }
    return n;
}

/* What some of the source becomes. */
struct piece {
    size_t taken; /* bytes of the source */
    const char *text;
    size_t len;
    char escape[ESCAPE_BYTES];
};

/* All that is plain at src (len > 0), but for what is behind max bytes of it, or else one character. */
static void take_piece(struct piece *p, const char *src, size_t len, size_t max, bool is_quoted) {
    uint32_t cp;
    bool is_valid;
    p->text = src;
    p->taken = p->len = count_plain(src, len < max ? len : max, is_quoted);
    if (p->taken > 0) {
        return;
    }
    p->taken = p->len = dh_text_decode(src, len, &cp, &is_valid);
    if (!is_valid) {
        p->text = replacement;
        p->len = sizeof replacement - 1;
        return;
    }
    size_t escape_len = write_escape(p->escape, cp, is_quoted);
    if (escape_len > 0) {
        p->text = p->escape;
        p->len = escape_len;
    }
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
    size_t fit; /* how much may be in front of a note */
    if (cap == 0) {
        return 0;
    }
    room = cap - 1;
    fit = note_len < room ? room - note_len : 0;
    while (at < len) {
        struct piece piece;
        take_piece(&piece, src + at, len - at, (out < fit ? fit : room) - out, is_quoted);
        if (piece.len > room - out) {
            break;
        }
        memcpy(dst + out, piece.text, piece.len);
        out += piece.len;
        at += piece.taken;
        if (out <= fit) {
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
