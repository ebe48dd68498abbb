/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/warning.h"

#include <stdio.h>
#include <string.h>

#include "script/instance.h"
#include "script/unit.h"
#include "script/vm.h"

static void append(struct dh_warning *w, const char *piece) {
    size_t room = sizeof(w->text) - 1 - w->len;
    size_t len = strlen(piece);
    len = len < room ? len : room;
    memcpy(w->text + w->len, piece, len);
    w->len += len;
    w->text[w->len] = '\0';
}

/* More than a few in a while are counted only. */
static bool is_too_much(struct dh_vm *vm, struct dh_warning *w) {
    uint64_t now = dh_loop_now();
    if (w->began_ns == 0 || now - w->began_ns >= DH_WARNINGS_NS) {
        if (w->untold > 0) {
            dh_log_print(&vm->instance->log, DH_LEVEL_WARN, NULL, "%u more warnings were not shown",
                         w->untold);
        }
        w->began_ns = now;
        w->told = w->untold = 0;
    }
    if (w->told == DH_WARNINGS) {
        w->untold++;
        return true;
    }
    w->told++;
    return false;
}

static void tell(struct dh_vm *vm, struct dh_warning *w) {
    bool is_finalizers = strncmp(w->text, "error in __gc", strlen("error in __gc")) == 0;
    if (vm->instance == NULL) {
        if (w->is_on) {
            fprintf(stderr, "Lua warning: %s\n", w->text);
        }
    } else if ((w->is_on || is_finalizers) && !is_too_much(vm, w)) {
        const struct dh_unit *unit = vm->current != NULL ? vm->current->run->unit : NULL;
        dh_log_write(&vm->instance->log, DH_LEVEL_WARN,
                     unit != NULL && !is_finalizers ? unit->name : NULL, w->text, w->len, NULL, 0);
    }
}

static void on_warning(void *ud, const char *piece, int is_to_be_continued) {
    struct dh_vm *vm = ud;
    struct dh_warning *w = &vm->warning;
    if (!w->is_continued && !is_to_be_continued && piece[0] == '@') {
        w->is_on = strcmp(piece, "@on") == 0 || (w->is_on && strcmp(piece, "@off") != 0);
        return;
    }
    append(w, piece);
    w->is_continued = is_to_be_continued != 0;
    if (!w->is_continued) {
        tell(vm, w);
        w->len = 0;
    }
}

void dh_warning_open(lua_State *L, struct dh_vm *vm) {
    lua_setwarnf(L, on_warning, vm);
}
