/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** The simulator: the supervisor against worlds that a seed makes.
**
**     sim [--seeds N] [--from SEED] [--jobs N]    plays N seeds (2000), each twice
**     sim --replay FILE                           plays the seeds of a file: number, then a comment
**     sim --canaries                              each mutation must be found
**     sim --verbose SEED                          tells what happens in one
**     sim --hash [--seeds N] [--from SEED]        prints one hash of all
**
** Seeds are played in child processes, so that an assert, a crash or a loop without end is a seed
** that failed like any other. What fails is shortened and told; the exit status is 1.
*/
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "play.h"
#include "spec/core/check.h"

/* No seed takes so long but one that never ends. */
#define SEED_SECONDS 60
/* A mutation must be found within so many seeds. */
#define CANARY_SEEDS 200
/* So many seeds are played by another process, too. */
#define COMPARED_SEEDS 200
#define JOBS_MAX 64

struct options {
    uint64_t seeds;
    uint64_t from;
    uint64_t jobs;
    uint64_t verbose;
    const char *replay;
    bool is_verbose;
    bool has_canaries;
    bool has_hash; /* nothing but the hash, and which seeds fail */
};

/* What a child tells, in shared memory: it may die at any time. */
struct progress {
    uint64_t seed; /* under way, or failed */
    uint64_t seeds;
    uint64_t events;
    uint64_t hash;
};

/* Twice, with the same events. */
static struct outcome play_twice(uint64_t seed, enum mutation mutation, const struct cut *cut) {
    struct outcome first = play(seed, mutation, cut, NULL);

    if (!play_has_failed()) {
        struct outcome second = play(seed, mutation, cut, NULL);
        CHECK(!play_has_failed());
        CHECK_EQ(second.hash, first.hash);
        CHECK_EQ(second.events, first.events);
    }
    return first;
}

/* --- one seed in a process of its own --------------------------------------------------------- */

static pid_t fork_checked(void) {
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid < 0) {
        perror("fork");
        exit(1);
    }
    return pid;
}

