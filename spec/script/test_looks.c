/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "script/looks.h"

#include "core/check.h"
#include "script/limits.h"

#define MS UINT64_C(1000000)
#define SEED 20261123u

/* Looks from now until until_ns; returns how many. */
static unsigned look_until(struct dh_looks *l, uint64_t until_ns) {
    unsigned n = 0;
    for (; l->look_ns < until_ns; n++) {
        dh_looks_begin_cell(l, dh_looks_cell_end(l), 0);
    }
    return n;
}

static void each_cell_has_its_look_in_it(void) {
    struct dh_looks l;
    uint64_t end_ns = 5 * MS;
    dh_looks_init(&l, end_ns, SEED);
    for (unsigned i = 0; i < 10000; i++) {
        CHECK_EQ(l.cell_ns, end_ns);
        CHECK(l.look_ns >= l.cell_ns);
        CHECK(l.look_ns < dh_looks_cell_end(&l));
        end_ns = dh_looks_cell_end(&l);
        dh_looks_begin_cell(&l, end_ns, 0);
    }
}

static void it_is_alert_at_first_and_then_calm(void) {
    struct dh_looks l;
    dh_looks_init(&l, 0, SEED);
    CHECK_EQ(look_until(&l, DH_CALM_NS), DH_CALM_NS / DH_LOOK_NS);
    CHECK_EQ(l.cell_len_ns, DH_LOOK_CALM_NS);
    CHECK_EQ(look_until(&l, 11 * DH_CALM_NS), 10 * DH_CALM_NS / DH_LOOK_CALM_NS);
}

static void it_is_alert_again_from_the_next_cell_on(void) {
    struct dh_looks l;
    dh_looks_init(&l, 0, SEED);
    look_until(&l, 2 * DH_CALM_NS);
    uint64_t look_ns = l.look_ns;
    dh_looks_alert(&l, look_ns);
    CHECK_EQ(l.look_ns, look_ns);
    dh_looks_begin_cell(&l, dh_looks_cell_end(&l), 0);
    CHECK_EQ(l.cell_len_ns, DH_LOOK_NS);
    look_until(&l, look_ns + DH_CALM_NS - DH_LOOK_NS);
    CHECK_EQ(l.cell_len_ns, DH_LOOK_NS);
    CHECK(dh_looks_is_alert(&l, look_ns + DH_CALM_NS - 1));
    CHECK(!dh_looks_is_alert(&l, look_ns + DH_CALM_NS));
    look_until(&l, look_ns + DH_CALM_NS + 2 * DH_LOOK_CALM_NS);
    CHECK_EQ(l.cell_len_ns, DH_LOOK_CALM_NS);
}

static void cells_grow_with_the_slice_that_is_watched(void) {
    struct dh_looks l;
    dh_looks_init(&l, 0, SEED);
    dh_looks_begin_cell(&l, 0, 2 * MS);
    CHECK_EQ(l.cell_len_ns, DH_LOOK_NS + MS / 2);
    dh_looks_begin_cell(&l, 0, 1000 * MS);
    CHECK_EQ(l.cell_len_ns, DH_LOOK_MAX_NS);
}

/* A worker that has the CPU for busy_ns of each period_ns; what is billed to it in 100 s. */
static double share_billed(uint64_t period_ns, uint64_t busy_ns, uint64_t alert_every_ns) {
    struct dh_looks l;
    uint64_t billed_ns = 0, end_ns = 100000 * MS, alerted_ns = 0;
    dh_looks_init(&l, 0, SEED);
    while (l.look_ns < end_ns) {
        if (l.look_ns % period_ns < busy_ns) {
            billed_ns += l.cell_len_ns;
        }
        if (l.look_ns - alerted_ns > alert_every_ns) {
            alerted_ns = l.look_ns;
            dh_looks_alert(&l, alerted_ns);
        }
        dh_looks_begin_cell(&l, dh_looks_cell_end(&l), 0);
    }
    return (double)billed_ns / (double)end_ns;
}

static void the_bill_is_right_on_average_in_any_rhythm(void) {
    const uint64_t periods_ns[] = {MS / 10, DH_LOOK_NS, DH_LOOK_CALM_NS, 3 * MS, 16 * MS};
    for (unsigned i = 0; i < 5; i++) {
        for (unsigned k = 1; k < 10; k += 4) {
            double calm = share_billed(periods_ns[i], periods_ns[i] * k / 10, UINT64_MAX);
            double mixed = share_billed(periods_ns[i], periods_ns[i] * k / 10, 250 * MS);
            CHECK(calm > k / 10.0 - 0.01 && calm < k / 10.0 + 0.01);
            CHECK(mixed > k / 10.0 - 0.01 && mixed < k / 10.0 + 0.01);
        }
    }
}

int main(void) {
    RUN(each_cell_has_its_look_in_it);
    RUN(it_is_alert_at_first_and_then_calm);
    RUN(it_is_alert_again_from_the_next_cell_on);
    RUN(cells_grow_with_the_slice_that_is_watched);
    RUN(the_bill_is_right_on_average_in_any_rhythm);
    return check_report();
}
