/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view_directory.c - what only the directory knows: blocks by namespace, extents by node
 *
 * The directory is mapped read-only, which takes the daemon's user; who may not look is told so.  It is
 * a wire: every number of it is checked before it is used, and what it says may change meanwhile.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/arena/backing.h"
#include "kvshm/arena/block.h"
#include "kvshm/arena/directory.h"
#include "kvshm/arena/namespace.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/compiler.h"
#include "utils/views.h"

static int open_directory(struct table *t, const struct snapshot *now, struct directory *ret_dir)
{
	const char *dir = now->text[KVSHM_TEXT_MEMORY_DIR];
	int ret = directory_open(dir, ret_dir);

	if (ret < 0)
		table_note(t, "%s/directory: %s", dir, ret == -EACCES ? "this view needs the daemon's user" : strerror(-ret));
	return ret;
}

struct ns_sum {
	uint64_t blocks, bytes, tokens;
};

static void add_up(const struct directory *dir, struct ns_sum *sum)
{
	for (uint32_t id = 1; id <= dir->max_blocks; id++) {
		const struct kvshm_desc *d = &dir->desc[id];
		const struct kvshm_ns_entry *e;
		uint32_t ns;

		if (state_of(READ_ONCE(d->state)) != KVSHM_BLOCK_PUBLISHED)
			continue;
		ns = READ_ONCE(d->ns);
		e = ns_entry(dir, ns);
		if (!e)
			continue;
		sum[ns].blocks++;
		sum[ns].bytes += READ_ONCE(d->length);
		sum[ns].tokens += READ_ONCE(d->tokens) ? READ_ONCE(d->tokens) : e->block_tokens;
	}
}

/* A label comes from a client. */
static void label_of(const struct kvshm_ns_entry *e, char *buf)
{
	unsigned i;

	for (i = 0; i < sizeof(e->label) && e->label[i]; i++)
		buf[i] = (char)(isprint(e->label[i]) ? e->label[i] : '?');
	buf[i] = 0;
}

/* @e, @sum: NULL where nobody may look. */
static void add_ns(struct table *t, const struct snapshot *now, uint32_t ns, const struct kvshm_ns_entry *e,
		   const struct ns_sum *sum)
{
	const struct kvshm_stats_use *use = ns < KVSHM_STATS_NS ? &now->use[stat_use_ns(ns)] : NULL;
	struct cell *row = table_row(t);
	char label[sizeof(e->label) + 1];

	row[0].u = ns;
	if (e) {
		row[1].u = sum->blocks;
		row[2].u = sum->bytes;
		if (now->metric[METRIC_CAPACITY_BYTES])
			row[3].d = (double)sum->bytes / (double)now->metric[METRIC_CAPACITY_BYTES];
		label_of(e, label);
		cell_text(&row[10], label);
		row[11].u = e->uid;
		row[12].u = e->block_len;
		row[13].u = e->block_tokens;
		row[14].u = sum->tokens;
	}
	if (use) {
		view_use(&row[4], use, now->prefill_rate);
		row[15].u = use->evicted_blocks;
		row[16].u = use->dropped_blocks;
	}
}

static int add_from_directory(struct table *t, const struct snapshot *now)
{
	const struct kvshm_ns_entry *e;
	struct directory dir;
	struct ns_sum *sum;

	if (open_directory(t, now, &dir) < 0)
		return -1;
	sum = calloc(dir.max_ns + 1, sizeof(*sum));
	if (sum)
		add_up(&dir, sum);
	for (uint32_t ns = 1; sum && (e = ns_entry(&dir, ns)); ns++)
		add_ns(t, now, ns, e, &sum[ns]);
	free(sum);
	directory_detach(&dir);
	return 0;
}

static void add_from_page(struct table *t, const struct snapshot *now)
{
	for (uint32_t ns = 1; ns < KVSHM_STATS_NS; ns++) {
		const struct kvshm_stats_use *use = &now->use[stat_use_ns(ns)];

		if (stat_use_any(use))
			add_ns(t, now, ns, NULL, NULL);
	}
}

