/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "control/orders.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/limits.h"
#include "core/error.h"

void dh_orders_init(struct dh_orders *orders, struct dh_snapshot *snapshot, int notify_fd) {
    memset(orders, 0, sizeof(*orders));
    orders->instance = snapshot->instance;
    orders->snapshot = snapshot;
    orders->notify_fd = notify_fd;
    pthread_mutex_init(&orders->mutex, NULL);
}

static void free_list(struct dh_order *order) {
    while (order != NULL) {
        struct dh_order *next = order->next;
        dh_order_free(order);
        order = next;
    }
}

void dh_orders_fini(struct dh_orders *orders) {
    free_list(orders->sent);
    free_list(orders->given);
    free_list(orders->finished);
    pthread_mutex_destroy(&orders->mutex);
}

struct dh_order *dh_order_new(enum dh_order_kind kind, const char *name, size_t len) {
    struct dh_order *order = calloc(1, sizeof(*order));
    assert(len < sizeof(order->name));
    if (order != NULL) {
        order->kind = kind;
        order->name_len = len;
        memcpy(order->name, name, order->name_len);
    }
    return order;
}

void dh_order_free(struct dh_order *order) {
    if (order == NULL) {
        return;
    }
    for (size_t i = 0; i < order->ending_count; i++) {
        free(order->endings[i].reason);
        free(order->endings[i].message);
        free(order->endings[i].traceback);
        free(order->endings[i].variables);
    }
    free(order->endings);
    free(order->text);
    dh_view_fini(&order->view);
    free(order);
}

int dh_orders_send(struct dh_orders *orders, struct dh_order *order) {
    int result = DH_ELIMIT;
    pthread_mutex_lock(&orders->mutex);
    if (orders->count < DH_ORDERS_MAX) {
        order->next = orders->sent;
        orders->sent = order;
        orders->count++;
        result = 0;
    }
    pthread_mutex_unlock(&orders->mutex);
    return result;
}

bool dh_orders_is_waiting(struct dh_orders *orders, const struct dh_order *order) {
    pthread_mutex_lock(&orders->mutex);
    const struct dh_order *o = orders->sent;
    while (o != NULL && o != order) {
        o = o->next;
    }
    pthread_mutex_unlock(&orders->mutex);
    return o != NULL;
}

void dh_order_give_up(struct dh_order *order) {
    order->request = NULL;
    atomic_store(&order->is_given_up, true);
}

struct dh_order *dh_orders_collect(struct dh_orders *orders) {
    pthread_mutex_lock(&orders->mutex);
    struct dh_order *first = orders->finished;
    orders->finished = NULL;
    for (const struct dh_order *o = first; o != NULL; o = o->next) {
        orders->count--;
    }
    pthread_mutex_unlock(&orders->mutex);
    return first;
}

/* Loop thread */

static void finish(struct dh_orders *orders, struct dh_order *order) {
    uint64_t one = 1;
    pthread_mutex_lock(&orders->mutex);
    order->next = orders->finished;
    orders->finished = order;
    pthread_mutex_unlock(&orders->mutex);
    (void)!write(orders->notify_fd, &one, sizeof(one)); /* full: it is awake already */
}

/* The text up to its length, as a string of its own; NULL if it is empty. */
static char *copy(const char *text, size_t len) {
    return len > 0 ? strndup(text, len) : NULL;
}

static void copy_ending(struct dh_ending_copy *to, const struct dh_ending_view *from) {
    const struct dh_failure *f = from->failure;
    *to = (struct dh_ending_copy){
        .at_ns = from->at_ns,
        .delay_ns = from->delay_ns,
        .run = from->run,
        .ended = from->ended,
        .decision = from->decision,
        .reason = from->reason != NULL ? strdup(from->reason) : NULL,
    };
    if (f != NULL) {
        to->message = copy(f->message, f->message_len);
        to->traceback = copy(f->traceback, f->traceback_len);
        to->variables = copy(f->variables, f->variables_len);
    }
}

static void copy_endings(struct dh_orders *orders, struct dh_order *order) {
    struct dh_port_worker w;
    struct dh_ending_view ending;
    size_t n = 0;
    dh_port_look(orders->instance, order->unit, &w);
    while (w.endings != NULL && dh_port_ending(w.endings, (uint32_t)n, &ending)) {
        n++;
    }
    order->endings = n > 0 ? calloc(n, sizeof(*order->endings)) : NULL;
    if (order->endings == NULL) {
        return;
    }
    for (; order->ending_count < n; order->ending_count++) {
        dh_port_ending(w.endings, (uint32_t)order->ending_count, &ending);
        copy_ending(&order->endings[order->ending_count], &ending);
    }
}

/* It has been carried out, or given to somebody who does not wait: what does it look like now? */
static void conclude(struct dh_orders *orders, struct dh_order *order) {
    if (order->unit == NULL || !dh_snapshot_look(orders->snapshot, order->unit, &order->view)) {
        order->result = order->unit == NULL ? DH_ENOENT : DH_ENOMEM;
    }
    finish(orders, order);
}

