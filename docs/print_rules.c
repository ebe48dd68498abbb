/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Prints the table of core/rules.c as Markdown, for docs/supervision.md.
*/
#include <stdio.h>
#include <string.h>

#include "core/rules.h"

static void print_destinations(const struct dh_rule *rule) {
    const char *comma = "";
    for (int to = 0; to < DH_STATE_COUNT; to++) {
        if (rule->may_become & (1u << to)) {
            printf("%s`%s`", comma, dh_state_name((enum dh_state)to));
            comma = ", ";
        }
    }
    if (rule->may_become & DH_BECOMES_GONE) {
        printf("%sgone", comma);
    }
}

static void print_state(enum dh_state state) {
    const char *comma = "";
    printf("### %s\n\n| when | it | and is then |\n|---|---|---|\n", dh_state_name(state));
    for (int input = 0; input < DH_INPUT_COUNT; input++) {
        const struct dh_rule *rule = dh_rule_at(state, (enum dh_input)input);
        if (!rule->is_stale) {
            printf("| %s | %s | ", dh_input_name((enum dh_input)input), rule->text);
            print_destinations(rule);
            printf(" |\n");
        }
    }
    for (int input = 0; input < DH_INPUT_COUNT; input++) {
        if (dh_rule_at(state, (enum dh_input)input)->is_stale) {
            printf("%s%s", *comma == '\0' ? "\nToo late here, counted and ignored: " : comma,
                   dh_input_name((enum dh_input)input));
            comma = "; ";
        }
    }
    printf("%s\n", *comma == '\0' ? "" : ".\n");
}

int main(void) {
    for (int state = 0; state < DH_STATE_COUNT; state++) {
        print_state((enum dh_state)state);
    }
    return 0;
}
