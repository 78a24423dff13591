/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/kv_dir.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvshm/base/rand.h"

static void need(int ret, const char *what)
{
	if (ret < 0) {
		fprintf(stderr, "kv_dir: %s: %s\n", what, strerror(-ret));
		abort();
	}
}

void kv_dir_create(struct kv_dir *k, uint32_t max_blocks)
{
	const struct directory_geometry g = { .max_blocks = max_blocks, .max_ns = 8, .max_extents = 1, .hash_seed = 1, .instance = 1 };
	int fd;

	memset(k, 0, sizeof(*k));
	tmp_dir_create(&k->tmp);
	fd = openat(k->tmp.fd, "directory", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	need(fd, "directory");
	need(ftruncate(fd, (off_t)directory_size(&g)), "size");
	need(directory_create(fd, &g, &k->dir), "layout");
	close(fd);
	k->dir.ns[KV_DIR_NS] = (struct kvshm_ns_entry){ .block_len = 65536, .block_tokens = 16, .state = 1 };
	k->dir.ns[KV_DIR_NS].fingerprint[0] = 0xab;
	need(events_create(k->tmp.fd, "events", &k->ring), "events");
}

void kv_dir_serve(struct kv_dir *k)
{
	k->dir.sb->daemon_pid = events_header(k->ring)->pid;
	k->dir.sb->daemon_start_ticks = events_header(k->ring)->start_ticks;
	directory_set_state(&k->dir, KVSHM_SB_LIVE, 1);
}

void kv_dir_destroy(struct kv_dir *k)
{
	events_close(k->ring);
	directory_detach(&k->dir);
	tmp_dir_destroy(&k->tmp);
}

struct kvshm_key kv_dir_key(blk_id_t id, uint32_t generation)
{
	uint64_t w[4] = { rand_mix((uint64_t)generation << 32 | id) };
	struct kvshm_key key;

	for (unsigned i = 1; i < 4; i++)
		w[i] = rand_mix(w[i - 1]);
	memcpy(&key, w, sizeof(key));
	return key;
}

uint32_t kv_dir_generation(const struct kv_dir *k, blk_id_t id)
{
	return state_generation(READ_ONCE(k->dir.desc[id].state));
}

void kv_dir_put(struct kv_dir *k, blk_id_t id, blk_id_t parent)
{
	struct kvshm_desc *d = &k->dir.desc[id];
	struct block_info info = { .parent = parent, .length = 65536, .ns = KV_DIR_NS, .flags = parent ? 0 : KVSHM_FLAG_NOPARENT };

	block_grant(d, id, 65536, KV_DIR_NS, 0);
	info.key = kv_dir_key(id, kv_dir_generation(k, id));
	info.depth = parent ? k->dir.desc[parent].depth + 1 : 0;
	block_publish(d, &info);
}

void kv_dir_free(struct kv_dir *k, blk_id_t id)
{
	block_close(&k->dir.desc[id]);
	block_free(&k->dir.desc[id]);
}

void kv_dir_tell(struct kv_dir *k, enum kvshm_event_type type, blk_id_t id, uint32_t generation)
{
	events_push(k->ring, &(struct kvshm_event){ .type = (uint8_t)type, .id = id, .generation = generation, .key = 1 });
}

void kv_dir_store(struct kv_dir *k, blk_id_t id, blk_id_t parent)
{
	kv_dir_put(k, id, parent);
	kv_dir_tell(k, KVSHM_EVENT_STORED, id, kv_dir_generation(k, id));
}

void kv_dir_remove(struct kv_dir *k, blk_id_t id)
{
	block_close(&k->dir.desc[id]);
	kv_dir_tell(k, KVSHM_EVENT_REMOVED, id, kv_dir_generation(k, id));
	block_free(&k->dir.desc[id]);
}
