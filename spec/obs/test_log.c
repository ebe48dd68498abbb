/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "obs/log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/error.h"
#include "obs/check.h"
#include "obs/limits.h"
#include "obs/sink.h"

#define ELLIPSIS "\xe2\x80\xa6"

static struct sink s;

static const struct dh_log_options colored = {.has_colors = true};

static void say(enum dh_level level, const char *worker, const char *msg,
                const struct dh_field *fields, size_t nfields) {
    dh_log_write(&s.log, level, worker, msg, strlen(msg), fields, nfields);
}

static void say_crash(void) {
    const char *traceback = "stack traceback:\n\t[C]: in function 'error'\n\tworkers.lua:9: in "
                            "function <workers.lua:7>\n";
    const struct dh_field fields[] = {
        dh_field_cstring("error", "workers.lua:9: boom"),
        dh_field_integer("run", 3),
        dh_field_duration("restart_in", UINT64_C(4000000000)),
        dh_field_lines("traceback", traceback, strlen(traceback)),
        dh_field_integer("streak", 3),
    };
    say(DH_LEVEL_ERROR, "flaky", "crashed", fields, 5);
}

static void say_all_types(void) {
    const struct dh_field fields[] = {
        dh_field_cstring("s", "two words"),
        dh_field_cstring("bare", "na\xc3\xafve/1.0:2"),
        dh_field_cstring("empty", ""),
        dh_field_cstring("null", NULL),
        dh_field_cstring("eq", "a=b"),
        dh_field_cstring("quote", "say \"hi\"\\"),
        dh_field_string("bin", "\0\n\xff\x1b", 4),
        dh_field_integer("min", INT64_MIN),
        dh_field_number("pi", 3.14),
        dh_field_number("nan", NAN),
        dh_field_number("inf", -INFINITY),
        dh_field_boolean("yes", true),
        dh_field_boolean("no", false),
        dh_field_duration("took", 150000000),
    };
    say(DH_LEVEL_WARN, "w", "hello world", fields, sizeof fields / sizeof *fields);
}

/* ---- golden lines ---------------------------------------------------------------------------- */

static void pretty_line(void) {
    const struct dh_field run = dh_field_integer("run", 1);
    sink_open_format(&s, DH_LOG_PRETTY);
    say(DH_LEVEL_INFO, "ticker", "tick", &run, 1);
    CHECK_TEXT(s.text, "12:44:45.123 INFO  ticker   tick  run=1\n");
    sink_clear(&s);
    say(DH_LEVEL_DEBUG, NULL, "2 workers", NULL, 0);
    CHECK_TEXT(s.text, "12:44:45.123 DEBUG host     2 workers\n");
    sink_clear(&s);
    say_all_types();
    CHECK_TEXT(s.text, "12:44:45.123 WARN  w        hello world  s=\"two words\" "
                       "bare=na\xc3\xafve/1.0:2 empty=\"\" null=\"\" eq=\"a=b\" "
                       "quote=\"say \\\"hi\\\"\\\\\" bin=\"\\u0000\\n\xef\xbf\xbd\\u001b\" "
                       "min=-9223372036854775808 pi=3.14 nan=nan inf=-inf yes=true no=false "
                       "took=150ms\n");
    CHECK_INT(s.writes, 1);
}

static void pretty_crash(void) {
    sink_open_format(&s, DH_LOG_PRETTY);
    say_crash();
    CHECK_TEXT(s.text, "12:44:45.123 ERROR flaky    crashed: workers.lua:9: boom  run=3 "
                       "restart_in=4s streak=3\n"
                       "    stack traceback:\n"
                       "      [C]: in function 'error'\n"
                       "      workers.lua:9: in function <workers.lua:7>\n");
    CHECK_INT(s.writes, 1);
}

