/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/budget.h"

void dh_budget_look(struct dh_budget *b) {
    b->is_over = b->is_over || (b->until_ns != DH_NEVER && dh_loop_now() >= b->until_ns);
    b->next_look += b->done < DH_BUDGET_LOOK ? b->done : DH_BUDGET_LOOK;
}
