/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "obs/crashlog.h"

#include <stdlib.h>

#include "obs/check.h"
#include "obs/limits.h"
#include "obs/sink.h"

#define S UINT64_C(1000000000)
#define MS UINT64_C(1000000)

static struct sink s;
static struct dh_crash_loop loop;
static struct dh_crash_verdict v;

/* What a run of decisions came to. */
static struct {
    int crashes;
    int full;
    int shorts;
    int summaries;
    uint64_t told; /* crashes that lines spoke for: their own and the suppressed */
} sum;

static void begin(void) {
    memset(&loop, 0, sizeof loop);
    memset(&sum, 0, sizeof sum);
}

static enum dh_crash_action crash(uint64_t now_ns, uint32_t hash) {
    dh_crashlog_decide(&loop, now_ns, hash << DH_CRASHLOG_PLACE_BITS, &v);
    sum.crashes++;
    sum.full += v.action == DH_CRASH_FULL;
    sum.shorts += v.action == DH_CRASH_SHORT;
    sum.summaries += v.action == DH_CRASH_SUMMARY;
    sum.told += v.suppressed + (v.action != DH_CRASH_SUPPRESS);
    return v.action;
}

static void flush(uint64_t now_ns) {
    if (dh_crashlog_flush(&loop, now_ns, &v)) {
        sum.told += v.suppressed;
    }
}

/* ---- decisions ------------------------------------------------------------------------------- */

static void the_first_is_full_and_repetitions_are_short(void) {
    begin();
    CHECK_INT(crash(0, 1), DH_CRASH_FULL);
    CHECK_INT(crash(30 * S, 1), DH_CRASH_SHORT);
    CHECK_INT(crash(60 * S, 1), DH_CRASH_SHORT);
    for (uint64_t t = 90; t < 4000; t += 30) {
        CHECK_INT(crash(t * S, 1), DH_CRASH_SHORT);
        CHECK_INT(v.suppressed, 0);
    }
}

static void another_error_is_full_and_the_two_latest_are_known(void) {
    begin();
    CHECK_INT(crash(0, 1), DH_CRASH_FULL);
    CHECK_INT(crash(1 * S, 2), DH_CRASH_FULL);
    CHECK_INT(crash(2 * S, 1), DH_CRASH_SHORT);
    CHECK_INT(crash(3 * S, 2), DH_CRASH_SHORT);
    CHECK_INT(crash(4 * S, 3), DH_CRASH_FULL);
    CHECK_INT(crash(5 * S, 2), DH_CRASH_SHORT);
    CHECK_INT(crash(6 * S, 1), DH_CRASH_FULL);
    begin(); /* latest seen, not latest shown */
    crash(0, 1);
    crash(1 * S, 2);
    CHECK_INT(crash(2 * S, 1), DH_CRASH_SHORT);
    CHECK_INT(crash(3 * S, 3), DH_CRASH_FULL);
    CHECK_INT(crash(4 * S, 1), DH_CRASH_SHORT);
}

static void a_recovered_worker_has_news_again(void) {
    begin();
    crash(0, 1);
    CHECK_INT(crash(1 * S, 1), DH_CRASH_SHORT);
    CHECK(!dh_crashlog_flush(&loop, 70 * S, &v));
    CHECK_INT(crash(71 * S, 1), DH_CRASH_FULL);
}

static void k06_a_flood_is_one_summary_a_minute(void) {
    begin();
    for (uint64_t t = 0; t < 60; t++) {
        CHECK_INT(crash(t * S, 1), t == 0   ? DH_CRASH_FULL
                                   : t < 10 ? DH_CRASH_SHORT
                                            : DH_CRASH_SUPPRESS);
    }
    CHECK_INT(crash(60 * S, 1), DH_CRASH_SUMMARY);
    CHECK_INT(v.crashes, 61);
    CHECK_INT(v.suppressed, 50);
    CHECK_INT(v.over_ns, 60 * S);
    CHECK(v.is_same_error);
    for (uint64_t t = 61; t < 3660; t++) {
        CHECK_INT(crash(t * S, 1), t % 60 == 0 ? DH_CRASH_SUMMARY : DH_CRASH_SUPPRESS);
        CHECK_INT(v.crashes, t % 60 == 0 ? 60 : 0);
    }
    CHECK_INT(sum.summaries, 60);
    CHECK_INT(sum.shorts + sum.full, 10);
    flush(3660 * S);
    CHECK_INT(sum.told, sum.crashes);
}

static void a_window_ends_at_sixty_seconds_to_the_microsecond(void) {
    begin();
    for (int i = 0; i < 12; i++) {
        crash(5 * S, 1);
    }
    CHECK_INT(crash(65 * S - 1000, 1), DH_CRASH_SUPPRESS);
    CHECK_INT(crash(65 * S, 1), DH_CRASH_SUMMARY);
    CHECK_INT(v.suppressed, 3);
}

