/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gix_cell.c - leaves by class and age, cells by index: the least valuable leaf in O(1)
 *
 * All leaves of a cell have one index, so only cells are ordered: by rank, which is the index on a
 * logarithmic scale of sixteen steps an octave, read off the bits of the double.  A bitmap names the ranks that
 * have a cell with leaves.  Estimates change the ranks of cells, age the cell of a leaf; a leaf is moved
 * when it is looked at and found in the wrong cell, and by gix_age_cells().
 */
#include "policy/gix.h"

#include <string.h>

#define MOVES_MAX 2u			/* for a victim: its price is bounded, its age may be one bin off */
#define PEERS_MAX 8u			/* cells of one age that are looked at for the longest unused */

static double index_of_cell(const struct policy *p, uint32_t i)
{
	const uint32_t at = i >> p->value_shift;

	return p->value_factor[i & (p->nr_values - 1)] *
	       shadow_index(&p->shadow, p->shadow.live, &p->hazard, (uint16_t)(at % CLASS_MAX), at / CLASS_MAX);
}

/* Cells lie by age, as the youngest are used most; the map has them by class. */
static uint32_t map_bit(const struct policy *p, uint32_t i)
{
	const uint32_t at = i >> p->value_shift;

	return (at % CLASS_MAX * HAZARD_BINS + at / CLASS_MAX) << p->value_shift | (i & (p->nr_values - 1));
}

static uint32_t cell_at(const struct policy *p, uint32_t bit)
{
	const uint32_t at = bit >> p->value_shift;

	return (at % HAZARD_BINS * CLASS_MAX + at / HAZARD_BINS) << p->value_shift | (bit & (p->nr_values - 1));
}

static void rank_add(struct policy *p, uint32_t i)
{
	struct gix_cell *c = &p->cell[i];
	const uint32_t bit = map_bit(p, i);

	c->rank = shadow_rank(index_of_cell(p, i));
	p->cell_map[bit / 64] |= 1ull << bit % 64;
	c->prev = 0;
	c->next = p->rank_head[c->rank];
	if (c->next)
		p->cell[c->next - 1].prev = i + 1;
	p->rank_head[c->rank] = i + 1;
	p->rank_map[c->rank / 64] |= 1ull << c->rank % 64;
}

static void rank_del(struct policy *p, uint32_t i)
{
	struct gix_cell *c = &p->cell[i];
	const uint32_t bit = map_bit(p, i);

	p->cell_map[bit / 64] &= ~(1ull << bit % 64);
	if (c->next)
		p->cell[c->next - 1].prev = c->prev;
	if (c->prev)
		p->cell[c->prev - 1].next = c->next;
	else
		p->rank_head[c->rank] = c->next;
	if (!p->rank_head[c->rank])
		p->rank_map[c->rank / 64] &= ~(1ull << c->rank % 64);
}

static uint32_t cell_of(const struct policy *p, const struct gix_run *n)
{
	return (n->bin * CLASS_MAX + n->node) << p->value_shift | n->value;
}

static uint8_t value_octave(const struct policy *p, float value)
{
	uint8_t o = 0;

	for (; o < VALUES - 1 && value >= 2 * p->value_min; o++)
		value /= 2;
	return o;
}

void gix_list(struct policy *p, uint32_t r, bool is_oldest)
{
	struct gix_run *n = &p->run[r];
	struct gix_cell *c;
	uint32_t i;

	n->bin = (uint8_t)hazard_bin(p->now - n->last);
	n->value = p->nr_values > 1 ? value_octave(p, p->body[n->tail].value) : 0;
	i = cell_of(p, n);
	c = &p->cell[i];
	if (!c->head) {
		n->prev = n->next = 0;
		c->head = c->tail = r;
		rank_add(p, i);
	} else if (is_oldest) {
		n->prev = 0;
		n->next = c->head;
		c->head = p->run[n->next].prev = r;
	} else {
		n->next = 0;
		n->prev = c->tail;
		c->tail = p->run[n->prev].next = r;
	}
}

