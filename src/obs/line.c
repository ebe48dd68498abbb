/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "obs/line.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "obs/text.h"

/* Kept free behind the fields for: log_fields_left_off, log_dropped, colours, brace, line end. */
#define TAIL_BYTES 160

/* A note that tells what was cut fits, and a few characters. */
#define TEXT_ROOM 64

#define RESET "\x1b[0m"
#define BOLD "\x1b[1m"
#define DIM "\x1b[2m"

static const char *const level_columns[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
static const char *const level_colors[] = {"\x1b[34m", "\x1b[32m", "\x1b[33m", "\x1b[1;31m"};

/* The line as it grows. What does not fit is not written at all and leaves is_full behind. */
struct out {
    const struct dh_log_options *options;
    char *dst; /* cap + 1 bytes */
    size_t len;
    size_t cap;
    size_t left_off; /* fields */
    bool is_full;
    struct {
        uint16_t at;
        uint16_t len;
    } keys[DH_LOG_FIELDS]; /* of the fields in the line: each is another */
    size_t nkeys;
};

/* The fields of an event in the order they are written. */
struct plan {
    const struct dh_field *plain[DH_LOG_FIELDS];
    size_t nplain;
    const struct dh_field *blocks[DH_LOG_BLOCKS];
    size_t nblocks;
    const struct dh_field *error; /* pretty: goes with the message */
};

static void put(struct out *o, const char *data, size_t len) {
    if (len > o->cap - o->len) {
        o->is_full = true;
        return;
    }
    memcpy(o->dst + o->len, data, len);
    o->len += len;
}

static void put_string(struct out *o, const char *s) {
    put(o, s, strlen(s));
}

static void put_color(struct out *o, const char *color) {
    if (o->options->has_colors) {
        put_string(o, color);
    }
}

/* Put a number, with zeros in front up to so many digits. Not by snprintf: the time is in each line, and
** took most of it. */
static void put_digits(struct out *o, uint64_t n, size_t width) {
    char text[20];
    char *end = text + sizeof text;
    char *at = dh_text_digits(end, n);
    while ((size_t)(end - at) < width) {
        *--at = '0';
    }
    put(o, at, (size_t)(end - at));
}

static void put_integer(struct out *o, int64_t n) {
    if (n < 0) {
        put(o, "-", 1);
    }
    put_digits(o, n < 0 ? -(uint64_t)n : (uint64_t)n, 1);
}

/* Put any bytes as at most max bytes of text. */
static void put_text(struct out *o, const char *src, size_t len, size_t max, bool is_quoted) {
    size_t room = o->cap - o->len;
    size_t cap = (max < room ? max : room) + 1;
    char *at = o->dst + o->len;
    o->len += is_quoted ? dh_text_quoted(at, cap, src, len) : dh_text_oneline(at, cap, src, len);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* Whether logfmt may leave the quotes off. */
static bool is_bare(const char *src, size_t len, size_t max) {
    if (len == 0 || len > max) {
        return false;
    }
    for (size_t at = 0; at < len;) {
        uint32_t cp;
        bool is_valid;
        at += dh_text_decode(src + at, len - at, &cp, &is_valid);
        if (!is_valid || cp == ' ' || cp == '"' || cp == '=' || dh_text_is_control(cp)) {
            return false;
        }
    }
    return true;
}

/* Put a string, cut at max bytes; where these might not fit the line, nothing: a shorter field
** behind it may still. */
static void put_string_value(struct out *o, const char *src, size_t len, size_t max) {
    size_t most = len < max / 6 ? 6 * len : max; /* an escape makes 6 bytes of one */
    if (o->options->format != DH_LOG_JSON && is_bare(src, len, max)) {
        put(o, src, len);
    } else if (most + 2 > o->cap - o->len) {
        o->is_full = true;
    } else {
        put(o, "\"", 1);
        put_text(o, src, len, max, true);
        put(o, "\"", 1);
    }
}

static void put_number_value(struct out *o, double x) {
    char text[DH_FIELD_NUMBER_BYTES];
    size_t len = dh_field_write_number(text, x);
    bool is_finite = text[len - 1] != 'n' && text[len - 1] != 'f';
    if (o->options->format == DH_LOG_JSON && !is_finite) {
        put_string_value(o, text, len, len);
    } else {
        put(o, text, len);
    }
}

static void put_value(struct out *o, const struct dh_field *f, size_t max) {
    char text[DH_FIELD_NUMBER_BYTES];
    switch (f->type) {
        case DH_FIELD_STRING:
        case DH_FIELD_LINES:
            put_string_value(o, f->as.string.data, f->as.string.len, max);
            break;
        case DH_FIELD_INTEGER:
            put_integer(o, f->as.integer);
            break;
        case DH_FIELD_NUMBER:
            put_number_value(o, f->as.number);
            break;
        case DH_FIELD_BOOLEAN:
            put_string(o, f->as.boolean ? "true" : "false");
            break;
        case DH_FIELD_DURATION:
            if (o->options->format == DH_LOG_PRETTY) {
                put(o, text, dh_field_write_duration(text, f->as.duration_ns));
            } else {
                put(o, text, dh_field_write_seconds(text, f->as.duration_ns));
            }
            break;
    }
}

/* ---- keys and fields ------------------------------------------------------------------------- */

static bool is_key_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

/* Whether the line itself has a field of this name. */
static bool is_taken(const char *key) {
    static const char *const taken[] = {
        "ts", "t", "level", "worker", "msg", "log_dropped", "log_fields_left_off"};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        if (strcmp(key, taken[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether a field before this one has it: "a b" and "a_b" are both written as the latter. */
static bool is_used(const struct out *o, const char *key, size_t len) {
    for (size_t i = 0; i < o->nkeys; i++) {
        if (o->keys[i].len == len && memcmp(o->dst + o->keys[i].at, key, len) == 0) {
            return true;
        }
    }
    return false;
}

static void put_own_key(struct out *o, const char *key, size_t len) {
    o->keys[o->nkeys].at = (uint16_t)o->len;
    o->keys[o->nkeys++].len = (uint16_t)len;
    put(o, key, len);
}

static void put_key(struct out *o, const char *raw) {
    char key[DH_LOG_KEY_BYTES + 1 + DH_LOG_FIELDS];
    size_t len = 0;
    for (; len < DH_LOG_KEY_BYTES && raw[len] != '\0'; len++) {
        key[len] = is_key_char(raw[len]) ? raw[len] : '_';
    }
    key[len] = '\0';
    if (len == 0 || is_taken(key)) {
        key[len++] = '_';
    }
    while (is_used(o, key, len)) {
        key[len++] = '_';
    }
    switch (o->options->format) {
        case DH_LOG_PRETTY:
            put(o, " ", 1);
            put_color(o, DIM);
            put_own_key(o, key, len);
            put(o, "=", 1);
            put_color(o, RESET);
            break;
        case DH_LOG_LOGFMT:
            put(o, " ", 1);
            put_own_key(o, key, len);
            put(o, "=", 1);
            break;
        case DH_LOG_JSON:
            put(o, ",\"", 2);
            put_own_key(o, key, len);
            put(o, "\":", 2);
            break;
    }
}

/* Put a field as a whole or not at all. */
static void put_field(struct out *o, const struct dh_field *f, size_t max) {
    size_t start = o->len;
    size_t nkeys = o->nkeys;
    put_key(o, f->key);
    put_value(o, f, max);
    if (o->is_full) {
        o->is_full = false;
        o->len = start;
        o->nkeys = nkeys;
        o->left_off++;
    }
}

/* What the line says of itself: always fits, TAIL_BYTES are kept for it. */
static void put_count(struct out *o, const char *key, uint64_t count) {
    bool is_json = o->options->format == DH_LOG_JSON;
    if (count > 0) {
        put_color(o, DIM);
        put_string(o, is_json ? ",\"" : " ");
        put_string(o, key);
        put_string(o, is_json ? "\":" : "=");
        put_digits(o, count, 1);
        put_color(o, RESET);
    }
}

/* "error" stands for what went wrong: it may be as long as the message. */
static size_t value_limit(const struct dh_field *f) {
    return strcmp(f->key, "error") == 0 ? DH_LOG_MESSAGE_BYTES : DH_LOG_VALUE_BYTES;
}

static void plan_fields(struct out *o, struct plan *plan, const struct dh_line_event *ev) {
    size_t n = ev->nfields < DH_LOG_FIELDS ? ev->nfields : DH_LOG_FIELDS;
    bool is_pretty = o->options->format == DH_LOG_PRETTY;
    memset(plan, 0, sizeof *plan);
    o->left_off = ev->nfields - n;
    for (size_t i = 0; i < n; i++) {
        const struct dh_field *f = &ev->fields[i];
        if (f->type == DH_FIELD_LINES && plan->nblocks < DH_LOG_BLOCKS) {
            plan->blocks[plan->nblocks++] = f;
        } else if (is_pretty && !plan->error && f->type == DH_FIELD_STRING &&
                   f->as.string.len > 0 && strcmp(f->key, "error") == 0) {
            plan->error = f;
        } else {
            plan->plain[plan->nplain++] = f;
        }
    }
}

static void put_plain_fields(struct out *o, const struct plan *plan) {
    o->cap = DH_LOG_LINE_BYTES - TAIL_BYTES - (plan->nblocks > 0 ? DH_LOG_BLOCKS_BYTES : 0);
    for (size_t i = 0; i < plan->nplain; i++) {
        put_field(o, plan->plain[i], value_limit(plan->plain[i]));
    }
}

/* ---- logfmt and JSON ------------------------------------------------------------------------- */

static void put_elapsed(struct out *o, uint64_t time_ns) {
    uint64_t s = time_ns / 1000000000;
    if (o->options->format == DH_LOG_PRETTY) {
        for (uint64_t least = 10000; least > 1 && s < least; least /= 10) {
            put(o, " ", 1);
        }
    }
    put_digits(o, s, 1);
    put(o, ".", 1);
    put_digits(o, time_ns / 1000 % 1000000, 6);
}

static void put_time(struct out *o, uint64_t time_ns) {
    time_t s = (time_t)(time_ns / 1000000000);
    bool is_pretty = o->options->format == DH_LOG_PRETTY;
    struct tm tm = {0};
    if (o->options->clock == DH_LOG_CLOCK_ELAPSED) {
        put_elapsed(o, time_ns);
        return;
    }
    if (is_pretty && o->options->is_local_time) {
        localtime_r(&s, &tm);
    } else {
        gmtime_r(&s, &tm);
    }
    if (!is_pretty) {
        put_digits(o, (uint64_t)tm.tm_year + 1900, 4);
        put(o, "-", 1);
        put_digits(o, (uint64_t)tm.tm_mon + 1, 2);
        put(o, "-", 1);
        put_digits(o, (uint64_t)tm.tm_mday, 2);
        put(o, "T", 1);
    }
    put_digits(o, (uint64_t)tm.tm_hour, 2);
    put(o, ":", 1);
    put_digits(o, (uint64_t)tm.tm_min, 2);
    put(o, ":", 1);
    put_digits(o, (uint64_t)tm.tm_sec, 2);
    put(o, ".", 1);
    put_digits(o, time_ns / 1000000 % 1000, 3);
    put_string(o, is_pretty ? "" : "Z");
}

static void put_machine_head(struct out *o, const struct dh_line_event *ev) {
    bool is_json = o->options->format == DH_LOG_JSON;
    bool is_wall = o->options->clock == DH_LOG_CLOCK_WALL;
    if (is_json) {
        put_string(o, is_wall ? "{\"ts\":\"" : "{\"t\":");
    } else {
        put_string(o, is_wall ? "ts=" : "t=");
    }
    put_time(o, ev->time_ns);
    put_string(o, is_json && is_wall ? "\"" : "");
    put_string(o, is_json ? ",\"level\":" : " level=");
    put_string_value(o, dh_log_level_name(ev->level), strlen(dh_log_level_name(ev->level)), 8);
    if (ev->worker) {
        put_string(o, is_json ? ",\"worker\":" : " worker=");
        put_string_value(o, ev->worker, strlen(ev->worker), DH_LOG_NAME_BYTES);
    }
    put_string(o, is_json ? ",\"msg\":" : " msg=");
    put_string_value(o, ev->msg, ev->msg_len, DH_LOG_MESSAGE_BYTES);
}

static void write_machine(struct out *o, const struct plan *plan, const struct dh_line_event *ev) {
    put_machine_head(o, ev);
    put_plain_fields(o, plan);
    o->cap = DH_LOG_LINE_BYTES - TAIL_BYTES;
    for (size_t i = 0; i < plan->nblocks; i++) {
        size_t share = (o->cap - o->len) / (plan->nblocks - i);
        put_field(o, plan->blocks[i], share - DH_LOG_KEY_BYTES - 8);
    }
    o->cap = DH_LOG_LINE_BYTES;
    put_count(o, "log_fields_left_off", o->left_off);
    put_count(o, "log_dropped", ev->dropped);
    put_string(o, o->options->format == DH_LOG_JSON ? "}\n" : "\n");
}

/* ---- pretty ---------------------------------------------------------------------------------- */

static size_t count_characters(const char *s, size_t len) {
    size_t count = 0;
    for (size_t i = 0; i < len; i++) {
        count += ((unsigned char)s[i] & 0xc0) != 0x80;
    }
    return count;
}

size_t dh_line_name_width(const char *worker) {
    char text[DH_LOG_NAME_BYTES + 1];
    size_t len = dh_text_oneline(text, sizeof text, worker, strlen(worker));
    return count_characters(text, len);
}

static void put_pretty_head(struct out *o, const struct dh_line_event *ev) {
    const char *name = ev->worker ? ev->worker : "host";
    size_t width;
    size_t start;
    put_color(o, DIM);
    put_time(o, ev->time_ns);
    put_color(o, RESET);
    put(o, " ", 1);
    put_color(o, level_colors[ev->level]);
    put_string(o, level_columns[ev->level]);
    put_color(o, RESET);
    put(o, " ", 1);
    put_color(o, ev->worker ? BOLD : DIM);
    start = o->len;
    put_text(o, name, strlen(name), DH_LOG_NAME_BYTES, false);
    width = count_characters(o->dst + start, o->len - start);
    put_color(o, RESET);
    do { /* at least one, behind a name that sticks out */
        put(o, " ", 1);
    } while (width++ < ev->name_width);
}

static void put_pretty_message(struct out *o, const struct plan *plan,
                               const struct dh_line_event *ev) {
    put_text(o, ev->msg, ev->msg_len, DH_LOG_MESSAGE_BYTES, false);
    if (plan->error) {
        put_string(o, ev->msg_len > 0 ? ": " : "");
        put_text(o, plan->error->as.string.data, plan->error->as.string.len, DH_LOG_MESSAGE_BYTES,
                 false);
    }
    if (plan->nplain > 0) {
        put(o, " ", 1); /* and one from the key */
    }
}

/* Put one indented line, at most max bytes of text. */
static void put_indented(struct out *o, const char *src, size_t len, size_t max) {
    put_color(o, DIM);
    put_string(o, "    ");
    for (; len > 0 && *src == '\t' && max > TEXT_ROOM; src++, len--, max -= 2) {
        put(o, "  ", 2);
    }
    put_text(o, src, len, max, false);
    put_color(o, RESET);
    put(o, "\n", 1);
}

/* Put a traceback below the line, within its share of what is left; TEXT_ROOM of it is kept for a
** last line that tells what was cut. */
static void put_block(struct out *o, const struct dh_field *f, size_t share) {
    const size_t overhead = sizeof DIM RESET "    \n";
    const char *src = f->as.string.data;
    size_t len = f->as.string.len;
    size_t end = o->len + share;
    while (len > 0 && (src[len - 1] == '\n' || src[len - 1] == '\r')) {
        len--;
    }
    if (strcmp(f->key, "traceback") != 0) {
        char title[DH_LOG_KEY_BYTES + 2];
        size_t n = dh_text_oneline(title, DH_LOG_KEY_BYTES, f->key, strlen(f->key));
        title[n++] = ':';
        put_indented(o, title, n, TEXT_ROOM + n);
    }
    while (len > 0) {
        const char *stop = memchr(src, '\n', len);
        size_t n = stop ? (size_t)(stop - src) : len;
        size_t used = stop ? n + 1 : n;
        if (end - o->len < 2 * (overhead + TEXT_ROOM)) {
            char note[TEXT_ROOM];
            int note_len = snprintf(note, sizeof note, "\xe2\x80\xa6[+%zu bytes]", len);
            put_indented(o, note, (size_t)note_len, TEXT_ROOM);
            return;
        }
        n -= n > 0 && src[n - 1] == '\r';
        put_indented(o, src, n, end - o->len - 2 * overhead - TEXT_ROOM);
        src += used;
        len -= used;
    }
}

/* All that comes behind the name. */
static void put_pretty_body(struct out *o, const struct plan *plan,
                            const struct dh_line_event *ev) {
    put_pretty_message(o, plan, ev);
    put_plain_fields(o, plan);
    o->cap = DH_LOG_LINE_BYTES;
    put_count(o, "log_fields_left_off", o->left_off);
    put_count(o, "log_dropped", ev->dropped);
    put(o, "\n", 1);
    for (size_t i = 0; i < plan->nblocks; i++) {
        put_block(o, plan->blocks[i], (o->cap - o->len) / (plan->nblocks - i));
    }
}

size_t dh_line_write_message(char dst[DH_LOG_LINE_BYTES + 1], const struct dh_line_event *ev) {
    const struct dh_log_options options = {.format = DH_LOG_PRETTY};
    struct out o = {.options = &options, .dst = dst, .cap = DH_LOG_LINE_BYTES};
    struct plan plan;
    plan_fields(&o, &plan, ev);
    if (ev->worker) {
        put_text(&o, ev->worker, strlen(ev->worker), DH_LOG_NAME_BYTES, false);
        put_string(&o, ": ");
    }
    put_pretty_body(&o, &plan, ev);
    return o.len - 1; /* each line ends */
}

size_t dh_line_write(char dst[DH_LOG_LINE_BYTES + 1], const struct dh_log_options *options,
                     const struct dh_line_event *ev) {
    struct out o = {.options = options, .dst = dst, .cap = DH_LOG_LINE_BYTES};
    struct plan plan;
    plan_fields(&o, &plan, ev);
    if (options->format == DH_LOG_PRETTY) {
        put_pretty_head(&o, ev);
        put_pretty_body(&o, &plan, ev);
    } else {
        write_machine(&o, &plan, ev);
    }
    return o.len;
}
