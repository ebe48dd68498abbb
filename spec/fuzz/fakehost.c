/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "fakehost.h"

#include <stdio.h>
#include <string.h>

#include "fuzz.h"
#include "obs/text.h"
#include "script/preempt.h"

struct fake_host fake;

static const char *const names[FAKE_WORKERS] = {
    "ticker", "flaky", "a b/c%", "gr\xc3\xbc\xc3\x9f\xe2\x82\xac", "q\"u\\o'te}{,\n=", "hog",
};

static struct fake_worker *worker_of(struct dh_unit *unit) {
    return (struct fake_worker *)(void *)unit;
}

static struct dh_unit *unit_of(struct fake_worker *w) {
    return (struct dh_unit *)(void *)w;
}

static void note_text(struct fake_text *list, unsigned *count, const char *text, size_t len) {
    HOLDS(*count < FAKE_TEXTS && len <= FAKE_TEXT_BYTES);
    list[*count].len = fuzz_mend(list[*count].text, text, len);
    *count += 1;
}

static bool has_text(const struct fake_text *list, unsigned count, const char *text, size_t len) {
    while (count > 0 &&
           (list[count - 1].len != len || memcmp(list[count - 1].text, text, len) != 0)) {
        count--;
    }
    return count > 0;
}

bool fake_had_name(const char *text, size_t len) {
    return has_text(fake.names, fake.name_count, text, len);
}

bool fake_had_error(const char *text, size_t len) {
    return has_text(fake.errors, fake.error_count, text, len);
}

static void make_worker(struct fake_worker *w, int i) {
    memset(w, 0, sizeof(*w));
    snprintf(w->name, sizeof(w->name), "%s", names[i]);
    w->is_there = true;
    w->core.name = w->name;
    w->core.name_len = (uint8_t)strlen(w->name);
    w->failure = (struct dh_failure){
        .message = "w.lua:7: b\xc3\xb6se \"boom\"",
        .traceback = "stack traceback:\n\t[C]: in ?",
        .variables = "F\tw.lua:7\tmain\n",
        .at_ns = 5,
        .run = 1,
    };
    if (i == 2) {
        w->failure.variables = "";
    } else if (i % 2 == 0) {
        w->failure.variables = "F\tw.lua:7\tfunction 'f'\nL\tx\t{ a = \"1\" }\nU\ty\tnil\n";
    }
    w->failure.message_len = strlen(w->failure.message);
    w->failure.traceback_len = strlen(w->failure.traceback);
    w->failure.variables_len = strlen(w->failure.variables);
    w->endings = (uint32_t)i;
    w->shown = (struct dh_port_worker){
        .name = w->name,
        .name_len = w->core.name_len,
        .status = {.state = (enum dh_state)(i + 1),
                   .since_ns = 1000u * (unsigned)i,
                   .next_retry_in_ns = i == 4 ? 1500000000 : DH_NEVER,
                   .run = (uint32_t)i,
                   .restarts = (uint32_t)i,
                   .is_wanted = i != 2,
                   .is_ready = i == 0},
        .cpu_ns = 12345678u * (unsigned)i,
        .failure = i % 2 == 1 ? &w->failure : NULL,
    };
    strcpy(w->shown.status.waiting_for, i == 5 ? "flaky (failed), \"db\"" : "");
}

void fake_init(void) {
    fake.name_count = 0;
    fake.error_count = 0;
    fake.order_count = 0;
    fake.reload = NULL;
    fake.is_reloading = fake.is_stopping = fake.is_held = false;
    fake.steps = 0;
    for (int i = 0; i < FAKE_WORKERS; i++) {
        struct fake_worker *w = &fake.workers[i];
        make_worker(w, i);
        note_text(fake.names, &fake.name_count, w->name, w->core.name_len);
        note_text(fake.errors, &fake.error_count, w->failure.message, w->failure.message_len);
    }
}

static void note_order(int kind, const char *name) {
    HOLDS(fake.order_count < FAKE_ORDERS);
    struct fake_order *o = &fake.orders[fake.order_count++];
    o->kind = kind;
    snprintf(o->name, sizeof(o->name), "%s", name);
}

