/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hazard.c - counts of what came back at which age, and of who has not yet
 *
 * Who is still inside has only a time of entry.  Entries are counted in slots of a second; as they age,
 * eight slots a level, two slots of a level become one of the next, so any age is known to a quarter
 * and nothing is kept per entry.  The slot of an entry follows from its birth and slot_now alone, which is
 * how it is found again when it leaves.
 */
#include "policy/hazard.h"

#include <string.h>

#define FIRST 30u			/* units: half a second */
#define FIRST_ODD 42u			/* x sqrt 2 */
#define COARSE_OCTAVES 8u		/* of two bins; later ones have four, equally wide */
#define COARSE_BINS HAZARD_COARSE_BINS
_Static_assert(COARSE_BINS == 1 + 2 * COARSE_OCTAVES, "as said there");
#define SLOT_SHIFT 6			/* units of a slot of level 0: a second */

unsigned hazard_bin(uint32_t age)
{
	const uint32_t times = age / FIRST;
	unsigned l, b;

	if (!times)
		return 0;
	l = 31u - (unsigned)__builtin_clz(times);
	if (l < COARSE_OCTAVES)
		return 1 + 2 * l + (age >= FIRST_ODD << l);
	b = COARSE_BINS + 4 * (l - COARSE_OCTAVES) + (times >> (l - 2) & 3);
	return b < HAZARD_BINS ? b : HAZARD_BINS - 1;
}

double hazard_bin_low(unsigned b)
{
	if (b == 0)
		return 0;
	if (b < COARSE_BINS)
		return (double)(((b & 1) ? FIRST : FIRST_ODD) << (b - 1) / 2);
	b -= COARSE_BINS;
	return (double)((uint64_t)FIRST * (4 + b % 4) << (COARSE_OCTAVES - 2 + b / 4));
}

/* Bin of the ages in slot @s of level @l; HAZARD_BINS: nobody can be there. */
static unsigned bin_of_slot(const struct hazard *h, unsigned l, unsigned s)
{
	const uint32_t now = ((h->slot_now + 1) << SLOT_SHIFT) - 1;
	const uint32_t top = h->slot_now >> l, slot = top - ((top - s) & (HAZARD_SLOTS - 1));
	const uint32_t mid = (slot << l << SLOT_SHIFT) + (1u << (l + SLOT_SHIFT - 1));

	return slot > top ? HAZARD_BINS : hazard_bin(mid < now ? now - mid : 0);
}

static void find_bins(struct hazard *h)
{
	for (unsigned i = 0; i < HAZARD_SLOTS_ALL; i++)
		h->bin_of_slot[i] = (uint8_t)bin_of_slot(h, i / HAZARD_SLOTS, i % HAZARD_SLOTS);
}

void hazard_start(struct hazard *h, uint32_t now)
{
	h->slot_now = now >> SLOT_SHIFT;
	find_bins(h);
}

static void forget_notes(struct hazard *h)
{
	for (unsigned i = 0; i < HAZARD_NOTES; i++)
		h->note[i] = (struct hazard_note){ .at = &h->nowhere };
}

void hazard_init(struct hazard *h)
{
	memset(h, 0, sizeof(*h));
	forget_notes(h);
	hazard_start(h, 0);
}

void hazard_settle(struct hazard *h)
{
	for (unsigned i = 0; i < HAZARD_NOTES; i++) {
		h->note[i].at->weight += h->note[i].add.weight;
		h->note[i].at->blocks += h->note[i].add.blocks;
	}
	forget_notes(h);
}

/* Where entries of that time are counted now. */
static unsigned slot_of(const struct hazard *h, uint32_t birth)
{
	const uint32_t s = birth >> SLOT_SHIFT, levels = (h->slot_now - s) / HAZARD_SLOTS;
	/* Too low by one at most: what lies between two slots is a whole number of them or one more. */
	unsigned l = 31u - (unsigned)__builtin_clz(2 * levels | 1);

	l += (h->slot_now >> l) - (s >> l) >= HAZARD_SLOTS;
	l = l < HAZARD_LEVELS ? l : HAZARD_LEVELS - 1;
	return l * HAZARD_SLOTS + (s >> l & (HAZARD_SLOTS - 1));
}

void hazard_age(const struct hazard *h, uint32_t birth, uint32_t now, struct hazard_age *ret)
{
	*ret = (struct hazard_age){ .birth = birth, .bin = hazard_bin(now - birth), .slot = slot_of(h, birth) };
}

void hazard_enter(struct hazard *h, const struct hazard_lot *lot)
{
	const struct hazard_age age = { .birth = lot->birth, .slot = slot_of(h, lot->birth) };

	hazard_enter_at(h, lot, &age);
}

/* It will leave as one who had been there from age 0 on, so until now it counts less than not at all. */
void hazard_enter_late(struct hazard *h, const struct hazard_lot *lot, uint32_t now)
{
	hazard_enter(h, lot);
	h->node[lot->node].censored[hazard_bin(now - lot->birth)] -= (int64_t)lot->weight * lot->nr;
}

void hazard_event(struct hazard *h, const struct hazard_lot *lot, uint32_t now)
{
	struct hazard_age age;

	hazard_age(h, lot->birth, now, &age);
	hazard_event_at(h, lot, &age);
}

void hazard_censor(struct hazard *h, const struct hazard_lot *lot, uint32_t now)
{
	struct hazard_node *n = &h->node[lot->node];
	const unsigned slot = slot_of(h, lot->birth);
	const int64_t weight = (int64_t)lot->weight * lot->nr;

	h->alive[slot][lot->node].weight -= weight;
	h->alive[slot][lot->node].blocks -= lot->nr;
	n->censored[hazard_bin(now - lot->birth)] += weight;
}

/* Level @l opens slot @now: what was there eight slots ago goes one level up. */
static void shift_level(struct hazard *h, uint32_t nr, unsigned l, uint32_t now)
{
	struct hazard_count *from = h->alive[l * HAZARD_SLOTS + (now & (HAZARD_SLOTS - 1))];
	struct hazard_count *to = h->alive[(l + 1) * HAZARD_SLOTS + ((now - HAZARD_SLOTS) >> 1 & (HAZARD_SLOTS - 1))];
	uint32_t i;

	for (i = 0; i < nr; i++) {
		to[i].weight += from[i].weight;
		to[i].blocks += from[i].blocks;
	}
	memset(from, 0, nr * sizeof(*from));
}

void hazard_advance(struct hazard *h, const struct class_tree *t, uint32_t now)
{
	const uint32_t end = now >> SLOT_SHIFT;
	unsigned l;

	if (h->slot_now >= end)
		return;
	hazard_settle(h);
	while (h->slot_now < end) {
		uint32_t s = ++h->slot_now;

		for (l = HAZARD_LEVELS - 1; l-- > 0;)
			if (!(s & ((1u << l) - 1)))
				shift_level(h, t->nr, l, s >> l);
	}
	find_bins(h);
}
