/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** Sockets and their places, as a user has them who is not root: who is root here becomes nobody.
*/
#include "control/socket.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/place.h"
#include "obs/check.h"

enum { NOBODY = 65534 };

static char root[] = "/tmp/decnet-test-XXXXXX"; /* is XDG_RUNTIME_DIR */
static char long_name[300];

static void begin(void) {
    uid_t user = geteuid() == 0 ? NOBODY : geteuid();
    strcpy(root + strlen(root) - 6, "XXXXXX");
    CHECK(mkdtemp(root) != NULL && chown(root, user, (gid_t)-1) == 0);
    CHECK(seteuid(user) == 0);
    setenv("XDG_RUNTIME_DIR", root, 1);
    memset(long_name, 'n', sizeof(long_name) - 1);
}

static void end(void) {
    char command[100];
    CHECK(seteuid(getuid()) == 0);
    snprintf(command, sizeof(command), "rm -rf %s", root);
    CHECK_INT(system(command), 0);
}

static const char *in_root(const char *name) {
    static char path[sizeof(long_name) + 100];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

/* A socket that nobody answers any more. */
static void leave_socket(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memccpy(address.sun_path, path, '\0', sizeof(address.sun_path));
    CHECK_INT(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
}

static void check_refused(int result, const struct dh_error *err, int code, const char *word) {
    CHECK_INT(result, code);
    CHECK(strstr(err->text, word) != NULL);
}

static void a_user_without_a_runtime_directory_is_told_of_it(void) {
    char dir[PATH_MAX];
    struct dh_error err = {0, ""};
    begin();
    unsetenv("XDG_RUNTIME_DIR");
    check_refused(dh_place_directory(dir, sizeof(dir), &err), &err, DH_EINVAL, "--socket PATH");
    setenv("XDG_RUNTIME_DIR", "relative", 1);
    check_refused(dh_place_of_script("w.lua", dir, sizeof(dir), &err), &err, DH_EINVAL, "not set");
    setenv("XDG_RUNTIME_DIR", "/long", 1);
    check_refused(dh_place_directory(dir, 8, &err), &err, DH_EINVAL, "too long");
    end();
}

static void a_place_is_named_after_the_script(void) {
    struct dh_error err = {0, ""};
    char path[108];
    begin();
    setenv("XDG_RUNTIME_DIR", "/r", 1);
    CHECK_INT(dh_place_of_script("/nowhere/jobs.lua", path, sizeof(path), &err), 0);
    CHECK(strncmp(path, "/r/decnet/jobs-", 15) == 0);
    CHECK_INT(dh_place_of_script("/nowhere/jobs.luax", path, sizeof(path), &err), 0);
    CHECK(strncmp(path, "/r/decnet/jobs.luax-", 20) == 0);
    CHECK_INT(dh_place_of_script("/nowhere/w", path, sizeof(path), &err), 0);
    CHECK(strncmp(path, "/r/decnet/w-", 12) == 0);
    CHECK_INT(dh_place_of_script("/", path, sizeof(path), &err), 0);
    check_refused(dh_place_of_script(long_name + 200, path, sizeof(path), &err), &err, DH_EINVAL,
                  "has more; pass --socket PATH");
    end();
}

static void a_host_clears_away_the_sockets_of_dead_ones(void) {
    struct dh_socket s = {.fd = -1};
    struct dh_error err = {0, ""};
    begin();
    CHECK_INT(mkdir(in_root("decnet"), 0700), 0);
    leave_socket(in_root("decnet/dead-0123abcd.sock"));
    leave_socket(in_root("decnet/asked-for.sock"));
    memcpy(long_name, "decnet/", 7);
    strcpy(long_name + 200, "-0123abcd.sock"); /* too long a path for a socket */
    close(open(in_root(long_name), O_CREAT | O_WRONLY, 0600));
    CHECK_INT(dh_socket_open_default(&s, "w.lua", &err), 0);
    CHECK(access(in_root("decnet/dead-0123abcd.sock"), F_OK) != 0);
    CHECK(access(in_root("decnet/asked-for.sock"), F_OK) == 0);
    CHECK(access(in_root(long_name), F_OK) == 0);
    close(s.fd);
    dh_socket_unlink(&s);
    dh_socket_unlink(&s);
    end();
}

/* Whoever has locked it may be about to listen at what looks dead. */
static void a_host_clears_nothing_away_in_a_directory_that_stays_locked(void) {
    struct dh_socket s = {.fd = -1};
    struct dh_error err = {0, ""};
    begin();
    CHECK_INT(mkdir(in_root("decnet"), 0700), 0);
    leave_socket(in_root("decnet/dead-0123abcd.sock"));
    int lock = open(in_root("decnet"), O_RDONLY | O_DIRECTORY);
    CHECK_INT(flock(lock, LOCK_EX), 0);
    CHECK_INT(dh_socket_open_default(&s, "w.lua", &err), 0);
    CHECK(access(in_root("decnet/dead-0123abcd.sock"), F_OK) == 0);
    close(lock);
    close(s.fd);
    end();
}

static void a_socket_in_the_root_directory_is_not_for_everybody(void) {
    struct dh_socket s = {.fd = -1};
    struct dh_error err = {0, ""};
    begin();
    check_refused(dh_socket_open(&s, "/decnet-test.sock", &err), &err, DH_ESYSTEM,
                  "cannot make the socket /decnet-test.sock: Permission denied");
    end();
}

static void a_name_that_is_another_sockets_is_not_removed(void) {
    struct dh_socket s = {.fd = -1};
    struct dh_error err = {0, ""};
    begin();
    CHECK_INT(dh_socket_open(&s, in_root("s"), &err), 0);
    close(open(in_root("other"), O_CREAT | O_WRONLY, 0600));
    CHECK_INT(rename(in_root("other"), s.path), 0);
    dh_socket_unlink(&s);
    CHECK(access(in_root("s"), F_OK) == 0);
    close(s.fd);
    end();
}

static void listens_for_this_machine_alone(const char *where, bool is_loopback) {
    char address[DH_SOCKET_ADDRESS];
    struct dh_error err = {0, ""};
    int fd = dh_socket_listen(where, address, &err);
    CHECK(fd >= 0 || strstr(where, "[") != NULL); /* there may be no IPv6 */
    if (fd >= 0) {
        CHECK(dh_socket_is_loopback(fd) == is_loopback);
        close(fd);
    }
}

static void it_is_known_whether_others_can_ask(void) {
    listens_for_this_machine_alone("0", true);
    listens_for_this_machine_alone("127.0.0.9:0", true);
    listens_for_this_machine_alone("0.0.0.0:0", false);
    listens_for_this_machine_alone("[::1]:0", true);
    listens_for_this_machine_alone("[::]:0", false);
}

static const struct check_case cases[] = {
    {"a user without a runtime directory is told of it",
     a_user_without_a_runtime_directory_is_told_of_it},
    {"a place is named after the script", a_place_is_named_after_the_script},
    {"a host clears away the sockets of dead ones", a_host_clears_away_the_sockets_of_dead_ones},
    {"a host clears nothing away in a directory that stays locked",
     a_host_clears_nothing_away_in_a_directory_that_stays_locked},
    {"a socket in the root directory is not for everybody",
     a_socket_in_the_root_directory_is_not_for_everybody},
    {"a name that is another socket's is not removed",
     a_name_that_is_another_sockets_is_not_removed},
    {"it is known whether others can ask", it_is_known_whether_others_can_ask},
};

CHECK_MAIN(cases)
