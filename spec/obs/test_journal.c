/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "obs/journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "obs/check.h"
#include "obs/limits.h"
#include "obs/sink.h"

/* A journal that one can look into, and a log that tells it. */
static struct sink s;
static char dir[64];
static char path[sizeof(dir) + 8];
static int fd;
static char entry[DH_JOURNAL_BYTES + 1];
static size_t entry_len;

static void listen_there(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    CHECK_INT(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
}

static void open_all(void) {
    struct dh_log_options options = {
        .format = DH_LOG_LOGFMT, .has_priority = true, .journal = path};
    strcpy(dir, "/tmp/decnet-journal-XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/socket", dir);
    listen_there();
    sink_open(&s, &options);
}

static void close_all(void) {
    dh_log_fini(&s.log);
    close(fd);
    unlink(path);
    rmdir(dir);
}

static bool take(void) {
    ssize_t n = recv(fd, entry, sizeof entry - 1, 0);
    entry_len = n > 0 ? (size_t)n : 0;
    entry[entry_len] = '\0';
    return n > 0;
}

/* The value of a field in the entry; NULL: there is none. */
static const char *value_of(const char *key, size_t *ret_len) {
    const char *at = entry;
    while (at < entry + entry_len) {
        size_t key_len = strcspn(at, "=\n");
        const char *value = at + key_len + 1;
        uint64_t len = 0;
        if (at[key_len] == '=') {
            len = strcspn(value, "\n");
        } else {
            for (int i = 7; i >= 0; i--) {
                len = len << 8 | (unsigned char)value[i];
            }
            value += 8;
        }
        if (strlen(key) == key_len && memcmp(at, key, key_len) == 0) {
            *ret_len = (size_t)len;
            return value;
        }
        at = value + len + 1;
    }
    *ret_len = 0;
    return NULL;
}

static void check_value(const char *key, const char *expected, int line) {
    size_t len;
    const char *value = value_of(key, &len);
    if (!check_that(value != NULL, __FILE__, line, key)) {
        return;
    }
    check_bytes(value, len, expected, __FILE__, line);
}

#define CHECK_VALUE(key, expected) check_value(key, expected, __LINE__)

static void say(enum dh_level level, const char *worker, const char *msg,
                const struct dh_field *fields, size_t nfields) {
    dh_log_write(&s.log, level, worker, msg, strlen(msg), fields, nfields);
}

static void an_event_is_fields(void) {
    const char *traceback = "stack traceback:\n\t[C]: in function 'error'\n\tw.lua:9: \xff\n";
    const struct dh_field fields[] = {
        dh_field_cstring("error", "boom \xc3 \"x\"\nmore"),
        dh_field_integer("run", 3),
        dh_field_duration("restart_in", UINT64_C(4500000000)),
        dh_field_boolean("it-is.so", true),
        dh_field_number("x", 0.5),
        dh_field_cstring("worker", "another"),
        dh_field_lines("traceback", traceback, strlen(traceback)),
    };
    open_all();
    say(DH_LEVEL_ERROR, "flaky", "crashed", fields, 7);
    CHECK(take());
    CHECK_VALUE("PRIORITY", "3");
    CHECK_VALUE("SYSLOG_IDENTIFIER", "decnet-host");
    CHECK_VALUE("MESSAGE", "flaky: crashed: boom \xef\xbf\xbd \"x\"\\nmore  run=3 restart_in=4.5s "
                           "it-is.so=true x=0.5 worker_=another\n"
                           "    stack traceback:\n"
                           "      [C]: in function 'error'\n"
                           "      w.lua:9: \xef\xbf\xbd");
    CHECK_VALUE("DECNET_WORKER", "flaky");
    CHECK_VALUE("DECNET_ERROR", "boom \xef\xbf\xbd \"x\"\\nmore");
    CHECK_VALUE("DECNET_RUN", "3");
    CHECK_VALUE("DECNET_RESTART_IN", "4.5");
    CHECK_VALUE("DECNET_IT_IS_SO", "true");
    CHECK_VALUE("DECNET_X", "0.5");
    CHECK_VALUE("DECNET_WORKER_", "another");
    CHECK_VALUE("DECNET_TRACEBACK", "stack traceback:\n\t[C]: in function 'error'\n"
                                    "\tw.lua:9: \xef\xbf\xbd");
    CHECK_TEXT(s.text, ""); /* nothing to stderr */
    CHECK(!take());
    close_all();
}

static void the_host_has_no_worker(void) {
    size_t len;
    open_all();
    say(DH_LEVEL_INFO, NULL, "reloaded", NULL, 0);
    CHECK(take());
    CHECK_VALUE("PRIORITY", "6");
    CHECK_VALUE("MESSAGE", "reloaded");
    CHECK(value_of("DECNET_WORKER", &len) == NULL);
    say(DH_LEVEL_WARN, NULL, "w", NULL, 0);
    CHECK(take());
    CHECK_VALUE("PRIORITY", "4");
    close_all();
}

static void levels_are_kept(void) {
    open_all();
    dh_log_set_level(&s.log, DH_LEVEL_WARN);
    say(DH_LEVEL_INFO, "w", "hidden", NULL, 0);
    CHECK(!take());
    dh_log_set_level(&s.log, DH_LEVEL_DEBUG);
    say(DH_LEVEL_DEBUG, "w", "shown", NULL, 0);
    CHECK(take());
    CHECK_VALUE("PRIORITY", "7");
    close_all();
}

static void who_is_not_there_gets_a_line_with_its_priority(void) {
    open_all();
    close(fd);
    say(DH_LEVEL_ERROR, "w", "refused", NULL, 0); /* ECONNREFUSED */
    unlink(path);
    say(DH_LEVEL_INFO, "w", "gone", NULL, 0); /* ENOENT */
    CHECK_TEXT(s.text, "<3>ts=2026-11-22T12:44:45.123Z level=error worker=w msg=refused\n"
                       "<6>ts=2026-11-22T12:44:45.123Z level=info worker=w msg=gone\n");
    listen_there(); /* the journal has been restarted */
    say(DH_LEVEL_INFO, "w", "back", NULL, 0);
    CHECK(take());
    CHECK_VALUE("MESSAGE", "w: back");
    CHECK_INT(atomic_load(&s.log.dropped), 0);
    close_all();
}

static void a_full_queue_waits_for_nobody(void) {
    int n = 0;
    open_all();
    for (; n < 100000 && s.len == 0; n++) {
        say(DH_LEVEL_INFO, "w", "many", NULL, 0);
    }
    CHECK(n > 1 && n < 100000);
    CHECK_TEXT(s.text, "<6>ts=2026-11-22T12:44:45.123Z level=info worker=w msg=many\n");
    int taken = 0;
    while (take()) {
        taken++;
    }
    CHECK_INT(taken, n - 1);
    close_all();
}

static void what_is_too_long_for_a_datagram_is_a_line(void) {
    static char text[4 * DH_LOG_LINE_BYTES];
    int least = 1;
    memset(text, 'x', sizeof text);
    const struct dh_field fields[] = {
        dh_field_string("a", text, sizeof text),
        dh_field_string("b", text, sizeof text),
        dh_field_lines("traceback", text, sizeof text),
    };
    open_all();
    say(DH_LEVEL_INFO, "w", "long", fields, 3); /* cut, but taken */
    CHECK(take());
    CHECK(entry_len > 8192 && entry_len <= DH_JOURNAL_BYTES);
    setsockopt(s.log.journal.socket.fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
    say(DH_LEVEL_INFO, "w", "long", fields, 3);
    CHECK(!take());
    CHECK(strncmp(s.text, "<6>ts=", 6) == 0);
    close_all();
}

static void many_long_fields_stay_within_bounds(void) {
    static char text[DH_LOG_LINE_BYTES];
    struct dh_field fields[DH_LOG_FIELDS + 10];
    size_t len;
    memset(text, '\n', sizeof text);
    for (size_t i = 0; i < DH_LOG_FIELDS + 10; i++) {
        fields[i] = i % 2 == 0 ? dh_field_lines("lines", text, sizeof text)
                               : dh_field_string("string", text, sizeof text);
    }
    open_all();
    say(DH_LEVEL_INFO, "w", "much", fields, DH_LOG_FIELDS + 10);
    CHECK(take());
    CHECK(entry_len <= DH_JOURNAL_BYTES);
    const char *message = value_of("MESSAGE", &len);
    CHECK(message != NULL && len <= DH_LOG_LINE_BYTES);
    CHECK(memmem(message, len, "log_fields_left_off=", 20) != NULL);
    close_all();
}

static void keys_are_short_and_in_capitals(void) {
    static const char key[] =
        "this-key-is-longer-than-the-64-bytes-that-the-journal-allows-for-one";
    const struct dh_field fields[] = {dh_field_integer(key, 1), dh_field_integer("", 2),
                                      dh_field_integer("\xff=\n", 3)};
    open_all();
    say(DH_LEVEL_INFO, "w", "x", fields, 3);
    CHECK(take());
    CHECK_VALUE("DECNET_THIS_KEY_IS_LONGER_THAN_THE_64_BYTES_THAT_THE_JOURNAL_AL", "1");
    CHECK_VALUE("DECNET_", "2");
    CHECK_VALUE("DECNET____", "3");
    close_all();
}

static void no_field_passes_for_one_of_the_logs_own(void) {
    size_t len;
    const struct dh_field fields[] = {dh_field_cstring("Worker", "another"),
                                      dh_field_integer("log.dropped", 7)};
    open_all();
    say(DH_LEVEL_INFO, NULL, "x", fields, 2);
    CHECK(take());
    CHECK(value_of("DECNET_WORKER", &len) == NULL);
    CHECK(value_of("DECNET_LOG_DROPPED", &len) == NULL);
    CHECK_VALUE("DECNET_WORKER_", "another");
    CHECK_VALUE("DECNET_LOG_DROPPED_", "7");
    close_all();
}

static void what_was_lost_before_is_told(void) {
    open_all();
    close(fd);
    unlink(path);
    s.plan[0] = -ENOSPC;
    s.nplan = 1;
    say(DH_LEVEL_INFO, "w", "lost", NULL, 0);
    listen_there();
    say(DH_LEVEL_INFO, "w", "next", NULL, 0);
    CHECK(take());
    CHECK_VALUE("DECNET_LOG_DROPPED", "1");
    CHECK_VALUE("MESSAGE", "w: next log_dropped=1");
    close_all();
}

static void a_torn_line_is_ended_before_the_priority(void) {
    open_all();
    close(fd);
    s.plan[0] = 10;
    s.plan[1] = -ENOSPC;
    s.nplan = 2;
    say(DH_LEVEL_INFO, "w", "torn", NULL, 0);
    say(DH_LEVEL_INFO, "w", "whole", NULL, 0);
    CHECK_TEXT(s.text, "<6>ts=2026\n<6>ts=2026-11-22T12:44:45.123Z level=info worker=w msg=whole "
                       "log_dropped=1\n");
    close_all();
}

static struct {
    struct dh_tap tap;
    char text[200];
} tapped;

static void on_line(struct dh_tap *tap, const struct dh_tap_line *line) {
    (void)tap;
    snprintf(tapped.text, sizeof tapped.text, "%.*s", (int)line->len, line->text);
}

static void a_tap_has_the_line_all_the_same(void) {
    open_all();
    tapped.tap.fn = on_line;
    dh_log_set_tap(&s.log, &tapped.tap);
    say(DH_LEVEL_INFO, "w", "taken", NULL, 0);
    CHECK(take());
    CHECK_TEXT(tapped.text, "ts=2026-11-22T12:44:45.123Z level=info worker=w msg=taken");
    close_all();
}

static void the_journals_stream_is_known_by_its_inode(void) {
    char variable[64];
    struct stat st;
    CHECK_INT(fstat(0, &st), 0);
    snprintf(variable, sizeof variable, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    CHECK(dh_journal_is_at(variable, 0));
    snprintf(variable, sizeof variable, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino + 1);
    CHECK(!dh_journal_is_at(variable, 0));
    CHECK(!dh_journal_is_at("", 0));
    CHECK(!dh_journal_is_at("x:y", 0));
    CHECK(!dh_journal_is_at(NULL, 0));
    CHECK(!dh_journal_is_at(variable, -1));
}

static const struct check_case cases[] = {
    {"an event is fields", an_event_is_fields},
    {"the host has no worker", the_host_has_no_worker},
    {"levels are kept", levels_are_kept},
    {"who is not there gets a line with its priority",
     who_is_not_there_gets_a_line_with_its_priority},
    {"a full queue waits for nobody", a_full_queue_waits_for_nobody},
    {"what is too long for a datagram is a line", what_is_too_long_for_a_datagram_is_a_line},
    {"many long fields stay within bounds", many_long_fields_stay_within_bounds},
    {"keys are short and in capitals", keys_are_short_and_in_capitals},
    {"no field passes for one of the log's own", no_field_passes_for_one_of_the_logs_own},
    {"what was lost before is told", what_was_lost_before_is_told},
    {"a torn line is ended before the priority", a_torn_line_is_ended_before_the_priority},
    {"a tap has the line all the same", a_tap_has_the_line_all_the_same},
    {"the journals stream is known by its inode", the_journals_stream_is_known_by_its_inode},
};

CHECK_MAIN(cases)
