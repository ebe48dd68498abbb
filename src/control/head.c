/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What is refused before its body is read: heads that another program on the way could read otherwise than
** MHD does (RFC 9112, 3.2, 5.1, 6.3), and on the TCP port what a web page sends.
*/
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "control/request.h"
#include "control/server.h"

struct head {
    const char *host;
    const char *length;
    const char *coding;
    const char *origin;
    bool waits;        /* for leave to send a body */
    const char *wrong; /* NULL: nothing */
};

/* One of the headers that may come once; the same a second time is no harm where it is a length. */
static void take_once(struct head *head, const char **slot, const char *value, const char *wrong) {
    if (*slot != NULL && (slot != &head->length || strcmp(*slot, value) != 0)) {
        head->wrong = wrong;
    }
    *slot = value;
}

/* Of a header that goes on in the next line MHD adds what stands there to the name. For that it takes the name
** to new memory, behind all that has come. */
static bool is_folded(const char *key, const char *value) {
    return value < key;
}

static enum MHD_Result on_header(void *arg, enum MHD_ValueKind kind, const char *key,
                                 size_t key_len, const char *value, size_t len) {
    struct head *head = arg;
    (void)kind;
    (void)len;
    if (strcspn(key, " \t") != key_len) {
        head->wrong = "a header's name with a blank in it or behind it";
    } else if (is_folded(key, value)) {
        head->wrong = "a header of more than one line";
    } else if (strcasecmp(key, MHD_HTTP_HEADER_HOST) == 0) {
        take_once(head, &head->host, value, "more than one header Host");
    } else if (strcasecmp(key, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0) {
        take_once(head, &head->length, value, "more than one Content-Length");
    } else if (strcasecmp(key, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
        take_once(head, &head->coding, value, "more than one Transfer-Encoding");
    } else if (strcasecmp(key, MHD_HTTP_HEADER_ORIGIN) == 0) {
        head->origin = value;
    } else if (strcasecmp(key, MHD_HTTP_HEADER_EXPECT) == 0) {
        head->waits =
            head->waits || strcasecmp(value, "100-continue") == 0; /* one of them will do */
    }
    return head->wrong == NULL ? MHD_YES : MHD_NO;
}

const char *dh_head_authority(const char *target) {
    return strncasecmp(target, "http://", 7) == 0 ? target + 7 : NULL;
}

/* An address in numbers, or localhost, which no name service has a say in; with or without a port. */
static bool is_local_name(const char *authority) {
    char name[64];
    unsigned char bytes[16];
    const char *start = authority;
    size_t len = strcspn(authority, ":/");
    if (authority[0] == '[') {
        start = authority + 1;
        len = strcspn(start, "]");
    }
    if (len == 0 || len >= sizeof(name)) {
        return false;
    }
    memcpy(name, start, len);
    name[len] = '\0';
    if (start != authority) {
        return start[len] == ']' && inet_pton(AF_INET6, name, bytes) == 1;
    }
    const char *top = strrchr(name, '.');
    return strcasecmp(top != NULL ? top + 1 : name, "localhost") == 0 ||
           inet_pton(AF_INET, name, bytes) == 1;
}

/*
** A page in a browser of this machine may ask the port, too, and for that it reads the answers have its own
** name resolved to 127.0.0.1: then that name is what is asked for. On a port that other machines can ask,
** nobody knows which names it goes by, and there is nothing that the network may not read.
*/
static bool is_of_a_page(const struct dh_request *r, const struct head *head, const char *target) {
    const char *authority = dh_head_authority(target);
    authority = authority != NULL ? authority : head->host;
    return head->origin != NULL ||
           (r->server->is_loopback && authority != NULL && !is_local_name(authority));
}

/* MHD's strings are parts of the line that came, each behind the other. */
static bool has_gap(const struct dh_request *r, const char *method, const char *target,
                    const char *version) {
    return method + strlen(method) + 1 != target || target + r->target_len + 1 != version;
}

static bool has_body(const struct head *head) {
    return head->coding != NULL ||
           (head->length != NULL && strspn(head->length, "0") != strlen(head->length));
}

enum MHD_Result dh_head_check(struct dh_request *r, const char *method, const char *target,
                              const char *version) {
    struct head head = {0};
    if (has_gap(r, method, target, version)) {
        head.wrong = "a NUL, or more than one space, in its first line";
    } else {
        MHD_get_connection_values_n(r->connection, MHD_HEADER_KIND, on_header, &head);
    }
    if (head.wrong == NULL && head.host == NULL && strcmp(version, MHD_HTTP_VERSION_1_0) != 0) {
        head.wrong = "no header Host";
    }
    if (head.wrong == NULL && head.length != NULL && head.coding != NULL) {
        head.wrong = "Content-Length beside Transfer-Encoding";
    }
    if (head.wrong == NULL && head.waits && !has_body(&head)) {
        head.wrong = "Expect without a body"; /* MHD would not look at what comes behind it */
    }
    if (head.wrong != NULL) {
        return dh_reply_error(r, MHD_HTTP_BAD_REQUEST, "the head of the request: %s", head.wrong);
    }
    if (head.coding != NULL && strcasecmp(head.coding, "chunked") != 0) {
        return dh_reply_error(r, MHD_HTTP_NOT_IMPLEMENTED, "Transfer-Encoding: chunked expected");
    }
    if (r->is_query_too_long) {
        return dh_reply_error(r, MHD_HTTP_URI_TOO_LONG, "the query is too long: at most %d bytes",
                              DH_REQUEST_QUERY_BYTES);
    }
    if (r->is_tcp && is_of_a_page(r, &head, target)) {
        return dh_reply_error(
            r, MHD_HTTP_FORBIDDEN,
            "this port is not for web pages: ask for 127.0.0.1 or localhost, or the "
            "control socket");
    }
    return MHD_YES;
}
