/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ctl/find.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/place.h"
#include "ctl/cells.h"
#include "ctl/limits.h"

struct found {
    const char *dir;
    int count;
    char path[DH_FIND_BYTES]; /* the first one */
    FILE *list;               /* all, a line each */
};

/* Returns who answers at the path: a process, 0 if that is not known, or -1: nobody. */
static pid_t who_answers(const struct sockaddr_un *address) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct ucred peer = {0};
    socklen_t size = sizeof(peer);
    if (fd < 0) {
        return -1;
    }
    bool answers = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;
    bool is_busy = !answers && errno == EAGAIN;
    if (answers) {
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    }
    close(fd);
    return answers || is_busy ? peer.pid : -1;
}

static void look_at(struct found *f, const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    if (len < 5 || strcmp(name + len - 5, ".sock") != 0 ||
        strlen(f->dir) + 1 + len >= sizeof(address.sun_path)) {
        return;
    }
    stpcpy(stpcpy(stpcpy(address.sun_path, f->dir), "/"), name);
    pid_t pid = who_answers(&address);
    if (pid < 0) {
        return;
    }
    if (f->count++ == 0) {
        memcpy(f->path, address.sun_path, sizeof(f->path));
    }
    if (f->count <= DH_CTL_SOCKETS_SHOWN) {
        fputs("  ", f->list);
        dh_cells_print(f->list, address.sun_path, strlen(address.sun_path), SIZE_MAX,
                       DH_ALIGN_NONE);
        fprintf(f->list, "  process %d\n", (int)pid);
    }
}

static int verdict(const struct found *f, const char *list, char ret_path[DH_FIND_BYTES],
                   struct dh_error *err) {
    if (f->count == 0) {
        return dh_error_set(err, DH_ENOENT,
                            "no host answers in %s: is one running? pass --socket PATH", f->dir);
    }
    if (f->count == 1) {
        memcpy(ret_path, f->path, DH_FIND_BYTES);
        return 0;
    }
    fprintf(
        stderr,
        "decnet-host: %d hosts answer; say which one with --script FILE or --socket PATH:\n%s%s",
        f->count, list, f->count > DH_CTL_SOCKETS_SHOWN ? "  ...\n" : "");
    err->text[0] = '\0';
    return err->code = DH_EEXIST;
}

static int find_only(char ret_path[DH_FIND_BYTES], struct dh_error *err) {
    char dir[PATH_MAX];
    struct found f = {.dir = dir};
    char *list = NULL;
    size_t len = 0;
    const struct dirent *entry;
    int result = dh_place_directory(dir, sizeof(dir), err);
    if (result != 0) {
        return result;
    }
    DIR *d = opendir(dir);
    if (d == NULL && errno != ENOENT) {
        return dh_error_set(err, DH_ESYSTEM, "%s: %s; pass --socket PATH", dir, strerror(errno));
    }
    f.list = open_memstream(&list, &len);
    if (f.list == NULL) {
        result = dh_error_set(err, DH_ENOMEM, "out of memory");
    }
    while (result == 0 && d != NULL && (entry = readdir(d)) != NULL) {
        look_at(&f, entry->d_name);
    }
    if (result == 0) {
        fclose(f.list);
        result = verdict(&f, list, ret_path, err);
    }
    free(list);
    if (d != NULL) {
        closedir(d);
    }
    return result;
}

int dh_find_socket(const struct dh_options *o, char ret_path[DH_FIND_BYTES], struct dh_error *err) {
    if (o->script != NULL) {
        if (access(o->script, F_OK) != 0) {
            return dh_error_set(err, DH_EINVAL, "--script: %s: %s", o->script, strerror(errno));
        }
        return dh_place_of_script(o->script, ret_path, DH_FIND_BYTES, err);
    }
    if (o->socket == NULL) {
        return find_only(ret_path, err);
    }
    if (strlen(o->socket) >= DH_FIND_BYTES) {
        return dh_error_set(err, DH_EINVAL,
                            "--socket: the path of a socket has at most %zu bytes, this one has "
                            "%zu",
                            DH_FIND_BYTES - 1, strlen(o->socket));
    }
    memcpy(ret_path, o->socket, strlen(o->socket) + 1);
    return 0;
}
