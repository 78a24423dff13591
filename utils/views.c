/* SPDX-License-Identifier: Apache-2.0 */
/* views.c - the views that are lists of metrics, and those that say that there is nothing to see yet */
#include "utils/views.h"

#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/stats/metrics.h"

static const struct column fact_columns[] = {
	{ "metric", "METRIC", CELL_TEXT, 40, false },
	{ "value", "VALUE", CELL_COUNT, 14, false },
	{ "per_second", "PER SECOND", CELL_RATE, 11, false },
	{ "type", "TYPE", CELL_TEXT, 7, true },
	{ "unit", "UNIT", CELL_TEXT, 6, true },
	{ "help", "HELP", CELL_TEXT, 62, true },
};

static enum cell_kind kind_of(enum metric m)
{
	return metric_defs[m].unit == KVSHM_STATS_UNIT_BYTES ? CELL_BYTES :
	       metric_defs[m].unit == KVSHM_STATS_UNIT_NS ? CELL_NS : CELL_COUNT;
}

static const char *unit_name(enum metric m)
{
	static const char *const names[] = {
		[KVSHM_STATS_UNIT_NONE] = "", [KVSHM_STATS_UNIT_BYTES] = "bytes", [KVSHM_STATS_UNIT_NS] = "ns",
		[KVSHM_STATS_UNIT_BLOCKS] = "blocks",
	};

	return names[metric_defs[m].unit];
}

static void add_fact(struct table *t, const struct snapshot *now, const struct snapshot *before, enum metric m)
{
	struct cell *row = table_row(t);

	cell_text(&row[0], metric_defs[m].name);
	row[1].kind = kind_of(m);
	row[1].u = now->metric[m];
	if (snapshot_is_counter(m))
		row[2].d = snapshot_rate(now, before, m);
	cell_text(&row[3], snapshot_is_counter(m) ? "counter" : "gauge");
	cell_text(&row[4], unit_name(m));
	cell_text(&row[5], metric_defs[m].help);
}

static void facts(struct table *t, const char *view, const struct snapshot *now, const struct snapshot *before,
		  const enum metric *m, unsigned nr)
{
	table_begin(t, view, fact_columns, ARRAY_SIZE(fact_columns));
	for (unsigned i = 0; i < nr; i++)
		add_fact(t, now, before, m[i]);
}

static void view_all(struct table *t, const struct snapshot *now, const struct snapshot *before)
{
	facts(t, "metrics", now, before, NULL, 0);
	for (unsigned m = 0; m < METRIC_LAST; m++)
		add_fact(t, now, before, (enum metric)m);
}

static void view_summary(struct table *t, const struct snapshot *now, const struct snapshot *before)
{
	view_all(t, now, before);
	t->view = "summary";
}

static void view_pins(struct table *t, const struct snapshot *now, const struct snapshot *before)
{
	static const enum metric m[] = {
		METRIC_PINS, METRIC_PINNED_BYTES, METRIC_SCANS, METRIC_VICTIMS_RESTORED, METRIC_QUOTA_REFUSALS,
		METRIC_QUARANTINED, METRIC_QUARANTINED_BYTES, METRIC_ORPHANS,
	};

	facts(t, "pins", now, before, m, ARRAY_SIZE(m));
	table_note(t, "as of the last scan; who pins what: kvshm clients");
}

static void view_gpu(struct table *t, const struct snapshot *now, const struct snapshot *before)
{
	static const enum metric m[] = {
		METRIC_GPU_IN_BYTES, METRIC_GPU_IN_BLOCKS, METRIC_GPU_OUT_BYTES, METRIC_GPU_OUT_BLOCKS,
		METRIC_GPU_BOUNCED_BYTES, METRIC_GPU_FAILED, METRIC_GPU_HELD, METRIC_GPUD_UP, METRIC_GPUD_IN_BYTES,
		METRIC_GPUD_OUT_BYTES, METRIC_GPUD_JOBS, METRIC_GPUD_JOBS_FAILED,
		METRIC_GPUD_POOL_BYTES, METRIC_GPUD_POOL_USED, METRIC_GPUD_POOL_HELD, METRIC_GPUD_POOL_CLIENTS,
		METRIC_GPUD_POOL_STAGED, METRIC_GPUD_POOL_STAGED_BYTES, METRIC_GPUD_POOL_SHARED, METRIC_GPUD_POOL_EVICTED,
		METRIC_GPUD_POOL_REFUSED,
	};

	facts(t, "gpu", now, before, m, ARRAY_SIZE(m));
	table_note(t, "kvshm_gpu: what clients drive through kvshm_stage_in() and kvshm_stage_out(), by their own "
		      "counters; kvshm_gpud: what kvshm-gpud copied for others, and its staging pool");
}

