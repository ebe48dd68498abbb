/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The log's encoders: an event of arbitrary bytes, written in one of the formats or as a datagram for the
** journal, is read back by another parser and must say what went in: with U+FFFD for wrong bytes, and
** where it was cut by as much as it says.
**
** Input: flags (the format in the two highest bits), name, message, then fields: type, key, value.
*/
#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "obs/journal.h"
#include "obs/line.h"
#include "obs/text.h"

#define FIELDS_MAX (DH_LOG_FIELDS + 4)
#define TEXT_MAX 2200 /* longer than any of DH_LOG_* cuts, by a note */
#define KEY_MAX 100

struct fields {
    struct dh_field list[FIELDS_MAX];
    char keys[FIELDS_MAX][KEY_MAX];
    char texts[FIELDS_MAX][TEXT_MAX];
    size_t count;
    bool has_lines;
};

static struct fields fields;
static char worker[DH_LOG_NAME_BYTES];
static char message[TEXT_MAX];
static char mended[3 * TEXT_MAX];

/* ---- the event ------------------------------------------------------------------------------- */

static struct dh_field read_field(struct fuzz_input *in, const char *key, char text[TEXT_MAX]) {
    uint8_t type = fuzz_byte(in);
    uint64_t bits;
    double x;
    switch (type % 8) {
        case 0:
            return dh_field_integer(key, (int64_t)fuzz_number(in, 8));
        case 1:
            bits = fuzz_number(in, 8);
            memcpy(&x, &bits, sizeof(x));
            return dh_field_number(key, x);
        case 2:
            return dh_field_boolean(key, (type & 8) != 0);
        case 3:
            return dh_field_duration(key, fuzz_number(in, 8));
        case 4:
            fields.has_lines = true;
            return dh_field_lines(key, text, fuzz_text(in, text, TEXT_MAX));
        default:
            return dh_field_string(key, text, fuzz_text(in, text, TEXT_MAX));
    }
}

static void read_fields(struct fuzz_input *in) {
    static const char *const special[] = {"error", "traceback", "ts",
                                          "ts_",   "worker",    "log_dropped"};
    fields.count = 0;
    fields.has_lines = false;
    while (in->left > 0 && fields.count < FIELDS_MAX) {
        size_t i = fields.count++;
        char *key = fields.keys[i];
        fuzz_c_string(in, key, KEY_MAX);
        if (key[0] >= '0' && key[0] < '6' && key[1] == '\0') {
            strcpy(key, special[key[0] - '0']);
        }
        fields.list[i] = read_field(in, key, fields.texts[i]);
    }
}

/* ---- what was read back ---------------------------------------------------------------------- */

/* Does it say what src says: all of it, or what comes before "…[+N bytes]", without these N? */
static bool says(const char *text, size_t len, const char *src, size_t src_len) {
    static const char mark[] = "\xe2\x80\xa6[+";
    size_t n = fuzz_mend(mended, src, src_len);
    if (len == n && memcmp(text, mended, n) == 0) {
        return true;
    }
    size_t at = len;
    while (at > 0 && (text[at] != mark[0] || len - at < sizeof(mark) - 1 ||
                      memcmp(text + at, mark, sizeof(mark) - 1) != 0)) {
        at--;
    }
    if (len - at < sizeof(mark) - 1 || memcmp(text + at, mark, sizeof(mark) - 1) != 0) {
        return false;
    }
    char *end;
    char tail[32];
    size_t tail_len = len - at - (sizeof(mark) - 1);
    HOLDS(tail_len < sizeof(tail));
    memcpy(tail, text + at + sizeof(mark) - 1, tail_len);
    tail[tail_len] = '\0';
    size_t cut = strtoull(tail, &end, 10);
    if (strcmp(end, " bytes]") != 0 || cut == 0 || cut > src_len) {
        return false;
    }
    n = fuzz_mend(mended, src, src_len - cut);
    return at == n && memcmp(text, mended, n) == 0;
}

static bool is_string(const struct dh_field *f) {
    return f->type == DH_FIELD_STRING || f->type == DH_FIELD_LINES;
}

