/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/backlog.h"

#include "script/instance.h"
#include "script/limits.h"
#include "script/owned.h"
#include "script/vm.h"
#include "script/wait.h"

bool dh_backlog_is_full(const struct dh_vm *vm, lua_State *L, const struct dh_run *run) {
    return run->owned != NULL && run->owned->backlog >= DH_BACKLOG_MAX &&
           dh_preempt_can_yield(vm, L);
}

int dh_backlog_wait(lua_State *L, struct dh_run *run, lua_KContext ctx, lua_KFunction k) {
    struct dh_vm *vm = dh_vm_of(L);
    vm->current->pause = DH_PAUSE_REQUESTS;
    vm->current->wait_data = &run->owned->waiting;
    dh_preempt_leave(vm, L);
    return lua_yieldk(L, 0, ctx, k);
}

void dh_backlog_join(struct dh_vm *vm, struct dh_task *t) {
    struct dh_host *host = &vm->instance->host;
    dh_line_join(t->wait_data, t);
    if (dh_timerq_arm(&host->timers, &t->timer, dh_host_now(host) + DH_BACKLOG_NS) != 0) {
        dh_backlog_go_on(vm, t);
    }
}

void dh_backlog_leave(struct dh_vm *vm, struct dh_task *t) {
    dh_timerq_disarm(&vm->instance->host.timers, &t->timer);
    dh_line_leave(t->wait_data, t);
    t->wait_data = NULL;
    t->pause = DH_PAUSE_NOT;
}

void dh_backlog_go_on(struct dh_vm *vm, struct dh_task *t) {
    dh_backlog_leave(vm, t);
    dh_line_join(&vm->queue.tired, t);
    dh_loop_interrupt(&vm->loop);
}

void dh_backlog_add(struct dh_run *run) {
    run->owned->backlog++;
}

void dh_backlog_remove(struct dh_vm *vm, struct dh_run *run) {
    if (--run->owned->backlog < DH_BACKLOG_MAX && run->owned->waiting.first != NULL) {
        dh_backlog_go_on(vm, run->owned->waiting.first);
    }
}
