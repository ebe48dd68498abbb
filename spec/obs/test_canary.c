/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Must fail: shows that a failed check makes a failed program. */
#include "obs/check.h"

static void one_is_two(void) {
    CHECK_INT(1, 2);
}

static const struct check_case cases[] = {
    {"one is two", one_is_two},
};

CHECK_MAIN(cases)
