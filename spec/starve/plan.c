/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "starve/starve.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SITES (1u << 18)
#define DEPTH 24
#define DEPTH_OF_PLACES 64
#define STACKS (1u << 16)

enum mode { ONCE, TWICE, ON, CEILING, AT, EINTR_AT, EAGAIN_AT, SHORT_AT, EACH_SHORT };

static const struct {
    const char *kind, *mode;
    enum starve_kind as_kind;
    enum mode as_mode;
} words[] = {
    {"memory", "once", STARVE_MEMORY, ONCE},    {"memory", "twice", STARVE_MEMORY, TWICE},
    {"memory", "on", STARVE_MEMORY, ON},        {"memory", "ceiling", STARVE_MEMORY, CEILING},
    {"memory", "at", STARVE_MEMORY, AT},        {"files", "once", STARVE_FILES, ONCE},
    {"files", "twice", STARVE_FILES, TWICE},    {"files", "on", STARVE_FILES, ON},
    {"calls", "eintr", STARVE_CALLS, EINTR_AT}, {"calls", "eagain", STARVE_CALLS, EAGAIN_AT},
    {"calls", "short", STARVE_CALLS, SHORT_AT}, {"calls", "each-short", STARVE_CALLS, EACH_SHORT},
};

/* Where a block that is held was allocated. */
struct site {
    void *block;
    size_t bytes;
    void *stack[DEPTH];
    int depth;
};

static struct {
    enum starve_kind kind;
    enum mode mode;
    uint64_t n, k;
    uint64_t for_ns;
    const char *thread; /* "main", "other", or NULL: all */
    const char *report;
    const char *places;
    bool is_tracing;
} plan;

/* By the linker: where the program lies. */
extern const char __executable_start[];
extern const char etext[];

static atomic_bool is_armed;
static atomic_uint arms;
static _Atomic uint64_t points;
static _Atomic uint64_t refused;
static _Atomic int64_t blocks;
static _Atomic int64_t bytes_held;
static _Atomic int64_t bytes_at_arm;
static _Atomic int64_t peak;        /* above that, while armed */
static _Atomic uint64_t over_at_ns; /* 'on' ends then; 0: it has not begun */
static struct site *sites;
static pthread_mutex_t site_mutex = PTHREAD_MUTEX_INITIALIZER;
static __thread int thread_id;  /* 0: not asked for yet */
static __thread bool is_inside; /* of what is traced */

static uint64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t number_of(const char *text) {
    return text != NULL ? strtoull(text, NULL, 10) : 0;
}

