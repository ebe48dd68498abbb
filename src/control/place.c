/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "control/place.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint32_t fnv1a(const char *text) {
    uint32_t hash = 2166136261u;
    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    }
    return hash;
}

int dh_place_directory(char *ret_dir, size_t cap, struct dh_error *err) {
    const char *runtime = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");
    if (runtime == NULL || runtime[0] != '/') {
        return dh_error_set(err, DH_EINVAL,
                            "XDG_RUNTIME_DIR is not set to a directory; set it, or pass --socket "
                            "PATH");
    }
    size_t len = strlen(runtime) + sizeof("/decnet");
    if (len > cap) {
        return dh_error_set(err, DH_EINVAL, "XDG_RUNTIME_DIR is too long; pass --socket PATH");
    }
    snprintf(ret_dir, cap, "%s/decnet", runtime);
    return 0;
}

int dh_place_of_script(const char *script, char *ret_path, size_t cap, struct dh_error *err) {
    char dir[PATH_MAX];
    char real[PATH_MAX];
    int result = dh_place_directory(dir, sizeof(dir), err);
    if (result != 0) {
        return result;
    }
    if (realpath(script, real) == NULL) { /* it was read already: a pipe has no path */
        snprintf(real, sizeof(real), "/%s", script);
    }
    const char *base = strrchr(real, '/') + 1;
    size_t base_len = strlen(base);
    if (base_len > 4 && strcmp(base + base_len - 4, ".lua") == 0) {
        base_len -= 4;
    }
    int n = snprintf(ret_path, cap, "%s/%.*s-%08x.sock", dir, (int)base_len, base, fnv1a(real));
    if ((size_t)n >= cap) {
        return dh_error_set(err, DH_EINVAL,
                            "the path of a socket can have %zu bytes, %s/%s-... has more; pass "
                            "--socket PATH",
                            cap - 1, dir, base);
    }
    return 0;
}
