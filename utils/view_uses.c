/* SPDX-License-Identifier: Apache-2.0 */
/* view_uses.c - what is counted of uses by group: the classes; view_directory.c has the namespaces */
#include <stdio.h>

#include "kvshm/base/compiler.h"
#include "utils/views.h"

uint64_t view_saved_ns(uint64_t prefill_rate, uint64_t hit_tokens)
{
	return prefill_rate ? (uint64_t)((double)hit_tokens / (double)prefill_rate * 1e9) : CELL_NONE;
}

/* What was not found was computed, and put. */
void view_use(struct cell *row, const struct kvshm_stats_use *use, uint64_t prefill_rate)
{
	row[0].u = use->hit_blocks;
	row[1].u = use->put_blocks;
	if (use->hit_blocks + use->put_blocks)
		row[2].d = (double)use->hit_blocks / (double)(use->hit_blocks + use->put_blocks);
	row[3].u = use->hit_tokens;
	row[4].u = use->put_tokens;
	row[5].u = view_saved_ns(prefill_rate, use->hit_tokens);
}

static void set_class(struct cell *c, unsigned type)
{
	char text[16];

	snprintf(text, sizeof(text), type + 1 < KVSHM_STATS_CLASSES ? "%u" : "%u and up", type);
	cell_text(c, type ? text : "not said");
}

void view_classes(struct table *t, const struct snapshot *now, const struct snapshot *before)
{
	static const struct column columns[] = { { "class", "CLASS", CELL_TEXT, 9, false }, VIEW_USE_COLUMNS };

	(void)before;
	table_begin(t, "classes", columns, ARRAY_SIZE(columns));
	for (unsigned type = 0; type < KVSHM_STATS_CLASSES; type++) {
		const struct kvshm_stats_use *use = &now->use[stat_use_class(type)];
		struct cell *row;

		if (!use->hit_blocks && !use->put_blocks)
			continue;
		row = table_row(t);
		set_class(&row[0], type);
		view_use(&row[1], use, now->prefill_rate);
	}
	if (!t->nr_rows)
		table_note(t, "nothing was used yet");
	table_note(t, "by the request's type that engines give to kvshm_set_hint(); FOUND%%: of what was found or put");
}
