/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* "Did you mean": which of several words is near. */
#include "core/near.h"

#include "check.h"
#include "core/limits.h"

static size_t distance(const char *a, const char *b) {
    return dh_near_distance(a, strlen(a), b, strlen(b));
}

static void edits_are_counted(void) {
    CHECK_EQ(distance("worker", "worker"), 0);
    CHECK_EQ(distance("worker", "workr"), 1);
    CHECK_EQ(distance("workr", "worker"), 1);
    CHECK_EQ(distance("worker", "warker"), 1);
    CHECK_EQ(distance("worker", "wroker"), 1); /* neighbours changed places */
    CHECK_EQ(distance("", "abc"), 3);
    CHECK_EQ(distance("kitten", "sitting"), 3);
}

static void words_longer_than_a_name_are_far_apart(void) {
    char word[DH_NAME_MAX + 1];

    memset(word, 'x', sizeof word);
    CHECK_EQ(dh_near_distance(word, DH_NAME_MAX, word, DH_NAME_MAX), 0);
    CHECK_EQ(dh_near_distance(word, DH_NAME_MAX + 1, word, 1), SIZE_MAX);
    CHECK_EQ(dh_near_distance(word, 1, word, DH_NAME_MAX + 1), SIZE_MAX);
}

static const char *nearest(const char *word, const char *const *candidates) {
    struct dh_near near;

    dh_near_init(&near, word, strlen(word));
    for (; *candidates != NULL; candidates++) {
        dh_near_offer(&near, *candidates, strlen(*candidates));
    }
    return near.found != NULL ? near.found : "none";
}

static void the_nearest_is_found_and_the_first_of_equals(void) {
    static const char *const states[] = {"restart", "restarts", "retry", "reset", NULL};
    static const char *const equals[] = {"ticker1", "ticker2", NULL};
    static const char *const nearer[] = {"tickets", "ticker", NULL};

    CHECK_STR(nearest("restrat", states), "restart");
    CHECK_STR(nearest("tickerx", equals), "ticker1");
    CHECK_STR(nearest("tickert", nearer), "ticker");
    CHECK_STR(nearest("something", states), "none");
}

static void of_two_letters_one_edit_leaves_too_little(void) {
    static const char *const short_ones[] = {"db", NULL};
    static const char *const longer[] = {"dbs", NULL};

    CHECK_STR(nearest("da", short_ones), "none");
    CHECK_STR(nearest("db", longer), "dbs");
}

int main(void) {
    RUN(edits_are_counted);
    RUN(words_longer_than_a_name_are_far_apart);
    RUN(the_nearest_is_found_and_the_first_of_equals);
    RUN(of_two_letters_one_edit_leaves_too_little);
    return check_report();
}