static void pretty_blocks_are_titled_and_cannot_fake_events(void) {
    const char *dump = "a\r\n\n12:44:45.123 INFO  host     \x1b[2Jfake\n\n";
    const struct dh_field fields[] = {
        dh_field_lines("dump", dump, strlen(dump)),
        dh_field_lines("none", "", 0),
    };
    sink_open_format(&s, DH_LOG_PRETTY);
    say(DH_LEVEL_INFO, "w", "x\n12:44:45.123 INFO  host     fake", fields, 2);
    CHECK_TEXT(s.text, "12:44:45.123 INFO  w        x\\n12:44:45.123 INFO  host     fake\n"
                       "    dump:\n    a\n    \n    12:44:45.123 INFO  host     \\x1b[2Jfake\n"
                       "    none:\n");
}

static void pretty_colors(void) {
    sink_open(&s, &colored);
    say_crash();
    CHECK_TEXT(s.text,
               "\x1b[2m12:44:45.123\x1b[0m \x1b[1;31mERROR\x1b[0m \x1b[1mflaky\x1b[0m    crashed: "
               "workers.lua:9: boom  \x1b[2mrun=\x1b[0m3 \x1b[2mrestart_in=\x1b[0m4s "
               "\x1b[2mstreak=\x1b[0m3\n"
               "\x1b[2m    stack traceback:\x1b[0m\n"
               "\x1b[2m      [C]: in function 'error'\x1b[0m\n"
               "\x1b[2m      workers.lua:9: in function <workers.lua:7>\x1b[0m\n");
    sink_clear(&s);
    say(DH_LEVEL_INFO, NULL, "up", NULL, 0);
    CHECK_TEXT(s.text,
               "\x1b[2m12:44:45.123\x1b[0m \x1b[32mINFO \x1b[0m \x1b[2mhost\x1b[0m     up\n");
}

static void pretty_column_widens_up_to_a_limit(void) {
    sink_open_format(&s, DH_LOG_PRETTY);
    say(DH_LEVEL_INFO, "exactly8", "m", NULL, 0);
    say(DH_LEVEL_INFO, "\xc3\xa9\xc3\xa9\xc3\xa9", "m", NULL, 0);
    say(DH_LEVEL_INFO, "twelve chars", "m", NULL, 0);
    say(DH_LEVEL_INFO, "w", "m", NULL, 0);
    say(DH_LEVEL_INFO, "seventeen letters", "m", NULL, 0);
    say(DH_LEVEL_INFO, "w", "m", NULL, 0);
    CHECK_TEXT(s.text, "12:44:45.123 INFO  exactly8 m\n"
                       "12:44:45.123 INFO  \xc3\xa9\xc3\xa9\xc3\xa9      m\n"
                       "12:44:45.123 INFO  twelve chars m\n"
                       "12:44:45.123 INFO  w            m\n"
                       "12:44:45.123 INFO  seventeen letters m\n"
                       "12:44:45.123 INFO  w                m\n");
}

static void logfmt_line(void) {
    sink_open_format(&s, DH_LOG_LOGFMT);
    say_all_types();
    CHECK_TEXT(s.text, "ts=2026-11-22T12:44:45.123Z level=warn worker=w msg=\"hello world\" "
                       "s=\"two words\" bare=na\xc3\xafve/1.0:2 empty=\"\" null=\"\" eq=\"a=b\" "
                       "quote=\"say \\\"hi\\\"\\\\\" bin=\"\\u0000\\n\xef\xbf\xbd\\u001b\" "
                       "min=-9223372036854775808 pi=3.14 nan=nan inf=-inf yes=true no=false "
                       "took=0.15\n");
    sink_clear(&s);
    say_crash();
    CHECK_TEXT(s.text, "ts=2026-11-22T12:44:45.123Z level=error worker=flaky msg=crashed "
                       "error=\"workers.lua:9: boom\" run=3 restart_in=4 streak=3 "
                       "traceback=\"stack traceback:\\n\\t[C]: in function 'error'\\n\\t"
                       "workers.lua:9: in function <workers.lua:7>\\n\"\n");
    sink_clear(&s);
    say(DH_LEVEL_INFO, NULL, "up", NULL, 0);
    CHECK_TEXT(s.text, "ts=2026-11-22T12:44:45.123Z level=info msg=up\n");
}

