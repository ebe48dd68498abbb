/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The monitor's side of preempt.h. It touches nothing of Lua's.
*/
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "host/loop.h"
#include "script/instance.h"
#include "script/limits.h"
#include "script/preempt.h"
#include "script/vm.h"

/* What the monitor knows of the slice it saw last. */
struct watch {
    uint64_t slice;   /* its number, 0: none was under way */
    uint64_t seen_ns; /* since when, but for the time in which the process stood still */
    uint64_t seen_cpu_ns;
    uint64_t woke_ns;        /* when this thread last had the CPU */
    uint64_t quiet_until_ns; /* a signal is on its way: wait for it to help */
    uint64_t pause_ns;       /* ... for so long after the next one */
    uint64_t probe_ns;       /* when to look into one that disturbs nobody */
    uint64_t heard_ns;       /* when its hook was last known to run */
    uint64_t report_ns;      /* after so long without: say so in the log */

    /* looks */
    uint64_t cell_ns; /* where the cell of the next look begins */
    uint64_t cell_len_ns;
    uint64_t look_ns;       /* the next look */
    uint64_t looked_at_ns;  /* the last one, */
    uint64_t looked_cpu_ns; /* the loop's CPU time then, */
    uint64_t looked_slice;  /* and what it saw */
    uint64_t looked_turn;
    unsigned idle_looks;
    uint32_t random;
};

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static struct timespec until(uint64_t now, uint64_t at_ns) {
    uint64_t ns = at_ns > now ? at_ns - now : 0;
    return (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
}

static void nap(uint64_t now, uint64_t until_ns) {
    struct timespec ts = until(now, until_ns);
    nanosleep(&ts, NULL);
}

static uint64_t cpu_time(const struct dh_preempt *p) {
    struct timespec ts = {0, 0};
    clock_gettime(p->cpu_clock, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* xorshift32 (Marsaglia 2003) */
static uint32_t next_random(struct watch *w) {
    w->random ^= w->random << 13;
    w->random ^= w->random >> 17;
    w->random ^= w->random << 5;
    return w->random;
}

/* Looks */

static void begin_cell(struct watch *w, uint64_t at_ns, uint64_t len_ns) {
    w->cell_ns = at_ns;
    w->cell_len_ns = len_ns;
    w->look_ns = at_ns + (len_ns * (next_random(w) >> 8) >> 24);
}

/* The share of the CPU that the loop had since the last look, if one slice had all of it. */
static double share(const struct watch *w, uint64_t slice, uint64_t now, uint64_t cpu_ns) {
    if (slice != w->looked_slice || now <= w->looked_at_ns) {
        return 1;
    }
    double x = (double)(cpu_ns - w->looked_cpu_ns) / (double)(now - w->looked_at_ns);
    return x < 1 ? x : 1;
}

static void park(struct dh_preempt *p, struct watch *w) {
    atomic_store(&p->is_parked, true);
    if ((atomic_load(&p->turn) != w->looked_turn || atomic_load(&p->slice) != 0 ||
         atomic_load(&p->quits)) &&
        atomic_exchange(&p->is_parked, false)) {
        return;
    }
    uv_sem_wait(&p->unpark);
}

static void look(struct dh_preempt *p, struct watch *w, uint64_t slice, uint64_t now) {
    uint64_t cell_end_ns = w->cell_ns + w->cell_len_ns;
    uint64_t next_ns = now > cell_end_ns ? now : cell_end_ns; /* the machine was busy */
    uint64_t age_ns = slice != 0 && slice == w->slice ? now - w->seen_ns : 0;
    if (slice != 0) {
        uint64_t cpu_ns = cpu_time(p);
        double ns = (double)(next_ns - w->cell_ns) * share(w, slice, now, cpu_ns);
        if (now > cell_end_ns && ns > (double)(cpu_ns - w->looked_cpu_ns)) {
            ns = (double)(cpu_ns - w->looked_cpu_ns);
        }
        /* what is looked at is billed, if only so that it is seen when it ends */
        atomic_fetch_add_explicit(&p->looked_ns, (uint64_t)ns + 1, memory_order_relaxed);
        w->looked_cpu_ns = cpu_ns;
    }
    uint64_t turn = atomic_load(&p->turn);
    w->idle_looks = slice == 0 && turn == w->looked_turn && turn % 2 == 0 ? w->idle_looks + 1 : 0;
    w->looked_turn = turn;
    w->looked_slice = slice;
    w->looked_at_ns = now;
    if (w->idle_looks >= DH_LINGER_LOOKS) {
        w->idle_looks = 0;
        park(p, w);
        next_ns = dh_loop_now();
    }
    begin_cell(w, next_ns, earlier(DH_LOOK_NS + age_ns / 4, DH_LOOK_MAX_NS));
}

/* Watching */

static void notice(struct dh_preempt *p, struct watch *w, uint64_t slice, uint64_t now) {
    w->slice = slice;
    w->seen_ns = now;
    w->seen_cpu_ns = p->uses_cpu_time && slice != 0 ? cpu_time(p) : 0;
    w->quiet_until_ns = now + p->min_slice_ns;
    w->pause_ns = DH_RESEND_NS;
    w->probe_ns = now + DH_PROBE_NS;
    w->heard_ns = now;
    w->report_ns = DH_DEAF_NS;
    if (slice != 0) {
        atomic_store_explicit(&p->lasted_ns, 0, memory_order_relaxed);
        atomic_store_explicit(&p->noticed, slice, memory_order_release);
    }
}

/* The slice goes on. This thread never rests for long: if it was away for longer, nobody had the CPU. */
static void age(struct dh_preempt *p, struct watch *w, uint64_t now) {
    uint64_t away_ns = now - w->woke_ns;
    if (away_ns > DH_STANDSTILL_NS) {
        w->seen_ns += away_ns - DH_STANDSTILL_NS;
        w->heard_ns += away_ns - DH_STANDSTILL_NS;
    }
    atomic_store_explicit(&p->lasted_ns, now - w->seen_ns, memory_order_relaxed);
}

/* When somebody will be disturbed by the slice. */
static uint64_t due(const struct dh_preempt *p, const struct watch *w) {
    uint64_t deadline_ns = atomic_load_explicit(&p->deadline_ns, memory_order_relaxed);
    bool has_others = atomic_load_explicit(&p->has_others, memory_order_relaxed);
    return has_others ? earlier(deadline_ns, w->seen_ns + p->slice_ns) : deadline_ns;
}

/* Sleep until there is something to look at or to judge. Returns true if somebody's I/O is ready. */
static bool rest(const struct dh_preempt *p, const struct watch *w) {
    uint64_t now = dh_loop_now();
    if (w->slice == 0 || p->uses_cpu_time) {
        nap(now, w->look_ns);
        return false;
    }
    if (now < w->quiet_until_ns) {
        nap(now, earlier(w->quiet_until_ns, w->look_ns));
        return false;
    }
    struct timespec ts = until(now, earlier(due(p, w), w->look_ns));
    struct pollfd fd = {p->backend_fd, POLLIN, 0};
    return ppoll(&fd, 1, &ts, NULL) > 0;
}

static bool must_yield(const struct dh_preempt *p, const struct watch *w, uint64_t now,
                       bool has_news) {
    if (p->uses_cpu_time) {
        return cpu_time(p) - w->seen_cpu_ns >= p->slice_ns;
    }
    return has_news || now >= due(p, w);
}

/* Ask for a note of a slice that lasts, publish the last answer. */
static void exchange_notes(struct dh_preempt *p, const struct watch *w, uint64_t now) {
    if (now - w->seen_ns < DH_HELD_NS ||
        atomic_load_explicit(&p->asked, memory_order_acquire) == w->slice) {
        return;
    }
    if (p->note.slice == w->slice) {
        uv_mutex_lock(&p->mutex);
        p->holder = p->note;
        p->holder.since_ns = w->seen_ns;
        uv_mutex_unlock(&p->mutex);
    }
    atomic_store_explicit(&p->asked, w->slice, memory_order_release);
}

/* It does not hear: say so after a second, two, four ... */
static void report_deaf(struct dh_preempt *p, struct watch *w, uint64_t now) {
    if (atomic_load(&p->wanted) == DH_PREEMPT_NOTHING) {
        w->heard_ns = now;
        w->report_ns = DH_DEAF_NS;
    } else if (now - w->heard_ns >= w->report_ns && p->holder.slice == w->slice &&
               !p->uses_cpu_time) {
        dh_instance_report_holder(p->vm->instance, &p->holder, now - w->heard_ns);
        w->report_ns *= 2;
    }
}

static void judge(struct dh_preempt *p, struct watch *w, uint64_t now, bool has_news) {
    bool yields = must_yield(p, w, now, has_news);
    if (!yields && now < w->probe_ns) {
        return;
    }
    report_deaf(p, w, now);
    exchange_notes(p, w, now);
    uint64_t wish = yields ? DH_PREEMPT_YIELD : DH_PREEMPT_PROBE;
    atomic_store(&p->wanted, w->slice * (DH_PREEMPT_WISHES + 1) + wish);
    pthread_kill(p->loop_thread, DH_PREEMPT_SIGNAL);
    w->probe_ns = now + DH_PROBE_NS;
    uint64_t arming_ns = atomic_load_explicit(&p->arming_ns, memory_order_relaxed);
    w->quiet_until_ns = now + w->pause_ns + DH_RESEND_SHARE * arming_ns;
    w->pause_ns = earlier(2 * w->pause_ns, DH_RESEND_MAX_NS);
}

/* The kernel must not round its naps. */
static void be_punctual(void) {
#ifdef __linux__
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
#endif
}

void dh_preempt_monitor(void *arg) {
    struct dh_preempt *p = arg;
    struct watch w = {.random = (uint32_t)dh_loop_now() | 1};
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    be_punctual();
    begin_cell(&w, dh_loop_now(), DH_LOOK_NS);
    while (!atomic_load(&p->quits)) {
        bool has_news = rest(p, &w);
        uint64_t now = dh_loop_now();
        uint64_t slice = atomic_load_explicit(&p->slice, memory_order_acquire);
        if (now >= w.look_ns) {
            look(p, &w, slice, now);
        }
        if (slice != w.slice) {
            notice(p, &w, slice, now);
        } else if (slice != 0) {
            age(p, &w, now);
            if (now >= w.quiet_until_ns) {
                judge(p, &w, now, has_news);
            }
        }
        w.woke_ns = now;
    }
}