static void a_flood_that_slows_down_gets_lines_again(void) {
    begin();
    for (uint64_t t = 0; t < 60; t++) {
        crash(t * S, 1);
    }
    CHECK_INT(crash(60 * S, 1), DH_CRASH_SUMMARY);
    CHECK_INT(crash(90 * S, 1), DH_CRASH_SUPPRESS); /* still silent */
    CHECK_INT(crash(120 * S, 1), DH_CRASH_SUMMARY); /* but these were two */
    CHECK_INT(v.crashes, 2);
    CHECK_INT(crash(150 * S, 1), DH_CRASH_SHORT);
    CHECK_INT(crash(180 * S, 1), DH_CRASH_SHORT);
    CHECK_INT(sum.told, sum.crashes);
}

static void after_a_long_silence_an_ordinary_line_tells_the_rest(void) {
    begin();
    for (int i = 0; i < 20; i++) {
        crash(0, 1);
    }
    CHECK_INT(crash(500 * S, 1), DH_CRASH_SHORT);
    CHECK_INT(v.suppressed, 10);
    CHECK_INT(crash(501 * S, 1), DH_CRASH_SHORT);
}

static void news_breaks_a_flood_and_tells_of_it(void) {
    begin();
    for (int i = 0; i < 40; i++) {
        crash(1 * S, 1);
    }
    CHECK_INT(crash(2 * S, 2), DH_CRASH_FULL);
    CHECK_INT(v.suppressed, 30);
    CHECK_INT(v.crashes, 41);
    CHECK(!v.is_same_error);
    CHECK_INT(crash(3 * S, 1), DH_CRASH_SUPPRESS);
    CHECK_INT(crash(61 * S, 1), DH_CRASH_SUMMARY);
    CHECK_INT(v.crashes, 43);
    CHECK_INT(v.suppressed, 1);
    CHECK(!v.is_same_error);
    CHECK_INT(crash(70 * S, 3), DH_CRASH_FULL); /* the window is silent: news comes through */
    CHECK_INT(crash(122 * S, 4), DH_CRASH_FULL);
    flush(123 * S);
    CHECK_INT(sum.told, sum.crashes);
}

static void k06_an_error_that_changes_each_time_does_not_flood(void) {
    begin();
    for (uint32_t i = 0; i < 36000; i++) {
        crash(i * 100 * MS, i + 1); /* ten a second for an hour */
    }
    flush(3600 * S);
    CHECK_INT(sum.told, sum.crashes);
    CHECK(sum.full <= 60 * DH_CRASHLOG_FULL_LINES);
    CHECK(sum.full + sum.shorts + sum.summaries <= 60 * DH_CRASHLOG_FULL_LINES + 10);
}

static void k06_two_errors_in_turn_do_not_flood(void) {
    begin();
    for (uint32_t i = 0; i < 36000; i++) {
        crash(i * 100 * MS, i % 2 + 1);
    }
    CHECK_INT(sum.full, 2);
    CHECK(sum.shorts + sum.summaries < 70);
    CHECK(!v.is_same_error || v.action == DH_CRASH_SUPPRESS);
}

/* reset_after below the length of a run: each crash is the first of a streak. */
static void k06_a_worker_that_is_well_for_a_blink_does_not_flood(void) {
    begin();
    for (uint32_t i = 0; i < 3600; i++) {
        crash(i * S, 1);
        flush(i * S + 500 * MS);
    }
    CHECK_INT(sum.told, sum.crashes);
    CHECK(sum.full <= 60 * DH_CRASHLOG_FULL_LINES);
}

/* At any rate, with any errors, in any minute; and nothing is ever forgotten. */
static void random_loops_are_bounded_and_complete(void) {
    int wrong = 0;
    srand(3);
    for (int round = 0; round < 3000; round++) {
        static uint64_t lines[1 << 16];
        size_t nlines = 0;
        uint64_t now = (uint64_t)rand() * 1000;
        uint32_t errors = (uint32_t)(1 + rand() % 8);
        uint64_t step = S << (rand() % 8);
        begin();
        for (int i = 0; i < 300; i++) {
            uint64_t suppressed_before = loop.suppressed;
            now += (uint64_t)rand() % step;
            if (crash(now, 1 + (uint32_t)rand() % errors) != DH_CRASH_SUPPRESS) {
                wrong += v.suppressed != suppressed_before || loop.suppressed != 0;
                wrong += v.crashes <= v.suppressed;
                lines[nlines++] = now;
            }
            if (rand() % 50 == 0) {
                flush(now);
            }
            step = rand() % 40 == 0 ? S << (rand() % 8) >> 4 : step;
        }
        flush(now);
        wrong += sum.told != (uint64_t)sum.crashes;
        /* A minute may touch two windows. */
        for (size_t i = 0, k = 0; i < nlines; i++) {
            while (lines[i] - lines[k] >= 60 * S) {
                k++;
            }
            wrong += i - k + 1 > 2 * (DH_CRASHLOG_LINES + DH_CRASHLOG_FULL_LINES + 1);
        }
    }
    CHECK_INT(wrong, 0);
}

