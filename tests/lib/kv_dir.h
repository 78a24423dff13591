/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_dir.h - the files of a daemon that kvshm events reads, and its writer's part in them
 *
 * A directory without an index and a ring of events, in a folder.  Keys follow from id and generation, so that a
 * reader can tell whether what it read is of one life.
 */
#ifndef TESTS_LIB_KV_DIR_H
#define TESTS_LIB_KV_DIR_H

#include "kvshm/arena/block.h"
#include "kvshm/arena/directory.h"
#include "kvshm/stats/events.h"
#include "tests/lib/tmp_dir.h"

#define KV_DIR_NS 1u

struct kv_dir {
	struct tmp_dir tmp;
	struct directory dir;
	struct event_ring *ring;
};

/* Ends the program when it cannot be had. */
void kv_dir_create(struct kv_dir *k, uint32_t max_blocks);
void kv_dir_destroy(struct kv_dir *k);

/* LIVE, served by this process. */
void kv_dir_serve(struct kv_dir *k);

struct kvshm_key kv_dir_key(blk_id_t id, uint32_t generation);
uint32_t kv_dir_generation(const struct kv_dir *k, blk_id_t id);

/* Publish a free block below @parent (0: a root), or free a published one; without a word, */
void kv_dir_put(struct kv_dir *k, blk_id_t id, blk_id_t parent);
void kv_dir_free(struct kv_dir *k, blk_id_t id);
/* and the event, as the block is now (STORED) or was in @generation (REMOVED). */
void kv_dir_tell(struct kv_dir *k, enum kvshm_event_type type, blk_id_t id, uint32_t generation);

/* Both. */
void kv_dir_store(struct kv_dir *k, blk_id_t id, blk_id_t parent);
void kv_dir_remove(struct kv_dir *k, blk_id_t id);

#endif
