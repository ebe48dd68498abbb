/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/spec.h"

#define SECOND UINT64_C(1000000000)

void dh_policy_init_defaults(struct dh_policy *p) {
    *p = (struct dh_policy){
        .min_backoff_ns = 1 * SECOND,
        .max_backoff_ns = 30 * SECOND,
        .backoff_factor = 2,
        .jitter = 0,
        .reset_after_ns = 60 * SECOND,
        .within_ns = 60 * SECOND,
        .stop_timeout_ns = 10 * SECOND,
        .start_timeout_ns = DH_NEVER,
        .watchdog_ns = DH_NEVER,
        .hang_timeout_ns = 5 * SECOND,
        .max_memory_bytes = UINT64_MAX,
        .max_restarts = DH_UNLIMITED,
        .restart = DH_RESTART_ON_FAILURE,
        .is_essential = false,
        .notifies = false,
        .is_preemptible = true,
    };
}

void dh_group_spec_init_defaults(struct dh_group_spec *g) {
    *g = (struct dh_group_spec){
        .strategy = DH_ONE_FOR_ONE,
        .max_restarts = DH_UNLIMITED,
        .within_ns = 60 * SECOND,
    };
}

int dh_policy_check(const struct dh_policy *p, struct dh_error *err) {
    /* written so that a NaN fails */
    if (!(p->backoff_factor >= 1)) {
        return dh_error_set(err, DH_EINVAL, "backoff_factor must be at least 1");
    }
    if (!(p->jitter >= 0 && p->jitter <= 1)) {
        return dh_error_set(err, DH_EINVAL, "jitter must be between 0 and 1");
    }
    if (p->restart > DH_RESTART_NEVER) {
        return dh_error_set(err, DH_EINVAL, "unknown restart policy %d", (int)p->restart);
    }
    return 0;
}

/* One list for comparing and hashing, so that a new option cannot be forgotten in one of them;
** that it is forgotten here is what the assertion below is for. */
#define POLICY_FIELDS(X)                                                                           \
    X(min_backoff_ns)                                                                              \
    X(max_backoff_ns)                                                                              \
    X(backoff_factor)                                                                              \
    X(jitter)                                                                                      \
    X(reset_after_ns)                                                                              \
    X(within_ns)                                                                                   \
    X(stop_timeout_ns)                                                                             \
    X(start_timeout_ns)                                                                            \
    X(watchdog_ns)                                                                                 \
    X(hang_timeout_ns)                                                                             \
    X(max_memory_bytes)                                                                            \
    X(max_restarts)                                                                                \
    X(restart)                                                                                     \
    X(is_essential)                                                                                \
    X(notifies)                                                                                    \
    X(is_preemptible)

#define X(field) +sizeof(((struct dh_policy *)0)->field)
_Static_assert((0 POLICY_FIELDS(X)) == sizeof(struct dh_policy), "a field is missing in the list");
#undef X

bool dh_policy_is_equal(const struct dh_policy *a, const struct dh_policy *b) {
#define X(field)                                                                                   \
    if (a->field < b->field || a->field > b->field) {                                              \
        return false;                                                                              \
    }
    POLICY_FIELDS(X)
#undef X
    return true;
}

/* FNV-1a over the bytes of each field; 0.0 and -0.0 differ here, which only costs a second copy */
uint32_t dh_policy_hash(const struct dh_policy *p) {
    uint32_t h = UINT32_C(2166136261);
    const unsigned char *bytes;
#define X(field)                                                                                   \
    bytes = (const unsigned char *)&p->field;                                                      \
    for (size_t i = 0; i < sizeof p->field; i++) {                                                 \
        h = (h ^ bytes[i]) * UINT32_C(16777619);                                                   \
    }
    POLICY_FIELDS(X)
#undef X
    return h;
}