static void view_tiers(struct table *t, const struct snapshot *now, const struct snapshot *before)
{
	static const struct column columns[] = {
		{ "tier", "TIER", CELL_TEXT, 6, false },
		{ "capacity_bytes", "CAPACITY", CELL_BYTES, 9, false },
		{ "published_bytes", "PUBLISHED", CELL_BYTES, 9, false },
		{ "free_bytes", "FREE", CELL_BYTES, 9, false },
		{ "hit_blocks", "HIT BLOCKS", CELL_COUNT, 12, false },
		{ "hit_ratio", "HIT%", CELL_RATIO, 5, false },
		{ "evicted_blocks", "EVICTED", CELL_COUNT, 12, false },
		{ "evicted_bytes", "EVICTED", CELL_BYTES, 9, true },
		{ "evicted_unread_blocks", "UNREAD", CELL_COUNT, 12, true },
	};
	struct cell *row;

	table_begin(t, "tiers", columns, ARRAY_SIZE(columns));
	row = table_row(t);
	cell_text(&row[0], "dram");
	row[1].u = now->metric[METRIC_CAPACITY_BYTES];
	row[2].u = now->metric[METRIC_PUBLISHED_BYTES];
	row[3].u = now->metric[METRIC_FREE_BYTES];
	row[4].u = now->metric[METRIC_HIT_BLOCKS];
	row[5].d = snapshot_hit_ratio(now, before);
	row[6].u = now->metric[METRIC_EVICTIONS];
	row[7].u = now->metric[METRIC_EVICTED_BYTES];
	row[8].u = now->metric[METRIC_EVICTED_UNREAD];
	table_note(t, "gpu, ssd, remote: no such tier in this build");
}

/* ---- nothing to see yet: said plainly, with what there is instead ---------------------------------- */

static const struct column no_columns[] = { { "name", "NAME", CELL_TEXT, 10, false } };

static void empty(struct table *t, const char *view, const char *why)
{
	table_begin(t, view, no_columns, ARRAY_SIZE(no_columns));
	table_note(t, "%s", why);
}

static void view_mrc(struct table *t, const struct snapshot *now, const struct snapshot *before)
{
	(void)now, (void)before;
	empty(t, "mrc", "the page holds no miss-ratio curve; kvshm mrc listens to this daemon and draws one, or reads a trace");
}

const struct view views[] = {
	{ "summary", view_summary, "state, memory, hit ratio, evictions, anomalies (default)" },
	{ "clients", view_clients, "who is attached and holds what" },
	{ "tiers", view_tiers, "what each tier holds and serves" },
	{ "namespaces", view_namespaces, "what each namespace found, put and holds" },
	{ "classes", view_classes, "what requests of each type found and put" },
	{ "queues", view_queues, "how full each session's queues are" },
	{ "pins", view_pins, "pins, scans, quarantine" },
	{ "gpu", view_gpu, "copies to and from GPUs" },
	{ "numa", view_numa, "extents of each node (needs the daemon's user)" },
	{ "hist", view_hist, "how long things take" },
	{ "mrc", view_mrc, "hit ratio over size" },
	{ "events", view_events, "what happened to blocks last" },
	{ "config", view_config, "what the daemon runs with" },
	{ "metrics", view_all, "every metric by its name" },
	{ NULL, NULL, NULL },
};

const struct view *view_find(const char *name)
{
	for (const struct view *v = views; v->name; v++)
		if (!strcmp(v->name, name))
			return v;
	return NULL;
}
