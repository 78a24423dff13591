/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_compare.c - kvshm bench compare: is B faster than A, or is it noise?
 *
 * Each file holds what `kvshm bench --json` printed, one object a line, several runs of each benchmark.  Runs
 * with the same parameters belong together.  A difference of medians counts only if it is larger than the
 * spread of the runs on either side, and than 2 %; fewer than three runs have no spread to speak of.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/options.h"
#include "utils/bench_runs.h"
#include "utils/commands.h"
#include "utils/json.h"
#include "utils/table.h"

#define RUNS_LEAST 3u
#define NOISE_LEAST 0.02

enum verdict { VERDICT_SAME, VERDICT_BETTER, VERDICT_WORSE, VERDICT_CHANGED, VERDICT_FEW, VERDICTS };

static const char *const verdicts[VERDICTS] = { "same", "better", "worse", "changed", "too few runs" };

static void usage(FILE *out)
{
	fputs("usage: kvshm bench compare [OPTION...] A.json B.json\n\n"
	      "Compares runs of benchmarks, as `kvshm bench WHAT --json >> A.json` collects them, at least three\n"
	      "of each.  A difference counts when it is larger than the spread of the runs, and than 2 %.\n\n"
	      "      --json    one object, schema kvshm.compare/1\n"
	      "  -h, --help    print this\n\n"
	      "Exit status: 0 nothing is worse, 1 something is, 2 usage, 8 a file is malformed.\n", out);
}

/* -1: less is better, 1: more is, 0: neither. */
static int better_direction(const struct run_series *s)
{
	static const char *const less[] = { "_ns", "ns_per", "_us", "_ms", "percent", "bytes_per", "syscalls", "messages", "wrong",
					    "misses", "cycles", "instructions", "cold_to_floor_ratio" };
	static const char *const more[] = { "_per_s", "gib_s" };

	if (!strncmp(s->field, "plain_", 6) || !strncmp(s->field, "floor_", 6))
		return 0;		/* the machine's, not ours */
	for (unsigned i = 0; i < ARRAY_SIZE(less); i++)
		if (strstr(s->field, less[i]))
			return -1;
	for (unsigned i = 0; i < ARRAY_SIZE(more); i++)
		if (strstr(s->field, more[i]))
			return 1;
	if (strcmp(s->field, "ratio"))
		return 0;
	/* Of a copy's throughput to the plain one's; of a round trip to the bare one's. */
	return strncmp(s->what, "get", 3) && strncmp(s->what, "put", 3) ? -1 : 1;
}

static double spread(struct samples *s)
{
	double mid = samples_quantile(s, 0.5);

	return mid != 0 ? (samples_quantile(s, 1) - samples_quantile(s, 0)) / fabs(mid) : 0;
}

static double change_of(struct run_series *s)
{
	double a = samples_quantile(&s->of[0], 0.5), b = samples_quantile(&s->of[1], 0.5);

	return a != 0 ? (b - a) / fabs(a) : b != 0 ? INFINITY : 0;
}

static enum verdict judge(struct run_series *s)
{
	double noise = max_of(max_of(spread(&s->of[0]), spread(&s->of[1])), NOISE_LEAST), change = change_of(s);
	int direction = better_direction(s);

	if (s->of[0].nr < RUNS_LEAST || s->of[1].nr < RUNS_LEAST)
		return VERDICT_FEW;
	if (fabs(change) <= noise)
		return VERDICT_SAME;
	return !direction ? VERDICT_CHANGED : (change > 0) == (direction > 0) ? VERDICT_BETTER : VERDICT_WORSE;
}

static void fill(struct runs *c, struct table *t, unsigned *count)
{
	static const struct column columns[] = {
		{ "bench", "BENCH", CELL_TEXT, 24, false }, { "field", "FIELD", CELL_TEXT, 16, false },
		{ "a", "A", CELL_RATE, 8, false }, { "b", "B", CELL_RATE, 8, false },
		{ "change", "CHANGE", CELL_TEXT, 7, false }, { "verdict", "VERDICT", CELL_TEXT, 12, false },
		{ "spread_ratio", "SPREAD%", CELL_RATIO, 7, true }, { "runs_a", "RUNS A", CELL_COUNT, 6, true },
		{ "runs_b", "RUNS B", CELL_COUNT, 6, true },
	};

	table_begin(t, "compare", columns, ARRAY_SIZE(columns));
	for (unsigned i = 0; i < c->nr; i++) {
		struct run_series *s = &c->series[i];
		enum verdict v = judge(s);
		struct cell *row;
		char text[24];

		if (!s->of[0].nr || !s->of[1].nr)
			continue;	/* one side has not measured it */
		count[v]++;
		row = table_row(t);
		cell_text(&row[0], s->what);
		cell_text(&row[1], s->field);
		row[2].d = samples_quantile(&s->of[0], 0.5);
		row[3].d = samples_quantile(&s->of[1], 0.5);
		snprintf(text, sizeof(text), "%+.1f %%", 100 * change_of(s));
		cell_text(&row[4], text);
		cell_text(&row[5], verdicts[v]);
		row[6].d = max_of(spread(&s->of[0]), spread(&s->of[1]));
		row[7].u = s->of[0].nr;
		row[8].u = s->of[1].nr;
	}
	table_note(t, "%u better, %u worse, %u same, %u changed, %u with too few runs", count[VERDICT_BETTER],
		   count[VERDICT_WORSE], count[VERDICT_SAME], count[VERDICT_CHANGED], count[VERDICT_FEW]);
}

static void print(struct table *t, bool is_json)
{
	struct table_style style = { .width = terminal_width() };
	struct jdoc *j;

	if (!is_json) {
		table_print(t, &style, stdout);
		return;
	}
	j = jdoc_begin("compare", "n/a");
	table_json(t, j, "rows");
	jdoc_end(j, stdout);
}

int bench_compare(int argc, char **argv)
{
	static struct runs c;
	unsigned count[VERDICTS] = { 0 };
	bool is_json = false;
	const struct option_row rows[] = { FLAG_ROW("json", 0, &is_json), { 0 } };
	struct table t;
	int ret = options_parse(&(struct option_table){ "kvshm bench compare", usage, rows, 2 }, argc, argv);

	if (ret != OPTIONS_GO_ON)
		return ret;
	if (options_words(argc) != 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	for (unsigned side = 0; side < 2 && ret <= 0; side++)
		ret = runs_read(&c, side, "kvshm bench compare", argv[argc - 2 + (int)side]);
	if (!ret) {
		fill(&c, &t, count);
		print(&t, is_json);
		table_end(&t);
	}
	runs_fini(&c);
	return ret ? ret : count[VERDICT_WORSE] ? EXIT_DEAD : EXIT_FINE;
}