static int wait_for(pid_t pid) {
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

/* What an assert or a sanitizer has to say is said when the failure is told. */
static void hush(void) {
    if (freopen("/dev/null", "w", stderr) == NULL) {
        exit(1);
    }
}

static bool fails(uint64_t seed, enum mutation mutation, const struct cut *cut) {
    pid_t pid = fork_checked();

    if (pid == 0) {
        hush();
        alarm(SEED_SECONDS);
        play_twice(seed, mutation, cut);
        _exit(play_has_failed());
    }
    return wait_for(pid) != 0;
}

/* Leave out whatever can be left out: greedily, until nothing more can. */
static void shorten(uint64_t seed, enum mutation mutation, struct cut *cut) {
    struct scene scene;
    bool is_shorter = true;

    scene_init(&scene, seed, NULL, NULL);
    while (is_shorter) {
        is_shorter = false;
        /* the last first: most of what comes after the failure goes at once */
        for (int i = scene.commands - 1; i >= 0; i--) {
            if (!cut->commands[i]) {
                cut->commands[i] = true;
                cut->commands[i] = fails(seed, mutation, cut);
                is_shorter |= cut->commands[i];
            }
        }
        for (int i = 0; i < scene.slots; i++) {
            uint64_t bit = UINT64_C(1) << i;
            if ((cut->slots & bit) == 0) {
                cut->slots |= bit;
                cut->slots ^= fails(seed, mutation, cut) ? 0 : bit;
                is_shorter |= (cut->slots & bit) != 0;
            }
        }
        for (int i = 0; i < FAULTS; i++) {
            uint32_t bit = 1U << i;
            if ((cut->faults & bit) == 0 && ((scene.faults >> i) & 1)) {
                cut->faults |= bit;
                cut->faults ^= fails(seed, mutation, cut) ? 0 : bit;
                is_shorter |= (cut->faults & bit) != 0;
            }
        }
    }
}

static void tell_failure(const struct options *o, uint64_t seed, int status) {
    struct cut cut = {0};
    pid_t pid;

    printf("seed %" PRIu64 " fails", seed);
    if (o->has_hash) {
        printf("\n");
        return;
    }
    if (WIFSIGNALED(status)) {
        printf(" by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    }
    shorten(seed, SOUND, &cut);
    printf("; the least of it that fails, too:\n");
    pid = fork_checked();
    if (pid == 0) {
        const struct check *c = check_state();
        alarm(SEED_SECONDS);
        play(seed, SOUND, &cut, stdout);
        if (!play_has_failed()) {
            play_twice(seed, SOUND, &cut);
            printf("%s:%d: %s\n", c->file, c->line, c->what);
        }
        exit(0);
    }
    wait_for(pid);
    printf("all of it: --verbose %" PRIu64 "\n", seed);
}

/* --- many ------------------------------------------------------------------------------------- */

static void play_share(const struct options *o, uint64_t job, struct progress *progress) {
    hush();
    for (uint64_t i = job; i < o->seeds; i += o->jobs) {
        struct outcome outcome;
        uint64_t mixed;
        progress->seed = o->from + i;
        alarm(SEED_SECONDS);
        outcome = play_twice(progress->seed, SOUND, NULL);
        if (play_has_failed()) {
            _exit(1);
        }
        mixed = outcome.hash + progress->seed;
        progress->hash ^= world_random(&mixed); /* in any order */
        progress->events += outcome.events;
        progress->seeds++;
    }
    _exit(0);
}

/* Returns how many failed; a job ends at its first. */
static int play_seeds(const struct options *o, struct progress *ret_sum) {
    struct progress *progress = mmap(NULL, JOBS_MAX * sizeof *progress, PROT_READ | PROT_WRITE,
                                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[JOBS_MAX];
    int failed = 0;

    if (progress == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    for (uint64_t job = 0; job < o->jobs; job++) {
        pids[job] = fork_checked();
        if (pids[job] == 0) {
            play_share(o, job, &progress[job]);
        }
    }
    for (uint64_t job = 0; job < o->jobs; job++) {
        int status = wait_for(pids[job]);
        ret_sum->seeds += progress[job].seeds;
        ret_sum->events += progress[job].events;
        ret_sum->hash ^= progress[job].hash;
        if (status != 0) {
            tell_failure(o, progress[job].seed, status);
            failed++;
        }
    }
    munmap(progress, JOBS_MAX * sizeof *progress);
    return failed;
}

/* The same seeds in another process, where addresses are different. */
static bool is_same_elsewhere(const struct options *o) {
    struct options few = *o;
    struct progress sum = {0};
    char command[128];
    char line[32] = "";
    char hash[32];
    FILE *other;

    few.seeds = o->seeds < COMPARED_SEEDS ? o->seeds : COMPARED_SEEDS;
    if (play_seeds(&few, &sum) > 0) {
        return false;
    }
    snprintf(command, sizeof command, "/proc/%d/exe --hash --seeds %" PRIu64 " --from %" PRIu64,
             (int)getpid(), few.seeds, few.from);
    other = popen(command, "r");
    if (other == NULL || fgets(line, sizeof line, other) == NULL) {
        line[0] = '\0';
    }
    if (other != NULL) {
        pclose(other);
    }
    snprintf(hash, sizeof hash, "%016" PRIx64 "\n", sum.hash);
    if (strcmp(line, hash) != 0) {
        printf("seeds %" PRIu64 " to %" PRIu64 ": hash %s  in another process: %s\n", few.from,
               few.from + few.seeds - 1, hash, line);
        return false;
    }
    return true;
}

static int run_seeds(const struct options *o) {
    struct progress sum = {0};
    int failed = play_seeds(o, &sum);

    if (o->has_hash) {
        printf("%016" PRIx64 "\n", sum.hash);
        return failed > 0;
    }
    printf("%" PRIu64 " seeds from %" PRIu64 ", %" PRIu64 " events, each twice, hash %016" PRIx64
           ", %d failed\n",
           sum.seeds, o->from, sum.events, sum.hash, failed);
    return failed > 0 || !is_same_elsewhere(o);
}

/* --- the seeds that failed once --------------------------------------------------------------- */

static int replay(const struct options *o) {
    FILE *file = fopen(o->replay, "r");
    char line[256];
    int played = 0;
    int failed = 0;

    if (file == NULL) {
        perror(o->replay);
        return 1;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        char *end;
        uint64_t seed = strtoull(line, &end, 10);
        if (end == line) {
            continue; /* a comment */
        }
        played++;
        if (fails(seed, SOUND, NULL)) {
            printf("once more: %s", line);
            tell_failure(o, seed, 0);
            failed++;
        }
    }
    fclose(file);
    printf("%d seeds that failed once, %d failed again\n", played, failed);
    return failed > 0;
}

/* --- canaries --------------------------------------------------------------------------------- */

static int run_canaries(void) {
    uint64_t hardest = 0;
    int found = 0;

    for (int i = SOUND + 1; i < MUTATIONS; i++) {
        uint64_t seed = 1;
        while (seed <= CANARY_SEEDS && !fails(seed, (enum mutation)i, NULL)) {
            seed++;
        }
        if (seed > CANARY_SEEDS) {
            printf("FAIL not found: %s\n", mutation_text((enum mutation)i));
            continue;
        }
        printf("ok   found by seed %" PRIu64 ": %s\n", seed, mutation_text((enum mutation)i));
        hardest = seed > hardest ? seed : hardest;
        found++;
    }
    printf("%d of %d found, the last by seed %" PRIu64 "\n", found, MUTATIONS - 1, hardest);
    return found < MUTATIONS - 1;
}

/* ---------------------------------------------------------------------------------------------- */

static int tell_seed(uint64_t seed) {
    struct outcome outcome = play(seed, SOUND, NULL, stdout);

    printf("seed %" PRIu64 ", %" PRIu64 " events, hash %016" PRIx64 "\n", seed, outcome.events,
           outcome.hash);
    return play_has_failed();
}

static int usage(FILE *out, int status) {
    fprintf(out, "usage: sim [--seeds N] [--from SEED] [--jobs N] [--hash]\n"
                 "       sim --replay FILE | --canaries | --verbose SEED\n");
    return status;
}

/* Takes what belongs to the option at argv[*at]; false if it is none. */
static bool take_option(struct options *o, int argc, char **argv, int *at) {
    static const char *const numbers[] = {"--seeds", "--from", "--jobs", "--verbose"};
    uint64_t *const values[] = {&o->seeds, &o->from, &o->jobs, &o->verbose};
    const char *name = argv[*at];

    o->has_canaries |= strcmp(name, "--canaries") == 0;
    o->has_hash |= strcmp(name, "--hash") == 0;
    o->is_verbose |= strcmp(name, "--verbose") == 0;
    if (strcmp(name, "--canaries") == 0 || strcmp(name, "--hash") == 0) {
        return true;
    }
    if (*at + 1 >= argc) {
        return false;
    }
    *at += 1;
    if (strcmp(name, "--replay") == 0) {
        o->replay = argv[*at];
        return true;
    }
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, numbers[i]) == 0) {
            char *end;
            *values[i] = strtoull(argv[*at], &end, 10);
            return *end == '\0' && isdigit((unsigned char)argv[*at][0]);
        }
    }
    return false;
}

int main(int argc, char **argv) {
    struct options o = {.seeds = 2000, .from = 1, .jobs = 1};

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        return usage(stdout, 0);
    }
    for (int i = 1; i < argc; i++) {
        if (!take_option(&o, argc, argv, &i)) {
            return usage(stderr, 2);
        }
    }
    if (o.jobs < 1 || o.jobs > JOBS_MAX) {
        return usage(stderr, 2);
    }
    if (o.is_verbose) {
        return tell_seed(o.verbose);
    }
    if (o.has_canaries) {
        return run_canaries();
    }
    return o.replay != NULL ? replay(&o) : run_seeds(&o);
}
