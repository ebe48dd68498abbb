/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/limits.h"
#include "host/report.h"
#include "host/signals.h"

static struct dh_host *host_of(struct dh_env *env) {
    return (struct dh_host *)env; /* first member */
}

uint64_t dh_host_now(const struct dh_host *host) {
    return host->options.is_virtual ? host->virtual_ns : dh_loop_now();
}

static uint64_t env_now(struct dh_env *env) {
    return dh_host_now(host_of(env));
}

/* splitmix64 (Steele, Lea, Flood 2014): jitter needs spread, not secrecy. */
static uint64_t env_random(struct dh_env *env) {
    uint64_t z = (host_of(env)->random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int env_arm(struct dh_env *env, struct dh_timer *t, uint64_t deadline_ns) {
    return dh_timerq_arm(&host_of(env)->timers, t, deadline_ns);
}

static uint64_t env_deadline(const struct dh_env *env, const struct dh_timer *t) {
    return dh_timerq_deadline(&((const struct dh_host *)env)->timers, t);
}

static void env_disarm(struct dh_env *env, struct dh_timer *t) {
    dh_timerq_disarm(&host_of(env)->timers, t);
}

static int env_start_run(struct dh_env *env, struct dh_worker *w) {
    struct dh_host *host = host_of(env);
    return host->options.runner->start_run(host, w);
}

static void env_cancel_run(struct dh_env *env, struct dh_worker *w) {
    struct dh_host *host = host_of(env);
    host->options.runner->cancel_run(host, w);
}

static void env_kill_run(struct dh_env *env, struct dh_worker *w) {
    struct dh_host *host = host_of(env);
    host->options.runner->kill_run(host, w);
}

static void env_emit(struct dh_env *env, const struct dh_event *ev) {
    struct dh_host *host = host_of(env);
    if (host->service.is_on) {
        dh_service_on_event(&host->service, ev);
    }
    host->options.runner->on_event(host, ev);
}

void dh_host_init(struct dh_host *host, const struct dh_host_options *options) {
    memset(host, 0, sizeof(*host));
    host->options = *options;
    host->env = (struct dh_env){
        .alloc = options->alloc,
        .now = env_now,
        .random = env_random,
        .arm = env_arm,
        .disarm = env_disarm,
        .deadline = env_deadline,
        .start_run = env_start_run,
        .cancel_run = env_cancel_run,
        .kill_run = env_kill_run,
        .emit = env_emit,
    };
    host->random_state = options->seed;
    if (options->seed == 0) {
        uv_random(NULL, NULL, &host->random_state, sizeof(host->random_state), 0, NULL);
    }
    host->shutdown_timer.kind = DH_TIMER_SHUTDOWN;
    host->hold_timer.kind = DH_TIMER_HOLD;
    if (options->is_service) {
        dh_service_init(&host->service, options->log, DH_TIMER_WATCHDOG, DH_TIMER_SERVICE);
    }
    dh_timerq_init(&host->timers, options->alloc);
    dh_sup_init(&host->sup, &host->env);
    host->began_ns = dh_host_now(host);
}

void dh_host_fini(struct dh_host *host) {
    dh_sup_fini(&host->sup);
    dh_timerq_disarm(&host->timers, &host->shutdown_timer);
    dh_timerq_disarm(&host->timers, &host->hold_timer);
    dh_timerq_disarm(&host->timers, &host->service.timer);
    dh_timerq_disarm(&host->timers, &host->service.watchdog);
    dh_service_fini(&host->service);
    dh_timerq_fini(&host->timers);
}

static void decide(struct dh_host *host) {
    dh_sup_step(&host->sup);
    host->options.runner->on_stepped(host);
}

/* Kill everything; what is still there DH_STUCK_SECONDS later will not go. */
static void stop_now(struct dh_host *host) {
    dh_sup_shutdown_now(&host->sup);
    decide(host);
    host->options.runner->kill_all(host);
    dh_timerq_arm(&host->timers, &host->shutdown_timer,
                  dh_host_now(host) + DH_STUCK_SECONDS * UINT64_C(1000000000));
}

/* A polite stop has a limit, whoever began it. Without memory for one there is no polite time. */
static void limit_stop(struct dh_host *host) {
    uint64_t timeout_ns = host->options.shutdown_timeout_ns;
    bool is_polite = host->sup.is_shutting_down && !host->sup.is_forced;
    if (is_polite && timeout_ns != DH_NEVER && !dh_timer_is_armed(&host->shutdown_timer) &&
        dh_timerq_arm(&host->timers, &host->shutdown_timer, dh_host_now(host) + timeout_ns) != 0) {
        stop_now(host);
    }
}

static void step(struct dh_host *host) {
    decide(host);
    limit_stop(host);
}

static void on_shutdown_deadline(struct dh_host *host) {
    if (host->sup.is_forced) {
        host->is_stuck = true;
        host->options.runner->name_stuck(host);
        return;
    }
    if (dh_host_is_over(host)) { /* a virtual clock goes on */
        return;
    }
    dh_report_text(host, "the stop took longer than --shutdown-timeout: killing the rest");
    stop_now(host);
}

void dh_host_stop(struct dh_host *host) {
    host->was_stopped = true;
    host->service.is_dirty = true;
    host->stops++;
    if (host->stops == 1) {
        host->is_stopping = true;
        dh_sup_shutdown(&host->sup);
    } else {
        host->wants_stop_now = true; /* not here: a task, a hook or a finalizer may be calling */
    }
}

static void stop_now_if_wanted(struct dh_host *host) {
    if (host->wants_stop_now && !host->sup.is_forced) {
        stop_now(host);
    }
}

static void note_lateness(struct dh_lateness *l, uint64_t late_ns) {
    uint64_t units = late_ns / DH_LATENESS_NS;
    unsigned bucket = units == 0 ? 0 : 64u - (unsigned)__builtin_clzll(units);
    l->counts[bucket < DH_LATENESS_BUCKETS ? bucket : DH_LATENESS_BUCKETS]++;
    l->sum_ns += late_ns;
}

static void fire_due(struct dh_host *host) {
    uint64_t now = dh_host_now(host);
    uint64_t deadline_ns = dh_timerq_next(&host->timers);
    struct dh_timer *t;
    dh_sup_on_look(&host->sup, now, deadline_ns);
    for (; (t = dh_timerq_pop(&host->timers, now)) != NULL;
         deadline_ns = dh_timerq_next(&host->timers)) {
        note_lateness(&host->lateness, now - deadline_ns);
        if (t->kind < DH_TIMER_OTHERS) {
            dh_sup_on_timer(&host->sup, t);
        } else if (t->kind == DH_TIMER_SHUTDOWN) {
            on_shutdown_deadline(host);
        } else if (t->kind == DH_TIMER_HOLD) {
            host->is_hold_over = true;
        } else if (t->kind == DH_TIMER_SERVICE || t->kind == DH_TIMER_WATCHDOG) {
            dh_service_on_timer(&host->service, t);
        } else {
            host->options.runner->on_timer(host, t);
        }
    }
}

/* The first signal is polite, also where somebody else has stopped the host already. */
static void stop_by_signal(struct dh_host *host) {
    bool is_first = !host->had_signal;
    host->had_signal = true;
    if (is_first) {
        dh_report_text(host, "stopping: the workers are cancelled; a second signal kills them");
    }
    if (!is_first || !host->is_stopping) {
        dh_host_stop(host);
    }
}

static void take_signals(struct dh_host *host) {
    unsigned stops = 0;
    unsigned pending = dh_signals_take(&stops);
    for (; stops > 0; stops--) {
        stop_by_signal(host);
    }
    if (pending & DH_SIGNAL_USR1) {
        host->options.runner->dump(host);
    }
    if ((pending & DH_SIGNAL_HUP) && !host->is_stopping && !host->options.runner->reload(host)) {
        dh_report_text(host, "SIGHUP is ignored: there is no script that could be loaded again");
    }
}

/* Is there nothing left for the supervisor to do? */
static bool is_at_rest(const struct dh_host *host) {
    if (host->is_stopping || dh_sup_essential_failed(&host->sup)) {
        return dh_sup_is_quiet(&host->sup);
    }
    return dh_sup_is_finished(&host->sup) && !host->options.keeps_alive;
}

static bool is_held(const struct dh_host *host) {
    return host->holds > 0 && !host->is_hold_over && !host->sup.is_forced;
}

bool dh_host_is_over(const struct dh_host *host) {
    return host->is_stuck || (is_at_rest(host) && !is_held(host));
}

void dh_host_hold(struct dh_host *host) {
    host->holds++;
}

void dh_host_release(struct dh_host *host) {
    host->holds--;
}

void dh_host_on_reload(struct dh_host *host, bool is_over) {
    dh_service_on_reload(&host->service, is_over);
}

/* The wait for those who hold a host that is at rest has an end. Each such wait has its own. */
static void limit_hold(struct dh_host *host) {
    if (host->holds == 0 || !is_at_rest(host)) {
        dh_timerq_disarm(&host->timers, &host->hold_timer);
        host->is_hold_over = false;
    } else if (is_held(host) && !dh_timer_is_armed(&host->hold_timer)) {
        dh_timerq_arm(&host->timers, &host->hold_timer, dh_host_now(host) + DH_HOLD_NS);
    }
}

int dh_host_exit_code(const struct dh_host *host) {
    if (host->is_stuck) {
        return DH_EXIT_STUCK;
    }
    if (dh_sup_essential_failed(&host->sup)) {
        return DH_EXIT_FAILED;
    }
    return !host->was_stopped && dh_sup_has_failed(&host->sup) ? DH_EXIT_FAILED : DH_EXIT_OK;
}

/* Let ready tasks run, several turns in a row, so that a poll is not paid for each. */
static void run_ready(struct dh_host *host) {
    const struct dh_runner *runner = host->options.runner;
    struct dh_budget budget;
    dh_budget_init(&budget, dh_loop_now() + DH_TURNS_NS);
    while (!budget.is_over && runner->is_ready(host)) {
        runner->turn(host, &budget);
        step(host);
    }
}

static bool is_busy(const struct dh_host *host) {
    return host->options.runner->is_ready((struct dh_host *)host) || dh_sup_has_work(&host->sup);
}

/* Nothing was to be done: still so, after a look at the world? */
static void pay_debt(struct dh_host *host) {
    if (!is_busy(host) && dh_timerq_next(&host->timers) > dh_host_now(host)) {
        host->options.runner->idle(host);
    }
}

static void tell_service(struct dh_host *host, bool is_over) {
    if (host->service.is_on && (host->service.is_dirty || is_over)) {
        dh_service_tell(host, is_over);
    }
}

static void loop(struct dh_host *host) {
    const struct dh_runner *runner = host->options.runner;
    for (;;) {
        if (host->options.takes_signals) {
            take_signals(host);
        }
        if (!host->is_stopping && runner->wants_stop(host)) {
            dh_host_stop(host);
        }
        stop_now_if_wanted(host);
        fire_due(host);
        step(host);
        tell_service(host, false); /* that it stops, for instance: before that takes its time */
        run_ready(host);
        limit_hold(host);
        bool is_over = !runner->is_ready(host) && dh_host_is_over(host);
        tell_service(host, is_over);
        if (is_over) {
            return;
        }
        if (is_busy(host)) {
            dh_loop_poll(host->options.loop, 0);
        } else if (runner->has_debt(host)) {
            dh_loop_poll(host->options.loop, 0);
            pay_debt(host);
        } else {
            dh_loop_poll(host->options.loop, dh_timerq_next(&host->timers));
        }
    }
}

int dh_host_run(struct dh_host *host, struct dh_error *err) {
    if (dh_sup_boot(&host->sup, err) != 0) {
        return DH_EXIT_USAGE;
    }
    if (host->options.takes_signals &&
        dh_signals_start(host->options.loop, host->options.shutdown_timeout_ns) != 0) {
        dh_error_set(err, DH_EBUSY, "another host in this process has the signals");
        return DH_EXIT_USAGE;
    }
    host->is_running = true;
    loop(host);
    host->is_running = false;
    if (host->options.takes_signals && host->options.ends_process) {
        dh_signals_leave(host->options.loop);
    } else if (host->options.takes_signals) {
        dh_signals_stop(host->options.loop, !host->is_stopping);
    }
    return dh_host_exit_code(host);
}

/* Virtual clock */

#define TICK_NS 1000u

static bool move_clock(struct dh_host *host, uint64_t to_ns, uint64_t limit_ns) {
    host->virtual_ns = to_ns < limit_ns ? to_ns : limit_ns;
    return true;
}

/* Requests that other threads work on take real time; the clock stands for them, within reason. */
static bool must_stand(struct dh_host *host) {
    if (!host->options.runner->is_in_flight(host)) {
        host->stood_since_ns = 0;
        return false;
    }
    uint64_t now = dh_loop_now();
    if (host->stood_since_ns == 0) {
        host->stood_since_ns = now;
    }
    return now - host->stood_since_ns < DH_VIRTUAL_STAND_NS;
}

bool dh_host_advance(struct dh_host *host, uint64_t limit_ns) {
    const struct dh_runner *runner = host->options.runner;
    bool was_quiet = !dh_sup_has_work(&host->sup);
    dh_loop_poll(host->options.loop, 0);
    stop_now_if_wanted(host);
    fire_due(host);
    step(host);
    limit_hold(host);
    if (runner->is_ready(host)) {
        /* something came of it: one request after the other may take long */
        host->stood_since_ns = 0;
        struct dh_budget budget;
        dh_budget_init(&budget, DH_NEVER);
        runner->turn(host, &budget);
        step(host);
        bool is_due_now = runner->is_ready(host) || dh_sup_has_work(&host->sup) ||
                          dh_timerq_next(&host->timers) <= host->virtual_ns ||
                          host->options.loop->must_not_wait;
        if (is_due_now && host->virtual_ns < limit_ns) {
            return move_clock(host, host->virtual_ns + TICK_NS, limit_ns);
        }
        return !is_due_now || host->virtual_ns < limit_ns;
    }
    if (host->is_stopping && dh_host_is_over(host)) {
        return false;
    }
    uint64_t next = dh_timerq_next(&host->timers);
    if (host->virtual_ns >= limit_ns && next > host->virtual_ns && !dh_sup_has_work(&host->sup)) {
        return false; /* no move is left to make, so nothing to stand for */
    }
    if (must_stand(host)) {
        dh_loop_poll(host->options.loop, dh_loop_now() + 1000000u);
        return true;
    }
    if (!was_quiet && !dh_sup_has_work(&host->sup)) {
        return true; /* an order was carried out: let it be seen before time goes on */
    }
    if (host->virtual_ns >= limit_ns) {
        return false;
    }
    return move_clock(host, next > host->virtual_ns ? next : host->virtual_ns + TICK_NS, limit_ns);
}

uint64_t dh_host_next(struct dh_host *host) {
    bool is_busy = host->options.runner->is_ready(host) || dh_sup_has_work(&host->sup);
    return is_busy ? host->virtual_ns : dh_timerq_next(&host->timers);
}

void dh_host_spend(struct dh_host *host, uint64_t elapsed_ns) {
    if (host->options.is_virtual) {
        host->virtual_ns += elapsed_ns;
    }
}

void dh_host_die(const char *why) {
    fprintf(stderr, "decnet-host: %s\n", why);
    abort();
}
