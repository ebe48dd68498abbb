/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Two threads, one counter and no order: the sanitizer must see it. */
#include <pthread.h>
#include <stddef.h>

static int counter;

static void *count(void *arg) {
    for (int i = 0; i < 100000; i++) {
        counter++;
    }
    return arg;
}

int main(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, count, NULL) != 0) {
        return 0;
    }
    count(NULL);
    pthread_join(thread, NULL);
    return 0;
}