static void counters_do_not_wrap(void) {
    begin();
    for (int i = 0; i < 12; i++) {
        crash(0, 1);
    }
    loop.suppressed = UINT32_MAX;
    loop.crashes = UINT32_MAX;
    crash(1, 1);
    CHECK_INT(loop.suppressed, UINT32_MAX);
    CHECK_INT(crash(60 * S, 1), DH_CRASH_SUMMARY);
    CHECK_INT(v.crashes, UINT32_MAX);
}

static void the_state_is_small(void) {
    CHECK(sizeof(struct dh_crash_loop) <= 24);
}

static uint32_t hash(const char *error) {
    return dh_crashlog_hash(error, strlen(error), NULL, 0);
}

static void addresses_make_no_difference(void) {
    static char big[2][1 << 20];
    CHECK(hash("workers.lua:1: boom") != hash("workers.lua:2: boom"));
    CHECK(hash("table: 0x5581a0b0") == hash("table: 0x7fffdead1234"));
    CHECK(hash("table: 0x5581a0b0 x") != hash("table: 0x5581a0b0 y"));
    CHECK(hash("") != 0);
    CHECK(dh_crashlog_hash("boom", 4, "a.lua:1:", 8) != dh_crashlog_hash("boom", 4, "a.lua:2:", 8));
    CHECK(dh_crashlog_hash("boom", 4, "0x12", 4) == dh_crashlog_hash("boom", 4, "0x34", 4));
    memset(big, 'x', sizeof big);
    big[1][(1 << 20) - 1] = 'y';
    CHECK(dh_crashlog_hash(big[0], 1 << 20, big[0], 1 << 20) ==
          dh_crashlog_hash(big[1], 1 << 20, big[1], 1 << 20));
}

/* ---- lines ----------------------------------------------------------------------------------- */

static enum dh_crash_action report(uint64_t now_s, const char *error, uint32_t run, bool is_last) {
    static const char traceback[] = "stack traceback:\n\tworkers.lua:9: in function 'run'";
    const struct dh_crash_report r = {
        .worker = "flaky",
        .error = error,
        .error_len = strlen(error),
        .traceback = traceback,
        .traceback_len = sizeof traceback - 1,
        .hash = dh_crashlog_hash(error, strlen(error), traceback, sizeof traceback - 1),
        .run = run,
        .streak = run,
        .will_restart = !is_last,
        .restart_in_ns = S,
    };
    return dh_crashlog_crash(&s.log, &loop, now_s * S, &r);
}

static void start_log(void) {
    const struct dh_log_options o = {.clock = DH_LOG_CLOCK_ELAPSED};
    begin();
    sink_open(&s, &o);
}

#define HEAD(level) "    0.000000 " level " flaky    "
#define TRACEBACK "    stack traceback:\n      workers.lua:9: in function 'run'\n"

static void k01_a_crash_line_has_everything(void) {
    start_log();
    CHECK_INT(report(0, "boom", 1, false), DH_CRASH_FULL);
    CHECK_INT(report(1, "boom", 2, false), DH_CRASH_SHORT);
    CHECK_INT(report(2, "bang\nbang", 3, true), DH_CRASH_FULL);
    CHECK_TEXT(s.text,
               HEAD("ERROR") "crashed: boom  run=1 restart_in=1s\n" TRACEBACK
                   HEAD("ERROR") "crashed: boom  run=2 restart_in=1s streak=2\n" HEAD(
                       "ERROR") "crashed, not restarted: bang\\nbang  run=3 streak=3\n" TRACEBACK);
}

static void a_summary_line_counts(void) {
    start_log();
    for (uint32_t i = 0; i < 57; i++) {
        report(i, "boom", i + 1, false);
    }
    sink_clear(&s);
    report(60, "boom", 58, false);
    CHECK_TEXT(s.text, HEAD("ERROR") "crashed 58 times in the last 60 s, same error: boom  run=58 "
                                     "restart_in=1s streak=58 suppressed=47\n");
    report(61, "boom", 59, false);
    report(62, "bang", 60, false);
    sink_clear(&s);
    report(63, "boom", 61, false);
    report(120, "bang", 62, false);
    CHECK_TEXT(s.text, HEAD("ERROR") "crashed 4 times in the last 60 s, last error: bang  run=62 "
                                     "restart_in=1s streak=62 suppressed=1\n");
}

