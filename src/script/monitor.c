/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The monitor's side of preempt.h. It touches nothing of Lua's.
*/
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#ifdef __linux__
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "host/loop.h"
#include "script/instance.h"
#include "script/limits.h"
#include "script/looks.h"
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

    struct dh_looks looks;
    uint64_t looked_at_ns;  /* the last look, */
    uint64_t looked_cpu_ns; /* the loop's CPU time then, */
    uint64_t looked_slice;  /* and what it saw */
    uint64_t looked_turn;
    unsigned idle_looks;
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

/* Looks */

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

/* What passed since the look before is billed to the slice. */
static void bill(struct dh_preempt *p, struct watch *w, uint64_t slice, uint64_t now,
                 uint64_t next_ns) {
    uint64_t cpu_ns = cpu_time(p);
    double ns = (double)(next_ns - w->looks.cell_ns) * share(w, slice, now, cpu_ns);
    if (now > dh_looks_cell_end(&w->looks) && ns > (double)(cpu_ns - w->looked_cpu_ns)) {
        ns = (double)(cpu_ns - w->looked_cpu_ns);
    }
    /* what is looked at is billed, if only so that it is seen when it ends */
    atomic_fetch_add_explicit(&p->looked_ns, (uint64_t)ns + 1, memory_order_relaxed);
    w->looked_cpu_ns = cpu_ns;
}

static void look(struct dh_preempt *p, struct watch *w, uint64_t slice, uint64_t now) {
    uint64_t cell_end_ns = dh_looks_cell_end(&w->looks);
    uint64_t next_ns = now > cell_end_ns ? now : cell_end_ns; /* the machine was busy */
    uint64_t age_ns = slice != 0 && slice == w->slice ? now - w->seen_ns : 0;
    if (slice != 0) {
        bill(p, w, slice, now, next_ns);
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
        dh_looks_alert(&w->looks, next_ns);
    }
    dh_looks_begin_cell(&w->looks, next_ns, age_ns);
}

/* Watching */

/* Can a slice of the turn under way have begun long ago? A turn without a long one is over in time. */
static bool may_be_old(const struct dh_preempt *p, uint64_t now) {
    uint64_t until_ns = atomic_load_explicit(&p->turn_until_ns, memory_order_relaxed);
    bool is_in_turn = atomic_load_explicit(&p->turn, memory_order_relaxed) % 2 == 1;
    return !is_in_turn || until_ns == DH_NEVER || now > until_ns + DH_LONG_NS;
}

/* Is the slice worth being watched? While all is calm, one that has just begun is not. */
static bool may_last(const struct dh_preempt *p, const struct watch *w, uint64_t slice,
                     uint64_t now) {
    return slice != 0 && (dh_looks_is_alert(&w->looks, now) || may_be_old(p, now));
}

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
    if (now - w->seen_ns > DH_LONG_NS) {
        dh_looks_alert(&w->looks, now);
    }
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
        nap(now, w->looks.look_ns);
        return false;
    }
    if (now < w->quiet_until_ns) {
        nap(now, earlier(w->quiet_until_ns, w->looks.look_ns));
        return false;
    }
    struct timespec ts = until(now, earlier(due(p, w), w->looks.look_ns));
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

#ifdef __linux__
/* struct sched_attr of sched_setattr(2), which glibc 2.36 does not declare. */
struct scheduling {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns;
    uint64_t deadline_ns;
    uint64_t period_ns;
};

/* Ask for short turns on the CPU (sched_runtime of SCHED_OTHER: from Linux 6.12 on, not heard by those
** before). Who has short turns gets the CPU as soon as it wakes: beside the loop on the same CPU that is
** at once, not when the loop's turn of 3 ms is over. */
static void ask_for_short_turns(void) {
    struct scheduling s;
    if (syscall(SYS_sched_getattr, 0, &s, sizeof(s), 0) == 0 && s.policy == SCHED_OTHER) {
        s.runtime_ns = DH_MONITOR_TURN_NS;
        syscall(SYS_sched_setattr, 0, &s, 0);
    }
}
#endif

/* The kernel must not round its naps, nor let it wait when they are over. */
static void be_punctual(void) {
#ifdef __linux__
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    ask_for_short_turns();
#endif
}

void dh_preempt_monitor(void *arg) {
    struct dh_preempt *p = arg;
    struct watch w = {0};
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    be_punctual();
    uint64_t began_ns = dh_loop_now();
    dh_looks_init(&w.looks, began_ns, (uint32_t)began_ns | 1);
    while (!atomic_load(&p->quits)) {
        bool has_news = rest(p, &w);
        uint64_t now = dh_loop_now();
        uint64_t slice = atomic_load_explicit(&p->slice, memory_order_acquire);
        if (slice != 0 && slice == w.slice) {
            age(p, &w, now);
        }
        if (now >= w.looks.look_ns) {
            look(p, &w, slice, now);
        }
        if (slice != w.slice) {
            notice(p, &w, may_last(p, &w, slice, now) ? slice : 0, now);
        } else if (slice != 0 && now >= w.quiet_until_ns) {
            judge(p, &w, now, has_news);
        }
        w.woke_ns = now;
    }
}
