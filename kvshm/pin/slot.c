/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slot.c - take and drop a pin, the client's half
 *
 *   client                              writer
 *   word = {id, generation}             state = EVICTING        for all victims
 *   full fence            PN-1          full fence
 *   state again: as before?             scan: {id, generation} in some file?
 *
 * One of the two sees the other's store, or both do.  The client that sees EVICTING takes its word
 * back; the writer that sees a word restores the block.  Without both fences each may read the old
 * value, since a store waits in the store buffer while later loads go ahead.
 *
 * Word 0 tells the scan, in its high half, how many leading words may be in use (0: unknown).  It
 * is stored before the pin word that it covers, so the fence of PN-1 covers it too; a client that
 * lies there leaves only its own pins unseen.
 */
#include <errno.h>
#include <stdlib.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/testpoint.h"
#include "kvshm/pin/pin.h"

static void set_nr_used(struct pin_table *t, uint32_t nr)
{
	WRITE_ONCE(t->word[0], (uint64_t)nr << 32 | KVSHM_PINFILE_OPEN);
}

int pin_table_init(struct pin_table *t, uint64_t *word, uint32_t nr, uint64_t quota_bytes)
{
	uint32_t *free_slot;
	uint64_t *cost;
	uint32_t i;

	free_slot = malloc(nr * sizeof(*free_slot));
	cost = calloc(nr, sizeof(*cost));
	if (!free_slot || !cost) {
		free(free_slot);
		free(cost);
		return -ENOMEM;
	}
	for (i = 0; i < nr - 1; i++)
		free_slot[i] = nr - 1 - i;	/* lowest on top */
	*t = (struct pin_table){
		.word = word, .nr = nr, .free_slot = free_slot, .nr_free = nr - 1,
		.cost = cost, .quota_bytes = quota_bytes,
	};
	set_nr_used(t, 1);
	return 0;
}

void pin_table_fini(struct pin_table *t)
{
	free(t->free_slot);
	free(t->cost);
	*t = (struct pin_table){ 0 };
}

static bool has_room(const struct pin_table *t, uint64_t bytes)
{
	return !t->quota_bytes || (t->used_bytes <= t->quota_bytes &&
				   bytes <= t->quota_bytes - t->used_bytes);
}

/* Is the block still in the life that was found, and open? */
static bool is_unchanged(uint64_t state, uint32_t generation)
{
	return state_of(state) == KVSHM_BLOCK_PUBLISHED && state_generation(state) == generation;
}

/* A pin protects the block and all its ancestors. */
static uint64_t cost_of(const struct kvshm_desc *d)
{
	return ((uint64_t)READ_ONCE(d->depth) + 1) * READ_ONCE(d->length);
}

static int pin_hit(struct pin_table *t, const struct kvshm_desc *d, const struct index_hit *hit,
		   uint32_t slot)
{
	uint64_t cost;

	if (slot >= (uint32_t)(READ_ONCE(t->word[0]) >> 32))
		set_nr_used(t, slot + 1);
	TESTPOINT("pin_take: before the word");
	WRITE_ONCE(t->word[slot], pin_word(hit->id, hit->generation));
	/* PN-1: the word before the second look; pairs with the writer's close and pin_set_scan(). */
	smp_mb();
	if (!is_unchanged(READ_ONCE(d->state), hit->generation))
		return -ESTALE;
	cost = cost_of(d);
	if (!has_room(t, cost))
		return -ENOBUFS;
	t->cost[slot] = cost;
	t->used_bytes += cost;
	return 0;
}

int pin_take(struct pin_table *t, const struct directory *dir, const struct index_hit *hit,
	     uint32_t *ret_slot)
{
	uint32_t slot;
	int ret;

	if (!hit->id || hit->id > dir->max_blocks)
		return -ESTALE;
	if (!t->nr_free)
		return -ENOBUFS;
	slot = t->free_slot[t->nr_free - 1];
	ret = pin_hit(t, &dir->desc[hit->id], hit, slot);
	if (ret < 0) {
		WRITE_ONCE(t->word[slot], 0);	/* nothing was read under it */
		return ret;
	}
	t->nr_free--;
	*ret_slot = slot;
	return 0;
}

uint32_t pin_lower(struct pin_table *t, const struct directory *dir, uint32_t slot, blk_id_t id)
{
	const struct kvshm_desc *d = &dir->desc[id];
	uint32_t generation = state_generation(READ_ONCE(d->state));
	uint64_t cost = cost_of(d);

	/* PN-2: the reads of deeper blocks before their protection ends; pairs with pin_set_scan(). */
	store_release(&t->word[slot], pin_word(id, generation));
	t->used_bytes -= t->cost[slot] - cost;
	t->cost[slot] = cost;
	return generation;
}

void pin_drop(struct pin_table *t, uint32_t slot)
{
	if (!slot || slot >= t->nr || !READ_ONCE(t->word[slot]))
		return;
	/* PN-2: the reads of the block before the word is gone; pairs with pin_set_scan(). */
	store_release(&t->word[slot], 0);
	t->used_bytes -= t->cost[slot];
	t->cost[slot] = 0;
	t->free_slot[t->nr_free++] = slot;
}
