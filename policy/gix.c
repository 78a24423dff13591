/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gix.c - keep what brings most hits for the time that it will be held: a Gittins index on reuse hazards
 *
 * Give room a price per byte-second.  Then each block is a stopping problem of its own: hold it to the
 * age at which expected hits per expected time held are best.  That best ratio is its index, and the
 * victim is the leaf with the lowest.  Hazards of reuse come from what was observed, by class (class.h) and age
 * (hazard.h), also of blocks that have been evicted since (ghost.h): without those, a class that is
 * evicted early would never show that it comes back late.
 *
 * What a use changes, it changes for the whole path to the root; so paths are kept as runs of blocks
 * with one history, and a use costs one step a run (gix_run.c):
 *
 *     root [ tools, 42 blocks ]---[ session a, 120 blocks, 4+ uses ]---[ 2 blocks, 2 uses ]---[ 3 blocks, 1 use ]
 *                              \--[ session b, ... ]
 *
 * Runs without children stand in cells by class and age, cells by index (gix_cell.c).  A run gives its
 * blocks from the tail; when all are gone the run above may be a leaf and joins its own cell.  Blocks
 * just inserted compete like all others: a victim that was never wanted again is often one of them.
 *
 * A use is weighted by 1 / (blocks of its request), or a few long prompts would teach everything.
 */
#include "kvshm/base/rand.h"
#include "policy/cost.h"
#include "policy/gix.h"
#include "policy/hints.h"
#include "policy/table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WALK_MAX 64u			/* runs of a path that a use reaches */
#define PASS_MAX 16u			/* runs below a kid that was passed by */
#define TICK 59u			/* in hazard_time(): a second */
#define PERIOD 300u			/* of estimates, in hazard_time(): 5 s */
#define SKIPS_MIN 1024u
#define MIB 1048576
#define IDS_MAX ((1u << 31) - 1)	/* gix_blk.run */

static void clock_to(struct policy *p, uint64_t now_ns)
{
	uint32_t now = hazard_time(now_ns);

	if (!p->is_started) {
		p->is_started = true;
		p->now = p->ticked = p->estimated = now;
		hazard_start(&p->hazard, now);
		hazard_estimate(&p->hazard, &p->tree);
	}
	if ((int32_t)(now - p->now) <= 0)
		return;
	p->now = now;
	hazard_advance(&p->hazard, &p->tree, now);
}

/* ---- what is learnt --------------------------------------------------------------------------------- */

static struct hazard_lot ghost_lot(const struct ghost *g)
{
	return (struct hazard_lot){ .nr = 1, .weight = g->weight, .node = g->node, .birth = g->last };
}

static void enter(struct policy *p, uint32_t r)
{
	const struct hazard_lot lot = gix_run_lot(p, r);

	hazard_enter(&p->hazard, &lot);
}

static void enter_late(struct policy *p, uint32_t r)
{
	const struct hazard_lot lot = gix_run_lot(p, r);

	hazard_enter_late(&p->hazard, &lot, p->now);
}

static void event(struct policy *p, struct hazard_lot lot)
{
	hazard_event(&p->hazard, &lot, p->now);
}

static void censor(struct policy *p, struct hazard_lot lot)
{
	hazard_censor(&p->hazard, &lot, p->now);
}

/* ---- a use ----------------------------------------------------------------------------------------- */

static uint32_t path_blocks(const struct policy *p, uint32_t r)
{
	uint32_t nr = 0, steps;

	for (steps = 0; r && steps < WALK_MAX; steps++, r = p->run[r].above)
		nr += p->run[r].nr;
	return nr;
}

static uint16_t weight_of(uint32_t blocks)
{
	return (uint16_t)(blocks <= 1 ? 65535 : blocks >= 65536 ? 1 : 65536 / blocks);
}

