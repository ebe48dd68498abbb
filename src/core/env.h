/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The world as core sees it. The host implements this table over libuv and Lua; unit tests, the
** simulator and 'decnet-host simulate' implement it over a virtual clock and scripted bodies.
** Nothing in core knows another way to learn the time, to get memory or to make something happen.
*/
#ifndef DH_CORE_ENV_H
#define DH_CORE_ENV_H

#include <stddef.h>
#include <stdint.h>

struct dh_event;
struct dh_timer;
struct dh_worker;

/* Memory, in the manner of lua_Alloc: new_size 0 frees and returns NULL; otherwise NULL means that
** there is none left and the old block is unharmed. */
struct dh_alloc {
    void *(*fn)(struct dh_alloc *self, void *block, size_t old_size, size_t new_size);
};

struct dh_env {
    struct dh_alloc *alloc;

    /* Monotonic nanoseconds. */
    uint64_t (*now)(struct dh_env *env);

    /* 64 uniformly distributed random bits. */
    uint64_t (*random)(struct dh_env *env);

    /* Arm t in the one deadline queue; when it is due, dh_sup_on_timer(sup, t) must be called.
    ** Returns 0 or DH_ENOMEM. */
    int (*arm)(struct dh_env *env, struct dh_timer *t, uint64_t deadline_ns);
    void (*disarm)(struct dh_env *env, struct dh_timer *t);

    /* The deadline that t is armed for. */
    uint64_t (*deadline)(const struct dh_env *env, const struct dh_timer *t);

    /* Create the run number w->run of w and queue its first slice; must not run any of it. Returns
    ** 0, or a negative code: the run then counts as one that crashed at once. */
    int (*start_run)(struct dh_env *env, struct dh_worker *w);

    /* Ask w's run to end; it answers, sooner or later (inside the call, if it likes), by
    ** dh_sup_on_ended. At most once a run, and never after on_ended was called for it. */
    void (*cancel_run)(struct dh_env *env, struct dh_worker *w);

    /* End w's run from outside: after a refused cancel, or at once, without a cancel before. Again
    ** at most once a run, and never after on_ended. */
    void (*kill_run)(struct dh_env *env, struct dh_worker *w);

    /* Something happened; ev lives for the call only. May give orders and reports, which
    ** are only noted, but not free the worker (except in DH_EVENT_GONE) nor call dh_sup_fini. */
    void (*emit)(struct dh_env *env, const struct dh_event *ev);
};

#endif
