/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_dir.h - a directory in anonymous memory, for tests that need no files
 *
 * The caller is its only writer.  Memory is on huge pages where the kernel has them.
 */
#ifndef TESTS_LIB_FAKE_DIR_H
#define TESTS_LIB_FAKE_DIR_H

#include "kvshm/arena/block.h"
#include "kvshm/arena/directory.h"

#define FAKE_BLOCK_LEN 65536u

/* An empty directory of @max_blocks; ends the program when there is no memory. */
struct directory *fake_dir_create(uint32_t max_blocks);
struct directory *fake_dir_destroy(struct directory *dir);

/* Key number @i of chain number @chain: any two differ. */
struct kvshm_key fake_key(uint64_t chain, uint64_t i);

/* Grant block @id; its payload may be written now. */
void fake_grant(struct directory *dir, uint16_t ns, blk_id_t id);

/* Publish granted block @id below @parent (0: a root), and its index slot: that of index_insert(). */
int fake_commit(struct directory *dir, uint16_t ns, const struct kvshm_key *key, blk_id_t id,
		blk_id_t parent);

/* Grant and publish block @id below @parent (0: a root), without an index slot. */
void fake_block(struct directory *dir, uint16_t ns, const struct kvshm_key *key, blk_id_t id,
		blk_id_t parent);

/* The same and its index slot.  Return: that of index_insert(). */
int fake_publish(struct directory *dir, uint16_t ns, const struct kvshm_key *key, blk_id_t id,
		 blk_id_t parent);

/* keys 0..nr-1 of @chain as ids first..first+nr-1 in namespace 0. */
void fake_chain(struct directory *dir, uint64_t chain, unsigned nr, blk_id_t first);

/* Index slot, then FREE with the next generation. */
void fake_evict(struct directory *dir, blk_id_t id);

#endif
