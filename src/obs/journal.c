/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "obs/journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "obs/line.h"
#include "obs/text.h"

#define PREFIX "DECNET_"
#define WORKER_KEY PREFIX "WORKER"
#define DROPPED_KEY PREFIX "LOG_DROPPED"

struct entry {
    char data[DH_JOURNAL_BYTES];
    size_t len;
};

bool dh_journal_is_at(const char *variable, int fd) {
    uintmax_t dev, inode;
    struct stat st;
    return variable != NULL && sscanf(variable, "%ju:%ju", &dev, &inode) == 2 &&
           fstat(fd, &st) == 0 && st.st_dev == dev && st.st_ino == inode;
}

char dh_journal_priority(enum dh_level level) {
    static const char priorities[] = {[DH_LEVEL_DEBUG] = '7',
                                      [DH_LEVEL_INFO] = '6',
                                      [DH_LEVEL_WARN] = '4',
                                      [DH_LEVEL_ERROR] = '3'};
    return priorities[level];
}

void dh_journal_open(struct dh_journal *j, const char *path) {
    j->is_open = dh_datagram_open(&j->socket, path, NULL) == 0;
}

void dh_journal_close(struct dh_journal *j) {
    if (j->is_open) {
        dh_datagram_close(&j->socket);
        j->is_open = false;
    }
}

/* Add KEY=value; a value of several lines is KEY, its length in 8 bytes, value. What does not fit is
** left off: then the message has been cut, too, and says so. */
static void add(struct entry *e, const char *key, const char *value, size_t len) {
    size_t key_len = strlen(key);
    if (key_len + 1 + 8 + len + 1 > sizeof e->data - e->len) {
        return;
    }
    char *at = e->data + e->len;
    memcpy(at, key, key_len);
    at += key_len;
    if (memchr(value, '\n', len) == NULL) {
        *at++ = '=';
    } else {
        *at++ = '\n';
        for (int i = 0; i < 8; i++) {
            *at++ = (char)((uint64_t)len >> 8 * i);
        }
    }
    memcpy(at, value, len);
    at += len;
    *at++ = '\n';
    e->len = (size_t)(at - e->data);
}

/* DECNET_ and the key in capitals; with a "_" behind it where that is a key of the log's own. */
static void write_key(char dst[DH_LOG_KEY_BYTES + 1], const char *key) {
    size_t n = sizeof PREFIX - 1;
    memcpy(dst, PREFIX, n);
    for (; *key != '\0' && n < DH_LOG_KEY_BYTES - 1; key++) {
        char c = *key;
        bool is_lower = c >= 'a' && c <= 'z';
        bool is_fine = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        dst[n++] = is_lower ? (char)(c - 'a' + 'A') : is_fine ? c : '_';
    }
    dst[n] = '\0';
    if (strcmp(dst, WORKER_KEY) == 0 || strcmp(dst, DROPPED_KEY) == 0) {
        strcpy(dst + n, "_");
    }
}

/* Text that keeps its lines, and the tabs they begin with. */
static size_t write_lines(char *dst, size_t cap, const char *src, size_t len) {
    size_t n = 0;
    while (len > 0 && n + 1 < cap) {
        const char *stop = memchr(src, '\n', len);
        size_t line = stop != NULL ? (size_t)(stop - src) : len;
        size_t used = stop != NULL ? line + 1 : line;
        for (; line > 0 && *src == '\t' && n + 1 < cap; src++, line--, len--, used--) {
            dst[n++] = '\t';
        }
        n += dh_text_oneline(dst + n, cap - n, src, line);
        if (stop != NULL && used < len && n + 1 < cap) {
            dst[n++] = '\n';
        }
        src += used;
        len -= used;
    }
    return n;
}

static void add_field(struct entry *e, const struct dh_field *f) {
    char key[DH_LOG_KEY_BYTES + 1];
    char value[DH_LOG_MESSAGE_BYTES * 2];
    size_t len = 0;
    switch (f->type) {
        case DH_FIELD_STRING:
            len = dh_text_oneline(value, DH_LOG_MESSAGE_BYTES, f->as.string.data, f->as.string.len);
            break;
        case DH_FIELD_LINES:
            len = write_lines(value, sizeof value, f->as.string.data, f->as.string.len);
            break;
        case DH_FIELD_INTEGER:
            len = (size_t)snprintf(value, sizeof value, "%" PRId64, f->as.integer);
            break;
        case DH_FIELD_NUMBER:
            len = dh_field_write_number(value, f->as.number);
            break;
        case DH_FIELD_BOOLEAN:
            len = (size_t)snprintf(value, sizeof value, "%s", f->as.boolean ? "true" : "false");
            break;
        case DH_FIELD_DURATION:
            len = dh_field_write_seconds(value, f->as.duration_ns);
            break;
    }
    write_key(key, f->key);
    add(e, key, value, len);
}

bool dh_journal_send(const struct dh_journal *j, const struct dh_line_event *ev) {
    struct entry e;
    char message[DH_LOG_LINE_BYTES + 1];
    char priority = dh_journal_priority(ev->level);
    if (!j->is_open) {
        return false;
    }
    e.len = 0;
    add(&e, "PRIORITY", &priority, 1);
    add(&e, "SYSLOG_IDENTIFIER", "decnet-host", strlen("decnet-host"));
    add(&e, "MESSAGE", message, dh_line_write_message(message, ev));
    if (ev->worker != NULL) {
        add(&e, WORKER_KEY, ev->worker, strlen(ev->worker));
    }
    if (ev->dropped > 0) {
        char number[DH_FIELD_NUMBER_BYTES];
        int len = snprintf(number, sizeof number, "%" PRIu64, ev->dropped);
        add(&e, DROPPED_KEY, number, (size_t)len);
    }
    for (size_t i = 0; i < ev->nfields && i < DH_LOG_FIELDS; i++) {
        add_field(&e, &ev->fields[i]);
    }
    return dh_datagram_send(&j->socket, e.data, e.len) == 0;
}
