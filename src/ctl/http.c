/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ctl/http.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "control/clock.h"
#include "ctl/limits.h"
#include "obs/text.h"

#define NS_PER_S 1e9
#define NS_PER_MS 1000000u

/* ---- connecting ------------------------------------------------------------------------------ */

static int cannot_connect(const char *path, int code, struct dh_error *err) {
    struct stat st;
    switch (code) {
        case ENOENT:
        case ENOTDIR:
        case ECONNREFUSED:
            return dh_error_set(err, DH_ENOENT,
                                "no host answers at %s: is it running? pass --socket PATH", path);
        case EACCES:
        case EPERM: {
            const struct passwd *owner = stat(path, &st) == 0 ? getpwuid(st.st_uid) : NULL;
            return dh_error_set(err, DH_ESYSTEM, "%s: permission denied; ask as user %s", path,
                                owner != NULL ? owner->pw_name : "root");
        }
        case EAGAIN:
            return dh_error_set(err, DH_EBUSY,
                                "the host at %s takes no connections: it is stopped, or busy with "
                                "hundreds of others; try again",
                                path);
        default:
            return dh_error_set(err, DH_ESYSTEM, "%s: %s", path, strerror(code));
    }
}

/* A queue that is full is given a moment. */
static int connect_soon(int fd, const struct sockaddr_un *address) {
    for (int i = 0;; i++) {
        if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0) {
            return 0;
        }
        if (errno != EINTR && (errno != EAGAIN || i >= 50)) {
            return errno;
        }
        nanosleep(&(struct timespec){0, 20 * NS_PER_MS}, NULL);
    }
}

/*
** Is somebody there, and who? Asked over a connection of its own: curl's errors would not tell one reason
** from another, and a connected socket handed to it is connected again by 7.88.
*/
static int probe(struct dh_http *h, struct dh_error *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(h->path);
    if (len == 0 || len >= sizeof(address.sun_path)) {
        return dh_error_set(err, DH_EINVAL,
                            "the path of a socket has 1 to %zu bytes, this one has %zu",
                            sizeof(address.sun_path) - 1, len);
    }
    memcpy(address.sun_path, h->path, len + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return dh_error_set(err, DH_ESYSTEM, "no socket: %s", strerror(errno));
    }
    int code = connect_soon(fd, &address);
    if (code == 0) {
        struct ucred peer = {0};
        socklen_t size = sizeof(peer);
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
        h->pid = peer.pid;
    }
    close(fd);
    return code == 0 ? 0 : cannot_connect(h->path, code, err);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static long status_of(const struct dh_http *h) {
    long status = 0;
    curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* Only the first line of a head counts, and not those that announce another: they might have no end. */
static size_t on_header(char *bytes, size_t size, size_t count, void *arg) {
    struct dh_http *h = arg;
    (void)bytes;
    if (!h->has_begun && status_of(h) >= 200) {
        h->has_begun = true;
        h->heard_ns = dh_clock_now();
    }
    return size * count;
}

/* Who reads what is printed may take his time. */
static bool take(struct dh_http *h, const char *bytes, size_t len) {
    uint64_t began_ns = dh_clock_now();
    bool goes_on = h->take == NULL || h->take(h->arg, bytes, len);
    h->heard_ns = dh_clock_now();
    h->until_ns += h->until_ns < UINT64_MAX ? h->heard_ns - began_ns : 0;
    return goes_on;
}

static bool is_too_long(const struct dh_http *h) {
    return h->until_ns < UINT64_MAX && h->len > DH_CTL_ANSWER_BYTES;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg) {
    struct dh_http *h = arg;
    size_t len = size * count;
    h->len += len;
    if (is_too_long(h)) {
        return 0;
    }
    if (status_of(h) / 100 == 2) {
        h->is_enough = !take(h, bytes, len);
        return h->is_enough ? 0 : len;
    }
    size_t room = sizeof(h->complaint) - 1 - h->complaint_len;
    size_t n = len < room ? len : room;
    memcpy(h->complaint + h->complaint_len, bytes, n);
    h->heard_ns = dh_clock_now();
    h->complaint_len += n;
    h->complaint[h->complaint_len] = '\0';
    h->is_enough = n < len;
    return n;
}

int dh_http_check(const struct dh_http *h, struct dh_error *err) {
    if (h->status / 100 == 2) {
        return 0;
    }
    json_t *json = json_loads(h->complaint, 0, NULL);
    const char *text = json_string_value(json_object_get(json, "error"));
    char line[sizeof(err->text)];
    if (text != NULL) {
        dh_text_oneline(line, sizeof(line), text, strlen(text));
    } else {
        snprintf(line, sizeof(line), "%s answers with HTTP status %ld: is it a host's socket?",
                 h->path, h->status);
    }
    json_decref(json);
    return dh_error_set(err, DH_ESTATE, "%s", line);
}

/* ---- a question ------------------------------------------------------------------------------ */

int dh_http_init(struct dh_http *h, const char *path) {
    *h = (struct dh_http){.path = path};
    h->multi = curl_multi_init();
    h->easy = curl_easy_init();
    return h->multi != NULL && h->easy != NULL ? 0 : DH_ENOMEM;
}

void dh_http_stop(struct dh_http *h) {
    if (h->is_open) {
        curl_multi_remove_handle(h->multi, h->easy);
        h->is_open = false;
    }
    curl_slist_free_all(h->headers);
    h->headers = NULL;
}

void dh_http_fini(struct dh_http *h) {
    dh_http_stop(h);
    curl_easy_cleanup(h->easy);
    curl_multi_cleanup(h->multi);
    h->easy = NULL;
    h->multi = NULL;
}

static bool set_options(struct dh_http *h, const struct dh_question *q, const char *url) {
    CURL *e = h->easy;
    curl_easy_reset(e);
    bool ok = curl_easy_setopt(e, CURLOPT_URL, url) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, h->path) == CURLE_OK;
    curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, h->why);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, h);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, h);
    if (q->is_order) {
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, 0L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, "");
    }
    if (q->header != NULL) {
        h->headers = curl_slist_append(NULL, q->header);
        ok = ok && h->headers != NULL;
        curl_easy_setopt(e, CURLOPT_HTTPHEADER, h->headers);
    }
    return ok;
}

