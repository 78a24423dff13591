/* SPDX-License-Identifier: Apache-2.0 */
/* stat.c - what the daemon holds and does, from shared memory alone */
#include "utils/stat.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kvshm/base/options.h"
#include "utils/color.h"
#include "utils/commands.h"

static void stat_usage(FILE *out)
{
	fputs("usage: kvshm stat [VIEW [NAME]] [OPTION...]\n\n"
	      "Prints a view of a daemon.  Reads shared memory only, so it answers also when the daemon hangs\n"
	      "or is dead (the last values, marked STALE).\n\nVIEW:\n", out);
	for (const struct view *v = views; v->name; v++)
		fprintf(out, "  %-11s %s\n", v->name, v->summary);
	fputs("\n`hist NAME` prints the cells of one histogram.\n\n  -i, --instance NAME  which daemon (default: main)\n"
	      "      --socket PATH    the daemon of this socket\n"
	      "  -w, --watch[=SECS]   repeat every SECS seconds (default 1)\n"
	      "  -n, --count N        repeat, and stop after N\n"
	      "  -b, --batch          with --watch: no terminal control\n"
	      "      --rate           rates between two looks, not since the daemon's start\n"
	      "      --total          since the daemon's start (default)\n"
	      "      --json           one object a line, schema kvshm.stat/1\n"
	      "      --csv            comma-separated, all columns\n"
	      "      --raw            plain numbers without units\n"
	      "  -s, --sort KEY       by a column\n"
	      "      --filter K=V     rows whose column K is V\n"
	      "  -o, --output FIELDS  these columns, by commas; wide: all\n"
	      "      --no-header      no line of titles\n"
	      "      --color WHEN     auto (default: on a terminal, unless NO_COLOR is set), always, never\n"
	      "      --prefill-rate N tokens a second that an engine here computes: print what hits saved\n"
	      "      --check          one line for a monitoring system, with its exit status\n"
	      "      --warn LIMITS    with --check: as hit_ratio<0.5,evicted_unread_total>100\n"
	      "      --crit LIMITS    with --check: the same, critical\n"
	      "  -h, --help           print this\n\n"
	      "Exit status: 0 running, 1 dead or not reachable, 2 usage, 3 no permission, 4 other version,\n"
	      "7 does not respond.  With --check: 0 OK, 1 warning, 2 critical, 3 unknown.\n", out);
}

static void clients_usage(FILE *out)
{
	fputs("usage: kvshm clients [OPTION...]\n\n"
	      "Lists the sessions of a daemon: who, since when, what it pins and how much of its quota, and\n"
	      "what share of the blocks that it asked for was there.\n\n"
	      "  -i, --instance NAME  which daemon (default: main)\n"
	      "      --socket PATH    the daemon of this socket\n"
	      "  -w, --watch[=SECS]   repeat every SECS seconds (default 1)\n"
	      "  -n, --count N        repeat, and stop after N\n"
	      "  -b, --batch          with --watch: no terminal control\n"
	      "      --json           one object, schema kvshm.clients/1\n"
	      "      --csv            comma-separated, all columns\n"
	      "      --raw            plain numbers without units\n"
	      "  -s, --sort KEY       by a column\n"
	      "      --filter K=V     rows whose column K is V\n"
	      "  -o, --output FIELDS  these columns, by commas; wide: all\n"
	      "      --no-header      no line of titles\n"
	      "      --color WHEN     auto (default: on a terminal, unless NO_COLOR is set), always, never\n"
	      "  -h, --help           print this\n\n"
	      "Exit status: as kvshm stat.\n", out);
}

static void pause_for(double seconds)
{
	struct timespec ts = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };

	nanosleep(&ts, NULL);
}

/* Two looks, the earlier one remembered.  One static pair: they are large, and there is one command. */
static struct snapshot looks[2];

static int answer(const struct stat_options *o, const struct snapshot *now, const struct snapshot *before)
{
	if (o->is_check)
		return stat_check(o, now, EXIT_FINE);
	if (stat_print(o, now, before) < 0)
		return EXIT_USAGE;
	return target_exit(now->state);
}

static int no_page(const struct stat_options *o, int status)
{
	return o->is_check && status != EXIT_USAGE ? stat_check(o, NULL, status) : status;
}

static int look(const struct stat_options *o, struct snapshot *ret_s)
{
	int ret = snapshot_take(&o->target, ret_s);

	ret_s->prefill_rate = o->prefill_rate;
	return ret;
}

static int stat_once(const struct stat_options *o)
{
	int ret = look(o, &looks[0]);

	if (ret || !o->is_rate)
		return ret ? no_page(o, ret) : answer(o, &looks[0], NULL);
	pause_for(1);
	ret = look(o, &looks[1]);
	return ret ? no_page(o, ret) : answer(o, &looks[1], &looks[0]);
}

