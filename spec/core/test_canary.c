/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* This program must fail: it shows that the harness can. */
#include "check.h"

static void a_check_that_does_not_hold_fails(void) {
    CHECK_EQ(1 + 1, 3);
}

int main(void) {
    RUN(a_check_that_does_not_hold_fails);
    return check_report();
}
