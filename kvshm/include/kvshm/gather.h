/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gather.h - scattered pieces of pinned blocks into one packed buffer; a part of <kvshm/kvshm.h>
 *
 * For sparse attention, which wants some tokens of some heads.  Into device memory: kvshm_gpu_gather() of <kvshm/gpu.h>.
 * Errors, outputs and threads: as in kvshm.h.
 */
#ifndef KVSHM_GATHER_H
#define KVSHM_GATHER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kvshm;
struct kvshm_block;

/**
 * struct kvshm_rows - how the blocks of a namespace hold KV: runs of bytes, one for each token of a head
 * @nr_tokens: of a full block, at most 65,535
 * @nr_heads: KV heads of this rank; 1 for a latent
 * @nr_layers: at most 256
 * @nr_parts: 2: K and V apart; 1: a latent, or K and V side by side in a run
 * @run_len: bytes of one token of one head
 * @layer_stride: bytes from a layer to the next
 * @part_stride: bytes from K to V
 * @head_stride: bytes from a head to the next
 * @token_stride: bytes from a token to the next; where it is @run_len, tokens are copied together
 */
struct kvshm_rows {
	uint32_t nr_tokens, nr_heads, nr_layers, nr_parts;
	uint64_t run_len;
	uint64_t layer_stride, part_stride, head_stride, token_stride;
};

/**
 * struct kvshm_piece - some tokens of one head of one layer
 * @id: the caller's own name of it, for @held of struct kvshm_gather_request
 * @token: of the chain, may be in any block
 * @nr_tokens: may go on into following blocks
 * @layer: its number
 * @head: its number
 * @part: 0 K or latent, 1 V
 * @resv: 0
 */
struct kvshm_piece {
	uint32_t id;
	uint32_t token, nr_tokens;
	uint16_t layer, head, part;
	uint16_t resv;
};

/**
 * struct kvshm_gather_request - which pieces, out of what, to where
 * @sz: sizeof(struct kvshm_gather_request)
 * @rows: how the blocks hold them
 * @blocks: from kvshm_resolve(), still pinned; all but the last are full
 * @pieces: in the order in which they are packed
 * @held: bit @id set: the caller has that piece already, it is left out; may be NULL
 * @dst: where to pack
 * @dst_len: bytes of it
 * @at: where each piece begins in @dst, UINT64_MAX where it was left out; may be NULL
 * @nr_blocks: number of @blocks
 * @nr_pieces: number of @pieces
 * @nr_held: bits of @held; ids beyond are not held
 * @resv: 0
 */
struct kvshm_gather_request {
	size_t sz;
	const struct kvshm_rows *rows;
	const struct kvshm_block *blocks;
	const struct kvshm_piece *pieces;
	const uint64_t *held;
	void *dst;
	uint64_t dst_len;
	uint64_t *at;
	uint32_t nr_blocks, nr_pieces, nr_held, resv;
};

/**
 * kvshm_gather() - copy scattered pieces of pinned blocks into one packed buffer
 * @k: the handle
 * @g: what, out of what, to where; on failure @dst and @at are of no meaning
 * @ret_len: bytes packed, without gaps
 *
 * No allocation, no system call.
 *
 * Return: number of pieces copied; -EINVAL a piece out of range, rows that a block has no room for, blocks that are
 * not full; -ENOSPC @dst is too small; -EOWNERDEAD.
 */
int kvshm_gather(struct kvshm *k, const struct kvshm_gather_request *g, uint64_t *ret_len);

#ifdef __cplusplus
}
#endif
#endif
