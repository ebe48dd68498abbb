/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ctl/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/near.h"
#include "obs/text.h"

#define ALWAYS 0u

static const struct option {
    const char *word;
    unsigned bit;
    char letter; /* 0: none */
    bool has_value;
} options[] = {
    {"--socket", ALWAYS, 0, true},
    {"--script", ALWAYS, 0, true},
    {"--help", ALWAYS, 'h', false},
    {"--json", DH_OPTION_JSON, 0, false},
    {"--names", DH_OPTION_NAMES, 0, false},
    {"--follow", DH_OPTION_FOLLOW, 'f', false},
    {"--lines", DH_OPTION_LINES, 'n', true},
    {"--all", DH_OPTION_ALL, 0, false},
    {"--ready", DH_OPTION_READY, 0, false},
    {"--now", DH_OPTION_NOW, 0, false},
    {"--timeout", DH_OPTION_TIMEOUT, 0, true},
};

/* Words come from people, and are shown to them. */
static int complain(struct dh_error *err, const char *what, const char *word, const char *rest) {
    char shown[100];
    dh_text_oneline(shown, sizeof(shown), word, strlen(word));
    return dh_error_set(err, DH_EINVAL, "%s '%s'%s", what, shown, rest);
}

#define OPTIONS (sizeof(options) / sizeof(options[0]))

static const struct option *find_word(const char *word, size_t len) {
    for (size_t i = 0; i < OPTIONS; i++) {
        if (strlen(options[i].word) == len && memcmp(options[i].word, word, len) == 0) {
            return &options[i];
        }
    }
    return NULL;
}

static const struct option *find_letter(char letter) {
    for (size_t i = 0; i < OPTIONS; i++) {
        if (options[i].letter == letter) {
            return &options[i];
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

/* Does this verb have the option at r->at? */
static int check(const struct reading *r, const struct option *option, struct dh_error *err) {
    const char *word = r->argv[r->at];
    struct dh_near near;
    char rest[64];
    if (option != NULL && (option->bit & ~r->known) == 0) {
        return 0;
    }
    dh_near_init(&near, word, strcspn(word, "="));
    for (size_t i = 0; option == NULL && i < OPTIONS; i++) {
        if ((options[i].bit & ~r->known) == 0) {
            dh_near_offer(&near, options[i].word, strlen(options[i].word));
        }
    }
    if (near.found != NULL) {
        snprintf(rest, sizeof(rest), "; did you mean '%s'?", near.found);
    } else {
        snprintf(rest, sizeof(rest), "; see decnet-host %s --help", r->options->verb);
    }
    return complain(err, option == NULL ? "unknown option" : "this verb has no option", word, rest);
}

/* The value stands behind the option, or is the next word. */
static int read_value(struct reading *r, const struct option *option, const char *behind,
                      struct dh_error *err) {
    if (behind == NULL && r->at + 1 == r->argc) {
        return complain(err, "a value expected behind", r->argv[r->at], "");
    }
    return set(r->options, option, behind != NULL ? behind : r->argv[++r->at], err);
}

/* --word, --word VALUE, --word=VALUE */
static int read_word(struct reading *r, struct dh_error *err) {
    const char *word = r->argv[r->at];
    size_t len = strcspn(word, "=");
    const char *behind = word[len] == '=' ? word + len + 1 : NULL;
    const struct option *option = find_word(word, len);
    int result = check(r, option, err);
    if (result != 0) {
        return result;
    }
    if (option->has_value) {
        return read_value(r, option, behind, err);
    }
    return behind == NULL ? set(r->options, option, "", err)
                          : complain(err, "no value expected in", word, "");
}

/* -f, -n 2, -n2, -fn2: as getopt does. */
static int read_letters(struct reading *r, struct dh_error *err) {
    int result = 0;
    for (const char *at = r->argv[r->at] + 1; result == 0 && *at != '\0'; at++) {
        const struct option *option = find_letter(*at);
        result = check(r, option, err);
        if (result == 0 && option->has_value) {
            return read_value(r, option, at[1] != '\0' ? at + 1 : NULL, err);
        }
        result = result == 0 ? set(r->options, option, "", err) : result;
    }
    return result;
}

static int read_option(struct reading *r, struct dh_error *err) {
    return r->argv[r->at][1] == '-' ? read_word(r, err) : read_letters(r, err);
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
