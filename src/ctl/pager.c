/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ctl/pager.h"

#include <stdlib.h>
#include <string.h>

void dh_pager_close(struct dh_pager *p) {
    free(p->text);
    *p = (struct dh_pager){0};
}

void dh_pager_set(struct dh_pager *p, char *text, size_t len) {
    dh_pager_close(p);
    p->text = text;
    for (size_t i = 0; text != NULL && i < len; i++) {
        if (text[i] == '\n') {
            text[i] = '\0';
            p->count++;
        }
    }
}

void dh_pager_move(struct dh_pager *p, long by, size_t rows) {
    size_t most = p->count > rows ? p->count - rows : 0;
    if (by < 0) {
        size_t up = (size_t)-by;
        p->first = p->first > up ? p->first - up : 0;
    } else {
        p->first = p->first + (size_t)by < most ? p->first + (size_t)by : most;
    }
}
