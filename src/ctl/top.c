/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** `top`: looks once a second, and waits for keys meanwhile. One question at a time: a key's order comes
** before a look that is under way.
*/
#include "ctl/top.h"

#include <ncurses.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/clock.h"
#include "ctl/cells.h"
#include "ctl/detail.h"
#include "ctl/limits.h"
#include "ctl/terminal.h"
#include "ctl/verb.h"

/* A change of the screen's size is noticed this soon though a signal was lost. */
#define TICK_NS 200000000u

#define CONTROL_L 12

static const char keys_text[] =
    "decnet-host top\n"
    "\n"
    "  up down j k, page up, page down, home, end   select a worker\n"
    "  C M R N       sort by CPU, memory, restarts, name\n"
    "  /             show names and states with a text; enter keeps, escape drops it\n"
    "  d, enter      all about the worker: how it ended before, tracebacks, variables\n"
    "  s             start it\n"
    "  x             stop it (asks)\n"
    "  r             restart it (asks)\n"
    "  t             retry: start now what waits for its restart\n"
    "  ?             this\n"
    "  q             quit\n"
    "\n"
    "CPU% is of one CPU, since the last look; the first time, of the whole run.\n";

/* ---- asking ---------------------------------------------------------------------------------- */

static bool take_look(void *arg, const char *bytes, size_t len) {
    struct dh_top *t = arg;
    return dh_split_feed(&t->split, bytes, len);
}

static bool take_answer(void *arg, const char *bytes, size_t len) {
    struct dh_top *t = arg;
    return fwrite(bytes, 1, len, t->answer) == len && ftell(t->answer) < (long)DH_CTL_ITEM_BYTES;
}

/* What was being asked is over, or no longer of interest. */
static void drop_job(struct dh_top *t) {
    dh_http_stop(t->http);
    dh_split_fini(&t->split);
    dh_rows_fini(&t->incoming);
    if (t->answer != NULL) {
        fclose(t->answer);
        t->answer = NULL;
    }
    free(t->answer_text);
    t->answer_text = NULL;
    t->job = DH_TOP_IDLE;
}

static void on_gone(struct dh_top *t, const struct dh_error *err) {
    drop_job(t);
    t->is_gone = true;
    snprintf(t->gone, sizeof(t->gone), "%s: %s", err->code == DH_EBUSY ? "HANGS" : "GONE",
             err->text);
    t->next_ns = dh_clock_now() + DH_CTL_TOP_NS;
}

static void start_job(struct dh_top *t, enum dh_top_job job) {
    struct dh_error err;
    struct dh_question q = {.target = t->target,
                            .patience_s = DH_CTL_PATIENCE_S,
                            .limit_s = DH_CTL_ANSWER_S,
                            .take = take_answer,
                            .arg = t};
    if (job == DH_TOP_LOOK) {
        q.target = "/v1/workers";
        q.take = take_look;
        dh_split_init(&t->split, dh_rows_take, &t->incoming);
    } else {
        t->answer = open_memstream(&t->answer_text, &t->answer_len);
    }
    q.is_order = job == DH_TOP_ORDER;
    t->asked_ns = dh_clock_now();
    if ((job == DH_TOP_LOOK || t->answer != NULL) && dh_http_start(t->http, &q, &err) != 0) {
        on_gone(t, &err);
        return;
    }
    t->job = job;
}

/* Ask something about the selected worker. */
static void ask_worker(struct dh_top *t, enum dh_top_job job, const char *rest) {
    struct dh_error err;
    drop_job(t);
    if (t->selected[0] == '\0') {
        return;
    }
    t->is_following = true;
    if (dh_verb_target(t->target, t->selected, rest, &err) == 0) {
        start_job(t, job);
    }
}

static void order(struct dh_top *t) {
    char rest[32];
    snprintf(rest, sizeof(rest), "/%s?wait=0", t->order);
    ask_worker(t, DH_TOP_ORDER, rest);
}

static void on_dossier(struct dh_top *t) {
    char *text = NULL;
    size_t len = 0;
    fflush(t->answer);
    json_t *worker = json_loadb(t->answer_text, t->answer_len, 0, NULL);
    FILE *stream = worker != NULL ? open_memstream(&text, &len) : NULL;
    if (stream != NULL) {
        dh_detail_print(stream, worker, t->rows.host);
        fclose(stream);
        dh_pager_set(&t->pager, text, len);
        t->mode = DH_TOP_READ;
    }
    json_decref(worker);
}

