/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/turn.h"

#include "host/budget.h"
#include "script/backlog.h"
#include "script/instance.h"
#include "script/limits.h"
#include "script/run.h"
#include "script/vm.h"
#include "script/wait.h"

/* The runs that are awake */

static void line_up(struct dh_queue *q, struct dh_run *run) {
    run->next_awake = NULL;
    run->prev_awake = q->last_run;
    if (q->last_run != NULL) {
        q->last_run->next_awake = run;
    } else {
        q->first_run = run;
    }
    q->last_run = run;
    q->run_count++;
    run->is_in_line = true;
}

static void step_out(struct dh_queue *q, struct dh_run *run) {
    if (run->prev_awake != NULL) {
        run->prev_awake->next_awake = run->next_awake;
    } else {
        q->first_run = run->next_awake;
    }
    if (run->next_awake != NULL) {
        run->next_awake->prev_awake = run->prev_awake;
    } else {
        q->last_run = run->prev_awake;
    }
    q->run_count--;
    run->is_in_line = false;
}

/* A run stands in line while it has a task to go on with, unless that has to wait. */
static inline void update(struct dh_queue *q, struct dh_run *run) {
    bool belongs = run->has_work || (run->awake.first != NULL && !run->has_preempted);
    if (belongs == run->is_in_line) {
        return;
    }
    if (belongs) {
        line_up(q, run);
    } else {
        step_out(q, run);
    }
}

void dh_turn_set_preempted(struct dh_vm *vm, struct dh_run *run, bool has_preempted) {
    run->has_preempted = has_preempted;
    update(&vm->queue, run);
}

void dh_turn_set_work(struct dh_vm *vm, struct dh_run *run, bool has_work) {
    run->has_work = has_work;
    update(&vm->queue, run);
}

/* Tasks */

/* A run that has not begun stands in 'fresh'. */
static bool is_fresh(const struct dh_task *t) {
    return !t->is_started && dh_run_is_main(t);
}

void dh_ready(struct dh_vm *vm, struct dh_task *t) {
    t->state = DH_TASK_READY;
    if (is_fresh(t)) {
        dh_line_join(&vm->queue.fresh, t);
        vm->queue.fresh_count++;
    } else {
        dh_line_join(&t->run->awake, t);
        t->run->awake_count++;
        update(&vm->queue, t->run);
    }
    dh_preempt_note_others(&vm->preempt);
    dh_loop_interrupt(&vm->loop);
}

static void leave_fresh(struct dh_queue *q, struct dh_task *t) {
    dh_line_leave(&q->fresh, t);
    q->fresh_count--;
}

static void leave_awake(struct dh_task *t) {
    dh_line_leave(&t->run->awake, t);
    t->run->awake_count--;
}

void dh_unready(struct dh_vm *vm, struct dh_task *t) {
    if (t->is_preempted) {
        t->is_preempted = false;
        dh_turn_set_preempted(vm, t->run, false);
        if (t->pause == DH_PAUSE_REQUESTS) {
            dh_backlog_leave(vm, t);
        } else if (t->pause != DH_PAUSE_NOT) {
            t->pause = DH_PAUSE_NOT;
            dh_line_leave(&vm->collector.waiting, t);
        } else {
            dh_line_leave(&vm->queue.tired, t);
        }
    } else if (is_fresh(t)) {
        leave_fresh(&vm->queue, t);
    } else {
        leave_awake(t);
        update(&vm->queue, t->run);
    }
}

/* Turns */

static bool is_used_up(struct dh_vm *vm, struct dh_budget *b) {
    if (vm->queue.was_seen) {
        dh_budget_end(b);
    }
    return dh_budget_is_used_up(b);
}

/* The tasks that the run has now. */
static void serve_tasks(struct dh_vm *vm, struct dh_run *run, struct dh_budget *b) {
    unsigned n = run->awake_count;
    struct dh_task *t = run->awake.first;
    while (t != NULL) {
        leave_awake(t);
        dh_task_resume(vm, t);
        t = --n > 0 && !run->has_preempted && !is_used_up(vm, b) ? run->awake.first : NULL;
    }
}

/* Who is the next to go on is fetched while this one runs. */
static void serve_first(struct dh_vm *vm, struct dh_budget *b) {
    struct dh_run *run = vm->queue.first_run;
    step_out(&vm->queue, run);
    const struct dh_run *next = vm->queue.first_run;
    if (vm->queue.run_count >= DH_FETCH_RUNS && next->awake.first != NULL) {
        dh_fetch_frames(&vm->fetch, next->awake.first->co);
    }
    if (run->has_work) {
        do {
            dh_run_work(run);
        } while (run->has_work && !is_used_up(vm, b));
    } else {
        serve_tasks(vm, run, b);
    }
    update(&vm->queue, run);
}

/* Returns false if it was preempted: then somebody else waits, and the rest is for the round after
** the next, so that a hundred that begin with an endless loop neither take a slice each before he is
** heard, nor keep the tired from theirs. */
static bool start_first(struct dh_vm *vm) {
    struct dh_task *t = vm->queue.fresh.first;
    leave_fresh(&vm->queue, t);
    dh_task_resume(vm, t);
    return dh_line_last(&vm->queue.tired) != t;
}

static void begin_round(struct dh_queue *q) {
    q->is_under_way = true;
    q->runs_left = q->run_count;
    q->starts_left = q->rests_fresh ? 0 : q->fresh_count;
    q->rests_fresh = false;
}

void dh_queue_restart(struct dh_queue *q) {
    q->is_under_way = false;
    q->rests_fresh = false;
}

/* Returns true when it is complete. */
static bool go_round(struct dh_vm *vm, struct dh_budget *b) {
    struct dh_queue *q = &vm->queue;
    for (; q->runs_left > 0 && q->first_run != NULL; q->runs_left--) {
        if (is_used_up(vm, b)) {
            return false;
        }
        serve_first(vm, b);
    }
    for (; q->starts_left > 0 && q->fresh.first != NULL; q->starts_left--) {
        if (is_used_up(vm, b)) {
            return false;
        }
        if (!start_first(vm)) {
            q->rests_fresh = true;
            return true;
        }
    }
    if (q->tired.first != NULL) {
        struct dh_task *t = q->tired.first;
        dh_line_leave(&q->tired, t);
        dh_task_resume(vm, t);
    }
    return true;
}

/* May the next round be of the same turn? */
static bool goes_on(const struct dh_vm *vm, const struct dh_budget *b) {
    return b->until_ns != DH_NEVER && !b->is_over && !vm->queue.was_seen &&
           dh_queue_has_awake(&vm->queue) && !dh_sup_has_work(&vm->instance->host.sup) &&
           !dh_collector_is_ready(vm);
}

void dh_vm_turn(struct dh_vm *vm, struct dh_budget *budget) {
    unsigned done = budget->done;
    vm->collector.is_idle_done = false;
    vm->queue.was_seen = false;
    dh_preempt_begin_turn(&vm->preempt, budget->until_ns);
    do {
        vm->uv_deadline_ns = dh_loop_next_timer(&vm->loop);
        if (!vm->queue.is_under_way) {
            begin_round(&vm->queue);
        }
        vm->queue.is_under_way = !go_round(vm, budget);
    } while (!vm->queue.is_under_way && goes_on(vm, budget));
    dh_collector_turn(vm);
    dh_preempt_end_turn(&vm->preempt);
    if (vm->queue.was_seen || budget->done == done) {
        dh_budget_end(budget);
    }
}
