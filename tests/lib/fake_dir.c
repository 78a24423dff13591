/* SPDX-License-Identifier: Apache-2.0 */
/* fake_dir.c - a directory in anonymous memory */
#include "tests/lib/fake_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "kvshm/base/compiler.h"
#include "kvshm/index/index.h"

#define HUGE_LEN ((size_t)2 << 20)

static uint32_t nr_buckets_for(uint32_t max_blocks)
{
	uint32_t nr = 2;

	while (nr * (KVSHM_BUCKET_SLOTS / 2) < max_blocks)
		nr *= 2;
	return nr;
}

struct directory *fake_dir_create(uint32_t max_blocks)
{
	uint32_t nr_buckets = nr_buckets_for(max_blocks);
	size_t desc_len = ((size_t)max_blocks + 1) * sizeof(struct kvshm_desc);
	size_t bucket_len = nr_buckets * sizeof(struct kvshm_bucket);
	struct directory *dir = calloc(1, sizeof(*dir));
	char *p;

	desc_len = round_up(desc_len, (size_t)64);
	if (!dir)
		abort();
	dir->len = round_up(desc_len + bucket_len, HUGE_LEN);
	p = mmap(NULL, dir->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		perror("fake_dir: mmap");
		abort();
	}
	madvise(p, dir->len, MADV_HUGEPAGE);
	dir->desc = (struct kvshm_desc *)(void *)p;
	dir->bucket = (struct kvshm_bucket *)(void *)(p + desc_len);
	dir->max_blocks = max_blocks;
	dir->bucket_mask = nr_buckets - 1;
	dir->hash_seed = 0x6b7673686d;
	return dir;
}

struct directory *fake_dir_destroy(struct directory *dir)
{
	if (dir) {
		munmap(dir->desc, dir->len);
		free(dir);
	}
	return NULL;
}

struct kvshm_key fake_key(uint64_t chain, uint64_t i)
{
	uint64_t w[4], x = chain * 0x9e3779b97f4a7c15ull ^ (i + 1) * 0xd1b54a32d192ed03ull;
	struct kvshm_key key;
	unsigned k;

	for (k = 0; k < 2; k++) {
		x = (x ^ x >> 31) * 0xbf58476d1ce4e5b9ull;
		w[k] = x ^ x >> 29;
	}
	w[2] = chain;
	w[3] = i;
	memcpy(key.bytes, w, sizeof(w));
	return key;
}

void fake_grant(struct directory *dir, uint16_t ns, blk_id_t id)
{
	block_grant(&dir->desc[id], id, FAKE_BLOCK_LEN, ns, 0);
}

static void publish(struct directory *dir, uint16_t ns, const struct kvshm_key *key, blk_id_t id,
		    blk_id_t parent)
{
	struct block_info info = {
		.key = *key,
		.parent = parent,
		.depth = parent ? dir->desc[parent].depth + 1 : 0,
		.length = FAKE_BLOCK_LEN,
		.ns = ns,
		.flags = parent ? 0 : KVSHM_FLAG_NOPARENT,
	};

	block_publish(&dir->desc[id], &info);
}

int fake_commit(struct directory *dir, uint16_t ns, const struct kvshm_key *key, blk_id_t id,
		blk_id_t parent)
{
	publish(dir, ns, key, id, parent);
	return index_insert(dir, ns, key, id);
}

void fake_block(struct directory *dir, uint16_t ns, const struct kvshm_key *key, blk_id_t id,
		blk_id_t parent)
{
	fake_grant(dir, ns, id);
	publish(dir, ns, key, id, parent);
}

int fake_publish(struct directory *dir, uint16_t ns, const struct kvshm_key *key, blk_id_t id,
		 blk_id_t parent)
{
	fake_grant(dir, ns, id);
	return fake_commit(dir, ns, key, id, parent);
}

void fake_chain(struct directory *dir, uint64_t chain, unsigned nr, blk_id_t first)
{
	unsigned i;

	for (i = 0; i < nr; i++) {
		struct kvshm_key key = fake_key(chain, i);

		if (fake_publish(dir, 0, &key, first + i, i ? first + i - 1 : 0) < 0)
			abort();
	}
}

void fake_evict(struct directory *dir, blk_id_t id)
{
	struct kvshm_desc *d = &dir->desc[id];

	index_remove(dir, d->ns, &d->key, id);
	block_free(d);
}
