/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top.c - kvshm top: all views on the full screen, a tab each; keys as in htop
 *
 *   state                       one line
 *   arena   [|||||||||    ]     meters
 *   pinned  [|            ]
 *   hits    [||||||||     ]
 *   writer  [|            ]
 *   summary clients tiers ...   tabs
 *   (the view, from top->scroll on)
 *   F1 Help  F4 Filter ...      one line
 *
 * Reads the statistics page, so it shows a daemon that hangs or is dead as well.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/options.h"
#include "utils/commands.h"
#include "utils/screen.h"
#include "utils/top.h"
#include "utils/views.h"

#define HEAD_ROWS 7u			/* above the view */

static sig_atomic_t is_ending;

static void usage(FILE *out)
{
	fputs("usage: kvshm top [OPTION...]\n\n"
	      "All views of a daemon on the full screen, also when it hangs or is dead.\n\n"
	      "  -d, --delay SECS     between two looks (default 1)\n"
	      "  -i, --instance NAME  which daemon (default: main)\n"
	      "      --socket PATH    the daemon of this socket\n"
	      "  -h, --help           print this\n\n"
	      "Keys: F1 ? lists them, q ends it.\n"
	      "Exit status: 0 ended by q or a signal, 1 no daemon, 2 usage or no terminal, 3 no permission,\n"
	      "4 other version.\n", out);
}

/* ---- drawing ------------------------------------------------------------------------------------------ */

static const char *const help[] = {
	"Tab, Right, Left, 1-9   another view",
	"Up, Down, PgUp, PgDn    scroll",
	"Home g, End G           to the first line, to the last",
	"F6 >  <                 sort by the next column, the one before",
	"F4 \\                    only lines with a text in them; Esc: all again",
	"c                       rates and hit ratio begin now; no counter changes",
	"l                       and between two looks again",
	"Z Space                 stand still; again: go on",
	"F1 ? h                  this",
	"F10 q                   end",
	NULL,
};

static void meter(unsigned row, unsigned columns, const char *name, double share, const char *text)
{
	char line[512];
	unsigned room = min_of(columns > 40 ? columns - 40 : 10, 60u), full;

	share = min_of(max_of(share, 0.0), 1.0);
	full = (unsigned)(share * room + 0.5);
	snprintf(line, sizeof(line), "%-8s[", name);
	for (unsigned i = 0; i < room; i++)
		line[9 + i] = i < full ? '|' : ' ';
	snprintf(line + 9 + room, sizeof(line) - 9 - room, "] %s", text);
	screen_put(row, 0, SCREEN_PLAIN, line);
}

static double share_of(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : 0;
}

static double percent_of_time(const struct snapshot *s, const struct snapshot *before, enum metric m)
{
	return snapshot_rate(s, before, m) / 1e7;
}

static void draw_meters(const struct top *t, unsigned columns)
{
	const struct snapshot *s = top_now(t), *before = top_before(t);
	uint64_t capacity = s->metric[METRIC_CAPACITY_BYTES];
	char a[16], b[16], text[80];

	snprintf(text, sizeof(text), "%s of %s", human_bytes(s->metric[METRIC_PUBLISHED_BYTES], a), human_bytes(capacity, b));
	meter(1, columns, "arena", share_of(s->metric[METRIC_PUBLISHED_BYTES], capacity), text);
	snprintf(text, sizeof(text), "%s, %" PRIu64 " pins", human_bytes(s->metric[METRIC_PINNED_BYTES], a), s->metric[METRIC_PINS]);
	meter(2, columns, "pinned", share_of(s->metric[METRIC_PINNED_BYTES], capacity), text);
	snprintf(text, sizeof(text), "%.1f %%, %.0f look-ups/s", 100 * snapshot_hit_ratio(s, before),
		 snapshot_rate(s, before, METRIC_LOOKUPS));
	meter(3, columns, "hits", snapshot_hit_ratio(s, before), text);
	/* Processor time alone would mislead: it spins before it sleeps. */
	snprintf(text, sizeof(text), "busy %.1f %%, spinning %.1f %%, asleep %.1f %%; copies %.1f %%",
		 percent_of_time(s, before, METRIC_WRITER_BUSY_NS), percent_of_time(s, before, METRIC_WRITER_IDLE_NS),
		 percent_of_time(s, before, METRIC_WRITER_ASLEEP_NS), percent_of_time(s, before, METRIC_COPY_BUSY_NS));
	meter(4, columns, "writer", percent_of_time(s, before, METRIC_WRITER_BUSY_NS) / 100, text);
}

