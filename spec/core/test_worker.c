/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Names, edges, defaults, errors: what is there before anything happens. */
#include "check.h"
#include "core/error.h"
#include "core/rules.h"
#include "world.h"

static void states_and_events_have_the_names_of_the_contract(void) {
    static const char *const states[] = {"waiting", "running", "stopping", "closing",
                                         "backoff", "done",    "failed",   "stopped"};

    for (int i = 0; i < DH_STATE_COUNT; i++) {
        CHECK_STR(dh_state_name((enum dh_state)i), states[i]);
    }
    CHECK_STR(dh_event_name(DH_EVENT_GIVE_UP), "give_up");
    CHECK_STR(dh_event_name(DH_EVENT_GROUP_FAILED), "group_failed");
}

static void the_edges_are_those_of_the_drawing(void) {
    static const char *const rows[] = {
        /* to:     WRPCBDFS */
        /* from W */ ".x.....x",
        /* R */ "..xx....",
        /* P */ "...x....",
        /* C */ "x...xxxx",
        /* B */ "xx.....x",
        /* D */ "x.......",
        /* F */ "x.......",
        /* S */ "x.......",
    };

    for (int from = 0; from < DH_STATE_COUNT; from++) {
        for (int to = 0; to < DH_STATE_COUNT; to++) {
            CHECK_EQ(dh_state_may_become((enum dh_state)from, (enum dh_state)to),
                     rows[from][to] == 'x');
        }
        CHECK(!dh_state_is_alive((enum dh_state)from) || !dh_state_is_final((enum dh_state)from));
    }
    CHECK(dh_state_is_alive(DH_CLOSING) && !dh_state_is_alive(DH_BACKOFF));
    CHECK(dh_state_is_final(DH_FAILED) && !dh_state_is_final(DH_WAITING));
}

static void A01_the_defaults_are_those_of_the_contract(void) {
    struct dh_policy p;

    memset(&p, 0xFF, sizeof p);
    dh_policy_init_defaults(&p);
    CHECK_EQ(p.restart, DH_RESTART_ON_FAILURE);
    CHECK_EQ(p.min_backoff_ns, SEC);
    CHECK_EQ(p.max_backoff_ns, 30 * SEC);
    CHECK(p.backoff_factor >= 2 && p.backoff_factor <= 2);
    CHECK(p.jitter >= 0 && p.jitter <= 0);
    CHECK_EQ(p.reset_after_ns, 60 * SEC);
    CHECK_EQ(p.max_restarts, DH_UNLIMITED);
    CHECK_EQ(p.within_ns, 60 * SEC);
    CHECK_EQ(p.stop_timeout_ns, 10 * SEC);
    CHECK_EQ(p.start_timeout_ns, DH_NEVER);
    CHECK_EQ(p.watchdog_ns, DH_NEVER);
    CHECK_EQ(p.hang_timeout_ns, 5 * SEC);
    CHECK_EQ(p.max_memory_bytes, UINT64_MAX);
    CHECK(!p.is_essential && !p.notifies && p.is_preemptible);
    CHECK_EQ(dh_policy_check(&p, NULL), 0);
}

static void policies_compare_by_what_they_say(void) {
    struct dh_policy a;
    struct dh_policy b;

    memset(&a, 0x00, sizeof a);
    memset(&b, 0xFF, sizeof b);
    dh_policy_init_defaults(&a);
    dh_policy_init_defaults(&b);
    CHECK(dh_policy_is_equal(&a, &b));
    CHECK_EQ(dh_policy_hash(&a), dh_policy_hash(&b));
    b.is_preemptible = false;
    CHECK(!dh_policy_is_equal(&a, &b));
    b = a;
    b.jitter = 0.1;
    CHECK(!dh_policy_is_equal(&a, &b));
}

