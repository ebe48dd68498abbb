/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** decnet-ctl: what a host, or whoever has its socket, answers. The verbs are the real ones, and so is all
** below them but curl: it "receives" the input, cut into pieces.
**
** Input: which verb and options; the status; the length of the pieces; for `top` the size of its screen and
** keys, ended by 0xfe; then answers, each ended by a byte 0xfe (which is never in UTF-8). Or, instead of
** answers, what stands on the command line, the words ended by 0xfe.
**
** Wrong is: a control character on a terminal; JSON that is not what was received; a table without a worker
** that was received; a line of `top` that does not fit; an option that is taken for an operand.
*/
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#include "fuzz.h"
#include "obs/text.h"
#include "screen.h"

/* ---- in place of curl and the socket --------------------------------------------------------- */

enum { ANSWERS = 4, ANSWER_END = 0xfe };

static struct fuzz_input answers; /* those to come */
static size_t piece;
static long answer_status;
static size_t (*write_body)(char *bytes, size_t size, size_t count, void *arg);
static void *write_arg;
static CURLMsg ended;
static CURLcode outcome;

static CURLMcode perform(CURLM *multi, int *running);
static CURLMsg *read_info(CURLM *multi, int *left);
static CURLcode get_info(long *ret_status);

#define curl_multi_perform(multi, running) perform((multi), (running))
#define curl_multi_info_read(multi, left) read_info((multi), (left))
#define curl_multi_poll(multi, fds, count, ms, ret) (void)(fds)
#define curl_multi_add_handle(multi, easy) CURLM_OK
#define curl_multi_remove_handle(multi, easy) (void)(easy)
#undef curl_easy_getinfo
#define curl_easy_getinfo(easy, info, arg) ((void)(easy), get_info(arg))
#define connect(fd, address, len) ((void)(fd), (void)(address), 0)
#define socket(family, type, protocol) 1000000000 /* nobody has so many */
#include "ctl/http.c"
#undef connect
#undef socket

#include "ctl/cells.h"
#include "ctl/row.h"
#include "ctl/verb.h"

static size_t answer_len(void) {
    const uint8_t *end = memchr(answers.at, ANSWER_END, answers.left);
    return end != NULL ? (size_t)(end - answers.at) : answers.left;
}

/* The next piece of the answer that is under way, or its end. */
static CURLMcode perform(CURLM *multi, int *running) {
    size_t len = answer_len();
    (void)multi;
    *running = 0;
    if (outcome == CURLE_OK && len > 0) {
        size_t n = len < piece ? len : piece;
        char *copy = malloc(n);
        HOLDS(copy != NULL);
        memcpy(copy, answers.at, n);
        outcome = write_body(copy, 1, n, write_arg) == n ? CURLE_OK : CURLE_WRITE_ERROR;
        free(copy);
        answers.at += n;
        answers.left -= n;
        *running = 1;
    }
    if (outcome != CURLE_OK) {
        *running = 0;
    }
    return CURLM_OK;
}

static CURLMsg *read_info(CURLM *multi, int *left) {
    size_t len = answer_len();
    (void)multi;
    *left = 0;
    if (outcome == CURLE_OK && len > 0) {
        return NULL;
    }
    answers.at += len + (len < answers.left);
    answers.left -= len + (len < answers.left);
    ended.msg = CURLMSG_DONE;
    ended.data.result = outcome;
    outcome = CURLE_OK;
    return &ended;
}

static CURLcode get_info(long *ret_status) {
    *ret_status = answer_status;
    return CURLE_OK;
}

/* ---- what it prints -------------------------------------------------------------------------- */

static char *printed[2]; /* stdout, stderr */
static size_t printed_len[2];

static int captured(int (*verb)(const struct dh_options *, struct dh_http *),
                    const struct dh_options *o, struct dh_http *h) {
    FILE *out = stdout;
    FILE *err = stderr;
    stdout = open_memstream(&printed[0], &printed_len[0]);
    stderr = open_memstream(&printed[1], &printed_len[1]);
    int code = verb(o, h);
    fclose(stdout);
    fclose(stderr);
    stdout = out;
    stderr = err;
    return code;
}

static void check_clean(char *text, size_t len, bool is_whole) {
#if FUZZ_CANARY
    char *escape = memmem(text, len, "\\x", 2); /* as if it had not been made visible */
    if (escape != NULL) {
        *escape = '\x1b';
    }
#endif
    HOLDS(!is_whole || fuzz_is_utf8(text, len));
    for (size_t at = 0; at < len;) {
        uint32_t c;
        bool is_valid;
        at += dh_text_decode(text + at, len - at, &c, &is_valid);
        HOLDS(c == '\n' || c == '\t' || c == '\r' || !dh_text_is_control(c));
    }
}

/* ---- what it makes of it --------------------------------------------------------------------- */

/* Is it what a host would send, as far as the table reads it? */
static bool is_answer(const json_t *all) {
    size_t i;
    const char *key;
    json_t *value;
    const json_t *list = json_object_get(all, "workers");
    const json_t *holder = json_object_get(all, "holder");
    if (!json_is_object(json_object_get(all, "host")) || !json_is_array(list) ||
        !(json_is_object(holder) || json_is_null(holder)) || json_object_size(all) != 3) {
        return false;
    }
    json_array_foreach(list, i, value) {
        if (dh_row_text(value, "name") == NULL || dh_row_text(value, "state") == NULL) {
            return false;
        }
    }
    json_object_foreach((json_t *)(uintptr_t)all, key, value) {
        if (strcspn(key, "\\\"") != strlen(key)) {
            return false;
        }
    }
    return true;
}