void fake_step(void) {
    fake.steps++;
    for (int i = 0; i < FAKE_WORKERS; i++) {
        fake.workers[i].settles_in -= fake.workers[i].settles_in > 0;
    }
    if (fake.is_reloading && fake.steps % 3 == 0) {
        fake.is_reloading = false;
        fake.port->on_reloaded(fake.port, fake.reload, fake.steps % 2 == 0, "w.lua: 1 \"changed\"");
    }
    fake.port->on_stepped(fake.port);
}

void fake_event(struct fake_worker *w, enum dh_event_kind kind) {
    struct dh_outcome outcome = {.ending = DH_RAISED, .failure = &w->failure};
    struct dh_event ev = {
        .kind = kind,
        .worker = &w->core,
        .at_ns = 1000,
        .run = w->shown.status.run,
        .streak = 2,
        .from = DH_RUNNING,
        .to = DH_CLOSING,
        .delay_ns = fake.steps % 2 == 0 ? DH_NEVER : 250000000,
        .outcome = kind == DH_EVENT_CRASH ? &outcome : NULL,
        .reason = kind == DH_EVENT_GIVE_UP ? "the error is \"fatal\"" : NULL,
    };
    fake.port->on_event(fake.port, &ev);
}

void fake_remove(struct fake_worker *w) {
    w->is_there = false;
    fake_event(w, DH_EVENT_GONE);
}

void fake_add(struct fake_worker *w) {
    w->is_there = true;
    w->record = NULL;
    fake_event(w, DH_EVENT_STATE);
}

/* A name that decnet takes (lua/decnet/checks.lua): UTF-8, on one line, of 1 to 200 bytes. */
static size_t make_name(char dst[DH_NAME_MAX + 1], const char *text, size_t len) {
    static char mended[3 * FAKE_TEXT_BYTES];
    size_t n = 0;
    size_t size = fuzz_mend(mended, text, len);
    for (size_t at = 0; at < size;) {
        uint32_t c;
        bool is_valid;
        size_t step = dh_text_decode(mended + at, size - at, &c, &is_valid);
        bool is_control = c < 0x20 || (c >= 0x7f && c < 0xa0);
        if (!is_control && n + step <= 200) {
            memcpy(dst + n, mended + at, step);
            n += step;
        }
        at += step;
    }
    dst[n] = '\0';
    return n;
}

void fake_rename(const char *text, size_t len) {
    struct fake_worker *w = &fake.workers[FAKE_WORKERS - 1];
    char name[DH_NAME_MAX + 1];
    len = len < FAKE_TEXT_BYTES ? len : FAKE_TEXT_BYTES;
    size_t name_len = make_name(name, text, len);
    if (fake.name_count == FAKE_TEXTS || name_len == 0 || fake_had_name(name, name_len)) {
        return;
    }
    if (w->is_there) {
        fake_remove(w);
    }
    make_worker(w, FAKE_WORKERS - 1);
    memcpy(w->name, name, name_len + 1);
    w->core.name_len = (uint8_t)name_len;
    w->shown.name_len = w->core.name_len;
    memcpy(fake.error, text, len);
    w->failure.message = fake.error;
    w->failure.message_len = len;
    w->failure.at_ns = fake.name_count;
    w->shown.failure = &w->failure;
    note_text(fake.names, &fake.name_count, name, name_len);
    note_text(fake.errors, &fake.error_count, text, len);
    fake_add(w);
}

void fake_log(struct fake_worker *w, const char *text, size_t len) {
    struct dh_tap_line line = {
        .time_ns = 77,
        .source = (enum dh_source)(len % 3),
        .level = (enum dh_level)(len % 4),
        .worker = w != NULL ? w->name : NULL,
        .text = text,
        .len = len,
    };
    fake.tap->fn(fake.tap, &line);
}

/* ---- script/port.h --------------------------------------------------------------------------- */

void dh_port_attach(struct dh_instance *instance, struct dh_port *port) {
    (void)instance;
    fake.port = port;
}

void dh_port_wake(struct dh_instance *instance) {
    (void)instance; /* it steps when the input says so */
}

