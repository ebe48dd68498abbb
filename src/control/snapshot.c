/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "control/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "control/clock.h"
#include "control/limits.h"
#include "core/error.h"

/* A hundred thousand workers have one each: what few of them need is apart. */
struct dh_record {
    struct dh_record *prev;
    struct dh_record *next;
    const char *name; /* the unit's */
    struct rare *rare;
    uint64_t since_ns;
    uint64_t cpu_ns;
    uint64_t held_bytes;
    uint64_t allocated_bytes;
    uint32_t run;
    uint32_t restarts;
    uint32_t streak;
    uint32_t tasks;
    uint32_t handles;
    uint8_t name_len;
    uint8_t state;
    uint8_t cause; /* enum dh_restart_cause: of the next restart */
    bool is_wanted : 1;
    bool is_ready : 1;
    bool is_unready : 1;
    bool is_counted : 1;
};

struct rare {
    uint32_t restarted[DH_RESTART_CAUSE_COUNT];
    uint64_t retry_at_ns;
    uint64_t cpu_before_ns;
    uint64_t preemptions;
    uint64_t slice_max_ns;
    uint64_t leftover_bytes;
    char *waiting_for;
    struct dh_last_error *error;
};

const char *dh_restart_cause_name(enum dh_restart_cause cause) {
    static const char *const names[] = {
#define X(name, text) text,
        DH_RESTART_CAUSES(X)
#undef X
    };
    return names[cause];
}

void dh_snapshot_init(struct dh_snapshot *s, struct dh_instance *instance) {
    memset(s, 0, sizeof(*s));
    s->instance = instance;
    pthread_mutex_init(&s->mutex, NULL);
}

void dh_view_fini(struct dh_view *view) {
    free(view->waiting_for);
    free(view->error);
    free(view->name);
    memset(view, 0, sizeof(*view));
}

static void free_record(struct dh_record *r) {
    if (r->rare != NULL) {
        free(r->rare->waiting_for);
        free(r->rare->error);
        free(r->rare);
    }
    free(r);
}

void dh_snapshot_fini(struct dh_snapshot *s) {
    while (s->first != NULL) {
        struct dh_record *r = s->first;
        s->first = r->next;
        free_record(r);
    }
    pthread_mutex_destroy(&s->mutex);
}

/* Records, under the mutex */

static void expire(struct dh_snapshot *s, uint64_t at_ns) {
    if (at_ns < s->fresh_until_ns) {
        s->fresh_until_ns = at_ns;
    }
}

static struct dh_record *add_record(struct dh_snapshot *s, const struct dh_port_worker *w) {
    struct dh_record *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return NULL;
    }
    r->name = w->name;
    r->name_len = (uint8_t)w->name_len;
    r->prev = s->last;
    if (s->last != NULL) {
        s->last->next = r;
    } else {
        s->first = r;
    }
    s->last = r;
    return r;
}

static void discount(struct dh_snapshot *s, struct dh_record *r) {
    if (r->is_counted) {
        s->counts[r->state]--;
        s->unready -= r->is_unready;
        r->is_counted = false;
    }
}

static void count(struct dh_snapshot *s, struct dh_record *r) {
    bool is_fine = !r->is_wanted || r->state == DH_DONE || (r->state == DH_RUNNING && r->is_ready);
    r->is_unready = !is_fine;
    r->is_counted = true;
    s->counts[r->state]++;
    s->unready += r->is_unready;
}

static void remove_record(struct dh_snapshot *s, struct dh_record *r) {
    discount(s, r);
    if (s->reading == r) {
        s->reading = r->next;
    }
    *(r->prev != NULL ? &r->prev->next : &s->first) = r->next;
    *(r->next != NULL ? &r->next->prev : &s->last) = r->prev;
    free_record(r);
}

static void set_text(char **text, const char *value) {
    if (*text != NULL && strcmp(*text, value) == 0) {
        return;
    }
    free(*text);
    *text = value[0] != '\0' ? strdup(value) : NULL;
}

static void set_error(struct dh_last_error **error, const struct dh_failure *f) {
    if (f == NULL || (*error != NULL && (*error)->at_ns == f->at_ns && (*error)->run == f->run)) {
        return;
    }
    free(*error);
    *error = malloc(sizeof(**error) + f->message_len + f->traceback_len);
    if (*error == NULL) {
        return;
    }
    (*error)->at_ns = f->at_ns;
    (*error)->run = f->run;
    (*error)->message_len = f->message_len;
    (*error)->traceback_len = f->traceback_len;
    memcpy((*error)->text, f->message, f->message_len);
    memcpy((*error)->text + f->message_len, f->traceback, f->traceback_len);
}

