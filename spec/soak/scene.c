/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What the soak does, by the generator of spec/sim: scenes of 40 workers each, of which every one has
** faults of its own. Printed as a chunk of Lua that returns it:
**
**     soak_scene SEED [SCENES]
**
** Sim's times are those of a virtual clock, so here they are shorter; and what repeats at once there
** has to wait here, or nothing else would happen. What a run opens, and what else it does to its
** neighbours, is added: sim's bodies have nothing.
*/
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "spec/sim/scene.h"

/* Runs that are rolled; then it begins again. */
#define RUNS 16
/* A real second is so many of sim's. */
#define HASTE 10.0
/* Seconds: the shortest delay before a restart, and the least that the longest may be. */
#define BACKOFF_LEAST 0.25
#define BACKOFF_CAP_LEAST 1.0
/* Seconds: below, a busy machine would decide. */
#define WATCH_LEAST 0.5
/* Not one of sim's purposes. */
#define FOR_WORK 100

/* What a run does besides; the first ones are likelier. */
static const char *const works[] = {"nothing", "timers", "files",         "sockets",
                                    "child",   "print",  "memory",        "spin",
                                    "deaf",    "late",   "stubborn_child"};

static void print_time(const char *key, uint64_t ns, double least) {
    double seconds = (double)ns / 1e9 / HASTE;

    if (ns == DH_NEVER) {
        printf(" %s = math.huge,", key);
    } else {
        printf(" %s = %.9g,", key, seconds > least ? seconds : least);
    }
}

static void print_policy(const struct dh_policy *p) {
    static const char *const restarts[] = {"on-failure", "always", "never"};

    printf("options = { restart = \"%s\",", restarts[p->restart]);
    if (p->restart != DH_RESTART_NEVER) {
        print_time("min_backoff", p->min_backoff_ns, BACKOFF_LEAST);
        print_time("max_backoff", p->max_backoff_ns, BACKOFF_CAP_LEAST);
        printf(" backoff_factor = %g, jitter = %g,", p->backoff_factor, p->jitter);
        print_time("reset_after", p->reset_after_ns, 0);
        if (p->max_restarts != DH_UNLIMITED) {
            printf(" max_restarts = %" PRIu32 ",", p->max_restarts);
            print_time("within", p->within_ns, 1 / HASTE);
        }
    }
    print_time("stop_timeout", p->stop_timeout_ns, 0);
    print_time("start_timeout", p->start_timeout_ns, WATCH_LEAST);
    print_time("watchdog", p->watchdog_ns, WATCH_LEAST);
    printf(" notify = %s,", p->notifies ? "true" : "false");
}

/* Work that a fault of the scene stands for is done in those scenes only. */
static const char *roll_work(struct dice *d, const struct scene *scene) {
    uint64_t kinds = sizeof works / sizeof works[0];
    uint64_t n = roll(d, 2) == 0 ? roll(d, kinds) : roll(d, kinds / 2);
    bool is_unfit = (n == 6 && !scene_has(scene, FAULT_NO_MEMORY)) ||
                    ((n == 7 || n == 8) && !scene_has(scene, FAULT_LONG_SLICE)) ||
                    (n == 9 && !scene_has(scene, FAULT_LATE_REPORT)) ||
                    (n == 10 && !scene_has(scene, FAULT_SLOW_CLOSE));

    return works[is_unfit ? 0 : n];
}

static void print_run(const struct scene *scene, const struct dh_policy *p, int slot, int run) {
    uint64_t which = (uint64_t)slot * RUNS + (uint64_t)run;
    struct dice habits = scene_dice(scene, FOR_RUN, which);
    struct dice work = scene_dice(scene, (enum purpose)FOR_WORK, which);
    struct body b = {0};

    roll_habits(&habits, scene, &b, p, true);
    printf("      { work = \"%s\",", roll_work(&work, scene));
    print_time("ready_in", b.ready_in, 0);
    print_time("beat_every", b.beat_every, WATCH_LEAST / 4);
    print_time("end_in", b.end_in, 0);
    print_time("retry_after", b.retry_after, BACKOFF_LEAST);
    print_time("stop_in", b.stop_in, 0);
    print_time("close_in", b.close_in, 0);
    printf(" ending = \"%s\", stop_ending = \"%s\", fatal = %s, meddles = %s },\n",
           b.ending == DH_RETURNED ? "return" : "raise",
           b.stop_ending == DH_RAISED ? "raise" : "go", b.is_fatal ? "true" : "false",
           scene_has(scene, FAULT_MEDDLING) && roll(&work, 40) == 0 ? "true" : "false");
}

static void print_worker(const struct scene *scene, int at, int slot, uint64_t present) {
    struct dice d = scene_dice(scene, FOR_SLOT, (uint64_t)slot);
    struct declared declared = roll_declared(&d, scene, slot, present);

    printf("  { name = \"s%d.w%d\",\n    ", at, slot);
    print_policy(&declared.policy);
    if (declared.group >= 0) {
        printf(" group = \"s%d.g%d\",", at, declared.group);
    }
    printf(" after = {");
    for (int i = 0; i < slot; i++) {
        if ((declared.after >> i) & 1) {
            printf(" \"s%d.w%d\",", at, i);
        }
    }
    printf(" } },\n    runs = {\n");
    for (int run = 0; run < RUNS; run++) {
        print_run(scene, &declared.policy, slot, run);
    }
    printf("    } },\n");
}

static void print_groups(const struct scene *scene, int at) {
    for (int i = 0; i < scene->groups; i++) {
        static const char *const strategies[] = {"one_for_one", "one_for_all", "rest_for_one"};
        struct dice d = scene_dice(scene, FOR_GROUP, (uint64_t)i);
        enum dh_strategy strategy;
        uint32_t max_restarts;
        uint64_t within_ns;
        roll_group(&d, &strategy, &max_restarts, &within_ns);
        printf("  { name = \"s%d.g%d\", options = { strategy = \"%s\",", at, i,
               strategies[strategy]);
        if (max_restarts != DH_UNLIMITED) {
            printf(" max_restarts = %" PRIu32 ",", max_restarts);
            print_time("within", within_ns, 1 / HASTE);
        }
        printf(" } },\n");
    }
}

static struct scene scene_of(uint64_t seed, int at) {
    struct scene scene;

    scene_init(&scene, seed + (uint64_t)at, NULL, NULL);
    scene.slots = SLOTS;
    return scene;
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    int scenes = argc > 2 ? atoi(argv[2]) : 5;

    printf("-- seed %" PRIu64 "\nreturn { groups = {\n", seed);
    for (int at = 0; at < scenes; at++) {
        struct scene scene = scene_of(seed, at);
        print_groups(&scene, at);
    }
    printf("}, workers = {\n");
    for (int at = 0; at < scenes; at++) {
        struct scene scene = scene_of(seed, at);
        printf("  -- faults of s%d:", at);
        for (int i = 0; i < FAULTS; i++) {
            if (scene_has(&scene, (enum fault)i)) {
                printf(" %s;", fault_text((enum fault)i));
            }
        }
        printf("\n");
        for (int slot = 0; slot < scene.slots; slot++) {
            print_worker(&scene, at, slot, (UINT64_C(1) << slot) - 1);
        }
    }
    printf("} }\n");
    return 0;
}
