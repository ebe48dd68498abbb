/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/printed.h"

#include <stdlib.h>
#include <string.h>

#include "script/instance.h"
#include "script/limits.h"
#include "script/owned.h"
#include "script/unit.h"
#include "script/vm.h"

struct dh_run *dh_printed_by(const struct dh_vm *vm) {
    if (vm->instance == NULL || !dh_log_has_tap(&vm->instance->log)) {
        return NULL;
    }
    return vm->current != NULL ? vm->current->run : NULL;
}

static void pass(struct dh_run *run, enum dh_source source, const char *text, size_t len) {
    const char *worker = run->unit != NULL ? run->unit->name : NULL;
    dh_log_pass(&run->instance->log, source, worker, text, len);
}

/* The begun line of the run; NULL when memory is out. */
static struct dh_begun *begun_of(struct dh_run *run, enum dh_source source) {
    struct dh_owned *owned = dh_owned_try(run);
    return owned != NULL ? &owned->begun[source == DH_SOURCE_STDERR] : NULL;
}

static bool make_room(struct dh_begun *b, size_t len) {
    if (len <= b->cap) {
        return true;
    }
    size_t cap = b->cap > 0 ? b->cap : DH_PRINTED_BYTES / 32;
    while (cap < len) {
        cap *= 2;
    }
    char *text = realloc(b->text, cap);
    if (text == NULL) {
        return false;
    }
    b->text = text;
    b->cap = (uint16_t)cap;
    return true;
}

/* As many bytes as fit, without breaking a character. */
static size_t piece_of(const char *text, size_t len, size_t max) {
    if (len <= max) {
        return len;
    }
    size_t n = max;
    while (n > 0 && n + 3 > max && ((unsigned char)text[n] & 0xc0) == 0x80) {
        n--;
    }
    return n;
}

/* Text without a line end. */
static void hold(struct dh_run *run, enum dh_source source, const char *text, size_t len) {
    struct dh_begun *b = begun_of(run, source);
    while (len > 0) {
        size_t n = piece_of(text, len, DH_PRINTED_BYTES - (b != NULL ? b->len : 0u));
        if (b == NULL || !make_room(b, b->len + n)) {
            pass(run, source, text, n); /* no memory: it comes in more pieces */
        } else {
            memcpy(b->text + b->len, text, n);
            b->len = (uint16_t)(b->len + n);
        }
        text += n;
        len -= n;
        if (len > 0 && b != NULL) {
            pass(run, source, b->text, b->len);
            b->len = 0;
        }
    }
}

static void complete(struct dh_run *run, enum dh_source source) {
    struct dh_begun *b = begun_of(run, source);
    if (b != NULL) {
        pass(run, source, b->len > 0 ? b->text : "", b->len);
        b->len = 0;
    }
}

void dh_printed_add(struct dh_run *run, enum dh_source source, const char *text, size_t len) {
    const char *end;
    while (len > 0 && (end = memchr(text, '\n', len)) != NULL) {
        size_t n = (size_t)(end - text);
        hold(run, source, text, n);
        complete(run, source);
        text += n + 1;
        len -= n + 1;
    }
    hold(run, source, text, len);
}

void dh_printed_end(struct dh_run *run) {
    for (int i = 0; i < 2; i++) {
        struct dh_begun *b = &run->owned->begun[i];
        if (b->len > 0) {
            pass(run, i == 0 ? DH_SOURCE_STDOUT : DH_SOURCE_STDERR, b->text, b->len);
        }
        free(b->text);
        *b = (struct dh_begun){NULL, 0, 0};
    }
}
