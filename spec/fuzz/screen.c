/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "screen.h"

#include <ncurses.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl/cells.h"
#include "obs/text.h"

static struct fuzz_input pressed;
static int screen_lines;
static int screen_columns;
static int ending; /* how many keys came behind the last one */
static uint64_t clock_ns = UINT64_C(1000000000);

int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_nanosleep(const struct timespec *ts, struct timespec *rest);

int __wrap_clock_gettime(clockid_t id, struct timespec *ts) {
    (void)id;
    ts->tv_sec = (time_t)(clock_ns / 1000000000u);
    ts->tv_nsec = (long)(clock_ns % 1000000000u);
    return 0;
}

int __wrap_nanosleep(const struct timespec *ts, struct timespec *rest) {
    (void)rest;
    screen_pass((uint64_t)ts->tv_sec * 1000000000u + (uint64_t)ts->tv_nsec);
    return 0;
}

void screen_pass(uint64_t ns) {
    clock_ns += ns;
}

void screen_begin(int lines, int columns, struct fuzz_input in) {
    screen_lines = lines;
    screen_columns = columns;
    pressed = in;
    ending = 0;
}

/* ---- in place of ncurses --------------------------------------------------------------------- */

static int drawn(int y, int x, const char *text) {
    size_t len = strlen(text);
    HOLDS(y >= 0 && x == 0);
    HOLDS(fuzz_is_utf8(text, len));
    HOLDS(dh_cells_width(text, len) <= (size_t)screen_columns);
    for (size_t at = 0; at < len;) {
        uint32_t c;
        bool is_valid;
        at += dh_text_decode(text + at, len - at, &c, &is_valid);
        HOLDS(!dh_text_is_control(c));
    }
    return OK;
}

static int next_key(void) {
    static const int last[] = {27, ERR, 'q', ERR, 27, ERR, 'q', ERR};
    if (pressed.left > 0) {
        uint8_t key = fuzz_byte(&pressed);
        return key == 0     ? ERR
               : key < 0x08 ? KEY_DOWN + key % 8 /* arrows, home, backspace */
                            : key;
    }
    return last[ending++ % 8];
}

static int waited(int ms) {
    screen_pass((uint64_t)ms * 1000000u);
    return 0;
}

static int fine(void) {
    return OK;
}

#undef mvaddstr
#undef mvchgat
#undef attrset
#undef erase
#undef refresh
#undef getch
#undef clearok
#undef COLOR_PAIR
#define mvaddstr(y, x, text) drawn((y), (x), (text))
#define mvchgat(y, x, n, attr, pair, opts)                                                         \
    ((void)(y), (void)(x), (void)(n), (void)(attr), (void)(pair), fine())
#define attrset(attr) ((void)(attr), fine())
#define erase() fine()
#define refresh() fine()
#define getch() next_key()
#define clearok(window, is) fine()
#define COLOR_PAIR(n) (n)
#define LINES screen_lines
#define COLS screen_columns
#define newterm(type, out, in) ((SCREEN *)(void *)&pressed)
#define endwin() fine()
#define delscreen(screen) (void)(screen)
#define cbreak() fine()
#define noecho() fine()
#define nonl() fine()
#define keypad(window, is) fine()
#define nodelay(window, is) fine()
#define set_escdelay(ms) fine()
#define curs_set(how) fine()
#define has_colors() false
#define start_color() fine()
#define use_default_colors() fine()
#define init_pair(n, front, back) ((void)(n), (void)(front), fine())
#define isatty(fd) 1
#define poll(fds, n, ms) ((fds)->revents = 0, waited(ms))

#include "ctl/terminal.h"
#define dh_terminal_is_known(fd) true

#include "ctl/top.c"
#include "ctl/top_draw.c"