/* Who is in the answer is in the list of names, in that order. */
static void check_names(const json_t *all) {
    size_t i;
    const json_t *worker;
    const char *at = printed[0];
    json_array_foreach(json_object_get(all, "workers"), i, worker) {
        const char *name = dh_row_text(worker, "name");
        char *line = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&line, &len);
        dh_cells_print(out, name, strlen(name), SIZE_MAX, DH_ALIGN_NONE);
        fputc('\n', out);
        fclose(out);
        HOLDS(strncmp(at, line, len) == 0);
        at += len;
        free(line);
    }
    HOLDS(*at == '\0');
}

static void check_workers(const struct dh_options *o, const char *text, size_t len) {
    json_t *all = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    if (all != NULL && o->is_json && answer_status == 200 && is_answer(all)) {
        json_t *again = json_loadb(printed[0], printed_len[0], JSON_REJECT_DUPLICATES, NULL);
        HOLDS(json_equal(all, again));
        json_decref(again);
    } else if (all != NULL && o->names_only && answer_status == 200 && is_answer(all)) {
        check_names(all);
    }
    json_decref(all);
}

/* ---- the command line ------------------------------------------------------------------------ */

enum { WORDS = 16, WORD_BYTES = 256 };

static void check_options(struct fuzz_input in, unsigned known) {
    static char texts[WORDS][WORD_BYTES];
    char *argv[WORDS + 3] = {"decnet-ctl", "stop"};
    const char *given[WORDS];
    struct dh_options o;
    struct dh_error err = {0};
    int count = 0;
    for (answers = in; answers.left > 0 && count < WORDS;) {
        size_t len = answer_len();
        size_t n = len < WORD_BYTES - 1 ? len : WORD_BYTES - 1;
        for (size_t i = 0; i < n; i++) {
            texts[count][i] = answers.at[i] != 0 ? (char)answers.at[i] : '0';
        }
        texts[count][n] = '\0';
        given[count] = argv[count + 2] = texts[count];
        count++;
        answers.at += len + (len < answers.left);
        answers.left -= len + (len < answers.left);
    }
    int result = dh_options_read(&o, count + 2, argv, known, &err);
    if (result != 0) {
        HOLDS(result == DH_EINVAL && err.text[0] != '\0' && memchr(err.text, 0, sizeof(err.text)));
        return;
    }
    int at = 0;
    for (int i = 0; i < o.name_count; i++, at++) { /* in the order in which they were given */
        while (at < count && given[at] != o.names[i]) {
            at++;
        }
        HOLDS(at < count);
    }
    HOLDS(!o.is_json || (known & DH_OPTION_JSON));
    HOLDS(!o.is_now || (known & DH_OPTION_NOW));
    HOLDS(!o.is_all || (known & DH_OPTION_ALL));
    HOLDS(o.lines < 0 || (known & DH_OPTION_LINES));
    HOLDS(!(o.timeout_s >= 0) || (known & DH_OPTION_TIMEOUT));
    HOLDS(o.timeout_s == o.timeout_s);
}

/* ---------------------------------------------------------------------------------------------- */

/* Take what stands in front of the first answer. */
static void begin_top(struct fuzz_input *in) {
    int lines = 1 + fuzz_byte(in) % 40;
    int columns = 1 + fuzz_byte(in) % 160;
    answers = *in;
    size_t len = answer_len();
    struct fuzz_input keys = {in->at, len < 200 ? len : 200};
    in->at += len + (len < in->left);
    in->left -= len + (len < in->left);
    screen_begin(lines, columns, keys);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    setenv("LC_ALL", "C.UTF-8", 1);
    setenv("TZ", "UTC", 1);
    dh_cells_init();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int (*const verbs[])(const struct dh_options *, struct dh_http *) = {
        dh_verb_status, dh_verb_status,   dh_verb_events, dh_verb_logs,
        dh_verb_order,  dh_verb_shutdown, dh_verb_reload, dh_verb_wait};
    static const long statuses[] = {200, 200, 202, 404};
    char name[] = "flaky";
    char *names[] = {name};
    struct fuzz_input in = {data, size};
    uint8_t what = fuzz_byte(&in);
    uint8_t how = fuzz_byte(&in);
    struct dh_options o = {
        .verb = "stop",
        .names = names,
        .name_count = (what & 7) == 1 || (what & 7) == 4,
        .timeout_s = 0,
        .lines = -1,
        .is_json = (what & 8) != 0,
        .names_only = (what & 24) == 16,
        .is_ready = (what & 32) != 0,
        .is_all = (what & 64) != 0,
    };
    struct dh_http http;
    bool is_top = (what & 128) != 0;
    if (is_top && (what & 64)) {
        check_options(in, (what & 63u) | (how & 3u) << 6);
        return 0;
    }
    if (is_top) {
        begin_top(&in);
    }
    answer_status = statuses[how & 3];
    piece = 1 + (how >> 2);
    answers = in;
    outcome = CURLE_OK;
    const char *first = (const char *)in.at;
    size_t first_len = answer_len();
    HOLDS(dh_http_init(&http, "/run/decnet/w.sock") == 0);
    write_body = on_body;
    write_arg = &http;
    captured(is_top ? dh_verb_top : verbs[what & 7], &o, &http);
    dh_http_fini(&http);
    /* JSON of a stream that ends within a character ends there, too */
    check_clean(printed[0], printed_len[0], !o.is_json);
    check_clean(printed[1], printed_len[1], true);
    if ((what & 7) == 0 && !is_top) {
        check_workers(&o, first, first_len);
    }
    free(printed[0]);
    free(printed[1]);
    return 0;
}
