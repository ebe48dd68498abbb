/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "prometheus.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

enum { FAMILIES = 64, NAME_BYTES = 96, LABEL_BYTES = 1024, SAMPLES = 4096 };

struct reader {
    const char *at;
    const char *end;
    char families[FAMILIES][NAME_BYTES];
    size_t family_count;
    uint64_t seen[SAMPLES]; /* hashes of name and labels */
    size_t seen_count;
    bool is_typed;
};

static bool is_name_byte(char c, bool is_first) {
    return isalpha((unsigned char)c) || c == '_' || c == ':' ||
           (!is_first && isdigit((unsigned char)c));
}

static void read_name(struct reader *r, char name[NAME_BYTES]) {
    size_t n = 0;
    while (r->at < r->end && is_name_byte(*r->at, n == 0)) {
        HOLDS(n < NAME_BYTES - 1);
        name[n++] = *r->at++;
    }
    HOLDS(n > 0);
    name[n] = '\0';
}

static void expect(struct reader *r, const char *text) {
    size_t len = strlen(text);
    HOLDS((size_t)(r->end - r->at) >= len && memcmp(r->at, text, len) == 0);
    r->at += len;
}

static bool accept(struct reader *r, char c) {
    bool is = r->at < r->end && *r->at == c;
    r->at += is;
    return is;
}

/* "value" with \\ \" \n in it. */
static void read_label(struct reader *r, char label[LABEL_BYTES]) {
    size_t n = 0;
    expect(r, "\"");
    while (r->at < r->end && *r->at != '"') {
        char c = *r->at++;
        HOLDS(c != '\n' && n < LABEL_BYTES - 1);
        if (c == '\\') {
            HOLDS(r->at < r->end && strchr("\\\"n", *r->at) != NULL);
            c = *r->at == 'n' ? '\n' : *r->at;
            r->at++;
        }
        label[n++] = c;
    }
    expect(r, "\"");
    HOLDS(fuzz_is_utf8(label, n));
    label[n] = '\0';
}

static void note_sample(struct reader *r, const char *from, const char *to) {
    uint64_t hash = 14695981039346656037u;
    for (; from < to; from++) {
        hash = (hash ^ (unsigned char)*from) * 1099511628211u;
    }
    for (size_t i = 0; i < r->seen_count; i++) {
        HOLDS(r->seen[i] != hash);
    }
    HOLDS(r->seen_count < SAMPLES);
    r->seen[r->seen_count++] = hash;
}

/* Does the sample belong to the family under way? */
static void check_family(const struct reader *r, const char *name) {
    HOLDS(r->family_count > 0 && r->is_typed);
    const char *family = r->families[r->family_count - 1];
    size_t len = strlen(family);
    HOLDS(strncmp(name, family, len) == 0);
    name += len;
    HOLDS(*name == '\0' || strcmp(name, "_bucket") == 0 || strcmp(name, "_sum") == 0 ||
          strcmp(name, "_count") == 0);
}

static void read_sample(struct reader *r, prometheus_on on, void *arg) {
    const char *from = r->at;
    char name[NAME_BYTES];
    char key[NAME_BYTES];
    char label[LABEL_BYTES];
    char worker[LABEL_BYTES];
    bool has_worker = false;
    read_name(r, name);
    check_family(r, name);
    if (accept(r, '{')) {
        do {
            read_name(r, key);
            expect(r, "=");
            read_label(r, label);
            if (strcmp(key, "worker") == 0) {
                HOLDS(!has_worker);
                has_worker = true;
                strcpy(worker, label);
            }
        } while (accept(r, ','));
        expect(r, "}");
    }
    note_sample(r, from, r->at);
    expect(r, " ");
    char *end;
    char number[64];
    size_t len = strcspn(r->at, "\n");
    HOLDS(len > 0 && len < sizeof(number) && !isspace((unsigned char)*r->at));
    memcpy(number, r->at, len);
    number[len] = '\0';
    double value = strtod(number, &end);
    HOLDS(*end == '\0');
    r->at += len;
    on(arg, name, has_worker ? worker : NULL, value);
}

static void read_comment(struct reader *r) {
    static const char *const types[] = {"counter\n", "gauge\n", "histogram\n"};
    char name[NAME_BYTES];
    expect(r, "# ");
    bool is_help = accept(r, 'H');
    expect(r, is_help ? "ELP " : "TYPE ");
    read_name(r, name);
    expect(r, " ");
    if (is_help) {
        for (size_t i = 0; i < r->family_count; i++) {
            HOLDS(strcmp(r->families[i], name) != 0);
        }
        HOLDS(r->family_count < FAMILIES);
        strcpy(r->families[r->family_count++], name);
        r->is_typed = false;
        r->at += strcspn(r->at, "\n");
        return;
    }
    HOLDS(!r->is_typed && r->family_count > 0);
    HOLDS(strcmp(r->families[r->family_count - 1], name) == 0);
    r->is_typed = true;
    bool is_known = false;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        is_known = is_known || strncmp(r->at, types[i], strlen(types[i])) == 0;
    }
    HOLDS(is_known);
    r->at += strcspn(r->at, "\n");
}

void prometheus_read(const char *text, size_t len, prometheus_on on, void *arg) {
    static struct reader r;
    HOLDS(len > 0 && text[len] == '\0' && text[len - 1] == '\n' && strlen(text) == len);
    r.at = text;
    r.end = text + len;
    r.family_count = 0;
    r.seen_count = 0;
    while (r.at < r.end) {
        if (*r.at == '#') {
            read_comment(&r);
        } else {
            read_sample(&r, on, arg);
        }
        expect(&r, "\n");
    }
}