static void errors_are_wrapped_on_the_way_up_and_cut_to_fit(void) {
    struct dh_error e;
    char filler[300];

    CHECK(dh_error_set(&e, DH_ENOENT, "no worker \"%s\"", "db") == DH_ENOENT);
    CHECK(dh_error_wrap(&e, "worker \"%s\"", "app") == DH_ENOENT);
    CHECK(dh_error_wrap(&e, "%s", "workers.lua") == DH_ENOENT);
    CHECK_STR(e.text, "workers.lua: worker \"app\": no worker \"db\"");
    CHECK(dh_error_set(NULL, DH_EBUSY, "x") == DH_EBUSY);
    memset(filler, 'y', sizeof filler);
    filler[sizeof filler - 1] = '\0';
    dh_error_set(&e, DH_EINVAL, "%s", filler);
    CHECK_EQ(strlen(e.text), sizeof e.text - 1);
    dh_error_wrap(&e, "%s", "short");
    CHECK_EQ(strlen(e.text), sizeof e.text - 1);
    CHECK(strncmp(e.text, "short: yyyy", 11) == 0);
    dh_error_wrap(&e, "%s", filler);
    CHECK_EQ(strlen(e.text), sizeof e.text - 1);
    CHECK_STR(dh_error_text(DH_ECYCLE), "dependency cycle");
    CHECK_STR(dh_error_text(-99), "unknown error");
    CHECK_STR(dh_error_text(0), "no error");
}

static void a_plain_worker_is_small(void) {
    CHECK(sizeof(struct dh_worker) <= 96);
    printf("     dh_worker %zu, dh_extra %zu, dh_sup %zu, dh_policy %zu, dh_outcome %zu bytes\n",
           sizeof(struct dh_worker), sizeof(struct dh_extra), sizeof(struct dh_sup),
           sizeof(struct dh_policy), sizeof(struct dh_outcome));
}

static void every_cell_of_the_rules_says_something(void) {
    for (int state = 0; state < DH_STATE_COUNT; state++) {
        for (int input = 0; input < DH_INPUT_COUNT; input++) {
            const struct dh_rule *r = dh_rule_at((enum dh_state)state, (enum dh_input)input);
            CHECK(r->text != NULL && r->may_become != 0);
            CHECK(!r->is_stale || r->may_become == 1U << state);
        }
    }
    CHECK_STR(dh_input_name(DH_INPUT_RAISED), "the run raised");
}

/* Of b, each option in turn is another one, once more and once less. */
static void policies_that_differ_in_one_option_are_two(void) {
    struct dh_policy a;
    struct dh_policy b;

#define DIFFERS(field, less, more)                                                                 \
    dh_policy_init_defaults(&a);                                                                   \
    b = a;                                                                                         \
    a.field = less;                                                                                \
    b.field = more;                                                                                \
    CHECK(!dh_policy_is_equal(&a, &b) && !dh_policy_is_equal(&b, &a));                             \
    CHECK(dh_policy_hash(&a) != dh_policy_hash(&b));
    DIFFERS(min_backoff_ns, 1, 2)
    DIFFERS(max_backoff_ns, 1, 2)
    DIFFERS(backoff_factor, 1, 2)
    DIFFERS(jitter, 0, 1)
    DIFFERS(reset_after_ns, 1, 2)
    DIFFERS(within_ns, 1, 2)
    DIFFERS(stop_timeout_ns, 1, 2)
    DIFFERS(start_timeout_ns, 1, 2)
    DIFFERS(watchdog_ns, 1, 2)
    DIFFERS(hang_timeout_ns, 1, 2)
    DIFFERS(max_memory_bytes, 1, 2)
    DIFFERS(max_restarts, 1, 2)
    DIFFERS(restart, DH_RESTART_ON_FAILURE, DH_RESTART_NEVER)
    DIFFERS(is_essential, false, true)
    DIFFERS(notifies, false, true)
    DIFFERS(is_preemptible, false, true)
#undef DIFFERS
}

static void each_error_has_a_text_of_its_own(void) {
    static const int codes[] = {
#define X(name, value, text) DH_E##name,
        DH_ERROR_MAP(X)
#undef X
    };
    size_t count = sizeof codes / sizeof codes[0];

    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            CHECK(strcmp(dh_error_text(codes[i]), dh_error_text(codes[j])) != 0);
        }
        CHECK(strcmp(dh_error_text(codes[i]), "unknown error") != 0);
    }
}

int main(void) {
    RUN(states_and_events_have_the_names_of_the_contract);
    RUN(the_edges_are_those_of_the_drawing);
    RUN(A01_the_defaults_are_those_of_the_contract);
    RUN(policies_compare_by_what_they_say);
    RUN(errors_are_wrapped_on_the_way_up_and_cut_to_fit);
    RUN(a_plain_worker_is_small);
    RUN(every_cell_of_the_rules_says_something);
    RUN(policies_that_differ_in_one_option_are_two);
    RUN(each_error_has_a_text_of_its_own);
    return check_report();
}