static void set_times(struct dh_http *h, const struct dh_question *q) {
    h->heard_ns = dh_clock_now();
    h->patience_ns = (uint64_t)(q->patience_s * NS_PER_S);
    h->wait_until_ns = h->heard_ns + (uint64_t)(q->wait_s * NS_PER_S);
    h->limit_ns = (uint64_t)((q->wait_s + q->limit_s) * NS_PER_S);
    h->until_ns = q->limit_s > 0 ? h->heard_ns + h->limit_ns : UINT64_MAX;
}

int dh_http_start(struct dh_http *h, const struct dh_question *q, struct dh_error *err) {
    char url[2048];
    int n = snprintf(url, sizeof(url), "http://decnet%s", q->target);
    dh_http_stop(h);
    if (n < 0 || (size_t)n >= sizeof(url)) {
        return dh_error_set(err, DH_EINVAL, "a name is too long");
    }
    h->take = q->take;
    h->arg = q->arg;
    h->status = 0;
    h->is_enough = false;
    h->complaint_len = 0;
    h->complaint[0] = '\0';
    h->why[0] = '\0';
    h->len = 0;
    h->has_begun = false;
    int result = probe(h, err);
    if (result != 0) {
        return result;
    }
    if (!set_options(h, q, url) || curl_multi_add_handle(h->multi, h->easy) != CURLM_OK) {
        dh_http_stop(h);
        return dh_error_set(err, DH_ENOMEM, "out of memory");
    }
    h->is_open = true;
    set_times(h, q);
    return 0;
}

static int no_end(struct dh_http *h, struct dh_error *err) {
    dh_http_stop(h);
    return dh_error_set(err, DH_ESYSTEM,
                        "what answers at %s (process %d) does not come to an end: %" PRIu64
                        " bytes in %g s; is it a host's socket?",
                        h->path, (int)h->pid, h->len, (double)h->limit_ns / NS_PER_S);
}

/* It is over for curl. */
static int finish(struct dh_http *h, CURLcode code, struct dh_error *err) {
    curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &h->status);
    bool is_fine = code == CURLE_OK || (code == CURLE_WRITE_ERROR && h->is_enough);
    dh_http_stop(h);
    if (is_fine) {
        return 0;
    }
    if (is_too_long(h)) {
        return no_end(h, err);
    }
    switch (code) {
        case CURLE_COULDNT_CONNECT:
        case CURLE_GOT_NOTHING:
        case CURLE_RECV_ERROR:
        case CURLE_SEND_ERROR:
        case CURLE_PARTIAL_FILE:
            return dh_error_set(err, DH_ENOENT,
                                "the host at %s has gone in the middle of its answer", h->path);
        case CURLE_UNSUPPORTED_PROTOCOL:
        case CURLE_WEIRD_SERVER_REPLY:
            return dh_error_set(err, DH_ESYSTEM, "what answers at %s is not a host: %s", h->path,
                                h->why);
        default:
            return dh_error_set(err, DH_ESYSTEM, "%s: %s", h->path,
                                h->why[0] != '\0' ? h->why : curl_easy_strerror(code));
    }
}

