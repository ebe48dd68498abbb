/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What the service manager says by variables: NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, JOURNAL_STREAM,
** of arbitrary bytes.
**
** Input: a byte that says which of them are set, and how; then their values.
**
** Wrong is: a watchdog that is fed at another time than systemd's manuals say; one that is not, without a
** word; a warning that is not one line; a variable that children would find.
*/
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/limits.h"
#include "fuzz.h"
#include "host/service.h"
#include "obs/journal.h"
#include "obs/text.h"
#include "spec/obs/sink.h"

enum { ADDRESS = 1, USEC = 2, PID = 4, JOURNAL = 8, IS_OURS = 16, IS_LOGFMT = 32 };

enum { VARIABLES = 4, VALUE_MAX = 4096 };

static struct sink sink;

/* The number that is all of the text, as sd_watchdog_enabled(3) reads it; 0: there is none. */
static unsigned long long whole_number(const char *text) {
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    return isdigit((unsigned char)text[0]) && *end == '\0' && errno == 0 ? n : 0;
}

static uint64_t expected_interval(const char *usec, const char *pid) {
    unsigned long long n = usec != NULL ? whole_number(usec) : 0;
    bool is_ours = pid == NULL || whole_number(pid) == (unsigned long long)getpid();
    if (n == 0 || n >= UINT64_MAX / 1000 || !is_ours) {
        return DH_NEVER;
    }
    return n * 500 > DH_WATCHDOG_MIN_NS ? n * 500 : DH_WATCHDOG_MIN_NS;
}

static void check_log(size_t warnings) {
    size_t lines = 0;
    HOLDS(fuzz_is_utf8(sink.text, sink.len));
    for (size_t at = 0; at < sink.len;) {
        uint32_t c;
        bool is_valid;
        at += dh_text_decode(sink.text + at, sink.len - at, &c, &is_valid);
        HOLDS(c == '\n' || !dh_text_is_control(c));
        lines += c == '\n';
    }
    HOLDS(lines == warnings);
}

static bool is_address(const char *text) {
    return (text[0] == '/' || text[0] == '@') && text[1] != '\0' && strlen(text) <= 107;
}

static void check_service(const char *address, const char *usec, const char *pid) {
    struct dh_service s;
    dh_service_init(&s, &sink.log, 1, 2);
    uint64_t interval = address != NULL ? expected_interval(usec, pid) : DH_NEVER;
#if FUZZ_CANARY
    s.watchdog_ns += usec != NULL && strchr(usec, '7') != NULL; /* a nanosecond late */
#endif
    HOLDS(s.is_on == (address != NULL && is_address(address)));
    HOLDS(s.watchdog_ns == interval);
    HOLDS(getenv("NOTIFY_SOCKET") == NULL && getenv("WATCHDOG_USEC") == NULL &&
          getenv("WATCHDOG_PID") == NULL);
    dh_service_fini(&s);
}

/* Is the watchdog, or the address, of no use, and not just of another process? */
static bool is_complained_of(const char *address, const char *usec, const char *pid) {
    unsigned long long n = usec != NULL ? whole_number(usec) : 1000000;
    if (address == NULL) {
        return false;
    }
    if (usec != NULL && pid != NULL && whole_number(pid) != (unsigned long long)getpid()) {
        return whole_number(pid) == 0;
    }
    return n == 0 || n >= UINT64_MAX / 1000 || n * 500 < DH_WATCHDOG_MIN_NS;
}

/* Only who is told of the file he has is at the journal. */
static void check_journal(const char *variable) {
    char right[64];
    struct stat st;
    HOLDS(fstat(0, &st) == 0);
    snprintf(right, sizeof(right), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    HOLDS(dh_journal_is_at(right, 0));
    HOLDS(!dh_journal_is_at(right, -1));
    HOLDS(!dh_journal_is_at(variable, 0) || strstr(variable, strchr(right, ':') + 1) != NULL);
}

/* ---- the environment ------------------------------------------------------------------------- */

/* Our own: libc never frees what setenv copies. */
static struct {
    char text[VARIABLES][VALUE_MAX];
    char *list[VARIABLES + 1];
    size_t count;
} variables;

/* NAME=value, the value read from the input or given. Returns the value. */
static const char *set(struct fuzz_input *in, const char *name, const char *value) {
    char *text = variables.text[variables.count];
    size_t n = (size_t)snprintf(text, VALUE_MAX, "%s=%s", name, value != NULL ? value : "");
    if (value == NULL) {
        fuzz_c_string(in, text + n, VALUE_MAX - n);
    }
    variables.list[variables.count++] = text;
    variables.list[variables.count] = NULL;
    return text + n - (value != NULL ? strlen(value) : 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char own[24];
    struct fuzz_input in = {data, size};
    uint8_t how = fuzz_byte(&in);
    variables.count = 0;
    variables.list[0] = NULL;
    environ = variables.list;
    snprintf(own, sizeof(own), "%ld", (long)getpid());
    const char *address = how & ADDRESS ? set(&in, "NOTIFY_SOCKET", NULL) : NULL;
    const char *usec = how & USEC ? set(&in, "WATCHDOG_USEC", NULL) : NULL;
    const char *pid = how & PID ? set(&in, "WATCHDOG_PID", how & IS_OURS ? own : NULL) : NULL;
    const char *journal = how & JOURNAL ? set(&in, "JOURNAL_STREAM", NULL) : NULL;
    sink_open_format(&sink, how & IS_LOGFMT ? DH_LOG_LOGFMT : DH_LOG_PRETTY);
    check_service(address, usec, pid);
    bool is_nowhere = address != NULL && !is_address(address);
    check_log((is_nowhere ? 1u : 0u) + (is_complained_of(address, usec, pid) ? 1u : 0u));
    dh_log_fini(&sink.log);
    check_journal(journal);
    return 0;
}
