/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The verbs that change something.
*/
#include "ctl/order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/cells.h"
#include "ctl/limits.h"
#include "ctl/row.h"
#include "ctl/verb.h"
#include "obs/text.h"

int dh_order_give(struct dh_http *h, const char *target, double timeout_s, json_t **ret_answer,
                  struct dh_error *err) {
    char whole[DH_VERB_TARGET + 64];
    timeout_s = timeout_s < DH_ORDER_TIMEOUT_MAX_S ? timeout_s : DH_ORDER_TIMEOUT_MAX_S;
    snprintf(whole, sizeof(whole), "%s%cwait=%.3f", target, strchr(target, '?') != NULL ? '&' : '?',
             timeout_s);
    struct dh_question q = {.is_order = true,
                            .target = whole,
                            .patience_s = DH_CTL_PATIENCE_S,
                            .wait_s = timeout_s,
                            .limit_s = DH_CTL_ANSWER_S};
    return dh_http_ask_json(h, &q, ret_answer, err);
}

static double timeout_of(const struct dh_options *o) {
    return o->timeout_s >= 0 ? o->timeout_s : DH_ORDER_TIMEOUT_S;
}

static void put(FILE *out, const char *text) {
    text = text != NULL ? text : "";
    dh_cells_print(out, text, strlen(text), SIZE_MAX, DH_ALIGN_NONE);
}

/* Given, and not carried out. Who does not wait has what he wanted. name: of a worker, or NULL. */
static int report_pending(const struct dh_options *o, const char *name, const json_t *answer) {
    const char *state = dh_row_text(json_object_get(answer, "worker"), "state");
    const json_t *holder = json_object_get(answer, "holder");
    bool does_wait = timeout_of(o) > 0;
    FILE *out = does_wait ? stderr : stdout;
    fflush(stdout);
    fprintf(out, "%s%s%s", does_wait ? "decnet-host: " : "", o->verb, name != NULL ? " " : "");
    put(out, name);
    if (does_wait) {
        fprintf(out, ": not done after %g s", timeout_of(o));
    } else {
        fputs(": told", out);
    }
    if (state != NULL) {
        fputs("; it is ", out);
        put(out, state);
    }
    if (json_is_object(holder)) {
        const char *who = dh_row_text(holder, "worker");
        fputs("; the CPU is held by ", out);
        put(out, who != NULL ? who : "the host's own code");
    }
    fputc('\n', out);
    return does_wait ? DH_EXIT_NO : DH_EXIT_FINE;
}

static void report_done(const char *name, const json_t *worker) {
    double retry_in_s;
    char text[DH_CELLS_UNIT];
    put(stdout, name);
    fputs(": ", stdout);
    put(stdout, dh_row_text(worker, "state"));
    printf(", run %.0f", dh_row_number(worker, "run"));
    if (dh_row_get_number(worker, "next_retry_in", &retry_in_s)) {
        dh_cells_seconds(text, retry_in_s);
        printf(", restart in %s", text);
    }
    fputc('\n', stdout);
}

static int order_one(const struct dh_options *o, struct dh_http *h, const char *name) {
    struct dh_error err;
    char target[DH_VERB_TARGET];
    char rest[16];
    json_t *answer = NULL;
    int code = DH_EXIT_FINE;
    snprintf(rest, sizeof(rest), "/%s", o->verb);
    int result = dh_verb_target(target, name, rest, &err);
    result = result == 0 ? dh_order_give(h, target, timeout_of(o), &answer, &err) : result;
    if (result != 0) {
        if (result == DH_ESTATE && h->status != 404) { /* which names the worker itself */
            char shown[64];
            dh_text_oneline(shown, sizeof(shown), name, strlen(name));
            dh_error_wrap(&err, "%s %s", o->verb, shown);
        }
        dh_verb_explain(h, name, &err);
        return dh_verb_complain(&err);
    }
    if (json_is_true(json_object_get(answer, "done"))) {
        report_done(name, json_object_get(answer, "worker"));
    } else {
        code = report_pending(o, name, answer);
    }
    json_decref(answer);
    return code;
}

int dh_verb_order(const struct dh_options *o, struct dh_http *h) {
    int worst = DH_EXIT_FINE;
    for (int i = 0; i < o->name_count; i++) {
        int code = order_one(o, h, o->names[i]);
        worst = code > worst ? code : worst;
        fflush(stdout);
    }
    return worst;
}

int dh_verb_reload(const struct dh_options *o, struct dh_http *h) {
    struct dh_error err;
    json_t *answer = NULL;
    int code = DH_EXIT_FINE;
    if (dh_order_give(h, "/v1/reload", timeout_of(o), &answer, &err) != 0) {
        return dh_verb_complain(&err);
    }
    if (json_is_true(json_object_get(answer, "done"))) {
        put(stdout, dh_row_text(answer, "message"));
        fputc('\n', stdout);
    } else {
        code = report_pending(o, NULL, answer);
    }
    json_decref(answer);
    return code;
}

int dh_verb_shutdown(const struct dh_options *o, struct dh_http *h) {
    struct dh_error err;
    json_t *answer = NULL;
    int code = DH_EXIT_FINE;
    const char *target = o->is_now ? "/v1/shutdown?now=1" : "/v1/shutdown";
    int result = dh_order_give(h, target, timeout_of(o), &answer, &err);
    bool has_gone = result == DH_ENOENT && h->pid > 0; /* in the middle of its answer */
    if (result != 0 && !has_gone) {
        return dh_verb_complain(&err);
    }
    if (has_gone || json_is_true(json_object_get(answer, "done"))) {
        printf("process %d has ended\n", (int)h->pid);
    } else {
        code = report_pending(o, NULL, answer);
    }
    json_decref(answer);
    return code;
}
