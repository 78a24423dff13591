/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct.h - memory for other devices: what a network card registers
 *
 * A card reads and writes the memory of a GPU by a dma-buf: kvshm_gpu_dmabuf(), ibv_reg_dmabuf_mr(3).  The arena needs
 * none: a card registers host memory by its mapping, kvshm_extents(), ibv_reg_mr(3); read-only for an untrusted client.
 * A block's @ptr lies in one of them.  Who lets a card read a block holds a pin until the card is done, as for any other
 * reader; who lets it write has been granted the block.
 *
 * Errors are negative errno, outputs are left alone on failure.  All calls belong to the thread of the handle.
 */
#ifndef KVSHM_DIRECT_H
#define KVSHM_DIRECT_H

#include <kvshm/gpu.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * kvshm_gpu_dmabuf() - a range of device memory as a dma-buf
 * @g: the GPU side
 * @addr: device address, of one allocation
 * @len: bytes
 * @ret_off: where the range begins in the buffer, which is of whole pages
 *
 * The memory stays allocated until the descriptor is closed and whoever imported it has let go.
 *
 * Return: the descriptor, the caller's; -EOPNOTSUPP device or driver exports none (kvshm-doctor(1) says which); -EINVAL
 * not memory of this device; -ENOTRECOVERABLE the device is lost; other errors of the driver; -EOWNERDEAD.
 */
int kvshm_gpu_dmabuf(struct kvshm_gpu *g, uint64_t addr, uint64_t len, uint64_t *ret_off);

/**
 * struct kvshm_extent - a piece of the arena as this process maps it
 * @addr: where
 * @len: bytes, whole pages
 * @arena_offset: of its first byte
 * @node: NUMA node
 * @page_kind: enum kvshm_page_kind
 * @content: changes when the handle is attached to another arena: these mappings end then, registrations first
 * @is_writable: 0: a card may only be let read
 */
struct kvshm_extent {
	void *addr;
	uint64_t len, arena_offset;
	uint32_t node, page_kind;
	uint32_t content, is_writable;
};

/**
 * kvshm_extents() - the arena's mappings
 * @k: the handle
 * @ret: array of @max; may be NULL with 0
 * @max: of @ret
 *
 * An arena grows: when a block lies in none of them, there are more.
 *
 * Return: how many there are, @max at most are stored; -ESTALE nothing is attached; -EOWNERDEAD.
 */
int kvshm_extents(struct kvshm *k, struct kvshm_extent *ret, unsigned max);

#ifdef __cplusplus
}
#endif
#endif