static struct rare *rare_of(struct dh_record *r) {
    if (r->rare == NULL) {
        r->rare = calloc(1, sizeof(*r->rare));
    }
    return r->rare;
}

static void update_rare(struct rare *rare, const struct dh_port_worker *w, uint64_t now_ns) {
    uint64_t in_ns = w->status.next_retry_in_ns;
    rare->retry_at_ns = in_ns != DH_NEVER ? now_ns + in_ns : DH_NEVER;
    rare->preemptions = w->preemptions;
    rare->slice_max_ns = w->slice_max_ns;
    rare->leftover_bytes = w->bill.leftover_bytes;
    set_text(&rare->waiting_for, w->status.waiting_for);
    set_error(&rare->error, w->failure);
}

static bool is_rare(const struct dh_record *r, const struct dh_port_worker *w) {
    return r->rare != NULL || w->status.next_retry_in_ns != DH_NEVER || w->preemptions > 0 ||
           w->status.waiting_for[0] != '\0' || w->failure != NULL || r->run > 1;
}

static void update_record(struct dh_record *r, const struct dh_port_worker *w, uint64_t now_ns) {
    const struct dh_status *st = &w->status;
    struct rare *rare = is_rare(r, w) ? rare_of(r) : NULL;
    if (rare != NULL) {
        rare->cpu_before_ns += st->run != r->run ? r->cpu_ns : 0;
        update_rare(rare, w, now_ns);
    }
    r->state = (uint8_t)st->state;
    r->is_wanted = st->is_wanted;
    r->is_ready = st->is_ready;
    r->run = st->run;
    r->restarts = st->restarts;
    r->streak = st->streak;
    r->tasks = w->tasks;
    r->handles = w->handles;
    r->since_ns = st->since_ns;
    r->held_bytes = w->bill.held_bytes;
    r->allocated_bytes = w->bill.allocated_bytes;
    r->cpu_ns = w->cpu_ns;
}

static bool copy_text(char **dst, const char *text) {
    *dst = text != NULL ? strdup(text) : NULL;
    return (*dst != NULL) == (text != NULL);
}

static bool copy_error(struct dh_last_error **dst, const struct dh_last_error *e) {
    if (e == NULL) {
        return true;
    }
    size_t size = sizeof(*e) + e->message_len + e->traceback_len;
    *dst = malloc(size);
    if (*dst == NULL) {
        return false;
    }
    memcpy(*dst, e, size);
    return true;
}

static bool copy_rare(const struct rare *rare, struct dh_view *to) {
    memcpy(to->restarted, rare->restarted, sizeof(to->restarted));
    to->retry_at_ns = rare->retry_at_ns;
    to->cpu_before_ns = rare->cpu_before_ns;
    to->preemptions = rare->preemptions;
    to->slice_max_ns = rare->slice_max_ns;
    to->leftover_bytes = rare->leftover_bytes;
    return copy_text(&to->waiting_for, rare->waiting_for) && copy_error(&to->error, rare->error);
}

/* False, and nothing is left to free, when memory is out. */
static bool copy_view(const struct dh_record *r, struct dh_view *to) {
    *to = (struct dh_view){
        .name = strndup(r->name, r->name_len),
        .name_len = r->name_len,
        .state = (enum dh_state)r->state,
        .is_wanted = r->is_wanted,
        .is_ready = r->is_ready,
        .run = r->run,
        .restarts = r->restarts,
        .streak = r->streak,
        .tasks = r->tasks,
        .handles = r->handles,
        .since_ns = r->since_ns,
        .held_bytes = r->held_bytes,
        .allocated_bytes = r->allocated_bytes,
        .retry_at_ns = DH_NEVER,
        .cpu_ns = r->cpu_ns,
    };
    if (to->name != NULL && (r->rare == NULL || copy_rare(r->rare, to))) {
        return true;
    }
    dh_view_fini(to);
    return false;
}

/* Loop thread */

/* Returns with the mutex held if it returns a record. */
static struct dh_record *update(struct dh_snapshot *s, struct dh_unit *unit, uint64_t now_ns) {
    void **slot = dh_port_record(unit);
    struct dh_port_worker w;
    dh_port_look(s->instance, unit, &w);
    pthread_mutex_lock(&s->mutex);
    struct dh_record *r = *slot;
    if (r == NULL) {
        *slot = r = add_record(s, &w);
    }
    if (r == NULL) {
        pthread_mutex_unlock(&s->mutex);
        return NULL;
    }
    discount(s, r);
    update_record(r, &w, now_ns);
    count(s, r);
    s->changes++;
    return r;
}

