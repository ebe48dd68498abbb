/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ctl/verb.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/limits.h"
#include "core/near.h"
#include "obs/log.h"
#include "obs/text.h"

int dh_verb_complain(const struct dh_error *err) {
    if (err->text[0] != '\0') {
        fflush(stdout);
        fprintf(stderr, "decnet-host: %s\n", err->text);
    }
    switch (err->code) {
        case DH_EINVAL:
        case DH_EEXIST:
            return DH_EXIT_USAGE;
        case DH_ENOENT:
        case DH_EBUSY:
        case DH_ESYSTEM:
            return DH_EXIT_NOBODY;
        default:
            return DH_EXIT_NO;
    }
}

int dh_verb_target(char dst[DH_VERB_TARGET], const char *name, const char *rest,
                   struct dh_error *err) {
    if (name[0] == '\0' || strlen(name) > DH_NAME_MAX) {
        return dh_error_set(err, DH_EINVAL, "the name of a worker has 1 to %d bytes", DH_NAME_MAX);
    }
    char *escaped = dh_http_escape(name);
    if (escaped == NULL) {
        return dh_error_set(err, DH_ENOMEM, "out of memory");
    }
    snprintf(dst, DH_VERB_TARGET, "/v1/workers/%s%s", escaped, rest);
    free(escaped);
    return 0;
}

int dh_verb_no_worker(const struct dh_rows *rows, const char *name, struct dh_error *err) {
    char shown[100];
    char meant[100];
    struct dh_near near;
    dh_text_oneline(shown, sizeof(shown), name, strlen(name));
    dh_near_init(&near, name, strlen(name));
    for (size_t i = 0; i < rows->count; i++) {
        dh_near_offer(&near, rows->list[i].name, rows->list[i].name_len);
    }
    if (near.found != NULL) {
        dh_text_oneline(meant, sizeof(meant), near.found, near.found_len);
        return dh_error_set(err, DH_ESTATE, "no worker is named '%s'; did you mean '%s'?", shown,
                            meant);
    }
    if (access(name, F_OK) == 0) {
        return dh_error_set(err, DH_ESTATE,
                            "no worker is named '%s'; to ask the host of that script: --script %s",
                            shown, shown);
    }
    return dh_error_set(err, DH_ESTATE, "no worker is named '%s'; see decnet-host status --names",
                        shown);
}

void dh_verb_explain(struct dh_http *h, const char *name, struct dh_error *err) {
    struct dh_rows rows;
    struct dh_error other;
    if (err->code != DH_ESTATE || h->status != 404) {
        return;
    }
    if (dh_rows_ask(&rows, h, NULL, NULL, &other) == 0) {
        dh_verb_no_worker(&rows, name, err);
    }
    dh_rows_fini(&rows);
}

bool dh_verb_has_colour(void) {
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && dh_log_wants_colors() && term != NULL &&
           strcmp(term, "dumb") != 0;
}

size_t dh_verb_width(void) {
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) {
        return SIZE_MAX;
    }
    return size.ws_col > 0 ? size.ws_col : 80;
}