void gix_expect_list(const struct policy *p, uint16_t node)
{
	__builtin_prefetch(&p->cell[(uint32_t)node << p->value_shift], 1);
	__builtin_prefetch(&p->shadow.node[node]);
	__builtin_prefetch(&p->hazard.index[node][0]);
}

static void unpark(struct policy *p, uint32_t r)
{
	uint32_t *at = &p->parked;

	while (*at != r)
		at = &p->run[*at].next;
	*at = p->run[r].next;
}

void gix_unlist(struct policy *p, uint32_t r)
{
	struct gix_run *n = &p->run[r];
	struct gix_cell *c;

	if (n->bin == RUN_UNLISTED)
		return;
	if (n->bin == RUN_PARKED) {
		unpark(p, r);
		n->bin = RUN_UNLISTED;
		n->kids = 0;
		return;
	}
	c = &p->cell[cell_of(p, n)];
	if (n->prev)
		p->run[n->prev].next = n->next;
	else
		c->head = n->next;
	if (n->next)
		p->run[n->next].prev = n->prev;
	else
		c->tail = n->prev;
	if (!c->head)
		rank_del(p, cell_of(p, n));
	n->bin = RUN_UNLISTED;
	n->kids = 0;
}

void gix_park(struct policy *p, uint32_t r)
{
	gix_unlist(p, r);
	p->run[r].bin = RUN_PARKED;
	p->run[r].next = p->parked;
	p->parked = r;
}

void gix_unpark_all(struct policy *p)
{
	uint32_t r, next;

	for (r = p->parked, p->parked = 0; r; r = next) {
		next = p->run[r].next;
		gix_list(p, r, true);
	}
}

/* Has it grown out of its cell?  Then it is in the right one now. */
static bool move_on(struct policy *p, uint32_t r)
{
	if (hazard_bin(p->now - p->run[r].last) == p->run[r].bin)
		return false;
	gix_unlist(p, r);
	gix_list(p, r, false);
	return true;
}

/* Of the cells of a rank: by index they are alike, by age alone the run longest unused is to go. */
static uint32_t first_of(const struct policy *p, uint32_t i)
{
	const unsigned peers = p->shadow.live == SHADOW_LRU ? PEERS_MAX : 1;
	uint32_t best = p->cell[i - 1].head;
	unsigned n;

	for (n = 1; n < peers && (i = p->cell[i - 1].next); n++) {
		const uint32_t r = p->cell[i - 1].head;

		if ((int32_t)(p->run[r].last - p->run[best].last) < 0)
			best = r;
	}
	return best;
}

uint32_t gix_lowest(struct policy *p)
{
	unsigned w = 0, moves = 0;
	uint32_t r;

	while (w < RANKS / 64) {
		if (!p->rank_map[w]) {
			w++;
			continue;
		}
		r = first_of(p, p->rank_head[64 * w + (unsigned)__builtin_ctzll(p->rank_map[w])]);
		if (moves++ == MOVES_MAX || !move_on(p, r))
			return r;
		w = 0;
	}
	return 0;
}

void gix_age_cells(struct policy *p)
{
	uint32_t w, bit;
	uint64_t map;

	/* Oldest cells first, so that nobody is looked at twice. */
	for (w = p->nr_cells / 64; w-- > 0;)
		for (map = p->cell_map[w]; map; map &= ~(1ull << bit % 64)) {
			const struct gix_cell *c;

			bit = 64 * w + 63u - (uint32_t)__builtin_clzll(map);
			c = &p->cell[cell_at(p, bit)];
			while (c->head && move_on(p, c->head))
				;
		}
}

void gix_rank_cells(struct policy *p)
{
	uint32_t w, i;
	uint64_t map;

	for (w = 0; w < p->nr_cells / 64; w++)
		for (map = p->cell_map[w]; map; map &= map - 1) {
			i = cell_at(p, 64 * w + (uint32_t)__builtin_ctzll(map));
			rank_del(p, i);
			rank_add(p, i);
		}
}