static void note_cause(struct dh_record *r, const struct dh_event *ev) {
    switch (ev->kind) {
        case DH_EVENT_STATE:
            if (ev->to == DH_CLOSING) {
                r->cause = ev->from == DH_RUNNING ? DH_RESTARTED_RETURNED : DH_RESTARTED_GROUP;
            }
            break;
        case DH_EVENT_CRASH:
            r->cause = ev->outcome == NULL  ? DH_RESTARTED_NO_START
                       : ev->reason != NULL ? DH_RESTARTED_DEADLINE
                                            : DH_RESTARTED_ERROR;
            break;
        case DH_EVENT_RESTART:
            if (rare_of(r) != NULL) {
                r->rare->restarted[r->cause]++;
            }
            r->cause = DH_RESTARTED_GROUP;
            break;
        default:
            break;
    }
}

static void forget(struct dh_snapshot *s, struct dh_unit *unit) {
    void **slot = dh_port_record(unit);
    if (s->walk == unit) {
        s->walk = dh_port_next(unit);
    }
    pthread_mutex_lock(&s->mutex);
    if (*slot != NULL) {
        remove_record(s, *slot);
        *slot = NULL;
        s->changes++;
        expire(s, s->rest_until_ns);
    }
    pthread_mutex_unlock(&s->mutex);
}

void dh_snapshot_on_event(struct dh_snapshot *s, const struct dh_event *ev) {
    struct dh_unit *unit = dh_port_unit(ev);
    if (ev->kind == DH_EVENT_GONE) {
        forget(s, unit);
        return;
    }
    struct dh_record *r = update(s, unit, ev->at_ns);
    if (r != NULL) {
        note_cause(r, ev);
        expire(s, s->rest_until_ns);
        pthread_mutex_unlock(&s->mutex);
    }
}

void dh_snapshot_fill(struct dh_snapshot *s) {
    uint64_t now_ns = dh_clock_now();
    for (struct dh_unit *u = dh_port_first(s->instance); u != NULL; u = dh_port_next(u)) {
        if (update(s, u, now_ns) != NULL) {
            pthread_mutex_unlock(&s->mutex);
        }
    }
    dh_port_look_host(s->instance, &s->host);
}

bool dh_snapshot_has_work(struct dh_snapshot *s) {
    pthread_mutex_lock(&s->mutex);
    bool has = s->asked != s->done;
    pthread_mutex_unlock(&s->mutex);
    return has;
}

static void begin_walk(struct dh_snapshot *s) {
    s->walk = dh_port_first(s->instance);
    s->walk_ns = 0;
    s->is_walking = true;
}

/* Who asked meanwhile has his refresh too. */
static void end_walk(struct dh_snapshot *s, uint64_t now_ns) {
    uint64_t rest_ns = s->walk_ns * DH_REFRESH_REST;
    struct dh_port_host host;
    dh_port_look_host(s->instance, &host);
    pthread_mutex_lock(&s->mutex);
    s->host = host;
    s->done = s->asked;
    s->rest_until_ns = now_ns + rest_ns;
    s->fresh_until_ns = now_ns + (rest_ns > DH_REFRESH_NS ? rest_ns : DH_REFRESH_NS);
    s->changes++;
    pthread_mutex_unlock(&s->mutex);
    s->is_walking = false;
}

void dh_snapshot_step(struct dh_snapshot *s) {
    uint64_t began_ns = dh_clock_now();
    if (!s->is_walking) {
        begin_walk(s);
    }
    for (int n = 0; n < DH_REFRESH_CHUNK && s->walk != NULL; n++) {
        if (update(s, s->walk, began_ns) != NULL) {
            pthread_mutex_unlock(&s->mutex);
        }
        s->walk = dh_port_next(s->walk);
    }
    uint64_t now_ns = dh_clock_now();
    s->walk_ns += now_ns - began_ns;
    if (s->walk == NULL) {
        end_walk(s, now_ns);
    }
}

bool dh_snapshot_look(struct dh_snapshot *s, struct dh_unit *unit, struct dh_view *ret_view) {
    struct dh_record *r = update(s, unit, dh_clock_now());
    if (r == NULL) {
        return false;
    }
    bool ok = copy_view(r, ret_view);
    pthread_mutex_unlock(&s->mutex);
    return ok;
}

/* Control thread */