static void json_line(void) {
    sink_open_format(&s, DH_LOG_JSON);
    say_all_types();
    CHECK_TEXT(s.text,
               "{\"ts\":\"2026-11-22T12:44:45.123Z\",\"level\":\"warn\",\"worker\":\"w\","
               "\"msg\":\"hello world\",\"s\":\"two words\",\"bare\":\"na\xc3\xafve/1.0:2\","
               "\"empty\":\"\",\"null\":\"\",\"eq\":\"a=b\",\"quote\":\"say \\\"hi\\\"\\\\\","
               "\"bin\":\"\\u0000\\n\xef\xbf\xbd\\u001b\",\"min\":-9223372036854775808,"
               "\"pi\":3.14,\"nan\":\"nan\",\"inf\":\"-inf\",\"yes\":true,\"no\":false,"
               "\"took\":0.15}\n");
    sink_clear(&s);
    say(DH_LEVEL_INFO, NULL, "up", NULL, 0);
    CHECK_TEXT(s.text, "{\"ts\":\"2026-11-22T12:44:45.123Z\",\"level\":\"info\",\"msg\":\"up\"}\n");
}

static void virtual_clock_shows_seconds_since_start(void) {
    static const char *const expected[][2] = {
        {"    0.000000 INFO  w        m\n", "   12.345678 INFO  w        m\n"},
        {"t=0.000000 level=info worker=w msg=m\n", "t=12.345678 level=info worker=w msg=m\n"},
        {"{\"t\":0.000000,\"level\":\"info\",\"worker\":\"w\",\"msg\":\"m\"}\n",
         "{\"t\":12.345678,\"level\":\"info\",\"worker\":\"w\",\"msg\":\"m\"}\n"},
    };
    for (int i = 0; i < 3; i++) {
        struct dh_log_options o = {.format = (enum dh_log_format)i, .clock = DH_LOG_CLOCK_ELAPSED};
        sink_open(&s, &o);
        sink_say(&s, "m");
        CHECK_TEXT(s.text, expected[i][0]);
        sink_clear(&s);
        s.now_ns = UINT64_C(12345678901);
        sink_say(&s, "m");
        CHECK_TEXT(s.text, expected[i][1]);
    }
}

static void short_numbers_of_a_time_have_zeros_in_front(void) {
    struct dh_log_options o = {.format = DH_LOG_LOGFMT};
    sink_open(&s, &o);
    s.now_ns = UINT64_C(981173045006999999);
    sink_say(&s, "m");
    CHECK_TEXT(s.text, "ts=2001-02-03T04:04:05.006Z level=info worker=w msg=m\n");
    o = (struct dh_log_options){.format = DH_LOG_PRETTY, .clock = DH_LOG_CLOCK_ELAPSED};
    sink_open(&s, &o);
    s.now_ns += UINT64_C(1234567000001000);
    sink_say(&s, "m");
    CHECK_TEXT(s.text, "1234567.000001 INFO  w        m\n");
}

static void local_time_is_for_pretty_only(void) {
    struct dh_log_options o = {.is_local_time = true};
    setenv("TZ", "IST-5:30", 1);
    tzset();
    sink_open(&s, &o);
    sink_say(&s, "m");
    CHECK_TEXT(s.text, "18:14:45.123 INFO  w        m\n");
    o.format = DH_LOG_LOGFMT;
    sink_open(&s, &o);
    sink_say(&s, "m");
    CHECK_TEXT(s.text, "ts=2026-11-22T12:44:45.123Z level=info worker=w msg=m\n");
    setenv("TZ", "UTC", 1);
    tzset();
}

static void the_start_of_time_and_leap_days(void) {
    sink_open_format(&s, DH_LOG_LOGFMT);
    s.now_ns = 0;
    sink_say(&s, "m");
    s.now_ns = UINT64_C(1709164800) * 1000000000 - 1;
    sink_say(&s, "m");
    s.now_ns = UINT64_C(1709251199) * 1000000000;
    sink_say(&s, "m");
    CHECK_TEXT(s.text, "ts=1970-01-01T00:00:00.000Z level=info worker=w msg=m\n"
                       "ts=2024-02-28T23:59:59.999Z level=info worker=w msg=m\n"
                       "ts=2024-02-29T23:59:59.000Z level=info worker=w msg=m\n");
}

/* ---- keys and bounds ------------------------------------------------------------------------- */

