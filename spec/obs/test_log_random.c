/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Whatever bytes come in, the lines that come out keep the promises of log.h. */
#include <math.h>
#include <stdlib.h>

#include "obs/check.h"
#include "obs/json.h"
#include "obs/limits.h"
#include "obs/sink.h"
#include "obs/text.h"

#define ROUNDS 20000
#define FIELDS 40
#define TEXT 4096

struct event {
    enum dh_level level;
    char worker[64];
    bool is_host;
    char msg[TEXT];
    size_t msg_len;
    struct dh_field fields[FIELDS];
    char keys[FIELDS][80];
    char values[FIELDS][TEXT];
    size_t nfields;
    bool has_lines;
};

static struct sink s;
static struct event ev;
static struct json parsed;

static size_t below(size_t n) {
    return (size_t)rand() % n;
}

/* Bytes of one of several tempers: any, text with traps, clean text. */
static size_t make_bytes(char *dst, size_t max) {
    static const char traps[] =
        "\n\r\t\0\x1b\"\\= {}:,[]%\xe2\x82\xac\xe2\x80\xae\xf0\x9f\x99\x82\xc3\xed\xff";
    size_t len = below(10) == 0 ? below(max) : below(40);
    size_t temper = below(4);
    for (size_t i = 0; i < len; i++) {
        dst[i] = temper == 0                   ? (char)rand()
                 : temper < 3 && below(3) == 0 ? traps[below(sizeof traps - 1)]
                                               : (char)('a' + below(26));
    }
    return len;
}

static void make_c_string(char *dst, size_t cap) {
    size_t len = make_bytes(dst, cap - 1);
    dst[len < cap - 1 ? len : cap - 1] = '\0';
}

static void make_field(size_t i) {
    const char *key = ev.keys[i];
    size_t len;
    make_c_string(ev.keys[i], sizeof ev.keys[i]);
    if (below(8) == 0) {
        strcpy(ev.keys[i], below(2) ? "error" : "traceback");
    }
    switch (below(7)) {
        case 0:
            ev.fields[i] =
                dh_field_integer(key, (int64_t)((uint64_t)rand() << 33 | (uint64_t)rand()));
            break;
        case 1: {
            uint64_t bits = (uint64_t)rand() << 40 ^ (uint64_t)rand() << 20 ^ (uint64_t)rand();
            double x;
            memcpy(&x, &bits, sizeof x);
            ev.fields[i] = dh_field_number(key, below(8) ? x : NAN);
            break;
        }
        case 2:
            ev.fields[i] = dh_field_boolean(key, below(2));
            break;
        case 3:
            ev.fields[i] = dh_field_duration(key, (uint64_t)rand() << below(33));
            break;
        case 4:
            len = make_bytes(ev.values[i], TEXT);
            ev.fields[i] = dh_field_lines(key, ev.values[i], len);
            ev.has_lines = true;
            break;
        default:
            len = make_bytes(ev.values[i], TEXT);
            ev.fields[i] = dh_field_string(key, ev.values[i], len);
            break;
    }
}

static void make_event(void) {
    ev.level = (enum dh_level)below(4);
    ev.is_host = below(4) == 0;
    make_c_string(ev.worker, sizeof ev.worker);
    ev.msg_len = make_bytes(ev.msg, TEXT);
    ev.nfields = below(6) ? below(6) : below(FIELDS + 1);
    ev.has_lines = false;
    for (size_t i = 0; i < ev.nfields; i++) {
        make_field(i);
    }
}

static void write_event(void) {
    sink_clear(&s);
    dh_log_write(&s.log, ev.level, ev.is_host ? NULL : ev.worker, ev.msg, ev.msg_len, ev.fields,
                 ev.nfields);
}

/* What every format promises; returns the number of broken promises. */
static int check_common(void) {
    int wrong = s.writes != 1 || s.len > DH_LOG_LINE_BYTES || s.len == 0;
    wrong += s.len == 0 || s.text[s.len - 1] != '\n';
    wrong += !json_is_utf8(s.text, s.len);
    for (size_t i = 0; i < s.len;) {
        uint32_t cp;
        bool is_valid;
        i += dh_text_decode(s.text + i, s.len - i, &cp, &is_valid);
        wrong += cp != '\n' && dh_text_is_control(cp);
    }
    return wrong;
}

static bool is_one_line(void) {
    return memchr(s.text, '\n', s.len) == s.text + s.len - 1;
}

/* Whether a value read back is what was given, unless it had to be changed or cut. */
static bool is_kept(const struct json_member *m, const char *src, size_t len) {
    if (!m || !m->is_string) {
        return false;
    }
    return (m->len == len && memcmp(m->text, src, len) == 0) || !json_is_utf8(src, len) ||
           strstr(m->text, "\xe2\x80\xa6[+") != NULL;
}