/* An order that waits is told of the end; one that does not has its answer now. */
static bool give_reload(struct dh_orders *orders, struct dh_order *order) {
    order->result = dh_port_reload(orders->instance, order->waits ? order : NULL);
    if (order->result == 0 && order->waits) {
        return false;
    }
    finish(orders, order);
    return true;
}

/* Is it one of the host's, which somebody else tells of? */
static bool is_of_host(const struct dh_order *order) {
    return order->kind >= DH_ASK_RELOAD;
}

static bool is_carried_out(const struct dh_order *order) {
    return !is_of_host(order) && (order->unit == NULL || dh_port_is_settled(order->unit));
}

/* What a worker that never ends was told, again and again, must not count as under way for ever. A
** reload's end is told with its order as a token: that one stays. */
static bool is_abandoned(const struct dh_order *order) {
    return order->kind != DH_ASK_RELOAD && atomic_load(&order->is_given_up);
}

/* Returns true if the order is finished. */
static bool give(struct dh_orders *orders, struct dh_order *order) {
    if (order->kind == DH_ASK_RELOAD) {
        return give_reload(orders, order);
    }
    if (order->kind >= DH_ASK_SHUTDOWN) {
        dh_port_stop(orders->instance, order->kind == DH_ASK_SHUTDOWN_NOW);
        if (order->waits) {
            return false;
        }
        finish(orders, order);
        return true;
    }
    order->unit = dh_port_find(orders->instance, order->name, order->name_len);
    if (order->unit == NULL) {
        conclude(orders, order);
        return true;
    }
    if (order->kind == DH_ASK_DOSSIER) {
        copy_endings(orders, order);
        conclude(orders, order);
        return true;
    }
    order->result = dh_port_give(orders->instance, order->unit, (enum dh_port_order)order->kind);
    if (order->result != 0) {
        finish(orders, order);
        return true;
    }
    if (!order->waits) {
        conclude(orders, order);
        return true;
    }
    return false;
}

bool dh_orders_has_work(struct dh_orders *orders) {
    if (orders->given != NULL) {
        return true;
    }
    pthread_mutex_lock(&orders->mutex);
    bool has = orders->sent != NULL;
    pthread_mutex_unlock(&orders->mutex);
    return has;
}

/* The orders that were sent, first one first. */
static struct dh_order *take(struct dh_orders *orders) {
    struct dh_order *first = NULL;
    pthread_mutex_lock(&orders->mutex);
    struct dh_order *order = orders->sent;
    orders->sent = NULL;
    pthread_mutex_unlock(&orders->mutex);
    while (order != NULL) {
        struct dh_order *next = order->next;
        order->next = first;
        first = order;
        order = next;
    }
    return first;
}

static void finish_carried_out(struct dh_orders *orders) {
    struct dh_order **link = &orders->given;
    while (*link != NULL) {
        struct dh_order *order = *link;
        bool is_done = is_carried_out(order);
        if (!is_done && !is_abandoned(order)) {
            link = &order->next;
            continue;
        }
        *link = order->next;
        if (is_done) {
            conclude(orders, order);
        } else {
            finish(orders, order);
        }
    }
}

bool dh_orders_step(struct dh_orders *orders) {
    finish_carried_out(orders); /* of earlier turns: what is given now, the next step decides */
    bool has_given = false;
    struct dh_order *next;
    for (struct dh_order *order = take(orders); order != NULL; order = next) {
        next = order->next;
        has_given = true;
        if (!give(orders, order)) {
            order->next = orders->given;
            orders->given = order;
        }
    }
    return has_given;
}

void dh_orders_on_gone(struct dh_orders *orders, const struct dh_event *ev) {
    for (struct dh_order *order = orders->given; order != NULL; order = order->next) {
        if (order->unit == dh_port_unit(ev)) {
            order->unit = NULL;
        }
    }
}

void dh_orders_on_reloaded(struct dh_orders *orders, struct dh_order *order, bool is_ok,
                           const char *text) {
    struct dh_order **link = &orders->given;
    while (*link != NULL && *link != order) {
        link = &(*link)->next;
    }
    if (*link == NULL) {
        return; /* nobody waits for it */
    }
    *link = order->next;
    order->is_ok = is_ok;
    order->text = strdup(text);
    finish(orders, order);
}

void dh_orders_end(struct dh_orders *orders) {
    struct dh_order *next;
    struct dh_order *order = orders->given;
    orders->given = NULL;
    for (; order != NULL; order = next) {
        next = order->next;
        if (is_of_host(order)) {
            order->result = order->kind == DH_ASK_RELOAD ? DH_ESHUTDOWN : 0;
            finish(orders, order);
        } else {
            conclude(orders, order);
        }
    }
    for (order = take(orders); order != NULL; order = next) {
        next = order->next;
        order->result = order->kind >= DH_ASK_SHUTDOWN ? 0 : DH_ESHUTDOWN;
        finish(orders, order);
    }
}
