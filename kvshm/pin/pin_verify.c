/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pin_verify.c - is every pinned block still there?
 *
 * A word of an older generation is no violation by itself: a client that lost the race of PN-1
 * holds such a word until its second look.  A violation is a word of the present life of a block
 * that is FREE or GRANTED, or whose ancestors are.
 */
#include <stdio.h>

#include "kvshm/pin/scan.h"

#define FIRST_LEN 160

static bool is_in_use(uint64_t state)
{
	return state_of(state) == KVSHM_BLOCK_PUBLISHED || state_of(state) == KVSHM_BLOCK_EVICTING ||
	       state_of(state) == KVSHM_BLOCK_QUARANTINED;
}

/* Return: 0, or the first block of the chain upwards from @id that is not in use. */
static blk_id_t broken_link(const struct directory *dir, blk_id_t id)
{
	uint32_t steps = dir->max_blocks;

	for (; id && steps--; id = READ_ONCE(dir->desc[id].parent))
		if (id > dir->max_blocks || !is_in_use(READ_ONCE(dir->desc[id].state)))
			return id;
	return id;
}

static unsigned long verify_word(const struct directory *dir, const struct pin_file *f, uint64_t word,
				 char *first)
{
	blk_id_t id = (blk_id_t)word, bad;

	if (!id || id > dir->max_blocks ||
	    state_generation(READ_ONCE(dir->desc[id].state)) != (uint32_t)(word >> 32))
		return 0;
	bad = broken_link(dir, id);
	if (!bad)
		return 0;
	if (first && !*first)
		snprintf(first, FIRST_LEN, "pin: file %u pins block %u, but block %u is in state %u",
			 f->number, id, bad,
			 bad <= dir->max_blocks ? (unsigned)state_of(READ_ONCE(dir->desc[bad].state)) : 0);
	return 1;
}

unsigned long pin_verify(struct pin_set *s, const struct directory *dir, char *first)
{
	unsigned long nr = 0;
	uint32_t i;
	long got, w;

	if (first)
		*first = '\0';
	for (i = 0; i < s->nr_files; i++) {
		got = pin_file_read(s, &s->file[i]);
		for (w = 1; w < got; w++)
			nr += verify_word(dir, &s->file[i], s->word[w], first);
	}
	return nr;
}
