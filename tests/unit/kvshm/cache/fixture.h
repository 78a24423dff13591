/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fixture.h - a cache over real memory files and real pin files, in one process
 *
 * The directory and the arena outlive the cache, so a crash of the daemon is fix_restart().
 */
#ifndef TESTS_UNIT_KVSHM_CACHE_FIXTURE_H
#define TESTS_UNIT_KVSHM_CACHE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvshm/arena/backing.h"
#include "kvshm/arena/namespace.h"
#include "kvshm/arena/slab.h"
#include "kvshm/cache/cache.h"
#include "policy/policy.h"

#define FIX_SESSIONS 4u
#define FIX_PIN_WORDS 256u
#define FIX_OWNER 7u			/* of session 0; session i has FIX_OWNER + i */
#define __fix static inline __attribute__((unused))

struct fix {
	char path[48];
	int dirfd, dir_fd, arena_fd;
	struct directory dir;
	struct arena arena;
	struct pin_set *pins;
	struct cache *c;
	struct cache_config cfg;
	struct pin_table table[FIX_SESSIONS];
	int pin_fd[FIX_SESSIONS];
	uint64_t *word[FIX_SESSIONS];
	uint64_t now;
	uint32_t dead_owner;		/* not alive at the next fix_restart(), 0: none */
};

__fix void fix_pin_file(struct fix *f, unsigned i)
{
	f->pin_fd[i] = pinfile_create(f->dirfd, FIX_OWNER + i, FIX_PIN_WORDS);
	assert_true(f->pin_fd[i] >= 0);
	f->word[i] = mmap(NULL, FIX_PIN_WORDS * 8, PROT_READ | PROT_WRITE, MAP_SHARED, f->pin_fd[i], 0);
	assert_true(f->word[i] != MAP_FAILED);
	assert_int_equal(pin_table_init(&f->table[i], f->word[i], FIX_PIN_WORDS, 0), 0);
	assert_int_equal(pin_set_add(f->pins, FIX_OWNER + i, f->pin_fd[i], FIX_PIN_WORDS, 0), 0);
}

__fix void fix_arena(struct fix *f, size_t len)
{
	const struct kvshm_extent_entry e = { .len = len, .page_kind = KVSHM_PAGES_4K };

	f->arena_fd = memfd_create("arena", MFD_CLOEXEC);
	assert_int_equal(ftruncate(f->arena_fd, (off_t)len), 0);
	assert_int_equal(arena_reserve(&f->arena, len, true), 0);
	assert_int_equal(arena_map_extent(&f->arena, &e, f->arena_fd), 0);
	f->dir.extent[0] = e;
	f->dir.sb->nr_extents = 1;
}

__fix void fix_open(struct fix *f, uint32_t max_blocks, unsigned units, const struct cache_config *cfg)
{
	const struct directory_geometry g = {
		.max_blocks = max_blocks, .max_ns = 80, .max_extents = 4, .hash_seed = 1, .instance = 1,
	};
	unsigned i;

	*f = (struct fix){ .path = "/tmp/kvshm-cache-XXXXXX", .now = 1000 };
	assert_non_null(mkdtemp(f->path));
	f->dirfd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->dir_fd = memfd_create("directory", MFD_CLOEXEC);
	assert_int_equal(ftruncate(f->dir_fd, (off_t)directory_size(&g)), 0);
	assert_int_equal(directory_create(f->dir_fd, &g, &f->dir), 0);
	fix_arena(f, units * HUGE_LEN);
	assert_int_equal(pin_set_create(FIX_SESSIONS, &f->pins), 0);
	for (i = 0; i < FIX_SESSIONS; i++)
		fix_pin_file(f, i);
	if (cfg)
		f->cfg = *cfg;
	f->cfg.dir = &f->dir;
	f->cfg.arena = &f->arena;
	f->cfg.pins = f->pins;
	assert_int_equal(cache_create(&f->cfg, &f->c), 0);
	assert_int_equal(cache_add_extent(f->c, 0), 0);
}

__fix void fix_close(struct fix *f)
{
	char name[80];
	unsigned i;

	f->c = cache_destroy(f->c);
	f->pins = pin_set_destroy(f->pins);
	for (i = 0; i < FIX_SESSIONS; i++) {
		pin_table_fini(&f->table[i]);
		munmap(f->word[i], FIX_PIN_WORDS * 8);
		close(f->pin_fd[i]);
		snprintf(name, sizeof(name), "%s/pins.%u", f->path, FIX_OWNER + i);
		unlink(name);
	}
	arena_unmap(&f->arena);
	directory_detach(&f->dir);
	close(f->arena_fd);
	close(f->dir_fd);
	close(f->dirfd);
	rmdir(f->path);
}

__fix bool fix_is_owner_alive(void *arg, uint32_t owner)
{
	const struct fix *f = arg;

	return owner != f->dead_owner;
}