static void keys_are_sanitised(void) {
    const struct dh_field fields[] = {
        dh_field_integer("a b=\"c\"\n", 1),
        dh_field_integer("", 2),
        dh_field_integer("msg", 3),
        dh_field_integer("\xc3\xa9", 4),
        dh_field_integer("level", 5),
        dh_field_integer("a.b-c_9", 6),
        dh_field_integer("0123456789012345678901234567890123456789012345678901234567890123456", 7),
    };
    sink_open_format(&s, DH_LOG_LOGFMT);
    say(DH_LEVEL_INFO, NULL, "m", fields, 7);
    CHECK_TEXT(s.text, "ts=2026-11-22T12:44:45.123Z level=info msg=m a_b__c__=1 _=2 msg_=3 __=4 "
                       "level_=5 a.b-c_9=6 "
                       "0123456789012345678901234567890123456789012345678901234567890123=7\n");
}

/* Found by spec/fuzz/encode.c: "a b" and "a_b" were the same key in one object, which strict readers
** refuse. */
static void no_key_comes_twice(void) {
    const struct dh_field fields[] = {
        dh_field_integer("a b", 1), dh_field_integer("a_b", 2), dh_field_integer("a?b", 3),
        dh_field_integer("ts", 4),  dh_field_integer("ts_", 5),
    };
    sink_open_format(&s, DH_LOG_LOGFMT);
    dh_log_write(&s.log, DH_LEVEL_INFO, NULL, "m", 1, fields, 5);
    CHECK(strstr(s.text, " msg=m a_b=1 a_b_=2 a_b__=3 ts_=4 ts__=5\n") != NULL);
}

static void a_long_message_is_cut_with_a_note(void) {
    static char big[1 << 20];
    memset(big, 'x', sizeof big);
    for (int i = 0; i < 3; i++) {
        const struct dh_field f = dh_field_integer("run", 1);
        sink_open_format(&s, (enum dh_log_format)i);
        dh_log_write(&s.log, DH_LEVEL_INFO, "w", big, sizeof big, &f, 1);
        CHECK(s.len < 2200);
        CHECK(strstr(s.text, "xx" ELLIPSIS "[+1046547 bytes]") != NULL);
        CHECK(strstr(s.text, i == DH_LOG_JSON ? "\"run\":1}\n" : "run=1\n") != NULL);
        CHECK_INT(s.writes, 1);
    }
}

static void fields_that_do_not_fit_are_counted(void) {
    static char value[2000];
    static char keys[40][8];
    struct dh_field fields[40];
    memset(value, 'v', sizeof value);
    for (int i = 0; i < 40; i++) {
        snprintf(keys[i], sizeof keys[i], "key%d", i);
        fields[i] =
            i < 10 ? dh_field_string(keys[i], value, sizeof value) : dh_field_integer(keys[i], i);
    }
    for (int i = 0; i < 3; i++) {
        sink_open_format(&s, (enum dh_log_format)i);
        say(DH_LEVEL_INFO, "w", "m", fields, 40);
        CHECK(s.len <= DH_LOG_LINE_BYTES);
        CHECK(strstr(s.text, i == DH_LOG_JSON ? "\"log_fields_left_off\":11}\n"
                                              : "log_fields_left_off=11\n"));
        CHECK(strstr(s.text, i == DH_LOG_JSON ? "\"key31\":31," : "key31=31 "));
    }
}

static int count(const char *text, const char *what) {
    int n = 0;
    for (; (text = strstr(text, what)) != NULL; text++) {
        n++;
    }
    return n;
}

