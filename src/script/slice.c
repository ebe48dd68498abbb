/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The loop's side of preempt.h: what it tells the monitor of its turns and slices, and whom it bills.
*/
#include <pthread.h>
#include <string.h>

#include "script/instance.h"
#include "script/pool.h"
#include "script/preempt.h"
#include "script/unit.h"
#include "script/vm.h"

static void unpark(struct dh_preempt *p) {
    if (atomic_load(&p->is_parked) && atomic_exchange(&p->is_parked, false)) {
        uv_sem_post(&p->unpark);
    }
}

void dh_preempt_begin_turn(struct dh_preempt *p, uint64_t until_ns) {
    atomic_store_explicit(&p->turn_until_ns, until_ns, memory_order_relaxed);
    atomic_store(&p->turn, ++p->turns);
    unpark(p);
}

void dh_preempt_end_turn(struct dh_preempt *p) {
    atomic_store_explicit(&p->turn, ++p->turns, memory_order_relaxed);
}

void dh_preempt_begin_slice(struct dh_preempt *p, lua_State *co) {
    const struct dh_vm *vm = p->vm;
    const struct dh_host *host = &vm->instance->host;
    bool has_others = true;
    uint64_t deadline_ns = 0; /* who is awake has been woken: he was due */
    if (host->options.is_virtual) {
        deadline_ns = DH_NEVER; /* its deadlines are not of this clock; whoever moves it waits */
    } else if (!dh_queue_has_awake(&vm->queue)) {
        has_others = dh_queue_has_any(&vm->queue);
        deadline_ns = dh_timerq_next(&host->timers);
        deadline_ns = vm->uv_deadline_ns < deadline_ns ? vm->uv_deadline_ns : deadline_ns;
    }
    atomic_store_explicit(&p->deadline_ns, deadline_ns, memory_order_relaxed);
    atomic_store_explicit(&p->has_others, has_others, memory_order_relaxed);
    p->running = co;
    atomic_store_explicit(&p->slice, ++p->number, memory_order_release);
    if (p->force_count > 0 && vm->current != NULL) {
        dh_preempt_force(p, co);
    }
}

void dh_preempt_begin_slice_between_turns(struct dh_preempt *p, lua_State *co) {
    dh_preempt_begin_slice(p, co);
    atomic_store(&p->slice, p->number); /* before the look at is_parked, as the turn's number is */
    unpark(p);
}

void dh_preempt_bill(struct dh_preempt *p) {
    const struct dh_task *t = p->vm->current;
    uint64_t looked_ns = atomic_load_explicit(&p->looked_ns, memory_order_relaxed);
    struct dh_trouble *trouble = NULL;
    if (t != NULL && t->run->unit != NULL && (trouble = dh_unit_trouble(t->run->unit)) != NULL) {
        trouble->cpu_ns += looked_ns - p->billed_ns;
    }
    p->billed_ns = looked_ns;
    p->vm->queue.was_seen = true;
}

/* Who keeps the loop from its turn is told of to the supervisor, for his own watches. */
static void report_held(struct dh_preempt *p) {
    const struct dh_task *t = p->vm->current;
    uint64_t held_ns = dh_preempt_elapsed_ns(p);
    if (held_ns >= DH_HELD_NS && t != NULL && t->run->unit != NULL) {
        dh_sup_on_held(&p->vm->instance->host.sup, &t->run->unit->worker, t->run->number, held_ns);
    }
}

void dh_preempt_end_slice(struct dh_preempt *p) {
    p->running = NULL;
    atomic_store_explicit(&p->slice, 0, memory_order_release);
    if (atomic_load_explicit(&p->looked_ns, memory_order_relaxed) != p->billed_ns) {
        dh_preempt_bill(p);
        report_held(p);
    }
    if (p->raises_in != NULL) { /* it ended, waits or stands preempted elsewhere: not raised yet */
        p->raises_in = NULL;
        p->vm->current->raises = DH_RAISE_NOTHING;
    }
}

uint64_t dh_preempt_elapsed_ns(const struct dh_preempt *p) {
    if (atomic_load_explicit(&p->noticed, memory_order_acquire) != p->number) {
        return 0;
    }
    return atomic_load_explicit(&p->lasted_ns, memory_order_relaxed);
}

int dh_preempt_start(struct dh_preempt *p, struct dh_vm *vm, uint64_t slice_ns, bool has_monitor) {
    memset(p, 0, sizeof(*p));
    p->vm = vm;
    p->slice_ns = slice_ns;
    p->min_slice_ns = slice_ns < DH_MIN_SLICE_NS ? slice_ns : DH_MIN_SLICE_NS;
    p->backend_fd = uv_backend_fd(&vm->loop.uv);
    p->loop_thread = uv_thread_self();
    p->uses_cpu_time = vm->instance->host.options.is_virtual;
    if (pthread_getcpuclockid(p->loop_thread, &p->cpu_clock) != 0) { /* unreached: on Linux */
        p->cpu_clock = CLOCK_PROCESS_CPUTIME_ID;
    }
    void *pool;
    if (lua_getallocf(vm->L, &pool) == dh_pool_realloc) {
        p->moves = dh_pool_moves(pool);
    }
    dh_preempt_listen(p);
    if (!has_monitor) {
        return 0;
    }
    dh_preempt_take_signal();
    int err = uv_sem_init(&p->unpark, 0);
    if (err != 0) { /* unreached: neither has a limit on Linux */
        return err;
    }
    err = uv_mutex_init(&p->mutex);
    if (err != 0) { /* unreached: as above */
        goto err_after_sem;
    }
    err = uv_thread_create(&p->monitor, dh_preempt_monitor, p);
    if (err != 0) {
        goto err_after_mutex;
    }
    p->is_started = true;
    return 0;

err_after_mutex:
    uv_mutex_destroy(&p->mutex);
err_after_sem:
    uv_sem_destroy(&p->unpark);
    return err;
}

void dh_preempt_stop(struct dh_preempt *p) {
    dh_preempt_listen(NULL);
    if (!p->is_started) {
        return;
    }
    atomic_store(&p->quits, true);
    unpark(p);
    uv_thread_join(&p->monitor);
    uv_mutex_destroy(&p->mutex);
    uv_sem_destroy(&p->unpark);
    p->is_started = false;
}

bool dh_preempt_holder(struct dh_preempt *p, struct dh_holder *ret_holder) {
    uint64_t slice = atomic_load_explicit(&p->slice, memory_order_acquire);
    if (!p->is_started || slice == 0) {
        return false;
    }
    uv_mutex_lock(&p->mutex);
    bool is_held = p->holder.slice == slice;
    if (is_held) {
        *ret_holder = p->holder;
    }
    uv_mutex_unlock(&p->mutex);
    return is_held;
}