/* The request that extended a run is over: now its length is known, and its blocks can be weighed. */
static void close_open(struct policy *p)
{
	const uint32_t r = p->open;
	struct gix_run *n = &p->run[r];

	if (!r)
		return;
	p->open = 0;
	n->weight = weight_of(path_blocks(p, r));
	enter(p, r);
}

static void adopt(struct policy *p)
{
	shadow_adopt(&p->shadow, &p->tree, p->hazard.nr_known);
	hazard_adopt(&p->hazard, &p->tree);
}

static uint16_t find_class(struct policy *p, unsigned uses, unsigned gap, const struct pol_block *b)
{
	uint16_t node = class_of(&p->tree, uses, gap, b->hints);

	if (b->is_partial)
		node = class_set_apart(&p->tree, node, CLASS_PARTIAL);
	if (p->tree.nr > p->hazard.nr_known)
		adopt(p);
	return node;
}

static unsigned gap_of(uint32_t age)
{
	return hint_octave(age / 30);		/* half seconds */
}

/* A use, as all runs of the path have it. */
struct use {
	uint32_t hints;
	uint16_t weight;
	uint32_t row;			/* of the class tree */
	struct hazard_age age, now;
};

static void set_age(struct policy *p, struct use *use, uint32_t last)
{
	hazard_age(&p->hazard, last, p->now, &use->age);
	use->row = class_row(&p->tree, gap_of(p->now - last), use->hints);
}

static void use_run(struct policy *p, struct gix_run *n, struct use *use)
{
	const uint32_t nr = n->nr;
	struct hazard_lot lot = { .nr = nr, .weight = n->weight, .node = n->node, .birth = n->last };

	if (n->last != use->age.birth)
		set_age(p, use, n->last);
	hazard_event_at(&p->hazard, &lot, &use->age);
	/* Beyond the steps that all have, only what is shared is told apart: a session's own path stays one run. */
	if (n->uses < CLASS_USES_ALL || n->kids > 1)
		n->uses = class_use(n->uses, p->dice) & CLASS_USES_MAX;
	n->node = class_in_row(&p->tree, use->row, n->uses);
	if (p->tree.nr > p->hazard.nr_known)
		adopt(p);
	n->is_used = 1;
	n->weight = use->weight;
	n->last = p->now;
	lot = (struct hazard_lot){ .nr = nr, .weight = use->weight, .node = n->node, .birth = p->now };
	hazard_enter_at(&p->hazard, &lot, &use->now);
}

/* Return: are there neighbours that can no longer be told apart? */
static bool use_path(struct policy *p, uint32_t r, struct use *use)
{
	bool is_alike = false;
	unsigned steps;

	use_run(p, &p->run[r], use);
	gix_expect_list(p, p->run[r].node);
	for (steps = 1; p->run[r].above && steps < WALK_MAX; steps++) {
		const struct gix_run *below = &p->run[r];

		r = below->above;
		use_run(p, &p->run[r], use);
		is_alike |= gix_run_are_alike(below, &p->run[r]);
	}
	return is_alike;
}

static void merge_path(struct policy *p, uint32_t r)
{
	uint32_t below = 0;
	unsigned steps;

	for (steps = 0; r && steps < WALK_MAX; steps++) {
		r = gix_run_merge(p, r, below);
		below = r;
		r = p->run[r].above;
	}
}

static void gix_touch(struct policy *p, pol_id_t id, uint32_t hints, uint64_t now_ns)
{
	const struct gix_blk *b = &p->blk[id];
	struct use use = { .hints = hints };
	bool is_leaf;
	uint32_t r, found;

	if (!b->run || b->is_victim)
		return;
	clock_to(p, now_ns);
	close_open(p);
	p->dice = (uint32_t)rand_mix(++p->nr_touches);
	r = gix_run_split(p, id);
	/* Only the last run of a path may be in a cell; it gets into its new one when all else is done. */
	is_leaf = p->run[r].bin != RUN_UNLISTED;
	gix_unlist(p, r);
	found = path_blocks(p, r);
	shadow_found(&p->shadow, found);
	use.weight = weight_of(found);
	use.now = hazard_age_now(&p->hazard, p->now);
	set_age(p, &use, p->run[r].last);
	if (use_path(p, r, &use))
		merge_path(p, r);
	if (is_leaf)
		gix_list(p, b->run, false);
}