static void a_long_traceback_is_cut_and_leaves_the_rest(void) {
    static const char frame[] = "\tworkers.lua:123: in function <workers.lua:100>\n";
    static char deep[60000];
    struct dh_field fields[3];
    for (size_t i = 0; i + sizeof frame <= sizeof deep; i += sizeof frame - 1) {
        memcpy(deep + i, frame, sizeof frame);
    }
    fields[0] = dh_field_lines("traceback", deep, strlen(deep));
    fields[1] = dh_field_integer("run", 7);
    fields[2] = dh_field_lines("second", deep, strlen(deep));
    for (int i = 0; i < 3; i++) {
        sink_open_format(&s, (enum dh_log_format)i);
        say(DH_LEVEL_ERROR, "w", "crashed", fields, 3);
        CHECK(s.len <= DH_LOG_LINE_BYTES);
        CHECK(s.len > DH_LOG_LINE_BYTES - 512);
        CHECK(strstr(s.text, "run") != NULL);
        CHECK(strstr(s.text, "second") != NULL);
        CHECK(strstr(s.text, "left_off") == NULL);
        CHECK_INT(s.writes, 1);
        CHECK_INT(count(s.text, ELLIPSIS "[+5"), 2);
        CHECK_INT(count(s.text, " bytes]"), 2);
    }
}

static void full_lines_still_have_room_for_a_traceback(void) {
    static char value[1000];
    struct dh_field fields[14];
    memset(value, 'v', sizeof value);
    for (int i = 0; i < 14; i++) {
        fields[i] = i < 10 ? dh_field_string("long", value, sizeof value)
                           : dh_field_lines("traceback", value, sizeof value);
    }
    for (int i = 0; i < 3; i++) {
        sink_open_format(&s, (enum dh_log_format)i);
        dh_log_write(&s.log, DH_LEVEL_ERROR, "w", value, sizeof value, fields, 14);
        CHECK(s.len <= DH_LOG_LINE_BYTES);
        CHECK(strstr(s.text, i == DH_LOG_JSON ? "\"log_fields_left_off\":6" : "left_off=6"));
        CHECK_INT(count(s.text, "vvv" ELLIPSIS "[+"), 4);
        CHECK_INT(count(s.text, " bytes]"), 4);
    }
}

/* ---- levels and names ------------------------------------------------------------------------ */

static void lower_levels_are_not_written(void) {
    sink_open_format(&s, DH_LOG_LOGFMT);
    dh_log_set_level(&s.log, DH_LEVEL_WARN);
    CHECK(!dh_log_is_on(&s.log, DH_LEVEL_INFO));
    CHECK(dh_log_is_on(&s.log, DH_LEVEL_WARN));
    say(DH_LEVEL_INFO, NULL, "m", NULL, 0);
    CHECK_INT(s.writes, 0);
    dh_log_print(&s.log, DH_LEVEL_ERROR, "w", "%s %d", "print", 7);
    CHECK_TEXT(s.text, "ts=2026-11-22T12:44:45.123Z level=error worker=w msg=\"print 7\"\n");
}

static void names_parse(void) {
    enum dh_level level = DH_LEVEL_ERROR;
    enum dh_log_format format = DH_LOG_JSON;
    CHECK_INT(dh_log_level_parse("debug", &level), 0);
    CHECK_INT(level, DH_LEVEL_DEBUG);
    CHECK_INT(dh_log_level_parse("loud", &level), DH_EINVAL);
    CHECK_INT(level, DH_LEVEL_DEBUG);
    CHECK_INT(dh_log_format_parse("logfmt", &format), 0);
    CHECK_INT(format, DH_LOG_LOGFMT);
    CHECK_INT(dh_log_format_parse("", &format), DH_EINVAL);
    CHECK_TEXT(dh_log_level_name(DH_LEVEL_WARN), "warn");
    CHECK_TEXT(dh_log_format_name(DH_LOG_PRETTY), "pretty");
}

/* ---- files that fail ------------------------------------------------------------------------- */

#define LINE(msg) "ts=2026-11-22T12:44:45.123Z level=info worker=w msg=" msg "\n"

static void plan(const long *steps, int n) {
    memcpy(s.plan, steps, sizeof *steps * (size_t)n);
    s.nplan = n;
}

static void dropped_lines_are_told_by_the_next(void) {
    const long steps[] = {-EAGAIN, -EAGAIN, -ENOSPC};
    sink_open_format(&s, DH_LOG_LOGFMT);
    plan(steps, 3);
    errno = 77;
    sink_say(&s, "one");
    sink_say(&s, "two");
    sink_say(&s, "three");
    CHECK_INT(errno, 77);
    CHECK_INT(s.log.dropped, 3);
    sink_say(&s, "four");
    sink_say(&s, "five");
    CHECK_TEXT(s.text, LINE("four log_dropped=3") LINE("five"));
    CHECK_INT(s.log.dropped, 3);
    dh_log_fini(&s.log);
    CHECK_TEXT(s.text, LINE("four log_dropped=3") LINE("five"));
}

