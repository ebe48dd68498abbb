/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A host for the control plane alone: it stands behind script/port.h, with workers that have nothing but
** names, numbers and a past. It takes orders, and carries them out some steps later.
*/
#ifndef DH_SPEC_FAKEHOST_H
#define DH_SPEC_FAKEHOST_H

#include "obs/log.h"
#include "script/port.h"

enum { FAKE_WORKERS = 6, FAKE_ORDERS = 512, FAKE_TEXTS = 64, FAKE_TEXT_BYTES = 2048 };

struct fake_worker {
    struct dh_worker core; /* for events: its name is set */
    struct dh_port_worker shown;
    struct dh_failure failure;
    void *record;
    uint32_t endings;
    unsigned settles_in; /* steps */
    bool is_there;
    char name[DH_NAME_MAX + 1];
};

/* What it has been told to do. */
struct fake_order {
    int kind; /* enum dh_port_order, or one of these */
    char name[DH_NAME_MAX + 1];
};

enum { FAKE_RELOAD = 100, FAKE_STOP, FAKE_STOP_NOW };

/* What can be in answers, as JSON and metrics say it. */
struct fake_text {
    char text[3 * FAKE_TEXT_BYTES];
    size_t len;
};

struct fake_host {
    struct dh_port *port;
    struct dh_tap *tap;
    struct fake_worker workers[FAKE_WORKERS];
    struct fake_order orders[FAKE_ORDERS]; /* given since fake_init */
    unsigned order_count;
    void *reload; /* token of the reload under way */
    bool is_reloading;
    bool is_stopping;
    bool is_held;
    unsigned steps;
    struct fake_text names[FAKE_TEXTS]; /* all that workers have had */
    unsigned name_count;
    struct fake_text errors[FAKE_TEXTS]; /* the messages of their failures */
    unsigned error_count;
    char error[FAKE_TEXT_BYTES]; /* of who was given another name */
};

/* There is one: what port.h calls an instance. */
extern struct fake_host fake;

/* All workers there, nothing ordered; what is attached stays. */
void fake_init(void);

/* One step of the loop. */
void fake_step(void);

/* An event of that kind about a worker that is there. */
void fake_event(struct fake_worker *w, enum dh_event_kind kind);

/* A worker goes, or comes. */
void fake_remove(struct fake_worker *w);
void fake_add(struct fake_worker *w);

/* The last worker goes, and comes again by the name that these bytes make, with an error of these
** bytes. */
void fake_rename(const char *text, size_t len);

/* Has a worker had that name, or failed with that message? */
bool fake_had_name(const char *text, size_t len);
bool fake_had_error(const char *text, size_t len);

void fake_log(struct fake_worker *w, const char *text, size_t len);

#endif