/* ---- coming and going ------------------------------------------------------------------------------ */

static void leave_behind(struct policy *p, uint32_t r)
{
	struct gix_run *n = &p->run[r];
	const bool was_listed = n->bin < RUN_PARKED;
	const uint16_t node = class_set_apart(&p->tree, n->node, CLASS_LEFT);

	if (n->node == node)
		return;
	if (p->tree.nr > p->hazard.nr_known)
		adopt(p);
	censor(p, gix_run_lot(p, r));
	if (was_listed)
		gix_unlist(p, r);
	n->node = node;
	enter_late(p, r);
	if (was_listed)
		gix_list(p, r, false);
}

/*
 * The path to @u was used and goes on by a kid other than its only one so far.  What is below that one is hardly ever
 * asked for again: the last block of a prompt, which the next turn fills up and so replaces, or what a session has
 * thrown out of its context.
 */
static void pass_by(struct policy *p, uint32_t u)
{
	uint32_t r = p->run[u].young;
	unsigned steps;

	for (steps = 0; r && steps < PASS_MAX && p->run[r].above == u && p->run[r].nr; steps++) {
		leave_behind(p, r);
		if (gix_run_kids(&p->run[r]) != 1)
			return;
		u = r;
		r = p->run[r].young;
	}
}

/* @r, with blocks, hangs on @up: that is no leaf then. */
static void kid_added(struct policy *p, pol_id_t up, uint32_t r)
{
	const uint32_t u = up ? p->blk[up].run : 0;

	if (!u)
		return;
	if (gix_run_kids(&p->run[u]) == 1)
		pass_by(p, u);
	gix_unlist(p, u);
	p->run[u].kids++;
	p->run[u].young = r;
}

/* And one less. */
static void kid_gone(struct policy *p, uint32_t r)
{
	const uint32_t u = p->run[r].above;
	struct gix_run *up = &p->run[u];

	if (!u || --up->kids || !up->nr)
		return;
	/*
	 * It is as young as what hung on it, which may have been put seconds after the use that found it.  A use of
	 * that which was too long a walk to reach this one left its class behind as well.
	 */
	if ((int32_t)(p->run[r].last - up->last) > 0) {
		censor(p, gix_run_lot(p, u));
		up->last = p->run[r].last;
		if (p->run[r].is_used) {
			up->node = p->run[r].node;
			up->is_used = 1;
		}
		enter_late(p, u);
	}
	gix_list(p, u, true);
}

/* Uses of an evicted block, and the gap since the last of them; 0 if it is not remembered. */
static uint8_t uses_before(struct policy *p, uint64_t key, unsigned *ret_gap)
{
	struct ghost g;

	if (!key || !ghost_take(&p->ghosts, key, &g))
		return 0;
	event(p, ghost_lot(&g));
	*ret_gap = 0;
	return g.uses;
}

