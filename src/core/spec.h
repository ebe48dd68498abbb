/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Declarations as core takes them: of a worker, of a group. Values are normalised and validated by
** whoever reads them from a person (lua/decnet/spec.lua); core only checks what it would otherwise
** fall over. Times are nanoseconds, DH_NEVER for math.huge and for 'off'.
*/
#ifndef DH_CORE_SPEC_H
#define DH_CORE_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/timerq.h"

struct dh_group;

enum dh_restart { DH_RESTART_ON_FAILURE, DH_RESTART_ALWAYS, DH_RESTART_NEVER };

#define DH_UNLIMITED UINT32_MAX /* max_restarts: no limit */

/* Every option of a worker that is not a name. The supervisor keeps one copy, by reference count,
** for all workers that say the same. */
struct dh_policy {
    uint64_t min_backoff_ns;
    uint64_t max_backoff_ns;
    double backoff_factor;
    double jitter;
    uint64_t reset_after_ns;
    uint64_t within_ns;
    uint64_t stop_timeout_ns;
    uint64_t start_timeout_ns;
    uint64_t watchdog_ns;
    uint64_t hang_timeout_ns;
    uint64_t max_memory_bytes; /* UINT64_MAX: off */
    uint32_t max_restarts;     /* DH_UNLIMITED: never gives up */
    uint8_t restart;           /* enum dh_restart */
    bool is_essential;
    bool notifies; /* 'notify': ready when it says so */
    bool is_preemptible;
};

/* A name that somebody else stores; need not end with a zero. */
struct dh_name {
    const char *text;
    size_t len;
};

/* What dh_sup_add takes. The text of 'name' must stay where it is as long as the worker; all the
** rest is copied. */
struct dh_spec {
    struct dh_name name;
    const struct dh_policy *policy;
    const struct dh_name *after; /* after_count names; may be NULL if that is 0 */
    size_t after_count;
    struct dh_group *group; /* from dh_sup_add_group, or NULL */
};

enum dh_strategy { DH_ONE_FOR_ONE, DH_ONE_FOR_ALL, DH_REST_FOR_ONE };

/* What dh_sup_add_group takes; everything is copied. */
struct dh_group_spec {
    struct dh_name name;
    enum dh_strategy strategy;
    uint32_t max_restarts; /* DH_UNLIMITED */
    uint64_t within_ns;
};

/* Fill in the defaults of API.md: restart on failure, 1 s doubling up to 30 s, never gives up. */
void dh_policy_init_defaults(struct dh_policy *p);

/* The same for a group: one_for_one, no limit, 60 s. The name is left empty. */
void dh_group_spec_init_defaults(struct dh_group_spec *g);

/* 0, or DH_EINVAL if p holds what the formulas cannot bear: a factor below 1, a jitter outside
** 0..1, a NaN, an unknown restart value. */
int dh_policy_check(const struct dh_policy *p, struct dh_error *err);

/* Do both ask for the same? (field by field: padding does not count) */
bool dh_policy_is_equal(const struct dh_policy *a, const struct dh_policy *b);

uint32_t dh_policy_hash(const struct dh_policy *p);

#endif
