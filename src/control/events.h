/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Events and log lines on their way from the loop, which packs them into a ring, to whoever follows,
** for whom the control thread unpacks them.
*/
#ifndef DH_CONTROL_EVENTS_H
#define DH_CONTROL_EVENTS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "control/ring.h"
#include "core/worker.h"
#include "obs/limits.h"
#include "obs/log.h"

/* No entry is longer. */
#define DH_EVENT_BYTES 4096
#define DH_LOGGED_BYTES (DH_LOG_LINE_BYTES + 512)

/* Loop thread, any thread */
void dh_events_add(struct dh_ring *ring, const struct dh_event *ev);
void dh_logged_add(struct dh_ring *ring, const struct dh_tap_line *line);

/* Control thread: an entry as JSON; NULL when memory is out. */
json_t *dh_event_json(uint64_t id, const char *entry, size_t len);
json_t *dh_logged_json(uint64_t id, const char *entry, size_t len);

/* The name that the entry of an event has for server-sent events. */
const char *dh_event_entry_name(const char *entry);

/* Is this line the worker's? worker NULL: every one is. */
bool dh_logged_is_of(const char *entry, const char *worker, size_t worker_len);

#endif
