/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "refuse.h"

#include <errno.h>
#include <jansson.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

static unsigned left; /* 1: the next one; 0: none */
static bool is_for_good;
static unsigned count;

int __real_eventfd(unsigned value, int flags);
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t len);
FILE *__real_open_memstream(char **text, size_t *len);
struct MHD_Response *__real_MHD_create_response_from_buffer(size_t size, void *buffer,
                                                            enum MHD_ResponseMemoryMode mode);
struct MHD_Response *
__real_MHD_create_response_from_callback(uint64_t size, size_t block, MHD_ContentReaderCallback fn,
                                         void *arg, MHD_ContentReaderFreeCallback free_fn);
enum MHD_Result __real_MHD_add_response_header(struct MHD_Response *response, const char *name,
                                               const char *value);
enum MHD_Result __real_MHD_queue_response(struct MHD_Connection *connection, unsigned status,
                                          struct MHD_Response *response);

int __wrap_eventfd(unsigned value, int flags);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t len);
FILE *__wrap_open_memstream(char **text, size_t *len);
struct MHD_Response *__wrap_MHD_create_response_from_buffer(size_t size, void *buffer,
                                                            enum MHD_ResponseMemoryMode mode);
struct MHD_Response *
__wrap_MHD_create_response_from_callback(uint64_t size, size_t block, MHD_ContentReaderCallback fn,
                                         void *arg, MHD_ContentReaderFreeCallback free_fn);
enum MHD_Result __wrap_MHD_add_response_header(struct MHD_Response *response, const char *name,
                                               const char *value);
enum MHD_Result __wrap_MHD_queue_response(struct MHD_Connection *connection, unsigned status,
                                          struct MHD_Response *response);

bool refuse_this(void) {
    if (left == 0 || --left > 0) {
        return false;
    }
    left = is_for_good;
    count++;
    errno = ENOMEM;
    return true;
}

void refuse_init(void) {
    json_set_alloc_funcs(__wrap_malloc, free);
}

void refuse_from(unsigned n, bool all) {
    left = n;
    is_for_good = all;
}

unsigned refuse_count(void) {
    return count;
}

int __wrap_eventfd(unsigned value, int flags) {
    return refuse_this() ? -1 : __real_eventfd(value, flags);
}

void *__wrap_malloc(size_t size) {
    return refuse_this() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) {
    return refuse_this() ? NULL : __real_calloc(n, size);
}

char *__wrap_strdup(const char *text) {
    return refuse_this() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t len) {
    return refuse_this() ? NULL : __real_strndup(text, len);
}

FILE *__wrap_open_memstream(char **text, size_t *len) {
    return refuse_this() ? NULL : __real_open_memstream(text, len);
}

struct MHD_Response *__wrap_MHD_create_response_from_buffer(size_t size, void *buffer,
                                                            enum MHD_ResponseMemoryMode mode) {
    return refuse_this() ? NULL : __real_MHD_create_response_from_buffer(size, buffer, mode);
}

struct MHD_Response *
__wrap_MHD_create_response_from_callback(uint64_t size, size_t block, MHD_ContentReaderCallback fn,
                                         void *arg, MHD_ContentReaderFreeCallback free_fn) {
    return refuse_this() ? NULL
                         : __real_MHD_create_response_from_callback(size, block, fn, arg, free_fn);
}

enum MHD_Result __wrap_MHD_add_response_header(struct MHD_Response *response, const char *name,
                                               const char *value) {
    return refuse_this() ? MHD_NO : __real_MHD_add_response_header(response, name, value);
}

enum MHD_Result __wrap_MHD_queue_response(struct MHD_Connection *connection, unsigned status,
                                          struct MHD_Response *response) {
    return refuse_this() ? MHD_NO : __real_MHD_queue_response(connection, status, response);
}
