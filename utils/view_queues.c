/* SPDX-License-Identifier: Apache-2.0 */
/* view_queues.c - how full each session's rings are */
#include "kvshm/base/compiler.h"
#include "utils/views.h"

void view_queues(struct table *t, const struct snapshot *now, const struct snapshot *before)
{
	static const struct column columns[] = {
		{ "slot", "SLOT", CELL_COUNT, 4, false },
		{ "pid", "PID", CELL_COUNT, 7, false },
		{ "sq_entries", "SENT", CELL_COUNT, 6, false },
		{ "cq_entries", "TO TAKE", CELL_COUNT, 7, false },
		{ "commits", "COMMITS", CELL_COUNT, 9, false },
		{ "dropped_blocks", "DROPPED", CELL_COUNT, 9, false },
		{ "label", "LABEL", CELL_TEXT, 20, false },
	};

	table_begin(t, "queues", columns, ARRAY_SIZE(columns));
	for (unsigned i = 0; i < now->nr_sessions; i++) {
		const struct kvshm_stats_session *s = &now->session[i];
		struct cell *row;

		if (s->state != 1)
			continue;
		row = table_row(t);
		row[0].u = s->slot;
		row[1].u = s->pid;
		row[2].u = s->sq_entries;
		row[3].u = s->cq_entries;
		row[4].u = s->commits;
		row[5].u = s->dropped;
		cell_text(&row[6], s->label);
	}
	table_note(t, "SENT: entries that the daemon has not served; TO TAKE: completions that the client has not polled");
	table_note(t, "%.0f entries a second, %llu refused; completions waited for room %llu times",
		   snapshot_rate(now, before, METRIC_SQES), (unsigned long long)now->metric[METRIC_SQES_REFUSED],
		   (unsigned long long)now->metric[METRIC_CQ_FULL]);
}