static void fini_tells_what_nothing_told(void) {
    const long step = -EAGAIN;
    sink_open_format(&s, DH_LOG_JSON);
    plan(&step, 1);
    sink_say(&s, "one");
    dh_log_set_level(&s.log, DH_LEVEL_ERROR);
    dh_log_fini(&s.log);
    CHECK_TEXT(s.text, "{\"ts\":\"2026-11-22T12:44:45.123Z\",\"level\":\"warn\","
                       "\"msg\":\"log lines were lost\",\"log_dropped\":1}\n");
    dh_log_fini(NULL);
}

static void short_writes_and_interrupts_are_gone_on_with(void) {
    const long steps[] = {-EINTR, 1, -EINTR, -EINTR, 10, 3, 0};
    sink_open_format(&s, DH_LOG_LOGFMT);
    plan(steps, 7);
    sink_say(&s, "one");
    CHECK_TEXT(s.text, LINE("one"));
    CHECK_INT(s.log.dropped, 0);
    CHECK_INT(s.writes, 7);
}

static void a_torn_line_does_not_spoil_the_next(void) {
    const long steps[] = {5, -EAGAIN, -EAGAIN, 3, -EAGAIN};
    sink_open_format(&s, DH_LOG_LOGFMT);
    plan(steps, 5);
    sink_say(&s, "one");   /* torn */
    sink_say(&s, "two");   /* lost */
    sink_say(&s, "three"); /* a line end and two bytes */
    sink_say(&s, "four");
    sink_say(&s, "five");
    CHECK_TEXT(s.text, "ts=20\nts\n" LINE("four log_dropped=3") LINE("five"));
    CHECK_INT(s.log.dropped, 3);
}

static ssize_t always(void *arg, int fd, const void *data, size_t len) {
    long *state = arg; /* answer, calls */
    (void)fd;
    (void)data;
    (void)len;
    state[1]++;
    return state[0];
}

static void no_answer_makes_it_spin(void) {
    static const struct {
        long answer;
        long calls;
    } expected[] = {{-EINTR, DH_LOG_INTERRUPTS + 1}, {0, 1}, {-EPIPE, 1}, {-EIO, 1}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        long state[2] = {expected[i].answer, 0};
        struct dh_log_options o = {.fd = 2, .write = always, .arg = state};
        struct dh_log log;
        dh_log_init(&log, &o);
        dh_log_print(&log, DH_LEVEL_INFO, NULL, "m");
        CHECK_INT(state[1], expected[i].calls);
        CHECK_INT(log.dropped, 1);
    }
}

static void a_closed_number_is_never_written_to_again(void) {
    long state[2] = {-EBADF, 0};
    struct dh_log_options o = {.fd = 2, .write = always, .arg = state};
    struct dh_log log;
    dh_log_init(&log, &o);
    dh_log_print(&log, DH_LEVEL_INFO, NULL, "m");
    dh_log_print(&log, DH_LEVEL_INFO, NULL, "m");
    dh_log_fini(&log);
    CHECK_INT(state[1], 1);
    CHECK(log.dropped >= 2);
    o.fd = -1;
    dh_log_init(&log, &o);
    dh_log_print(&log, DH_LEVEL_INFO, NULL, "m");
    CHECK_INT(state[1], 1);
}

/* ---- real files ------------------------------------------------------------------------------ */