static int stat_repeat(struct stat_options *o)
{
	bool clears = !o->is_json && !o->is_csv && !o->is_batch && isatty(STDOUT_FILENO);
	const struct snapshot *before = NULL;
	int ret = EXIT_FINE;

	for (uint64_t i = 0; !o->count || i < o->count; i++) {
		struct snapshot *now = &looks[i & 1];

		if (i)
			pause_for(o->watch_s);
		if (clears)
			fputs("\033[H\033[2J", stdout);
		else if (!o->is_json && !o->is_csv && i)
			putchar('\n');
		/* The page is opened anew each time: a restarted daemon replaces it. */
		ret = look(o, now);
		if (!ret)
			ret = answer(o, now, before);
		if (ret == EXIT_PERMISSION || ret == EXIT_ABI || ret == EXIT_USAGE)
			break;
		before = now;
		o->style.no_header |= o->is_csv;
	}
	return ret;
}

/* Words and options that do not go together.  Return: 0, -1 told. */
static int check_options(struct stat_options *o, const char *word, const char *name)
{
	if (word && o->watch_s > 0 && isdigit((unsigned char)*word)) {
		fprintf(stderr, "%s: no view \"%s\"; seconds are written without a blank: -w%s, --watch=%s\n", o->command, word,
			word, word);
		return -1;
	}
	if (word) {
		o->view = view_find(word);
		if (!o->view) {
			fprintf(stderr, "%s: no view \"%s\"; `%s --help` lists them\n", o->command, word, o->command);
			return -1;
		}
	}
	o->name = name;
	if (name && strcmp(o->view->name, "hist")) {
		fprintf(stderr, "%s: unexpected argument \"%s\"; only view hist takes a name\n", o->command, name);
		return -1;
	}
	if ((o->warn || o->crit) && !o->is_check) {
		fprintf(stderr, "%s: --warn and --crit are limits of --check\n", o->command);
		return -1;
	}
	if (o->is_rate && o->is_total) {
		fprintf(stderr, "%s: --rate or --total\n", o->command);
		return -1;
	}
	if (o->count && !(o->watch_s > 0))
		o->watch_s = 1;
	if (o->is_check && (o->watch_s > 0 || o->is_json || o->is_csv)) {
		fprintf(stderr, "%s: --check prints its own line, once\n", o->command);
		return -1;
	}
	if (o->fields && !strcmp(o->fields, "wide")) {
		o->style.is_wide = true;
		o->fields = NULL;
	}
	o->style.width = terminal_width();
	return color_choose(o->command, o->color);
}

static int run(struct stat_options *o, const struct option_table *t, int argc, char **argv)
{
	int ret = options_parse(t, argc, argv);

	if (ret != OPTIONS_GO_ON)
		return ret;
	if (check_options(o, argv[optind], argv[optind] ? argv[optind + 1] : NULL) < 0)
		return EXIT_USAGE;
	return o->watch_s > 0 ? stat_repeat(o) : stat_once(o);
}

#define ROWS_OF_BOTH(o) \
	TARGET_ROWS(&(o)->target), SECONDS_ROW("watch", 'w', &(o)->watch_s, 0.05, 86400, 1), \
	WHOLE_ROW("count", 'n', &(o)->count, 1, 1ull << 32), FLAG_ROW("batch", 'b', &(o)->is_batch), \
	FLAG_ROW("json", 0, &(o)->is_json), FLAG_ROW("csv", 0, &(o)->is_csv), FLAG_ROW("raw", 0, &(o)->style.is_raw), \
	TEXT_ROW("sort", 's', &(o)->sort), TEXT_ROW("filter", 0, &(o)->filter), \
	TEXT_ROW("output", 'o', &(o)->fields), FLAG_ROW("no-header", 0, &(o)->style.no_header), \
	TEXT_ROW("color", 0, &(o)->color)

int cmd_stat(int argc, char **argv)
{
	struct stat_options o = { .command = "kvshm stat", .view = views };
	const struct option_row rows[] = {
		ROWS_OF_BOTH(&o), FLAG_ROW("rate", 0, &o.is_rate), FLAG_ROW("total", 0, &o.is_total),
		WHOLE_ROW("prefill-rate", 0, &o.prefill_rate, 1, 1ull << 40), FLAG_ROW("check", 0, &o.is_check),
		TEXT_ROW("warn", 0, &o.warn), TEXT_ROW("crit", 0, &o.crit), { 0 },
	};

	return run(&o, &(struct option_table){ o.command, stat_usage, rows, 2 }, argc, argv);
}

int cmd_clients(int argc, char **argv)
{
	struct stat_options o = { .command = "kvshm clients", .view = view_find("clients") };
	const struct option_row rows[] = { ROWS_OF_BOTH(&o), { 0 } };

	return run(&o, &(struct option_table){ o.command, clients_usage, rows, 0 }, argc, argv);
}
