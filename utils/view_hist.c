/* SPDX-License-Identifier: Apache-2.0 */
/* view_hist.c - how long things take: a row a histogram, or a row a cell of one */
#include <stdio.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/stats/metrics.h"
#include "utils/views.h"

/* "op=grant" of kvshm_op_ns{op="grant"}, "reap" of kvshm_reap_ns. */
static void name_of(unsigned i, char *buf, size_t len)
{
	const char *family = hist_defs[i].name + strlen("kvshm_"), *value = strchr(hist_defs[i].label, '"');
	int family_len = (int)(strlen(family) - strlen("_ns"));

	if (value)
		snprintf(buf, len, "%.*s=%.*s", family_len, family, (int)strcspn(value + 1, "\""), value + 1);
	else
		snprintf(buf, len, "%.*s", family_len, family);
}

static void add(struct table *t, const struct snapshot *now, unsigned i)
{
	static const double quantiles[] = { 0.5, 0.9, 0.99, 0.999, 1 };
	const struct hist *h = &now->hist[i];
	struct cell *row = table_row(t);
	char name[64];

	name_of(i, name, sizeof(name));
	cell_text(&row[0], name);
	row[1].u = hist_total(h);
	for (unsigned q = 0; row[1].u && q < ARRAY_SIZE(quantiles); q++)
		row[2 + q].u = hist_quantile(h, quantiles[q]) * hist_defs[i].unit_ns;
	cell_text(&row[7], hist_defs[i].name);
	cell_text(&row[8], hist_defs[i].help);
}

void view_hist(struct table *t, const struct snapshot *now, const struct snapshot *before)
{
	static const struct column columns[] = {
		{ "histogram", "WHAT", CELL_TEXT, 23, false },
		{ "count", "COUNT", CELL_COUNT, 9, false },
		{ "p50_ns", "P50", CELL_NS, 8, false },
		{ "p90_ns", "P90", CELL_NS, 8, false },
		{ "p99_ns", "P99", CELL_NS, 8, false },
		{ "p999_ns", "P99.9", CELL_NS, 8, false },
		{ "max_ns", "MAX", CELL_NS, 8, false },
		{ "family", "FAMILY", CELL_TEXT, 32, true },
		{ "help", "HELP", CELL_TEXT, 50, true },
	};

	(void)before;
	table_begin(t, "hist", columns, ARRAY_SIZE(columns));
	for (unsigned i = 0; i < HIST_LAST; i++)
		add(t, now, i);
	table_note(t, "known to 6 %%; since the daemon's start; kvshm stat hist NAME has all cells of one");
}

int view_hist_cells(struct table *t, const struct snapshot *now, const char *name)
{
	static const struct column columns[] = {
		{ "from_ns", "FROM", CELL_NS, 10, false },
		{ "below_ns", "BELOW", CELL_NS, 10, false },
		{ "count", "COUNT", CELL_COUNT, 12, false },
		{ "cumulative_ratio", "UP TO%", CELL_RATIO, 7, false },
	};
	uint64_t low, high, seen = 0, total;
	char have[64] = "";
	unsigned i;

	for (i = 0; i < HIST_LAST; i++) {
		name_of(i, have, sizeof(have));
		if (!strcmp(have, name) || (!hist_defs[i].label[0] && !strcmp(hist_defs[i].name, name)))
			break;
	}
	if (i == HIST_LAST)
		return -1;
	table_begin(t, "hist", columns, ARRAY_SIZE(columns));
	total = hist_total(&now->hist[i]);
	for (unsigned c = 0; c < HIST_CELLS; c++) {
		uint64_t n = now->hist[i].count[c];
		struct cell *row;

		if (!n)
			continue;
		seen += n;
		high = hist_cell_range(c, &low);
		row = table_row(t);
		row[0].u = low * hist_defs[i].unit_ns;
		row[1].u = high * hist_defs[i].unit_ns;
		row[2].u = n;
		row[3].d = (double)seen / (double)total;
	}
	return 0;
}
