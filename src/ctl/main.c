/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** decnet-ctl: what `decnet-host VERB` executes to ask a host that runs.
*/
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/cells.h"
#include "ctl/find.h"
#include "ctl/verb.h"

#define MANY 100000

static const struct verb {
    const char *name;
    int (*run)(const struct dh_options *o, struct dh_http *h);
    unsigned options;
    int least; /* operands */
    int most;
    const char *usage;
    const char *help;
} verbs[] = {
    {"status", dh_verb_status, DH_OPTION_JSON | DH_OPTION_NAMES, 0, 1,
     "status [NAME] [--json | --names]", "every worker, or all about one"},
    {"start", dh_verb_order, DH_OPTION_TIMEOUT, 1, MANY, "start NAME... [--timeout S]",
     "start workers that do not run"},
    {"stop", dh_verb_order, DH_OPTION_TIMEOUT, 1, MANY, "stop NAME... [--timeout S]",
     "stop workers, for good"},
    {"restart", dh_verb_order, DH_OPTION_TIMEOUT, 1, MANY, "restart NAME... [--timeout S]",
     "stop and start workers"},
    {"retry", dh_verb_order, DH_OPTION_TIMEOUT, 1, MANY, "retry NAME... [--timeout S]",
     "start now what waits for its restart"},
    {"reset", dh_verb_order, DH_OPTION_TIMEOUT, 1, MANY, "reset NAME... [--timeout S]",
     "forget the crashes so far"},
    {"reload", dh_verb_reload, DH_OPTION_TIMEOUT, 0, 0, "reload [--timeout S]",
     "load the script again, restart what differs"},
    {"shutdown", dh_verb_shutdown, DH_OPTION_NOW | DH_OPTION_TIMEOUT, 0, 0,
     "shutdown [--now] [--timeout S]", "end the host politely, or at once"},
    {"logs", dh_verb_logs, DH_OPTION_FOLLOW | DH_OPTION_LINES | DH_OPTION_JSON, 0, 1,
     "logs [-f | --follow] [-n N | --lines N] [NAME] [--json]",
     "what was logged; -f: and what comes"},
    {"events", dh_verb_events, DH_OPTION_ALL | DH_OPTION_JSON, 0, 0, "events [--all] [--json]",
     "what happens; --all: and what has happened"},
    {"wait", dh_verb_wait, DH_OPTION_READY | DH_OPTION_TIMEOUT, 0, 1,
     "wait [--ready] [--timeout S] [NAME]", "until it has ended, or is ready"},
    {"top", dh_verb_top, 0, 0, 0, "top", "live; ? shows the keys"},
};

#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

/* What it does stands behind it, or below where it is too long. */
#define USAGE_WIDTH 33

static void print_usage(void) {
    fputs("usage: decnet-host COMMAND, of a host that runs:\n", stdout);
    for (size_t i = 0; i < VERBS; i++) {
        bool is_long = strlen(verbs[i].usage) > USAGE_WIDTH;
        printf("  %-*s%s", USAGE_WIDTH, verbs[i].usage, is_long ? "\n" : "");
        printf("%*s%s\n", is_long ? USAGE_WIDTH + 4 : 2, "", verbs[i].help);
    }
    fputs("\n"
          "options of all:\n"
          "  --socket PATH   the host's socket; without it, the only one that answers\n"
          "  --script FILE   the socket of the host of this script\n"
          "  --help\n"
          "\n"
          "exit codes: 0 yes, done; 1 no: a worker that should run does not, an order was\n"
          "            refused or not in time, a reloaded worker went back; 2 usage; 3 no\n"
          "            host answers\n",
          stdout);
}

static const struct verb *find_verb(const char *name) {
    for (size_t i = 0; i < VERBS; i++) {
        if (strcmp(verbs[i].name, name) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

static int check_operands(const struct verb *verb, const struct dh_options *o,
                          struct dh_error *err) {
    if (o->name_count < verb->least) {
        return dh_error_set(err, DH_EINVAL,
                            "%s: the name of a worker expected; see decnet-host "
                            "status --names",
                            verb->name);
    }
    if (o->name_count > verb->most) {
        return dh_error_set(err, DH_EINVAL, "%s: %s; see decnet-host %s --help", verb->name,
                            verb->most == 0 ? "no operand expected" : "one name expected",
                            verb->name);
    }
    if (o->is_json && o->names_only) {
        return dh_error_set(err, DH_EINVAL, "--json and --names: give one");
    }
    return 0;
}

/* A host that is to become ready may still have to start. */
static int find_soon(struct dh_options *o, char path[DH_FIND_BYTES], struct dh_error *err) {
    int result = dh_find_socket(o, path, err);
    while (result == DH_ENOENT && o->is_ready && (o->timeout_s < 0 || o->timeout_s > o->spent_s)) {
        double left_s = o->timeout_s - o->spent_s;
        double rest_s = o->timeout_s < 0 || left_s > 0.1 ? 0.1 : left_s;
        nanosleep(&(struct timespec){0, (long)(rest_s * 1e9)}, NULL);
        o->spent_s += rest_s;
        result = dh_find_socket(o, path, err);
    }
    return result;
}

static int ask(const struct verb *verb, struct dh_options *o) {
    struct dh_error err;
    struct dh_http http;
    char path[DH_FIND_BYTES];
    if (find_soon(o, path, &err) != 0) {
        return dh_verb_complain(&err);
    }
    if (dh_http_init(&http, path) != 0) {
        dh_http_fini(&http);
        dh_error_set(&err, DH_ENOMEM, "out of memory");
        return dh_verb_complain(&err);
    }
    int code = verb->run(o, &http);
    dh_http_fini(&http);
    return code;
}

int main(int argc, char **argv) {
    struct dh_error err;
    struct dh_options options;
    const struct verb *verb = argc > 1 ? find_verb(argv[1]) : NULL;
    signal(SIGPIPE, SIG_DFL); /* who stops reading ends it, without a word */
    dh_cells_init();
    if (verb == NULL) {
        bool is_help = argc > 1 && strcmp(argv[1], "--help") == 0;
        if (!is_help) {
            fputs("decnet-host: decnet-ctl carries out 'decnet-host VERB': see decnet-ctl --help\n",
                  stderr);
            return DH_EXIT_USAGE;
        }
        print_usage();
        return DH_EXIT_FINE;
    }
    if (dh_options_read(&options, argc, argv, verb->options, &err) != 0) {
        return dh_verb_complain(&err);
    }
    if (options.is_help) {
        print_usage();
        return DH_EXIT_FINE;
    }
    if (check_operands(verb, &options, &err) != 0) {
        return dh_verb_complain(&err);
    }
    int code = ask(verb, &options);
    bool is_full = fflush(stdout) != 0;
    if (is_full || ferror(stdout)) { /* errno is of this failure, not of one before */
        fprintf(stderr, "decnet-host: stdout: %s\n",
                is_full ? strerror(errno) : "not all of it could be written");
        return DH_EXIT_NO;
    }
    return code;
}