static void the_last_crash_is_never_suppressed(void) {
    start_log();
    for (uint32_t i = 0; i < 30; i++) {
        report(0, "boom", i + 1, false);
    }
    sink_clear(&s);
    CHECK_INT(report(1, "boom", 31, true), DH_CRASH_SHORT);
    CHECK_TEXT(s.text, HEAD("ERROR") "crashed, not restarted: boom  run=31 streak=31 "
                                     "suppressed=20\n");
    sink_clear(&s);
    dh_crashlog_end(&s.log, &loop, 2 * S, "flaky");
    CHECK_TEXT(s.text, "");
}

static void recovery_and_stop_tell_the_rest(void) {
    start_log();
    for (uint32_t i = 0; i < 30; i++) {
        report(0, "boom", i + 1, false);
    }
    sink_clear(&s);
    CHECK(dh_crashlog_recovered(&s.log, &loop, 60 * S, "flaky", 31, 12 * S));
    CHECK_TEXT(s.text, HEAD("INFO ") "recovered  run=31 outage=12s suppressed=20\n");
    for (uint32_t i = 0; i < 12; i++) {
        report(100, "boom", i + 32, false);
    }
    sink_clear(&s);
    dh_crashlog_end(&s.log, &loop, 110 * S, "flaky");
    dh_crashlog_end(&s.log, &loop, 111 * S, "flaky");
    CHECK_TEXT(s.text, HEAD("WARN ") "crashed 12 times in the last 10 s  suppressed=2\n");
}

static void k06_recoveries_do_not_flood(void) {
    int lines = 0;
    start_log();
    for (uint32_t i = 0; i < 600; i++) {
        report(i, "boom", 1, false);
        dh_crashlog_recovered(&s.log, &loop, i * S + S / 2, "flaky", i + 2, S / 2);
    }
    for (const char *at = s.text; (at = strchr(at, '\n')) != NULL; at++) {
        lines += at[1] != ' ' || at[5] == '0'; /* not the tracebacks */
    }
    CHECK(lines <= 10 * (DH_CRASHLOG_LINES + DH_CRASHLOG_FULL_LINES + 1 + DH_CRASHLOG_RECOVERIES));
    CHECK(lines >= 100);
}

static void a_level_that_hides_recovery_keeps_the_count(void) {
    start_log();
    dh_log_set_level(&s.log, DH_LEVEL_ERROR);
    for (uint32_t i = 0; i < 30; i++) {
        report(0, "boom", i + 1, false);
    }
    sink_clear(&s);
    CHECK(!dh_crashlog_recovered(&s.log, &loop, 60 * S, "flaky", 31, 12 * S));
    report(300, "boom", 2, false);
    CHECK_TEXT(
        s.text,
        HEAD("ERROR") "crashed: boom  run=2 restart_in=1s streak=2 suppressed=20\n" TRACEBACK);
}

static const struct check_case cases[] = {
    {"the first is full and repetitions are short", the_first_is_full_and_repetitions_are_short},
    {"another error is full", another_error_is_full_and_the_two_latest_are_known},
    {"a recovered worker has news again", a_recovered_worker_has_news_again},
    {"K06 a flood is one summary a minute", k06_a_flood_is_one_summary_a_minute},
    {"a window ends at sixty seconds", a_window_ends_at_sixty_seconds_to_the_microsecond},
    {"a flood that slows down gets lines again", a_flood_that_slows_down_gets_lines_again},
    {"after a long silence an ordinary line tells the rest",
     after_a_long_silence_an_ordinary_line_tells_the_rest},
    {"news breaks a flood and tells of it", news_breaks_a_flood_and_tells_of_it},
    {"K06 an error that changes each time does not flood",
     k06_an_error_that_changes_each_time_does_not_flood},
    {"K06 two errors in turn do not flood", k06_two_errors_in_turn_do_not_flood},
    {"K06 a worker that is well for a blink does not flood",
     k06_a_worker_that_is_well_for_a_blink_does_not_flood},
    {"random loops are bounded and complete", random_loops_are_bounded_and_complete},
    {"counters do not wrap", counters_do_not_wrap},
    {"the state is small", the_state_is_small},
    {"addresses make no difference", addresses_make_no_difference},
    {"K01 a crash line has everything", k01_a_crash_line_has_everything},
    {"a summary line counts", a_summary_line_counts},
    {"the last crash is never suppressed", the_last_crash_is_never_suppressed},
    {"recovery and stop tell the rest", recovery_and_stop_tell_the_rest},
    {"K06 recoveries do not flood", k06_recoveries_do_not_flood},
    {"a level that hides recovery keeps the count", a_level_that_hides_recovery_keeps_the_count},
};

CHECK_MAIN(cases)
