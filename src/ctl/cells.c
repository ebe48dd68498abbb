/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ctl/cells.h"

#include <langinfo.h>
#include <locale.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#include "obs/text.h"

void dh_cells_init(void) {
    setlocale(LC_ALL, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0) {
        setlocale(LC_CTYPE, "C.UTF-8"); /* for wcwidth, and ncurses */
    }
    setlocale(LC_NUMERIC, "C");
}

/* One character made fit to be shown. */
struct piece {
    char text[16];
    size_t len;
    size_t width;
};

/* Takes the first character of src; returns how many bytes it has. */
static size_t take(const char *src, size_t len, struct piece *ret_piece) {
    uint32_t c;
    bool is_valid;
    size_t n = dh_text_decode(src, len, &c, &is_valid);
    if (!is_valid || dh_text_is_control(c)) {
        ret_piece->len = dh_text_oneline(ret_piece->text, sizeof(ret_piece->text), src, n);
        ret_piece->width = is_valid ? ret_piece->len : 1;
        return n;
    }
    int width = wcwidth((wchar_t)c);
    const char *from = width >= 0 ? src : "\xef\xbf\xbd"; /* nobody knows how wide: U+FFFD */
    ret_piece->len = width >= 0 ? n : 3;
    ret_piece->width = width >= 0 ? (size_t)width : 1;
    memcpy(ret_piece->text, from, ret_piece->len);
    return n;
}

size_t dh_cells_width(const char *text, size_t len) {
    struct piece piece;
    size_t width = 0;
    for (size_t at = 0; at < len;) {
        at += take(text + at, len - at, &piece);
        width += piece.width;
    }
    return width;
}

/* How many bytes of the text go into so many cells, and how many cells they take. */
static size_t fit(const char *text, size_t len, size_t width, size_t *ret_width) {
    struct piece piece;
    size_t used = 0;
    size_t at = 0;
    while (at < len) {
        size_t n = take(text + at, len - at, &piece);
        if (piece.width > width - used) {
            break;
        }
        used += piece.width;
        at += n;
    }
    *ret_width = used;
    return at;
}

static void put(FILE *out, const char *text, size_t len) {
    struct piece piece;
    for (size_t at = 0; at < len;) {
        at += take(text + at, len - at, &piece);
        fwrite(piece.text, 1, piece.len, out);
    }
}

static void blanks(FILE *out, size_t n) {
    for (; n > 0; n--) {
        fputc(' ', out);
    }
}

void dh_cells_print(FILE *out, const char *text, size_t len, size_t width, enum dh_align align) {
    size_t used;
    size_t shown = fit(text, len, width, &used);
    bool is_cut = shown < len;
    if (is_cut && width > 0) {
        shown = fit(text, len, width - 1, &used);
        used++;
    }
    size_t rest = align != DH_ALIGN_NONE && width > used ? width - used : 0;
    blanks(out, align == DH_ALIGN_RIGHT ? rest : 0);
    put(out, text, shown);
    if (is_cut && width > 0) {
        fputs("…", out);
    }
    blanks(out, align == DH_ALIGN_LEFT ? rest : 0);
}

static void put_line(FILE *out, const char *line, size_t len) {
    for (;;) {
        const char *tab = memchr(line, '\t', len);
        size_t n = tab != NULL ? (size_t)(tab - line) : len;
        put(out, line, n);
        if (tab == NULL) {
            return;
        }
        fputc('\t', out);
        line += n + 1;
        len -= n + 1;
    }
}

void dh_cells_print_lines(FILE *out, const char *text, size_t len, const char *indent) {
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t n = end != NULL ? (size_t)(end - text) : len;
        fputs(indent, out);
        put_line(out, text, n);
        fputc('\n', out);
        n += end != NULL;
        text += n;
        len -= n;
    }
}

void dh_cells_seconds(char dst[DH_CELLS_UNIT], double seconds) {
    long whole = seconds > 0 && seconds < 1e9 ? (long)(seconds + 0.5) : 1000000000;
    if (seconds < 9.95) {
        snprintf(dst, DH_CELLS_UNIT, "%.1fs", seconds > 0 ? seconds : 0);
    } else if (whole < 60) {
        snprintf(dst, DH_CELLS_UNIT, "%lds", whole);
    } else if (whole < 3600) {
        snprintf(dst, DH_CELLS_UNIT, "%ldm%02lds", whole / 60, whole % 60);
    } else if (whole < 86400) {
        snprintf(dst, DH_CELLS_UNIT, "%ldh%02ldm", whole / 3600, whole / 60 % 60);
    } else {
        snprintf(dst, DH_CELLS_UNIT, "%ldd%02ldh", whole / 86400, whole / 3600 % 24);
    }
}

void dh_cells_bytes(char dst[DH_CELLS_UNIT], double bytes) {
    static const char units[] = "BKMGTP";
    size_t i = 0;
    while (bytes >= 1023.95 && i < sizeof(units) - 2) {
        bytes /= 1024;
        i++;
    }
    snprintf(dst, DH_CELLS_UNIT, i == 0 || bytes >= 99.95 ? "%.0f%c" : "%.1f%c", bytes, units[i]);
}

void dh_cells_moment(char dst[DH_CELLS_MOMENT], double time, const char *format) {
    static const double year_10000 = 253402300800.0;
    struct tm tm;
    time_t whole = time >= 0 && time < year_10000 ? (time_t)time : -1;
    if (whole < 0 || localtime_r(&whole, &tm) == NULL ||
        strftime(dst, DH_CELLS_MOMENT, format, &tm) == 0) {
        strcpy(dst, "-");
    }
}
