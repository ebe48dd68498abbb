/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ctl/follow.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl/limits.h"

/* How often it is looked whether anybody still reads stdout. */
#define LOOK_NS 250000000u

static bool keep(struct dh_follow *f, const char *bytes, size_t len) {
    size_t need = f->len + len + 1;
    if (need > f->cap) {
        size_t cap = need < 8192 ? 8192 : 2 * need;
        char *grown = need <= DH_CTL_LINE_BYTES ? realloc(f->line, cap) : NULL;
        if (grown == NULL) {
            return false;
        }
        f->line = grown;
        f->cap = cap;
    }
    memcpy(f->line + f->len, bytes, len);
    f->len += len;
    f->line[f->len] = '\0';
    return true;
}

static bool take(void *arg, const char *bytes, size_t len) {
    struct dh_follow *f = arg;
    while (len > 0) {
        const char *end = memchr(bytes, '\n', len);
        size_t n = end != NULL ? (size_t)(end - bytes) : len;
        if (!keep(f, bytes, n)) {
            f->len = 0; /* no host has such lines */
        }
        if (end != NULL) {
            size_t line_len = f->len;
            f->len = 0;
            f->is_enough = !f->on_line(f->arg, line_len > 0 ? f->line : "", line_len);
            n++;
        }
        if (f->is_enough) {
            return false;
        }
        bytes += n;
        len -= n;
    }
    f->is_enough = fflush(stdout) != 0 || ferror(stdout); /* the disk is full */
    return !f->is_enough;
}

static bool is_read(void) {
    struct pollfd fd = {.fd = STDOUT_FILENO};
    return poll(&fd, 1, 0) <= 0 || (fd.revents & (POLLERR | POLLNVAL)) == 0;
}

/* One answer, up to its end. */
static int ask(struct dh_follow *f, bool is_other, struct dh_error *err) {
    struct dh_question q = {.patience_s = DH_CTL_SILENCE_S,
                            .limit_s = f->follows ? 0 : DH_CTL_ANSWER_S,
                            .take = take,
                            .arg = f};
    int result;
    f->next(f->arg, is_other, &q);
    f->len = 0;
    result = dh_http_start(f->http, &q, err);
    result = result == 0 ? 1 : result;
    while (result > 0 && is_read()) {
        result = dh_http_step(f->http, LOOK_NS, -1, err);
    }
    if (result > 0) { /* nobody reads */
        f->is_enough = true;
        dh_http_stop(f->http);
        return 0;
    }
    return result == 0 ? dh_http_check(f->http, err) : result;
}

/* Is the host of this process still there, or another one? Waits until one is. */
static bool wait_for_host(struct dh_follow *f, pid_t before) {
    struct dh_error err;
    struct dh_question q = {
        .target = "/livez", .patience_s = DH_CTL_PATIENCE_S, .limit_s = DH_CTL_ANSWER_S};
    do {
        nanosleep(&(struct timespec){0, DH_CTL_RETRY_NS}, NULL);
        if (dh_http_ask(f->http, &q, &err) == 0) {
            return f->http->pid != before;
        }
    } while (is_read());
    f->is_enough = true;
    return false;
}

int dh_follow_run(struct dh_follow *f, struct dh_error *err) {
    int result = ask(f, false, err);
    while (f->follows && !f->is_enough && (result == 0 || result == DH_ENOENT)) {
        pid_t before = f->http->pid;
        if (before == 0) { /* there was none to begin with */
            break;
        }
        fflush(stdout);
        fprintf(stderr, "decnet-host: the host at %s has gone; waiting for it\n", f->http->path);
        bool is_other = wait_for_host(f, before);
        if (!f->is_enough) {
            result = ask(f, is_other, err);
        }
    }
    free(f->line);
    f->line = NULL;
    return f->is_enough ? 0 : result;
}