void dh_port_set_tap(struct dh_instance *instance, struct dh_tap *tap) {
    (void)instance;
    fake.tap = tap;
}

bool dh_port_get_holder(struct dh_instance *instance, struct dh_holder *ret_holder) {
    (void)instance;
    *ret_holder = (struct dh_holder){.since_ns = 3, .run = 1};
    if (fake.steps % 2 == 0) { /* else it has not been seen yet who it is, and where */
        strcpy(ret_holder->worker, "hog");
        strcpy(ret_holder->place, "w.lua:9");
    }
    return fake.is_held;
}

void dh_port_look_host(struct dh_instance *instance, struct dh_port_host *ret_host) {
    (void)instance;
    *ret_host = (struct dh_port_host){.turns = fake.steps, .is_stopping = fake.is_stopping};
}

static struct dh_unit *first_from(int i) {
    while (i < FAKE_WORKERS && !fake.workers[i].is_there) {
        i++;
    }
    return i < FAKE_WORKERS ? unit_of(&fake.workers[i]) : NULL;
}

struct dh_unit *dh_port_first(struct dh_instance *instance) {
    (void)instance;
    return first_from(0);
}

struct dh_unit *dh_port_next(struct dh_unit *unit) {
    return first_from((int)(worker_of(unit) - fake.workers) + 1);
}

struct dh_unit *dh_port_find(struct dh_instance *instance, const char *name, size_t len) {
    (void)instance;
    for (int i = 0; i < FAKE_WORKERS; i++) {
        struct fake_worker *w = &fake.workers[i];
        if (w->is_there && w->core.name_len == len && memcmp(w->name, name, len) == 0) {
            return unit_of(w);
        }
    }
    return NULL;
}

struct dh_unit *dh_port_unit(const struct dh_event *ev) {
    return unit_of((struct fake_worker *)(void *)ev->worker); /* first member */
}

void dh_port_look(struct dh_instance *instance, struct dh_unit *unit,
                  struct dh_port_worker *ret_worker) {
    struct fake_worker *w = worker_of(unit);
    (void)instance;
    *ret_worker = w->shown;
    ret_worker->endings = (const struct dh_dossier *)(void *)&w->endings;
}

void **dh_port_record(struct dh_unit *unit) {
    return &worker_of(unit)->record;
}

int dh_port_give(struct dh_instance *instance, struct dh_unit *unit, enum dh_port_order order) {
    struct fake_worker *w = worker_of(unit);
    (void)instance;
    note_order((int)order, w->name);
    if (w == &fake.workers[3]) {
        return fake.is_stopping ? DH_ESHUTDOWN : DH_ESTATE;
    }
    w->settles_in = (unsigned)(w - fake.workers);
    w->shown.status.run++;
    return 0;
}

bool dh_port_is_settled(const struct dh_unit *unit) {
    const struct fake_worker *w = (const struct fake_worker *)(const void *)unit;
    return w->settles_in == 0;
}

void dh_port_stop(struct dh_instance *instance, bool is_now) {
    (void)instance;
    note_order(is_now ? FAKE_STOP_NOW : FAKE_STOP, "");
    fake.is_stopping = true;
}

int dh_port_reload(struct dh_instance *instance, void *token) {
    (void)instance;
    note_order(FAKE_RELOAD, "");
    if (fake.is_reloading) {
        return DH_ENOENT;
    }
    fake.is_reloading = true;
    fake.reload = token;
    return 0;
}

bool dh_port_ending(const struct dh_dossier *endings, uint32_t n,
                    struct dh_ending_view *ret_ending) {
    struct fake_worker *w = (struct fake_worker *)(void *)((char *)(uintptr_t)endings -
                                                           offsetof(struct fake_worker, endings));
    *ret_ending = (struct dh_ending_view){
        .at_ns = n,
        .delay_ns = n % 2 == 0 ? DH_NEVER : n,
        .run = n,
        .ended = "crashed",
        .decision = n == 0 ? NULL : "restart",
        .reason = n == 1 ? "missed a beat" : NULL,
        .failure = n == 2 ? NULL : &w->failure,
    };
    return n < w->endings;
}