static void __attribute__((constructor)) read_plan(void) {
    const char *text = getenv("DECNET_STARVE");
    char kind[16] = "", mode[16] = "";
    unsigned long long n = 0, k = 0;
    if (text != NULL) {
        sscanf(text, "%15s %15s %llu %llu", kind, mode, &n, &k);
        size_t i = 0;
        while (i < sizeof(words) / sizeof(*words) &&
               (strcmp(words[i].kind, kind) != 0 || strcmp(words[i].mode, mode) != 0)) {
            i++;
        }
        if (i == sizeof(words) / sizeof(*words)) {
            fprintf(stderr, "decnet-starved: DECNET_STARVE: no such plan: %s\n", text);
            _exit(99);
        }
        plan.kind = words[i].as_kind;
        plan.mode = words[i].as_mode;
        plan.n = plan.mode == AT ? strtoull(text + strlen("memory at"), NULL, 16) : n;
        plan.k = k;
    }
    plan.for_ns = number_of(getenv("DECNET_STARVE_MS")) * 1000000u;
    plan.thread = getenv("DECNET_STARVE_THREAD");
    plan.report = getenv("DECNET_STARVE_REPORT");
    plan.places = getenv("DECNET_STARVE_PLACES");
    plan.is_tracing = getenv("DECNET_STARVE_TRACE") != NULL;
    if (plan.is_tracing || plan.places != NULL || plan.mode == AT) {
        void *frames[DEPTH];
        backtrace(frames, DEPTH); /* loads what it needs */
    }
    if (plan.is_tracing) {
        sites = mmap(NULL, SITES * sizeof(*sites), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    if (getenv("DECNET_STARVE_ARMED") != NULL) {
        starve_arm();
    }
}

void starve_arm(void) {
    static atomic_bool has_registered;
    if (!atomic_exchange(&has_registered, true)) {
        atexit(starve_disarm); /* what libraries do after that is not ours */
    }
    atomic_fetch_add(&arms, 1);
    atomic_store(&bytes_at_arm, atomic_load(&bytes_held));
    atomic_store(&is_armed, true);
}

unsigned starve_arms(void) {
    return atomic_load(&arms);
}

void starve_disarm(void) {
    atomic_store(&is_armed, false);
}

static bool is_over(void) {
    uint64_t at = atomic_load(&over_at_ns);
    return at != 0 && now_ns() >= at;
}

bool starve_is_armed(void) {
    return atomic_load(&is_armed) && !is_over();
}

/* ---- points -------------------------------------------------------------------------------------- */

static bool is_concerned(enum starve_kind kind) {
    if (plan.kind != kind || !atomic_load(&is_armed)) {
        return false;
    }
    if (plan.thread == NULL) {
        return true;
    }
    if (thread_id == 0) {
        thread_id = (int)syscall(SYS_gettid);
    }
    return (strcmp(plan.thread, "main") == 0) == (thread_id == getpid());
}

static bool is_on(uint64_t number) {
    if (number < plan.n || is_over()) {
        return false;
    }
    if (atomic_load(&over_at_ns) == 0 && plan.for_ns != 0) {
        atomic_store(&over_at_ns, now_ns() + plan.for_ns);
    }
    return true;
}

/* Write down a stack, unless it was; where its hash is in use it was. */
static void note_places(void *const *frames, int depth) {
    static atomic_bool was_seen[STACKS];
    static _Atomic int fd;
    uint64_t hash = 0;
    char text[DEPTH_OF_PLACES * 17 + 1];
    int len = 0;
    for (int i = 0; i < depth; i++) {
        const char *at = frames[i];
        hash = (hash ^ (uintptr_t)at) * UINT64_C(0x9e3779b97f4a7c15);
        if (at >= __executable_start && at < etext) {
            len +=
                snprintf(text + len, sizeof(text) - (size_t)len, "%tx ", at - __executable_start);
        }
    }
    if (atomic_exchange(&was_seen[hash >> 48], true)) {
        return;
    }
    if (atomic_load(&fd) == 0) {
        atomic_store(&fd, (int)syscall(SYS_openat, AT_FDCWD, plan.places,
                                       O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
    }
    text[len++] = '\n';
    ssize_t written = syscall(SYS_write, atomic_load(&fd), text, len);
    (void)written;
}

/* Is it the plan's place that asks? */
static bool is_at_place(void) {
    void *frames[DEPTH_OF_PLACES];
    is_inside = true;
    int depth = backtrace(frames, DEPTH_OF_PLACES);
    if (plan.places != NULL) {
        note_places(frames, depth);
    }
    is_inside = false;
    int i = 0;
    while (i < depth && (const char *)frames[i] != __executable_start + plan.n) {
        i++;
    }
    return i < depth && is_on(plan.n);
}

static bool is_hit(uint64_t number, size_t growth) {
    switch (plan.mode) {
        case TWICE:
            return number == plan.n || number == plan.n + plan.k;
        case ON:
            return is_on(number);
        case CEILING:
            if (atomic_load(&bytes_held) - atomic_load(&bytes_at_arm) + (int64_t)growth <=
                (int64_t)plan.n) {
                return false;
            }
            return is_on(plan.n);
        case AT:
            return is_at_place();
        case EACH_SHORT:
            return number >= plan.n;
        default:
            return number == plan.n;
    }
}

static void trace(uint64_t number) {
    if (plan.is_tracing && !is_inside) {
        void *frames[DEPTH];
        is_inside = true;
        char text[64];
        int len = snprintf(text, sizeof(text), "-- point %llu\n", (unsigned long long)number);
        ssize_t written = syscall(SYS_write, STDERR_FILENO, text, len);
        (void)written;
        backtrace_symbols_fd(frames, backtrace(frames, DEPTH), STDERR_FILENO);
        is_inside = false;
    }
}

static bool is_refused(enum starve_kind kind, size_t growth) {
    if (!is_concerned(kind)) {
        return false;
    }
    uint64_t number = atomic_fetch_add(&points, 1) + 1;
    if (!is_hit(number, growth)) {
        return false;
    }
    atomic_fetch_add(&refused, 1);
    trace(number);
    return true;
}

bool starve_is_memory_refused(size_t growth) {
    return !is_inside && is_refused(STARVE_MEMORY, growth);
}

bool starve_is_place_refused(void) {
    return plan.mode == AT && starve_is_memory_refused(0);
}

bool starve_is_file_refused(void) {
    return is_refused(STARVE_FILES, 0);
}

enum starve_call starve_call(void) {
    if (!is_refused(STARVE_CALLS, 0)) {
        return STARVE_GO_ON;
    }
    return plan.mode == EINTR_AT    ? STARVE_EINTR
           : plan.mode == EAGAIN_AT ? STARVE_EAGAIN
                                    : STARVE_SHORT;
}

/* ---- what is held -------------------------------------------------------------------------------- */

static struct site *site_of(const void *block, bool is_new) {
    size_t at = (uintptr_t)block / 8 * UINT64_C(0x9e3779b97f4a7c15) >> 46;
    for (size_t i = 0; i < SITES; i++, at++) {
        struct site *site = &sites[at % SITES];
        if (site->block == block || (is_new && site->block == NULL)) {
            return site;
        }
        if (site->block == NULL && site->bytes == 0) {
            return NULL;
        }
    }
    return NULL;
}

/* The peak is not exact among threads, which no plan needs. */
void starve_on_bytes(int64_t bytes) {
    int64_t above = atomic_fetch_add(&bytes_held, bytes) + bytes - atomic_load(&bytes_at_arm);
    if (atomic_load(&is_armed) && above > atomic_load(&peak)) {
        atomic_store(&peak, above);
    }
}

void starve_on_taken(void *block, size_t bytes) {
    atomic_fetch_add(&blocks, 1);
    starve_on_bytes((int64_t)bytes);
    if (sites != NULL && !is_inside) {
        is_inside = true;
        pthread_mutex_lock(&site_mutex);
        struct site *site = site_of(block, true);
        if (site != NULL) {
            site->block = block;
            site->bytes = bytes + 1;
            site->depth = backtrace(site->stack, DEPTH);
        }
        pthread_mutex_unlock(&site_mutex);
        is_inside = false;
    }
}

void starve_on_freed(void *block, size_t bytes) {
    atomic_fetch_sub(&blocks, 1);
    atomic_fetch_sub(&bytes_held, (int64_t)bytes);
    if (sites != NULL && !is_inside) {
        is_inside = true;
        pthread_mutex_lock(&site_mutex);
        struct site *site = site_of(block, false);
        if (site != NULL) {
            site->block = NULL; /* its bytes stay: others may lie behind it */
        }
        pthread_mutex_unlock(&site_mutex);
        is_inside = false;
    }
}

/* ---- the report ---------------------------------------------------------------------------------- */

static int count_descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        count += syscall(SYS_fcntl, fd, F_GETFD) >= 0;
    }
    return count;
}

static void __attribute__((destructor)) write_report(void) {
    if (plan.report == NULL) {
        return;
    }
    starve_disarm();
    char text[160];
    int len = snprintf(text, sizeof(text),
                       "points %llu refused %llu blocks %lld bytes %lld peak %lld descriptors %d\n",
                       (unsigned long long)atomic_load(&points),
                       (unsigned long long)atomic_load(&refused), (long long)atomic_load(&blocks),
                       (long long)atomic_load(&bytes_held), (long long)atomic_load(&peak),
                       count_descriptors());
    int fd = (int)syscall(SYS_openat, AT_FDCWD, plan.report, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ssize_t written = syscall(SYS_write, fd, text, len);
    (void)written;
    for (size_t i = 0; sites != NULL && i < SITES; i++) {
        if (sites[i].block != NULL) {
            len = snprintf(text, sizeof(text), "-- held: %zu bytes\n", sites[i].bytes - 1);
            written = syscall(SYS_write, fd, text, len);
            backtrace_symbols_fd(sites[i].stack, sites[i].depth, fd);
        }
    }
    syscall(SYS_close, fd);
}