static int too_silent(struct dh_http *h, struct dh_error *err) {
    double silent_s = (double)(dh_clock_now() - h->heard_ns) / NS_PER_S;
    dh_http_stop(h);
    return dh_error_set(
        err, DH_EBUSY,
        "the host at %s (process %d) has not answered for %.0f s: is it stopped? see "
        "it with ps, let it go on with kill -CONT",
        h->path, (int)h->pid, silent_s);
}

/* Does the host answer others? One that has gone will be noticed. */
static bool is_alive(const struct dh_http *h) {
    struct dh_http other;
    struct dh_error err;
    struct dh_question q = {
        .target = "/livez", .patience_s = DH_CTL_PATIENCE_S, .limit_s = DH_CTL_PATIENCE_S};
    int result = dh_http_init(&other, h->path);
    result = result == 0 ? dh_http_ask(&other, &q, &err) : result;
    dh_http_fini(&other);
    return result != DH_EBUSY && result != DH_ESYSTEM;
}

/* When there should have been something from the host. */
static uint64_t silence_ends_ns(const struct dh_http *h) {
    return h->heard_ns + (h->has_begun ? h->patience_ns : DH_CTL_PATIENCE_S * UINT64_C(1000000000));
}

/* Nothing has happened: may it go on so? */
static int check_times(struct dh_http *h, struct dh_error *err) {
    uint64_t now_ns = dh_clock_now();
    if (now_ns >= h->until_ns) {
        return no_end(h, err);
    }
    if (now_ns < silence_ends_ns(h)) {
        return 1;
    }
    if (h->has_begun || now_ns >= h->wait_until_ns + h->patience_ns || !is_alive(h)) {
        return too_silent(h, err);
    }
    h->heard_ns = dh_clock_now();
    return 1;
}

int dh_http_step(struct dh_http *h, uint64_t wait_ns, int fd, struct dh_error *err) {
    int running = 0;
    int left;
    struct curl_waitfd extra = {.fd = fd, .events = CURL_WAIT_POLLIN};
    uint64_t now_ns = dh_clock_now();
    uint64_t until_ns = silence_ends_ns(h);
    until_ns = until_ns < h->until_ns ? until_ns : h->until_ns;
    uint64_t left_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    wait_ns = wait_ns < left_ns ? wait_ns : left_ns;
    curl_multi_perform(h->multi, &running);
    if (running > 0) {
        curl_multi_poll(h->multi, &extra, fd >= 0 ? 1 : 0, (int)((wait_ns + 999999) / NS_PER_MS),
                        NULL);
        curl_multi_perform(h->multi, &running);
    }
    const CURLMsg *message = curl_multi_info_read(h->multi, &left);
    if (message != NULL && message->msg == CURLMSG_DONE) {
        return finish(h, message->data.result, err);
    }
    return check_times(h, err);
}

int dh_http_ask(struct dh_http *h, const struct dh_question *q, struct dh_error *err) {
    int result = dh_http_start(h, q, err);
    if (result == 0) {
        do {
            result = dh_http_step(h, (uint64_t)3600e9, -1, err);
        } while (result > 0);
    }
    return result;
}

static bool take_item(void *arg, const char *bytes, size_t len) {
    return fwrite(bytes, 1, len, arg) == len && ftell(arg) < (long)DH_CTL_ITEM_BYTES;
}

int dh_http_ask_json(struct dh_http *h, const struct dh_question *q, json_t **ret_json,
                     struct dh_error *err) {
    char *text = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&text, &len);
    if (stream == NULL) {
        return dh_error_set(err, DH_ENOMEM, "out of memory");
    }
    struct dh_question whole = *q;
    whole.take = take_item;
    whole.arg = stream;
    int result = dh_http_ask(h, &whole, err);
    result = result == 0 ? dh_http_check(h, err) : result;
    fclose(stream);
    if (result == 0) {
        *ret_json = json_loadb(text, len, 0, NULL);
        result = *ret_json != NULL
                     ? 0
                     : dh_error_set(err, DH_ESYSTEM, "the answer from %s cannot be read", h->path);
    }
    free(text);
    return result;
}

char *dh_http_escape(const char *name) {
    char *escaped = curl_easy_escape(NULL, name, (int)strlen(name));
    char *copy = escaped != NULL ? strdup(escaped) : NULL;
    curl_free(escaped);
    return copy;
}