static void gix_insert(struct policy *p, const struct pol_block *b, uint64_t now_ns)
{
	struct gix_blk *n = &p->blk[b->id];
	struct gix_body *body = &p->body[b->id];
	unsigned gap = 0;
	uint8_t uses;
	uint32_t r;

	assert(b->id > 0 && b->id <= p->cfg.max_ids && !n->run);
	clock_to(p, now_ns);
	uses = class_use(uses_before(p, b->key, &gap), p->dice);
	p->nr_resident++;
	*n = (struct gix_blk){ .parent = b->parent };
	*body = (struct gix_body){ .key = b->key, .bytes = b->bytes,
				   .value = (float)(cost_saved(&p->cfg.cost, b) * MIB / b->bytes) };
	if (!(p->value_min > 0))
		p->value_min = body->value;
	r = p->open;
	if (r && !b->is_partial && p->run[r].tail == b->parent && p->run[r].uses == uses && p->run[r].last == p->now) {
		n->run = r;
		p->run[r].tail = b->id;
		p->run[r].nr++;
		return;
	}
	close_open(p);
	if (b->parent)
		gix_run_split(p, b->parent);
	r = gix_run_new(p, b->parent);
	kid_added(p, b->parent, r);
	n->run = r;
	p->run[r].tail = b->id;
	p->run[r].nr = 1;
	p->run[r].uses = uses;
	p->run[r].last = p->now;
	p->run[r].node = find_class(p, uses, gap, b);
	p->open = r;
	gix_list(p, r, false);
}

/* The tail of a leaf leaves the order. */
static void take_tail(struct policy *p, uint32_t r)
{
	struct gix_run *n = &p->run[r];
	const pol_id_t id = n->tail;

	n->tail = p->blk[id].parent;
	n->victims++;
	p->blk[id].is_victim = 1;
	if (--n->nr == 0) {
		gix_unlist(p, r);
		kid_gone(p, r);
	}
}

static unsigned gix_victims(struct policy *p, uint64_t bytes, uint64_t now_ns, pol_id_t *ret_ids,
			    unsigned max, int (*is_pinned)(void *arg, pol_id_t id), void *arg)
{
	unsigned nr = 0, skips = max > SKIPS_MIN / 8 ? 8 * max : SKIPS_MIN;
	uint64_t sum = 0;
	uint32_t r;

	clock_to(p, now_ns);
	close_open(p);
	while (nr < max && sum < bytes && (r = gix_lowest(p))) {
		const pol_id_t id = p->run[r].tail;

		if (is_pinned && is_pinned(arg, id)) {
			gix_park(p, r);
			if (--skips == 0)
				break;
			continue;
		}
		sum += p->body[id].bytes;
		ret_ids[nr++] = id;
		take_tail(p, r);
	}
	p->capacity = p->nr_resident - nr;
	return nr;
}

static void gix_restore(struct policy *p, pol_id_t id, uint64_t now_ns)
{
	struct gix_blk *b = &p->blk[id];
	uint32_t r = b->run;
	struct gix_run *n = &p->run[r];

	assert(b->is_victim);
	b->is_victim = 0;
	n->victims--;
	if (n->nr && (n->tail != b->parent || gix_run_kids(n))) {
		/* Others have settled at its place: a run of its own. */
		r = b->run = gix_run_new(p, b->parent);
		p->run[r].last = n->last;
		p->run[r].node = n->node;
		p->run[r].weight = n->weight;
		p->run[r].uses = n->uses;
		p->run[r].is_used = n->is_used;
		n = &p->run[r];
	}
	n->tail = id;
	if (n->nr++ == 0) {
		n->above = b->parent ? p->blk[b->parent].run : 0;
		kid_added(p, b->parent, r);
		gix_list(p, r, true);
	}
}

static void gix_remove(struct policy *p, pol_id_t id)
{
	struct gix_blk *b = &p->blk[id];
	const uint32_t r = b->run;
	struct gix_run *n = &p->run[r];
	struct ghost g = { .last = n->last, .node = n->node, .weight = n->weight, .uses = n->uses }, old;

	assert(r);
	if (!b->is_victim) {
		close_open(p);
		assert(n->tail == id && gix_run_kids(n) == 0);
		take_tail(p, r);
	}
	n->victims--;
	p->nr_resident--;
	if (!p->body[id].key)
		censor(p, ghost_lot(&g));
	else if (ghost_put(&p->ghosts, p->body[id].key, &g, &old))
		censor(p, ghost_lot(&old));
	if (n->nr == 0 && n->victims == 0)
		gix_run_free(p, r);
	b->run = b->is_victim = 0;
}

