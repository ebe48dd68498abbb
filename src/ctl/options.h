/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The command line of the client verbs.
*/
#ifndef DH_CTL_OPTIONS_H
#define DH_CTL_OPTIONS_H

#include <stdbool.h>

#include "core/error.h"

struct dh_options {
    const char *verb;
    char **names; /* operands */
    int name_count;
    const char *socket; /* NULL: not given */
    const char *script; /* NULL: not given */
    double timeout_s;   /* < 0: not given */
    double spent_s;     /* of it: the host was looked for */
    long lines;         /* < 0: not given */
    bool is_json;
    bool names_only;
    bool follows;
    bool is_all;
    bool is_ready;
    bool is_now;
    bool is_help;
};

/* Options as a set of bits: what a verb knows. */
enum dh_option {
    DH_OPTION_JSON = 1 << 0,
    DH_OPTION_NAMES = 1 << 1,
    DH_OPTION_FOLLOW = 1 << 2,
    DH_OPTION_LINES = 1 << 3,
    DH_OPTION_ALL = 1 << 4,
    DH_OPTION_READY = 1 << 5,
    DH_OPTION_NOW = 1 << 6,
    DH_OPTION_TIMEOUT = 1 << 7
};

/* Read what stands behind the verb, argv[1]; operands are moved to the front of the rest of argv. --socket,
** --script and --help are everybody's. Errors: DH_EINVAL. */
int dh_options_read(struct dh_options *o, int argc, char **argv, unsigned known,
                    struct dh_error *err);

#endif