static void json_is_always_valid(void) {
    int wrong = 0;
    srand(7);
    sink_open_format(&s, DH_LOG_JSON);
    for (int round = 0; round < ROUNDS; round++) {
        const struct json_member *m;
        make_event();
        write_event();
        wrong += check_common() + !is_one_line();
        if (!json_read(&parsed, s.text, s.len - 1)) {
            wrong++;
            continue;
        }
        wrong += !is_kept(json_find(&parsed, "msg"), ev.msg, ev.msg_len);
        m = json_find(&parsed, "worker");
        wrong += ev.is_host ? m != NULL : !is_kept(m, ev.worker, strlen(ev.worker));
        for (size_t i = 0, at = ev.is_host ? 3 : 4; ev.nfields < 6 && i < ev.nfields; i++) {
            if (ev.fields[i].type == DH_FIELD_STRING && !ev.has_lines) {
                wrong +=
                    !is_kept(&parsed.members[at + i], ev.values[i], ev.fields[i].as.string.len);
            }
        }
        m = json_find(&parsed, "log_fields_left_off");
        wrong +=
            parsed.count - (ev.is_host ? 3 : 4) - (m != NULL) + (m ? (size_t)atoi(m->text) : 0) !=
            ev.nfields;
    }
    CHECK_INT(wrong, 0);
}

/* Read a logfmt line back: keys, '=', bare or quoted values, one space between; returns the
** number of pairs or -1. A quoted value is a JSON string. */
static int count_logfmt(const char *at, const char *end) {
    int pairs = 0;
    while (at < end) {
        const char *key = at;
        while (at < end && *at != '=') {
            if ((unsigned char)*at <= ' ' || *at == '"' || (unsigned char)*at >= 0x7f) {
                return -1;
            }
            at++;
        }
        if (at == key || at == end) {
            return -1;
        }
        at++;
        if (at < end && *at == '"') {
            for (at++; at < end && *at != '"'; at++) {
                at += *at == '\\';
            }
            at++;
        } else {
            const char *value = at;
            while (at < end && *at != ' ') {
                if ((unsigned char)*at <= ' ' || *at == '"' || *at == '=') {
                    return -1;
                }
                at++;
            }
            if (at == value) {
                return -1;
            }
        }
        pairs++;
        if (at < end && *at++ != ' ') {
            return -1;
        }
    }
    return pairs;
}

static void logfmt_always_reads_back(void) {
    int wrong = 0;
    srand(8);
    sink_open_format(&s, DH_LOG_LOGFMT);
    for (int round = 0; round < ROUNDS; round++) {
        int pairs;
        make_event();
        write_event();
        wrong += check_common() + !is_one_line();
        pairs = count_logfmt(s.text, s.text + s.len - 1);
        if (strstr(s.text, " log_fields_left_off=")) {
            wrong += pairs < 0;
        } else {
            wrong += pairs != (int)ev.nfields + (ev.is_host ? 3 : 4);
        }
    }
    CHECK_INT(wrong, 0);
}

static void pretty_is_one_line_and_what_follows_is_indented(void) {
    int wrong = 0;
    srand(9);
    sink_open_format(&s, DH_LOG_PRETTY);
    for (int round = 0; round < ROUNDS; round++) {
        make_event();
        write_event();
        wrong += check_common() + (!ev.has_lines && !is_one_line());
        for (const char *at = s.text; (at = strchr(at, '\n')) != NULL;) {
            at++;
            wrong += *at != '\0' && memcmp(at, "    ", 4) != 0;
        }
    }
    CHECK_INT(wrong, 0);
}

/* Colours may add escape sequences, but only those, and each is switched off again. */
static void colors_are_balanced(void) {
    const struct dh_log_options options = {.has_colors = true};
    static char colored[DH_LOG_LINE_BYTES + 1];
    int wrong = 0;
    srand(10);
    sink_open(&s, &options);
    for (int round = 0; round < ROUNDS; round++) {
        bool is_on = false;
        make_event();
        write_event();
        wrong += s.writes != 1 || s.len > DH_LOG_LINE_BYTES;
        memcpy(colored, s.text, s.len + 1);
        for (const char *at = colored; (at = strpbrk(at, "\x1b\n")) != NULL; at++) {
            if (*at == '\n') {
                wrong += is_on;
            } else {
                bool is_reset = strncmp(at, "\x1b[0m", 4) == 0;
                wrong += is_reset != is_on;
                is_on = !is_reset;
            }
        }
        wrong += is_on;
    }
    CHECK_INT(wrong, 0);
}

/* The reader of this test must not accept everything. */
static void the_json_reader_refuses_what_is_not_json(void) {
    static const char *const bad[] = {
        "",
        "{}",
        "{\"a\":1",
        "{\"a\":nan}",
        "{\"a\":\"\n\"}",
        "{\"a\":01}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":1}x",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":1.}",
        "{\"a\":1,}",
        "{a:1}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (!CHECK(!json_read(&parsed, bad[i], strlen(bad[i])))) {
            printf("    accepted: %s\n", bad[i]);
        }
    }
    CHECK(json_read(&parsed, "{\"a\":-0.5e+3,\"b\":\"\\u20ac\"}", 26));
    CHECK_TEXT(json_find(&parsed, "b")->text, "\xe2\x82\xac");
}

static const struct check_case cases[] = {
    {"JSON is always valid", json_is_always_valid},
    {"logfmt always reads back", logfmt_always_reads_back},
    {"pretty is one line and what follows is indented",
     pretty_is_one_line_and_what_follows_is_indented},
    {"colors are balanced", colors_are_balanced},
    {"the JSON reader refuses what is not JSON", the_json_reader_refuses_what_is_not_json},
};

CHECK_MAIN(cases)
