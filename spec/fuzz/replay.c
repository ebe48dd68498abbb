/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** A fuzzer without libFuzzer: gives it each file of a directory, or each file named.
**
**     fuzz_NAME PATH...
**
** Prints how many there were. None is a failure, as is what the fuzzer finds wrong.
*/
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

#define INPUT_BYTES (1 << 20)

static int replay_file(const char *path) {
    static uint8_t room[INPUT_BYTES];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    size_t len = fread(room, 1, sizeof(room), file);
    fclose(file);
    uint8_t *data = malloc(len + 1); /* of its own: what is read behind it is found out */
    if (data == NULL) {
        perror(path);
        exit(1);
    }
    for (size_t i = 0; i < len; i++) {
        data[i] = room[i];
    }
    printf("%s\n", path);
    fflush(stdout);
    LLVMFuzzerTestOneInput(data, len);
    free(data);
    return 1;
}

static int replay(const char *path) {
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    int count = 0;
    if (n < 0) {
        return replay_file(path);
    }
    for (int i = 0; i < n; i++) {
        char file[PATH_MAX];
        snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
        count += entries[i]->d_name[0] != '.' ? replay_file(file) : 0;
        free(entries[i]);
    }
    free(entries);
    return count;
}

int main(int argc, char **argv) {
    int count = 0;
    LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++) {
        count += replay(argv[i]);
    }
    printf("%d inputs replayed\n", count);
    return count == 0;
}
