/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ctl/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "obs/text.h"

#define ALWAYS 0u

static const struct option {
    const char *word;
    const char *letter; /* or NULL */
    unsigned bit;
    bool has_value;
} options[] = {
    {"--socket", NULL, ALWAYS, true},
    {"--script", NULL, ALWAYS, true},
    {"--help", "-h", ALWAYS, false},
    {"--json", NULL, DH_OPTION_JSON, false},
    {"--names", NULL, DH_OPTION_NAMES, false},
    {"--follow", "-f", DH_OPTION_FOLLOW, false},
    {"--lines", "-n", DH_OPTION_LINES, true},
    {"--all", NULL, DH_OPTION_ALL, false},
    {"--ready", NULL, DH_OPTION_READY, false},
    {"--now", NULL, DH_OPTION_NOW, false},
    {"--timeout", NULL, DH_OPTION_TIMEOUT, true},
};

/* Words come from people, and are shown to them. */
static int complain(struct dh_error *err, const char *what, const char *word, const char *rest) {
    char shown[100];
    dh_text_oneline(shown, sizeof(shown), word, strlen(word));
    return dh_error_set(err, DH_EINVAL, "%s '%s'%s", what, shown, rest);
}

/* 'word' up to a '='. */
static const struct option *find(const char *word, size_t len) {
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        const struct option *o = &options[i];
        bool is_it = strlen(o->word) == len && memcmp(o->word, word, len) == 0;
        if (is_it || (o->letter != NULL && strcmp(o->letter, word) == 0)) {
            return o;
        }
    }
    return NULL;
}

static int read_seconds(const char *value, double *ret_seconds, struct dh_error *err) {
    char *end;
    double seconds = strtod(value, &end);
    if (end == value || *end != '\0' || !(seconds >= 0)) {
        return complain(err, "--timeout: a number of seconds >= 0 expected, got", value, "");
    }
    *ret_seconds = seconds;
    return 0;
}

static int read_lines(const char *value, long *ret_lines, struct dh_error *err) {
    char *end;
    long lines = strtol(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0') {
        return complain(err, "--lines: a whole number >= 0 expected, got", value, "");
    }
    *ret_lines = lines;
    return 0;
}

static int set(struct dh_options *o, const struct option *option, const char *value,
               struct dh_error *err) {
    switch (option->bit) {
        case DH_OPTION_JSON:
            o->is_json = true;
            return 0;
        case DH_OPTION_NAMES:
            o->names_only = true;
            return 0;
        case DH_OPTION_FOLLOW:
            o->follows = true;
            return 0;
        case DH_OPTION_LINES:
            return read_lines(value, &o->lines, err);
        case DH_OPTION_ALL:
            o->is_all = true;
            return 0;
        case DH_OPTION_READY:
            o->is_ready = true;
            return 0;
        case DH_OPTION_NOW:
            o->is_now = true;
            return 0;
        case DH_OPTION_TIMEOUT:
            return read_seconds(value, &o->timeout_s, err);
        default:
            break;
    }
    if (!option->has_value) {
        o->is_help = true;
        return 0;
    }
    *(strcmp(option->word, "--socket") == 0 ? &o->socket : &o->script) = value;
    return value[0] != '\0' ? 0 : complain(err, "a path expected behind", option->word, "");
}

struct reading {
    struct dh_options *options;
    int argc;
    char **argv;
    int at;
    unsigned known;
};

static int unknown(const struct reading *r, const struct option *option, struct dh_error *err) {
    char rest[64];
    snprintf(rest, sizeof(rest), "; see decnet-host %s --help", r->options->verb);
    return complain(err, option == NULL ? "unknown option" : "this verb has no option",
                    r->argv[r->at], rest);
}

/* The option at r->at, and its value, which may be the next word. */
static int read_option(struct reading *r, struct dh_error *err) {
    const char *word = r->argv[r->at];
    const char *equals = strncmp(word, "--", 2) == 0 ? strchr(word, '=') : NULL;
    const struct option *option =
        find(word, equals != NULL ? (size_t)(equals - word) : strlen(word));
    if (option == NULL || (option->bit & ~r->known) != 0) {
        return unknown(r, option, err);
    }
    if (!option->has_value) {
        return equals == NULL ? set(r->options, option, "", err)
                              : complain(err, "no value expected in", word, "");
    }
    if (equals == NULL && r->at + 1 == r->argc) {
        return complain(err, "a value expected behind", word, "");
    }
    return set(r->options, option, equals != NULL ? equals + 1 : r->argv[++r->at], err);
}

int dh_options_read(struct dh_options *o, int argc, char **argv, unsigned known,
                    struct dh_error *err) {
    struct reading r = {.options = o, .argc = argc, .argv = argv, .known = known};
    bool is_over = false;
    *o = (struct dh_options){.verb = argv[1], .names = argv + 2, .timeout_s = -1, .lines = -1};
    for (r.at = 2; r.at < argc; r.at++) {
        char *word = argv[r.at];
        if (is_over || word[0] != '-' || word[1] == '\0') {
            o->names[o->name_count++] = word;
            continue;
        }
        is_over = strcmp(word, "--") == 0;
        int result = is_over ? 0 : read_option(&r, err);
        if (result != 0) {
            return result;
        }
    }
    if (o->socket != NULL && o->script != NULL) {
        return dh_error_set(err, DH_EINVAL, "--socket and --script both say which host: give one");
    }
    return 0;
}