static void on_look(struct dh_top *t) {
    uint64_t now_ns = dh_clock_now();
    uint64_t rest_ns = (now_ns - t->asked_ns) * DH_CTL_REST;
    if (t->split.is_complete && !t->incoming.is_broken && t->incoming.host != NULL) {
        dh_top_take(t, &t->incoming);
        t->is_gone = false;
    }
    t->next_ns = now_ns + (rest_ns > DH_CTL_TOP_NS ? rest_ns : DH_CTL_TOP_NS);
}

static void on_answer(struct dh_top *t) {
    struct dh_error err;
    bool is_good = dh_http_check(t->http, &err) == 0;
    if (t->job == DH_TOP_LOOK && is_good) {
        on_look(t);
    } else if (t->job == DH_TOP_LOOK) {
        on_gone(t, &err);
        return;
    } else if (t->job == DH_TOP_ORDER) {
        snprintf(t->news, sizeof(t->news), "%s %s%s%s", t->order, t->selected,
                 is_good ? ": told" : ": ", is_good ? "" : err.text);
        t->next_ns = 0;
    } else if (is_good) {
        on_dossier(t);
    } else {
        snprintf(t->news, sizeof(t->news), "%s", err.text);
    }
    drop_job(t);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void show_keys(struct dh_top *t) {
    char *text = strdup(keys_text);
    dh_pager_set(&t->pager, text, text != NULL ? strlen(text) : 0);
    t->mode = DH_TOP_READ;
}

static void sort_by(struct dh_top *t, enum dh_top_sort sort) {
    t->sort = sort;
    dh_top_arrange(t);
}

static void ask_first(struct dh_top *t, const char *what) {
    if (t->selected[0] != '\0') {
        t->order = what;
        t->mode = DH_TOP_CONFIRM;
        t->is_following = true;
    }
}

static void order_now(struct dh_top *t, const char *what) {
    t->order = what;
    order(t);
}

/* How far a key moves, in lines; 0: it is another key. */
static long movement(int key, long page) {
    switch (key) {
        case KEY_UP:
        case 'k':
            return -1;
        case KEY_DOWN:
        case 'j':
            return 1;
        case KEY_PPAGE:
            return -page;
        case KEY_NPAGE:
            return page;
        case KEY_HOME:
        case 'g':
            return -10000000;
        case KEY_END:
        case 'G':
            return 10000000;
        default:
            return 0;
    }
}

static void on_list_key(struct dh_top *t, int key) {
    long by = movement(key, (long)dh_top_list_lines());
    if (by != 0) {
        dh_top_move(t, by);
        t->is_following = t->cursor > 0;
        return;
    }
    switch (key) {
        case 'q':
            t->is_over = true;
            break;
        case 'C':
            sort_by(t, DH_TOP_CPU);
            break;
        case 'M':
            sort_by(t, DH_TOP_MEMORY);
            break;
        case 'R':
            sort_by(t, DH_TOP_RESTARTS);
            break;
        case 'N':
            sort_by(t, DH_TOP_NAME);
            break;
        case '/':
            t->mode = DH_TOP_FILTER;
            break;
        case 's':
            order_now(t, "start");
            break;
        case 't':
            order_now(t, "retry");
            break;
        case 'x':
            ask_first(t, "stop");
            break;
        case 'r':
            ask_first(t, "restart");
            break;
        case 'd':
        case '\n':
        case '\r':
        case KEY_ENTER:
            ask_worker(t, DH_TOP_DOSSIER, "");
            break;
        case '?':
        case 'h':
            show_keys(t);
            break;
        default:
            break;
    }
}

static void on_filter_key(struct dh_top *t, int key) {
    size_t len = strlen(t->filter);
    if (key == '\n' || key == '\r' || key == KEY_ENTER) {
        t->mode = DH_TOP_LIST;
    } else if (key == 27) {
        t->filter[0] = '\0';
        t->mode = DH_TOP_LIST;
    } else if (key == KEY_BACKSPACE || key == 127 || key == 8) {
        while (len > 0 && ((unsigned char)t->filter[len - 1] & 0xc0) == 0x80) {
            len--;
        }
        t->filter[len > 0 ? len - 1 : 0] = '\0';
    } else if (key >= ' ' && key < 256 && len + 1 < sizeof(t->filter)) {
        t->filter[len] = (char)key; /* of UTF-8, byte by byte */
        t->filter[len + 1] = '\0';
    }
    dh_top_arrange(t);
}

static void on_read_key(struct dh_top *t, int key) {
    size_t lines = LINES > 1 ? (size_t)(LINES - 1) : 1;
    long by = movement(key, (long)lines);
    if (by != 0) {
        dh_pager_move(&t->pager, by, lines);
    } else if (key == 'q' || key == 27 || key == '\n' || key == '\r' || key == 'd') {
        dh_pager_close(&t->pager);
        t->mode = DH_TOP_LIST;
    }
}

static void on_key(struct dh_top *t, int key) {
    if (key == KEY_RESIZE || key == CONTROL_L) {
        clearok(stdscr, TRUE); /* whatever the terminal has made of what it showed */
        return;
    }
    switch (t->mode) {
        case DH_TOP_LIST:
            on_list_key(t, key);
            break;
        case DH_TOP_FILTER:
            on_filter_key(t, key);
            break;
        case DH_TOP_CONFIRM:
            t->mode = DH_TOP_LIST;
            if (key == 'y' || key == 'Y') {
                order(t);
            }
            break;
        case DH_TOP_READ:
            on_read_key(t, key);
            break;
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* Wait for keys, for the host, for the time of the next look. */
static void wait_for_something(struct dh_top *t) {
    struct dh_error err;
    uint64_t now_ns = dh_clock_now();
    if (t->job == DH_TOP_IDLE && now_ns >= t->next_ns) {
        start_job(t, DH_TOP_LOOK);
    }
    if (t->job == DH_TOP_IDLE) {
        struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
        uint64_t left_ns = t->next_ns > now_ns ? t->next_ns - now_ns : 0;
        left_ns = left_ns < TICK_NS ? left_ns : TICK_NS;
        int ready = poll(&fd, 1, (int)(left_ns / 1000000) + 1);
        t->is_over = ready > 0 && (fd.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
        return;
    }
    int result = dh_http_step(t->http, TICK_NS, STDIN_FILENO, &err);
    if (result == 0) {
        on_answer(t);
    } else if (result < 0) {
        on_gone(t, &err);
    }
}

static void run(struct dh_top *t) {
    while (!t->is_over) {
        dh_top_draw(t);
        wait_for_something(t);
        for (int key = getch(); key != ERR && !t->is_over; key = getch()) {
            on_key(t, key);
        }
    }
}

static void choose_colours(struct dh_top *t) {
    t->has_colour = dh_verb_has_colour() && has_colors() && start_color() == OK;
    if (t->has_colour) {
        static const short colours[] = {COLOR_GREEN, COLOR_YELLOW, COLOR_RED, COLOR_CYAN,
                                        COLOR_MAGENTA};
        use_default_colors();
        for (short i = 0; i < 5; i++) {
            init_pair((short)(i + 1), colours[i], -1);
        }
    }
}

static int show(struct dh_top *t) {
    const char *term = getenv("TERM");
    SCREEN *screen = dh_terminal_is_known(STDOUT_FILENO) ? newterm(NULL, stdout, stdin) : NULL;
    if (screen == NULL) {
        fprintf(stderr, "decnet-host: top: the terminal type '%s' is not known: set TERM\n",
                term != NULL ? term : "");
        return DH_EXIT_USAGE;
    }
    choose_colours(t);
    cbreak();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(25);
    curs_set(0);
    run(t);
    endwin();
    delscreen(screen);
    return DH_EXIT_FINE;
}

int dh_verb_top(const struct dh_options *o, struct dh_http *h) {
    struct dh_top top = {.http = h};
    struct dh_rows rows;
    struct dh_error err;
    (void)o;
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        dh_error_set(&err, DH_EINVAL, "top needs a terminal; see decnet-host status");
        return dh_verb_complain(&err);
    }
    int result = dh_rows_ask(&rows, h, NULL, NULL, &err);
    if (result != 0) {
        dh_rows_fini(&rows);
        return dh_verb_complain(&err);
    }
    dh_top_take(&top, &rows);
    int code = show(&top);
    drop_job(&top);
    dh_pager_close(&top.pager);
    dh_rows_fini(&top.rows);
    free(top.shown);
    return code;
}