/* The daemon dies here, and the next one takes over.  Return: that of cache_recover(). */
__fix long fix_restart(struct fix *f)
{
	f->c = cache_destroy(f->c);
	assert_int_equal(cache_create(&f->cfg, &f->c), 0);
	return cache_recover(f->c, fix_is_owner_alive, f, ++f->now);
}

__fix void fix_verify(struct fix *f)
{
	char first[160];
	unsigned long nr = cache_verify(f->c, first);

	if (nr)
		fail_msg("%lu violations, first: %s", nr, first);
}

__fix struct cache_counts fix_count(const struct fix *f)
{
	struct cache_counts n;

	cache_count(f->c, &n);
	return n;
}

/* A namespace named by @name, blocks of @block_len. */
__fix uint16_t fix_ns(struct fix *f, uint8_t name, uint32_t block_len)
{
	struct kvshm_ns_args a = { .block_len = block_len, .block_tokens = 16 };
	uint16_t ns = 0;

	a.fingerprint[0] = name;
	assert_int_equal(cache_ns_attach(f->c, 1000, &a, &ns), 0);
	return ns;
}

__fix struct kvshm_key fix_key(uint32_t chain, uint32_t i)
{
	struct kvshm_key k = { { 0x5a } };

	memcpy(&k.bytes[4], &chain, sizeof(chain));
	memcpy(&k.bytes[20], &i, sizeof(i));
	return k;
}

__fix uint32_t fix_generation(const struct fix *f, blk_id_t id)
{
	return state_generation(f->dir.desc[id].state);
}

__fix struct kvshm_block_ref fix_ref(const struct fix *f, blk_id_t id)
{
	return (struct kvshm_block_ref){ .id = id, .generation = fix_generation(f, id) };
}

__fix char *fix_bytes(const struct fix *f, blk_id_t id)
{
	return arena_ptr(&f->arena, (uint64_t)f->dir.desc[id].page * KVSHM_PAGE);
}

/* One grant of the namespace's length, or 0. */
__fix blk_id_t fix_grant(struct fix *f, uint32_t owner, uint16_t ns)
{
	struct kvshm_id_run run;
	unsigned nr_runs;

	return cache_grant(f->c, owner, ns, 0, 1, &run, 1, &nr_runs, ++f->now) == 1 ? run.first : 0;
}

__fix struct kvshm_commit_rec fix_rec(const struct fix *f, blk_id_t id, struct kvshm_key key)
{
	return (struct kvshm_commit_rec){
		.key = key, .block = fix_ref(f, id), .length = f->dir.desc[id].length,
	};
}

/* Commit one record below @parent (NULL: as a root).  Return: that of cache_commit(). */
__fix int fix_commit(struct fix *f, uint32_t owner, uint16_t ns, const struct kvshm_key *parent,
		     struct kvshm_commit_rec rec, struct cache_commit_result *ret)
{
	const struct cache_commit m = {
		.owner = owner, .ns = ns, .flags = parent ? 0 : KVSHM_SQE_F_NOPARENT, .nr = 1,
		.parent = parent, .rec = &rec, .now_ns = ++f->now,
	};

	return cache_commit(f->c, &m, ret);
}

/* Publish keys @from .. @from + @nr - 1 of @chain below key @from - 1.  Return: how many came through. */
__fix unsigned fix_chain(struct fix *f, uint16_t ns, uint32_t chain, uint32_t from, uint32_t nr)
{
	uint32_t i;

	for (i = from; i < from + nr; i++) {
		const struct kvshm_key key = fix_key(chain, i), parent = fix_key(chain, i - 1);
		blk_id_t id = fix_grant(f, FIX_OWNER, ns);
		struct cache_commit_result r;

		if (!id)
			break;
		memset(fix_bytes(f, id), (int)(chain * 31 + i), 64);
		if (fix_commit(f, FIX_OWNER, ns, i ? &parent : NULL, fix_rec(f, id, key), &r) < 0 ||
		    r.nr_published != 1)
			break;
	}
	return i - from;
}

/* Id of a key, 0: not published. */
__fix blk_id_t fix_find(const struct fix *f, uint16_t ns, uint32_t chain, uint32_t i)
{
	const struct kvshm_key key = fix_key(chain, i);
	struct index_hit hit;

	return index_find(&f->dir, ns, &key, &hit) ? hit.id : 0;
}

/* Session 0 pins block @i of a chain, and so all above it.  Return: slot. */
__fix uint32_t fix_pin(struct fix *f, uint16_t ns, uint32_t chain, uint32_t i)
{
	const struct kvshm_key key = fix_key(chain, i);
	struct index_hit hit;
	uint32_t slot;

	assert_int_equal(index_find(&f->dir, ns, &key, &hit), 1);
	assert_int_equal(pin_take(&f->table[0], &f->dir, &hit, &slot), 0);
	return slot;
}

__fix void fix_unpin(struct fix *f, uint32_t slot)
{
	pin_drop(&f->table[0], slot);
}

#endif