void view_namespaces(struct table *t, const struct snapshot *now, const struct snapshot *before)
{
	static const struct column columns[] = {
		{ "namespace", "NS", CELL_COUNT, 5, false },
		{ "blocks", "BLOCKS", CELL_COUNT, 10, false },
		{ "published_bytes", "PUBLISHED", CELL_BYTES, 9, false },
		{ "arena_ratio", "OF ALL%", CELL_RATIO, 7, false },
		VIEW_USE_COLUMNS,
		{ "label", "LABEL", CELL_TEXT, 14, false },
		{ "uid", "UID", CELL_COUNT, 6, true },
		{ "block_bytes", "BLOCK", CELL_BYTES, 9, true },
		{ "block_tokens", "TOKENS", CELL_COUNT, 6, true },
		{ "tokens", "ALL TOKENS", CELL_COUNT, 12, true },
		{ "evicted_blocks", "EVICTED", CELL_COUNT, 10, true },
		{ "dropped_blocks", "DROPPED", CELL_COUNT, 9, true },
	};

	(void)before;
	table_begin(t, "namespaces", columns, ARRAY_SIZE(columns));
	if (add_from_directory(t, now) < 0)
		add_from_page(t, now);
	if (now->use[0].hit_blocks || now->use[0].put_blocks)
		add_ns(t, now, 0, NULL, NULL);
	table_note(t, "FOUND%%: of what was found or put%s", now->use[0].put_blocks ? "; 0: all that have a higher number" : "");
}

/* Extents lie one behind the other in the arena's addresses.  Return: its number, @nr: none has it. */
static uint32_t extent_at(const struct kvshm_extent_entry *e, uint32_t nr, uint64_t offset)
{
	uint32_t low = 0, high = nr;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (e[mid].base <= offset)
			low = mid + 1;
		else
			high = mid;
	}
	return low && offset - e[low - 1].base < e[low - 1].len ? low - 1 : nr;
}

/* Blocks by the extent that they lie in, whatever they are but free. */
static void add_up_extents(const struct directory *dir, const struct kvshm_extent_entry *e, uint32_t nr, struct ns_sum *sum)
{
	for (uint32_t id = 1; id <= dir->max_blocks; id++) {
		const struct kvshm_desc *d = &dir->desc[id];
		uint32_t i;

		if (state_of(READ_ONCE(d->state)) == KVSHM_BLOCK_FREE)
			continue;
		i = extent_at(e, nr, (uint64_t)READ_ONCE(d->page) * KVSHM_PAGE);
		if (i == nr)
			continue;
		sum[i].blocks++;
		sum[i].bytes += READ_ONCE(d->length);
	}
}

static void add_extent(struct table *t, uint32_t i, const struct kvshm_extent_entry *e, const struct ns_sum *sum)
{
	struct cell *row = table_row(t);

	row[0].u = i;
	row[1].u = e->node;
	row[2].u = e->number;
	row[3].u = e->len;
	row[4].u = sum->blocks;
	row[5].u = sum->bytes;
	if (e->len)
		row[6].d = (double)sum->bytes / (double)e->len;
	cell_text(&row[7], backing_kind_name(e->page_kind));
}

void view_numa(struct table *t, const struct snapshot *now, const struct snapshot *before)
{
	static const struct column columns[] = {
		{ "extent", "EXTENT", CELL_COUNT, 6, false },
		{ "node", "NODE", CELL_COUNT, 4, false },
		{ "number", "NUMBER", CELL_COUNT, 6, false },
		{ "extent_bytes", "BYTES", CELL_BYTES, 9, false },
		{ "blocks", "BLOCKS", CELL_COUNT, 9, false },
		{ "used_bytes", "USED", CELL_BYTES, 9, false },
		{ "used_ratio", "USED%", CELL_RATIO, 5, false },
		{ "page_kind", "PAGES", CELL_TEXT, 20, false },
	};
	struct kvshm_extent_entry *e;
	struct directory dir;
	struct ns_sum *sum;
	uint32_t nr;

	(void)before;
	table_begin(t, "numa", columns, ARRAY_SIZE(columns));
	if (open_directory(t, now, &dir) < 0)
		return;
	nr = min_of(READ_ONCE(dir.sb->nr_extents), dir.max_extents);
	e = calloc(nr + 1u, sizeof(*e));
	sum = calloc(nr + 1u, sizeof(*sum));
	if (e && sum) {
		memcpy(e, dir.extent, nr * sizeof(*e));
		add_up_extents(&dir, e, nr, sum);
		for (uint32_t i = 0; i < nr; i++)
			add_extent(t, i, &e[i], &sum[i]);
	}
	free(sum);
	free(e);
	directory_detach(&dir);
	table_note(t, "USED: bytes of blocks that are granted, published or in quarantine");
	table_note(t, "%llu blocks granted where they were wanted, %llu spilled to another node",
		   (unsigned long long)now->metric[METRIC_NUMA_NEAR], (unsigned long long)now->metric[METRIC_NUMA_SPILL]);
}