static void draw_state(const struct top *t)
{
	const struct snapshot *s = top_now(t);
	char line[256];
	int n;

	n = snprintf(line, sizeof(line), "kvshm %s  pid %" PRIu64 "  ", s->text[KVSHM_TEXT_INSTANCE], s->pid);
	screen_put(0, 0, SCREEN_PLAIN, line);
	snprintf(line, sizeof(line), "%s%s%s", t->status ? "no daemon" : target_state_name(s->state),
		 t->status || s->state != TARGET_RUNNING ? "  STALE: last values" : "", t->is_paused ? "  (standing still)" : "");
	screen_put(0, (unsigned)n, !t->status && s->state == TARGET_RUNNING ? SCREEN_GOOD : SCREEN_ALARM, line);
}

/* Where the tabs do not fit, those to the left of the chosen one make room. */
static void draw_tabs(const struct top *t, unsigned columns)
{
	unsigned column = 0, first = t->view, left = columns;

	for (; left > strlen(views[first].name) && first > 0; first--)
		left -= (unsigned)strlen(views[first].name) + 1;
	if (left <= strlen(views[first].name))
		first++;
	for (unsigned i = first; views[i].name; i++) {
		screen_put(5, column, i == t->view ? SCREEN_CHOSEN : SCREEN_DIM, views[i].name);
		column += (unsigned)strlen(views[i].name) + 1;
	}
}

static void draw_body(struct top *t, unsigned rows, unsigned columns)
{
	unsigned room = rows > HEAD_ROWS + 1 ? rows - HEAD_ROWS - 1 : 1, row = HEAD_ROWS - 1, first;

	top_lines(t, columns);
	/* The titles stay where they are. */
	first = t->has_titles;
	if (first)
		screen_put(row, 0, SCREEN_TITLE, t->line[0]);
	t->scroll = min_of(t->scroll, t->nr_lines > room + first ? t->nr_lines - room - first : 0);
	for (unsigned i = 0; i < room && first + t->scroll + i < t->nr_lines; i++)
		screen_put(HEAD_ROWS + i, 0, SCREEN_PLAIN, t->line[first + t->scroll + i]);
}

static void draw_foot(const struct top *t, unsigned rows)
{
	char line[200];

	if (t->is_typing || t->filter[0])
		snprintf(line, sizeof(line), "Filter: %s%s", t->filter, t->is_typing ? "_" : "   (F4 changes it)");
	else
		snprintf(line, sizeof(line), "F1 Help  Tab View  F4 Filter  F6 Sort%s%s  c Clear  Z Pause  F10 Quit",
			 t->sort_name ? ": " : "", t->sort_name ? t->sort_name : "");
	screen_put(rows - 1, 0, SCREEN_TITLE, line);
}

static void draw(struct top *t)
{
	unsigned rows, columns;

	screen_size(&rows, &columns);
	t->page_rows = rows > HEAD_ROWS + 2 ? rows - HEAD_ROWS - 2 : 1;
	screen_clear();
	draw_state(t);
	draw_meters(t, columns);
	draw_tabs(t, columns);
	if (t->is_helping)
		for (unsigned i = 0; help[i]; i++)
			screen_put(HEAD_ROWS + i, 2, SCREEN_PLAIN, help[i]);
	else
		draw_body(t, rows, columns);
	draw_foot(t, rows);
	screen_show();
}

/* ---- life --------------------------------------------------------------------------------------------- */

static void on_end(int sig)
{
	(void)sig;
	is_ending = 1;
}

static void loop(struct top *t)
{
	uint64_t delay_ns = (uint64_t)(t->delay_s * 1e9), next_ns = clock_ns() + delay_ns;

	while (!is_ending) {
		uint64_t now_ns = clock_ns();

		if (now_ns >= next_ns) {
			top_look(t);
			next_ns = now_ns + delay_ns;
		}
		draw(t);
		if (top_key(t, screen_key((int)((next_ns - now_ns) / 1000000 + 1))))
			return;
	}
}

static int run(struct top *t)
{
	struct sigaction sa = { .sa_handler = on_end };
	int ret = snapshot_take(&t->target, &t->look[0]);

	if (ret)
		return ret;
	t->look[1] = t->base = t->look[0];
	ret = screen_open();
	if (ret < 0) {
		fprintf(stderr, "kvshm top: %s; kvshm stat --watch goes without\n",
			ret == -ENOTTY ? "no terminal" : "TERM names no terminal that is known here");
		return EXIT_USAGE;
	}
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	loop(t);
	screen_close();
	top_fini(t);
	return EXIT_FINE;
}

int cmd_top(int argc, char **argv)
{
	static struct top t;
	const struct option_row rows[] = {
		TARGET_ROWS(&t.target), SECONDS_ROW("delay", 'd', &t.delay_s, 0.1, 3600, 0), { 0 },
	};
	int ret;

	t = (struct top){ .delay_s = 1, .sort = -1 };
	ret = options_parse(&(struct option_table){ "kvshm top", usage, rows, 0 }, argc, argv);
	return ret == OPTIONS_GO_ON ? run(&t) : ret;
}
