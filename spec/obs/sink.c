/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "obs/sink.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static uint64_t sink_now(void *arg) {
    return ((struct sink *)arg)->now_ns;
}

static ssize_t sink_write(void *arg, int fd, const void *data, size_t len) {
    struct sink *s = arg;
    long step = 0;
    assert(fd == 2);
    s->writes++;
    errno = EDOM; /* as any system call may */
    if (s->nplan > 0) {
        step = s->plan[0];
        s->nplan--;
        memmove(s->plan, s->plan + 1, sizeof *s->plan * (size_t)s->nplan);
    }
    if (step < 0) {
        return step;
    }
    if (step > 0 && (size_t)step < len) {
        len = (size_t)step;
    }
    if (len > SINK_BYTES - 1 - s->len) {
        sink_clear(s);
    }
    memcpy(s->text + s->len, data, len);
    s->len += len;
    s->text[s->len] = '\0';
    return (ssize_t)len;
}

void sink_clear(struct sink *s) {
    s->len = 0;
    s->writes = 0;
    s->text[0] = '\0';
}

void sink_open(struct sink *s, const struct dh_log_options *options) {
    struct dh_log_options copy = *options;
    copy.fd = 2;
    copy.now_ns = sink_now;
    copy.write = sink_write;
    copy.arg = s;
    s->now_ns = copy.clock == DH_LOG_CLOCK_WALL ? SINK_WALL_NS : 0;
    s->nplan = 0;
    sink_clear(s);
    dh_log_init(&s->log, &copy);
}

void sink_open_format(struct sink *s, enum dh_log_format format) {
    struct dh_log_options options = {.format = format};
    sink_open(s, &options);
}

void sink_say(struct sink *s, const char *msg) {
    dh_log_write(&s->log, DH_LEVEL_INFO, "w", msg, strlen(msg), NULL, 0);
}