/* ---- time, and the rest ---------------------------------------------------------------------------- */

static void gix_tick(struct policy *p, uint64_t now_ns)
{
	clock_to(p, now_ns);
	if (p->now - p->ticked < TICK)
		return;
	p->ticked = p->now;
	close_open(p);
	gix_unpark_all(p);
	gix_age_cells(p);
	if (p->now - p->estimated < PERIOD)
		return;
	p->estimated = p->now;
	hazard_settle(&p->hazard);
	shadow_use_all(&p->shadow, &p->hazard, &p->tree);
	hazard_estimate(&p->hazard, &p->tree);
	/* With a weight on cost the order has another aim than hits. */
	if (!(p->cfg.theta > 0))
		shadow_choose(&p->shadow);
	shadow_plan(&p->shadow, &p->hazard, &p->tree, p->capacity);
	gix_rank_cells(p);
}

static void gix_destroy(struct policy *p)
{
	if (!p)
		return;
	ghost_fini(&p->ghosts);
	free(p->cell);
	free(p->run);
	free(p->body);
	free(p->blk);
	free(p);
}

static int gix_create(const struct policy_config *cfg, struct policy **ret_p)
{
	struct policy *p;
	double factor;
	unsigned v;

	if (cfg->max_ids > IDS_MAX)
		return -EINVAL;
	p = table_alloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->cfg = *cfg;
	if (!p->cfg.ghosts)
		p->cfg.ghosts = 8 * cfg->max_ids;
	p->blk = table_alloc(cfg->max_ids + 1ull, sizeof(*p->blk));
	p->body = table_alloc(cfg->max_ids + 1ull, sizeof(*p->body));
	p->run = table_alloc(cfg->max_ids + 1ull, sizeof(*p->run));
	p->value_shift = cfg->theta > 0 ? VALUE_SHIFT : 0;
	p->nr_values = 1u << p->value_shift;
	p->nr_cells = CLASS_MAX * HAZARD_BINS * p->nr_values;
	p->cell = table_alloc(p->nr_cells, sizeof(*p->cell));
	if (!p->blk || !p->body || !p->run || !p->cell || ghost_init(&p->ghosts, p->cfg.ghosts) < 0) {
		gix_destroy(p);
		return -ENOMEM;
	}
	for (v = 0, factor = 1; v < VALUES; v++) {
		p->value_factor[v] = factor;
		factor *= cfg->theta >= 0.75 ? 2 : cfg->theta > 0 ? 1.4142135623730951 : 1;
	}
	class_init(&p->tree);
	hazard_init(&p->hazard);
	shadow_init(&p->shadow);
	p->capacity = UINT32_MAX;
	gix_runs_init(p);
	*ret_p = p;
	return 0;
}

static void gix_stats(const struct policy *p, struct policy_stats *ret)
{
	*ret = (struct policy_stats){
		.bytes = (uint64_t)p->cfg.max_ids * (sizeof(*p->blk) + sizeof(*p->body) + sizeof(*p->run)),
		.fixed_bytes = sizeof(*p) + p->nr_cells * sizeof(*p->cell),
		.ghosts = p->ghosts.nr_buckets * 8,
		.ghost_bytes = p->ghosts.nr_buckets * sizeof(*p->ghosts.bucket),
	};
}

const struct policy_ops policy_gix = {
	.name = "gix",
	.summary = "least Gittins index of reuse hazards by class, per byte-second",
	.create = gix_create,
	.destroy = gix_destroy,
	.insert = gix_insert,
	.touch = gix_touch,
	.remove = gix_remove,
	.expect = gix_expect,
	.victims = gix_victims,
	.restore = gix_restore,
	.tick = gix_tick,
	.stats = gix_stats,
	.save = gix_save,
	.load = gix_load,
};