/* Does a number or a word, as it was written, say what the field does? */
static bool says_value(const char *text, const struct dh_field *f) {
    switch (f->type) {
        case DH_FIELD_INTEGER:
            return strtoll(text, NULL, 10) == f->as.integer;
        case DH_FIELD_NUMBER:
            return isnan(f->as.number) ? strcmp(text, "nan") == 0
                                       : strtod(text, NULL) == f->as.number;
        case DH_FIELD_BOOLEAN:
            return strcmp(text, f->as.boolean ? "true" : "false") == 0;
        default: {
            char *end;
            uint64_t ns = strtoull(text, &end, 10) * UINT64_C(1000000000);
            uint64_t digit = 100000000;
            for (end += *end == '.'; isdigit((unsigned char)*end); end++, digit /= 10) {
                ns += (uint64_t)(*end - '0') * digit;
            }
            return *end == '\0' && ns == f->as.duration_ns;
        }
    }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void check_member(const json_t *value, const struct dh_field *f) {
    if (is_string(f)) {
        HOLDS(json_is_string(value));
        HOLDS(says(json_string_value(value), json_string_length(value), f->as.string.data,
                   f->as.string.len));
    } else if (json_is_string(value)) { /* nan, inf */
        HOLDS(f->type == DH_FIELD_NUMBER && !isfinite(f->as.number));
        HOLDS(says_value(json_string_value(value), f));
    } else {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
        HOLDS(text != NULL);
        HOLDS(f->type == DH_FIELD_DURATION || says_value(text, f));
        free(text);
    }
}

static size_t number_of(const json_t *object, const char *key) {
    return (size_t)json_integer_value(json_object_get(object, key));
}

/* ts, level, msg, and the worker's name. */
static size_t own_members(const struct dh_line_event *ev) {
    return ev->worker != NULL ? 4 : 3;
}

/* Plain fields come first, then blocks, each in the order they were given; what did not fit is left
** out, so a field of the line is the next one given whose key and value are its own. */
static void check_members(json_t *object, const struct dh_line_event *ev) {
    size_t own = own_members(ev);
    size_t left_off = number_of(object, "log_fields_left_off");
    size_t tail = (ev->dropped > 0 ? 1u : 0u) + (left_off > 0 ? 1u : 0u);
    HOLDS(json_object_size(object) == own + tail + ev->nfields - left_off);
    if (left_off > 0 || fields.has_lines) {
        return;
    }
    const char *key;
    json_t *value;
    size_t at = 0;
    json_object_foreach(object, key, value) {
        if (at >= own && at < own + ev->nfields) {
            check_member(value, &ev->fields[at - own]);
        }
        at++;
    }
}

static void check_json(const char *line, size_t len, const struct dh_line_event *ev) {
    json_error_t error;
    json_t *object = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    HOLDS(object != NULL);
    const json_t *msg = json_object_get(object, "msg");
    const json_t *name = json_object_get(object, "worker");
    HOLDS(says(json_string_value(msg), json_string_length(msg), ev->msg, ev->msg_len));
    HOLDS((name != NULL) == (ev->worker != NULL));
    HOLDS(name == NULL ||
          says(json_string_value(name), json_string_length(name), ev->worker, strlen(ev->worker)));
    HOLDS(strcmp(json_string_value(json_object_get(object, "level")),
                 dh_log_level_name(ev->level)) == 0);
    HOLDS(number_of(object, "log_dropped") == ev->dropped);
    check_members(object, ev);
    json_decref(object);
}

/* ---- logfmt ---------------------------------------------------------------------------------- */

struct pair {
    const char *key;
    size_t key_len;
    char value[DH_LOG_LINE_BYTES + 1]; /* decoded, with a 0 behind it */
    size_t value_len;
};

static void add_utf8(struct pair *p, unsigned c) {
    if (c < 0x80) {
        p->value[p->value_len++] = (char)c;
        return;
    }
    if (c < 0x800) {
        p->value[p->value_len++] = (char)(0xc0 | c >> 6);
    } else {
        p->value[p->value_len++] = (char)(0xe0 | c >> 12);
        p->value[p->value_len++] = (char)(0x80 | (c >> 6 & 0x3f));
    }
    p->value[p->value_len++] = (char)(0x80 | (c & 0x3f));
}

/* What a backslash says; returns the last character of it. No line ends within: its end is none. */
static const char *read_escape(const char *at, struct pair *p) {
    static const char letters[] = "\"\\bfnrt";
    static const char meant[] = "\"\\\b\f\n\r\t";
    if (*at != 'u') {
        const char *letter = memchr(letters, *at, sizeof(letters) - 1);
        HOLDS(letter != NULL);
        add_utf8(p, (unsigned char)meant[letter - letters]);
        return at;
    }
    unsigned c = 0;
    for (int i = 0; i < 4; i++) {
        at++;
        HOLDS(isdigit((unsigned char)*at) || (*at >= 'a' && *at <= 'f'));
        c = c << 4 | (unsigned)(isdigit((unsigned char)*at) ? *at - '0' : *at - 'a' + 10);
    }
    HOLDS(c < 0xd800);
    add_utf8(p, c);
    return at;
}

/* Read key=value or key="value with the escapes of JSON"; returns what is behind it. */
static const char *read_pair(const char *at, const char *end, struct pair *ret_pair) {
    const char *equals = memchr(at, '=', (size_t)(end - at));
    HOLDS(equals != NULL && equals > at);
    ret_pair->key = at;
    ret_pair->key_len = (size_t)(equals - at);
    ret_pair->value_len = 0;
    for (const char *c = at; c < equals; c++) {
        HOLDS(isalnum((unsigned char)*c) || *c == '_' || *c == '.' || *c == '-');
    }
    at = equals + 1;
    HOLDS(at < end);
    bool is_quoted = *at == '"';
    for (at += is_quoted; at < end && *at != (is_quoted ? '"' : ' '); at++) {
        HOLDS((unsigned char)*at >= ' ' && (is_quoted || *at != '"'));
        if (is_quoted && *at == '\\') {
            at = read_escape(at + 1, ret_pair);
        } else {
            ret_pair->value[ret_pair->value_len++] = *at;
        }
    }
    HOLDS(is_quoted ? at < end : ret_pair->value_len > 0);
    ret_pair->value[ret_pair->value_len] = '\0';
    return at + is_quoted;
}

static bool is_key(const struct pair *p, const char *key) {
    return p->key_len == strlen(key) && memcmp(p->key, key, p->key_len) == 0;
}

static void check_pair(const struct pair *p, size_t at, const struct dh_line_event *ev) {
    size_t own = own_members(ev);
    if (is_key(p, "worker")) {
        HOLDS(at == 2 && says(p->value, p->value_len, ev->worker, strlen(ev->worker)));
    } else if (is_key(p, "msg")) {
        HOLDS(at == own - 1 && says(p->value, p->value_len, ev->msg, ev->msg_len));
    } else if (is_key(p, "log_dropped")) {
        HOLDS(strtoull(p->value, NULL, 10) == ev->dropped);
    } else if (at >= own && at < own + ev->nfields && !fields.has_lines) {
        const struct dh_field *f = &ev->fields[at - own];
        HOLDS(is_string(f) ? says(p->value, p->value_len, f->as.string.data, f->as.string.len)
                           : says_value(p->value, f));
    }
}

static void check_logfmt(const char *line, size_t len, const struct dh_line_event *ev) {
    const char *end = line + len;
    size_t count = 0;
    bool is_whole = memmem(line, len, " log_fields_left_off=", 21) == NULL;
    for (const char *at = line; at < end; count++) {
        static struct pair p;
        HOLDS(count == 0 || *at++ == ' ');
        at = read_pair(at, end, &p);
        if (is_whole) {
            check_pair(&p, count, ev);
        }
    }
    HOLDS(!is_whole || count == own_members(ev) + ev->nfields + (ev->dropped > 0 ? 1u : 0u));
}

/* ---- pretty ---------------------------------------------------------------------------------- */

/* The colours of a line: on, off, never left on at its end. */
static size_t skip_colour(const char *at, const char *end, bool *is_on) {
    size_t n = 2;
    HOLDS(end - at >= 4 && at[1] == '[');
    while (at + n < end && (isdigit((unsigned char)at[n]) || at[n] == ';')) {
        n++;
    }
    HOLDS(at + n < end && at[n] == 'm');
    *is_on = !(n == 3 && at[2] == '0');
    return n + 1;
}

static void check_pretty(const char *line, size_t len, bool has_colours) {
    bool is_on = false;
    for (size_t at = 0; at < len;) {
        uint32_t c;
        bool is_valid;
        if (line[at] == '\x1b') {
            HOLDS(has_colours);
            at += skip_colour(line + at, line + len, &is_on);
        } else if (line[at] == '\n') {
            HOLDS(fields.has_lines && !is_on);
            size_t colour = has_colours ? strlen("\x1b[2m") : 0;
            HOLDS(len - at > 4 + colour && memcmp(line + at + 1 + colour, "    ", 4) == 0);
            at++;
        } else if (line[at] >= ' ' && line[at] <= '~') {
            at++; /* most of them, by far */
        } else {
            at += dh_text_decode(line + at, len - at, &c, &is_valid);
            HOLDS(!dh_text_is_control(c));
        }
    }
    HOLDS(!is_on);
}

/* ---- the journal ----------------------------------------------------------------------------- */

static const struct dh_line_event *told; /* what the datagram is about */

static void check_journal_key(const char *key, size_t len) {
    HOLDS(len > 0 && len <= 64 && isupper((unsigned char)key[0]));
    for (size_t i = 0; i < len; i++) {
        HOLDS(isupper((unsigned char)key[i]) || isdigit((unsigned char)key[i]) || key[i] == '_');
    }
}

/* One entry: KEY=value, or KEY, the length in 8 bytes and the value; a line end. */
static const char *check_entry(const char *at, const char *end, size_t *count) {
    size_t key_len = strcspn(at, "=\n");
    HOLDS(key_len < (size_t)(end - at));
    const char *key = at;
    check_journal_key(key, key_len);
    at += key_len + 1;
    size_t len = 0;
    if (key[key_len] == '=') {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        HOLDS(stop != NULL);
        len = (size_t)(stop - at);
    } else {
        HOLDS(end - at >= 8);
        for (int i = 7; i >= 0; i--) {
            len = len << 8 | (unsigned char)at[i];
        }
        at += 8;
        HOLDS(len < (size_t)(end - at));
    }
    HOLDS(at[len] == '\n');
    if (key_len == 13 && memcmp(key, "DECNET_WORKER", 13) == 0) {
        HOLDS(told->worker != NULL && len == strlen(told->worker) &&
              memcmp(at, told->worker, len) == 0);
    } else {
        HOLDS(fuzz_is_utf8(at, len));
    }
    *count += 1;
    return at + len + 1;
}

int __wrap_dh_datagram_send(const struct dh_datagram *d, const void *data, size_t len);

int __wrap_dh_datagram_send(const struct dh_datagram *d, const void *data, size_t len) {
    char *copy = malloc(len + 1); /* a 0 behind it, for strcspn */
    size_t count = 0;
    (void)d;
    HOLDS(len <= DH_JOURNAL_BYTES);
    memcpy(copy, data, len);
    copy[len] = '\0';
    HOLDS(memcmp(copy, "PRIORITY=", 9) == 0);
    for (const char *at = copy; at < copy + len;) {
        at = check_entry(at, copy + len, &count);
    }
    HOLDS(count >= 3 && count <= 5 + told->nfields);
    free(copy);
    return 0;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void check_line(const struct dh_log_options *options, const struct dh_line_event *ev) {
    char *line = malloc(DH_LOG_LINE_BYTES + 1);
    size_t len = dh_line_write(line, options, ev);
#if FUZZ_CANARY
    char *quote = memmem(line, len, "\\\"", 2); /* an escape is forgotten */
    if (quote != NULL) {
        *quote = ' ';
    }
#endif
    HOLDS(len > 0 && len <= DH_LOG_LINE_BYTES && line[len - 1] == '\n');
    HOLDS(fuzz_is_utf8(line, len));
    len--;
    HOLDS(options->format == DH_LOG_PRETTY || memchr(line, '\n', len) == NULL);
    switch (options->format) {
        case DH_LOG_JSON:
            check_json(line, len, ev);
            break;
        case DH_LOG_LOGFMT:
            check_logfmt(line, len, ev);
            break;
        case DH_LOG_PRETTY:
            check_pretty(line, len, options->has_colors);
            break;
    }
    free(line);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input in = {data, size};
    uint8_t flags = fuzz_byte(&in);
    fuzz_c_string(&in, worker, sizeof(worker));
    struct dh_line_event ev = {
        .level = (enum dh_level)(flags & 3),
        .worker = flags & 4 ? worker : NULL,
        .msg = message,
        .msg_len = fuzz_text(&in, message, sizeof(message)),
        .fields = fields.list,
        .time_ns = UINT64_C(1763841600123456789),
        .dropped = flags & 8 ? fuzz_number(&in, 8) >> 1 : 0,
        .name_width = DH_LOG_NAME_WIDTH_MIN,
    };
    read_fields(&in);
    ev.nfields = fields.count;
    enum dh_log_format format = flags >> 6;
    if (format <= DH_LOG_JSON) {
        struct dh_log_options options = {
            .format = format,
            .has_colors = format == DH_LOG_PRETTY && (flags & 16) != 0,
            .clock = flags & 32 ? DH_LOG_CLOCK_ELAPSED : DH_LOG_CLOCK_WALL,
        };
        check_line(&options, &ev);
    } else {
        struct dh_journal journal = {.is_open = true};
        told = &ev;
        HOLDS(dh_journal_send(&journal, &ev));
    }
    return 0;
}