static void a_full_pipe_loses_lines_and_a_gone_reader_harms_nobody(void) {
    static char got[1 << 20];
    struct dh_log_options o = {.format = DH_LOG_LOGFMT};
    struct dh_log log;
    int fds[2];
    ssize_t n;
    uint64_t dropped;
    signal(SIGPIPE, SIG_IGN);
    CHECK_INT(pipe(fds), 0);
    CHECK_INT(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    o.fd = fds[1];
    dh_log_init(&log, &o);
    for (int i = 0; i < 3000; i++) {
        dh_log_print(&log, DH_LEVEL_INFO, NULL, "line %d", i);
    }
    dropped = log.dropped;
    CHECK(dropped > 0);
    n = read(fds[0], got, sizeof got);
    CHECK(n > 0);
    dh_log_print(&log, DH_LEVEL_INFO, NULL, "after");
    n = read(fds[0], got, sizeof got - 1);
    CHECK(n > 0);
    got[n > 0 ? n : 0] = '\0';
    CHECK(strstr(got, "msg=after log_dropped=") != NULL);
    close(fds[0]);
    dh_log_print(&log, DH_LEVEL_INFO, NULL, "nobody reads");
    CHECK_INT(log.dropped, dropped + 1);
    close(fds[1]);
    dh_log_print(&log, DH_LEVEL_INFO, NULL, "no file");
    CHECK(log.is_closed);
}

static void *shout(void *arg) {
    for (int i = 0; i < 500; i++) {
        dh_log_print(arg, DH_LEVEL_INFO, "a worker with a name", "line %d of many", i);
    }
    return NULL;
}

static void threads_write_whole_lines(void) {
    static char got[1 << 20];
    struct dh_log_options o = {.format = DH_LOG_PRETTY};
    struct dh_log log;
    pthread_t threads[4];
    char path[] = "/tmp/dh-spec-log-XXXXXX";
    int lines = 0;
    int wrong = 0;
    ssize_t n;
    o.fd = mkstemp(path);
    CHECK(o.fd >= 0);
    CHECK_INT(fcntl(o.fd, F_SETFL, O_APPEND), 0);
    dh_log_init(&log, &o);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, shout, &log), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    n = pread(o.fd, got, sizeof got - 1, 0);
    CHECK(n > 0);
    for (char *at = strtok(got, "\n"); at; at = strtok(NULL, "\n")) {
        const char *tail = strstr(at, "INFO  a worker with a name line ");
        wrong += !tail || tail - at != 13 || !strstr(tail, " of many");
        lines++;
    }
    CHECK_INT(lines, 2000);
    CHECK_INT(wrong, 0);
    close(o.fd);
    unlink(path);
}

static const struct check_case cases[] = {
    {"pretty line", pretty_line},
    {"pretty crash", pretty_crash},
    {"pretty blocks are titled and cannot fake events",
     pretty_blocks_are_titled_and_cannot_fake_events},
    {"pretty colors", pretty_colors},
    {"pretty column widens up to a limit", pretty_column_widens_up_to_a_limit},
    {"logfmt line", logfmt_line},
    {"json line", json_line},
    {"virtual clock shows seconds since start", virtual_clock_shows_seconds_since_start},
    {"short numbers of a time have zeros in front", short_numbers_of_a_time_have_zeros_in_front},
    {"local time is for pretty only", local_time_is_for_pretty_only},
    {"the start of time and leap days", the_start_of_time_and_leap_days},
    {"keys are sanitised", keys_are_sanitised},
    {"no key comes twice", no_key_comes_twice},
    {"a long message is cut with a note", a_long_message_is_cut_with_a_note},
    {"fields that do not fit are counted", fields_that_do_not_fit_are_counted},
    {"a long traceback is cut and leaves the rest", a_long_traceback_is_cut_and_leaves_the_rest},
    {"full lines still have room for a traceback", full_lines_still_have_room_for_a_traceback},
    {"lower levels are not written", lower_levels_are_not_written},
    {"names parse", names_parse},
    {"dropped lines are told by the next", dropped_lines_are_told_by_the_next},
    {"fini tells what nothing told", fini_tells_what_nothing_told},
    {"short writes and interrupts are gone on with", short_writes_and_interrupts_are_gone_on_with},
    {"a torn line does not spoil the next", a_torn_line_does_not_spoil_the_next},
    {"no answer makes it spin", no_answer_makes_it_spin},
    {"a closed number is never written to again", a_closed_number_is_never_written_to_again},
    {"a full pipe loses lines and a gone reader harms nobody",
     a_full_pipe_loses_lines_and_a_gone_reader_harms_nobody},
    {"threads write whole lines", threads_write_whole_lines},
};

CHECK_MAIN(cases)
