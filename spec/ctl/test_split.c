/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The splitter: whatever way the bytes come in, the same fields come out; what is no JSON hurts nobody.
*/
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/split.h"

struct seen {
    char text[4096];
    size_t len;
    int count;
    int enough; /* after so many */
};

static bool on(void *arg, const char *key, const char *text, size_t len) {
    struct seen *s = arg;
    assert(strlen(text) == len);
    int n = snprintf(s->text + s->len, sizeof(s->text) - s->len, "%s=%s;", key, text);
    s->len += n > 0 && (size_t)n < sizeof(s->text) - s->len ? (size_t)n : 0;
    return ++s->count != s->enough;
}

/* Feed the text in pieces of so many bytes. */
static void run(const char *json, size_t piece, const char *expected, bool is_complete) {
    struct seen seen = {.enough = -1};
    struct dh_split split;
    size_t len = strlen(json);
    dh_split_init(&split, on, &seen);
    for (size_t at = 0; at < len; at += piece) {
        size_t n = len - at < piece ? len - at : piece;
        dh_split_feed(&split, json + at, n);
    }
    if (strcmp(seen.text, expected) != 0 || split.is_complete != is_complete) {
        fprintf(stderr, "%s\n  in pieces of %zu: %s\n  not: %s\n", json, piece, seen.text,
                expected);
        abort();
    }
    dh_split_fini(&split);
}

static void fields_come_out(void) {
    static const struct {
        const char *json;
        const char *fields;
        bool is_complete;
    } cases[] = {
        {"{}", "", true},
        {" {\n} \n", "", true},
        {"{\"a\":1}", "a=1;", true},
        {"{ \"a\" : 1 , \"b\" : \"x y\" }", "a=1;b=\"x y\";", true},
        {"{\"host\":{\"states\":{\"a\":1},\"l\":[1,[2]]},\"holder\":null,\"workers\":[\n{\"n\":1},"
         "\n"
         "{\"n\":[{}]}]}\n",
         "host={\"states\":{\"a\":1},\"l\":[1,[2]]};holder=null;workers={\"n\":1};"
         "workers={\"n\":[{}]};",
         true},
        {"{\"w\":[]}", "", true},
        {"{\"w\":[1],\"x\":2}", "w=1;x=2;", true},
        {"{\"a\":\"]}[{,:\\\"\\\\\",\"b\":[\"],[\",\"\\\\\"]}",
         "a=\"]}[{,:\\\"\\\\\";b=\"],[\";b=\"\\\\\";", true},
        {"{\"a,}\":1}", "a,}=1;", true},
        {"{\"a\":1", "", false},
        {"{\"w\":[1,2", "w=1;", false},
        {"[1,2]", "", false},
        {"hello", "", false},
        {"{\"key that is far too long to be one of ours, really\":1}",
         "key that is far too long to be =1;", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t piece = 1; piece <= strlen(cases[i].json); piece++) {
            run(cases[i].json, piece, cases[i].fields, cases[i].is_complete);
        }
    }
}

static void who_has_enough_is_left_alone(void) {
    static const char json[] = "{\"a\":1,\"w\":[1,2,3],\"z\":1}";
    for (int enough = 1; enough <= 4; enough++) {
        struct seen seen = {.enough = enough};
        struct dh_split split;
        dh_split_init(&split, on, &seen);
        assert(!dh_split_feed(&split, json, strlen(json)));
        assert(seen.count == enough && !split.is_complete);
        dh_split_fini(&split);
    }
}

static void what_is_endless_is_given_up(void) {
    struct seen seen = {.enough = -1};
    struct dh_split split;
    char block[65536];
    size_t fed = 0;
    memset(block, 'x', sizeof(block));
    dh_split_init(&split, on, &seen);
    assert(dh_split_feed(&split, "{\"a\":\"", 6));
    while (dh_split_feed(&split, block, sizeof(block))) {
        fed += sizeof(block);
        assert(fed < (64u << 20));
    }
    assert(seen.count == 0);
    dh_split_fini(&split);
}

static void any_bytes_hurt_nobody(void) {
    static const char alphabet[] = "{}[]\",:\\ 1a\n";
    uint32_t random = 1;
    for (int round = 0; round < 200000; round++) {
        struct seen seen = {.enough = -1};
        struct dh_split split;
        dh_split_init(&split, on, &seen);
        for (int i = 0; i < 40; i++) {
            random = random * 1664525u + 1013904223u;
            char c = alphabet[(random >> 16) % (sizeof(alphabet) - 1)];
            dh_split_feed(&split, i == 0 ? "{" : &c, 1);
        }
        dh_split_fini(&split);
    }
}

int main(void) {
    fields_come_out();
    who_has_enough_is_left_alone();
    what_is_endless_is_given_up();
    any_bytes_hurt_nobody();
    return 0;
}
