/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/engines/llama/state.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <llama.h>

/* How the state of a sequence begins: its cells; layers follow, each with a head of its own. */
struct state_cell {
	int32_t pos;
	uint32_t nr_seqs; /* 0: the cell is of this sequence only */
};
struct state_head {
	uint32_t nr_cells;
	struct state_cell cells[];
};

static void scratch_fill(const struct state_place *at)
{
	llama_kv_cache_seq_cp(at->ctx, at->seq, at->scratch, at->from, at->to);
}

static void scratch_clear(const struct state_place *at)
{
	llama_kv_cache_seq_rm(at->ctx, at->scratch, -1, -1);
}

size_t state_block_bytes(const struct state_place *at)
{
	size_t size;

	scratch_fill(at);
	size = llama_state_seq_get_size(at->ctx, at->scratch, 0);
	scratch_clear(at);
	return size;
}

int state_save(const struct state_place *at, void *dst, size_t size)
{
	size_t written = 0;

	scratch_fill(at);
	/* Asked first: a longer state would be cut in silence by some builds, refused by others. */
	if (llama_state_seq_get_size(at->ctx, at->scratch, 0) == size)
		written = llama_state_seq_get_data(at->ctx, dst, size, at->scratch, 0);
	scratch_clear(at);
	return written == size ? 0 : -EMSGSIZE;
}

/*
 * llama.cpp refuses wrong layers, types and row sizes, but believes the number of cells and runs off
 * the end; and the positions of a block decide where it lands.  Both are held against the place that
 * the block is meant for.
 */
static bool head_fits(const void *src, size_t size, int32_t from, int32_t to)
{
	uint32_t i, nr = (uint32_t)(to - from);
	const struct state_head *head = src;
	struct state_cell cell;
	uint32_t nr_cells;

	if (size < sizeof(*head) + nr * sizeof(cell))
		return false;
	memcpy(&nr_cells, &head->nr_cells, sizeof(nr_cells));
	if (nr_cells != nr)
		return false;
	for (i = 0; i < nr; i++) {
		memcpy(&cell, &head->cells[i], sizeof(cell));
		if (cell.pos != from + (int32_t)i || cell.nr_seqs)
			return false;
	}
	return true;
}

int state_restore(const struct state_place *at, const void *src, size_t size)
{
	bool is_whole;

	if (!head_fits(src, size, at->from, at->to))
		return -EBADMSG;
	is_whole = llama_state_seq_set_data(at->ctx, src, size, at->scratch, 0) == size &&
		   llama_kv_cache_seq_pos_min(at->ctx, at->scratch) == at->from &&
		   llama_kv_cache_seq_pos_max(at->ctx, at->scratch) == at->to - 1;
	if (is_whole)
		llama_kv_cache_seq_cp(at->ctx, at->scratch, at->seq, -1, -1);
	/* Also after a refusal: it may leave part of the block behind. */
	scratch_clear(at);
	return is_whole ? 0 : -EBADMSG;
}