uint64_t dh_snapshot_version(struct dh_snapshot *s, uint64_t now_ns) {
    pthread_mutex_lock(&s->mutex);
    uint64_t version = now_ns < s->fresh_until_ns ? s->changes : 0;
    pthread_mutex_unlock(&s->mutex);
    return version;
}

void dh_snapshot_expire(struct dh_snapshot *s) {
    pthread_mutex_lock(&s->mutex);
    expire(s, 0);
    pthread_mutex_unlock(&s->mutex);
}

uint64_t dh_snapshot_ask(struct dh_snapshot *s) {
    pthread_mutex_lock(&s->mutex);
    bool is_answered = s->asked == s->done;
    uint64_t number = ++s->asked;
    pthread_mutex_unlock(&s->mutex);
    if (is_answered) {
        s->asked_ns = dh_clock_now();
    }
    return number;
}

bool dh_snapshot_is_done(struct dh_snapshot *s, uint64_t number) {
    pthread_mutex_lock(&s->mutex);
    bool is_done = s->done >= number;
    pthread_mutex_unlock(&s->mutex);
    return is_done;
}

uint64_t dh_snapshot_patience_ns(const struct dh_snapshot *s) {
    return s->asked_ns + DH_REFRESH_WAIT_NS;
}

uint64_t dh_snapshot_silence_ns(struct dh_snapshot *s, uint64_t now_ns) {
    pthread_mutex_lock(&s->mutex);
    bool is_answered = s->asked == s->done;
    pthread_mutex_unlock(&s->mutex);
    return is_answered ? 0 : now_ns - s->asked_ns;
}

/* Returns how many workers there are. */
static size_t begin_reading(struct dh_snapshot *s) {
    size_t count = 0;
    pthread_mutex_lock(&s->mutex);
    s->reading = s->first;
    for (int i = 0; i < DH_STATE_COUNT; i++) {
        count += s->counts[i];
    }
    pthread_mutex_unlock(&s->mutex);
    return count;
}

/* Returns 1 and the next worker, 0 behind the last, or DH_ENOMEM. */
static int read_next(struct dh_snapshot *s, struct dh_view *ret_view) {
    int result = 0;
    pthread_mutex_lock(&s->mutex);
    if (s->reading != NULL) {
        result = copy_view(s->reading, ret_view) ? 1 : DH_ENOMEM;
        s->reading = s->reading->next;
    }
    pthread_mutex_unlock(&s->mutex);
    return result;
}

/* Those that come while it copies are left for the next time. */
int dh_snapshot_copy(struct dh_snapshot *s, struct dh_views *ret_views) {
    size_t room = begin_reading(s);
    struct dh_views views = {calloc(room + 1, sizeof(*views.list)), 0};
    int result = views.list != NULL ? 1 : DH_ENOMEM;
    while (result == 1 && views.count < room) {
        result = read_next(s, &views.list[views.count]);
        views.count += result == 1;
    }
    if (result < 0) {
        dh_views_fini(&views);
        return result;
    }
    *ret_views = views;
    return 0;
}

void dh_views_fini(struct dh_views *views) {
    for (size_t i = 0; i < views->count; i++) {
        dh_view_fini(&views->list[i]);
    }
    free(views->list);
}

/* As far as the loop may have to wait. */
static bool find_in_chunk(struct dh_snapshot *s, const char *name, size_t len,
                          struct dh_view *ret_view) {
    for (int n = 0; n < DH_FIND_CHUNK && s->reading != NULL; n++) {
        const struct dh_record *r = s->reading;
        s->reading = r->next;
        if (r->name_len == len && memcmp(r->name, name, len) == 0) {
            return copy_view(r, ret_view);
        }
    }
    return false;
}

bool dh_snapshot_find(struct dh_snapshot *s, const char *name, size_t len,
                      struct dh_view *ret_view) {
    bool is_found = false;
    bool is_over = false;
    begin_reading(s);
    while (!is_found && !is_over) {
        pthread_mutex_lock(&s->mutex);
        is_found = find_in_chunk(s, name, len, ret_view);
        is_over = s->reading == NULL;
        pthread_mutex_unlock(&s->mutex);
    }
    return is_found;
}

void dh_snapshot_totals(struct dh_snapshot *s, struct dh_totals *ret_totals) {
    pthread_mutex_lock(&s->mutex);
    ret_totals->host = s->host;
    ret_totals->unready = s->unready;
    ret_totals->workers = 0;
    for (int i = 0; i < DH_STATE_COUNT; i++) {
        ret_totals->counts[i] = s->counts[i];
        ret_totals->workers += s->counts[i];
    }
    pthread_mutex_unlock(&s->mutex);
}
