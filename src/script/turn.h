/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Who has the CPU next.
**
**   awake   runs with tasks to go on with: woken, or having given way; each has a line of its tasks
**   fresh   runs to start
**   tired   tasks that were preempted
**
** A round serves, once each, the runs that were awake when it began, with the tasks that they had
** then; then the starts; then one of the tired. So a hundred endless loops delay a neighbour no more
** than one does, and a run with a hundred thousand tasks is one among the others.
**
** A round may take long. It is carried out in turns, each with an end in time: between two of them the
** host looks at its deadlines and at libuv. The run that is served when a turn is over goes to the end
** of the line. Short rounds share a turn. On a virtual clock, which stands meanwhile, a turn is a round.
**
** While one task of a run stands preempted, its others wait: between two awaits a run is alone with
** itself. Such a run is not in line.
**
** A run that ends has work of its own: killing its tasks, closing what it opened (run.h). That is done
** in its place in the line, too, a piece at a time.
*/
#ifndef DH_SCRIPT_TURN_H
#define DH_SCRIPT_TURN_H

#include <stdbool.h>

#include "script/task.h"

struct dh_budget;
struct dh_run;
struct dh_vm;

struct dh_queue {
    struct dh_run *first_run; /* awake */
    struct dh_run *last_run;
    unsigned run_count;
    struct dh_line fresh;
    unsigned fresh_count;
    struct dh_line tired;

    bool is_under_way; /* a round, with so many still to be served: */
    unsigned runs_left;
    unsigned starts_left;
    bool rests_fresh; /* a start was preempted in the last round: this one is for the tired */
    bool was_seen;    /* by the monitor, in this turn */
};

/* Put t, which stands in no line, into the queue / take it out, wherever in it it stands. */
void dh_ready(struct dh_vm *vm, struct dh_task *t);
void dh_unready(struct dh_vm *vm, struct dh_task *t);

/* A task of the run has been preempted, or goes on: the others wait, or need not any longer. */
void dh_turn_set_preempted(struct dh_vm *vm, struct dh_run *run, bool has_preempted);

/* There is something for dh_run_work to do, or nothing any more. */
void dh_turn_set_work(struct dh_vm *vm, struct dh_run *run, bool has_work);

/* Is somebody there to run? And somebody who has not been preempted? */
static inline bool dh_queue_has_awake(const struct dh_queue *queue) {
    return queue->first_run != NULL || queue->fresh.first != NULL;
}

static inline bool dh_queue_has_any(const struct dh_queue *queue) {
    return dh_queue_has_awake(queue) || queue->tired.first != NULL;
}

/* Whose turn it is begins anew: with a new host. */
void dh_queue_restart(struct dh_queue *queue);

/* A turn: a round, or as much of one as the budget allows, and further ones while there is nothing for
** the supervisor to decide; one only if the budget has no end. Ends the budget if there was nothing to
** count, or if the monitor came by: slices are long then. */
void dh_vm_turn(struct dh_vm *vm, struct dh_budget *budget);

#endif
