/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_recover.c - F4: a damaged superblock or directory, and the daemon that takes it over
 *
 * Refused, or recovered to a content that every checker accepts and that can be used.
 */
#include <string.h>

#include "kvshm/cache/cache.h"
#include "tests/fuzz/fuzz_dir.h"

static struct fuzz_dir f;
static struct arena arena;

static bool is_alive(void *arg, uint32_t owner)
{
	return owner % 2;
}

static void verify(struct cache *c)
{
	char first[160] = "";

	if (cache_verify(c, first)) {
		fprintf(stderr, "%s\n", first);
		abort();
	}
}

static void use(struct cache *c)
{
	struct kvshm_id_run run[4];
	struct kvshm_key key = fuzz_key(1, 0);
	unsigned nr_runs;

	cache_drop(c, 1, &key);
	cache_grant(c, 7, 1, 0, 4, run, 4, &nr_runs, 2000);
	cache_owner_gone(c, 7);
	cache_reclaim(c, FD_LEN, 3000);
	cache_tick(c, 4000000000);
}

static void map_arena(void)
{
	const struct kvshm_extent_entry e = { .len = FD_UNITS * HUGE_LEN, .page_kind = KVSHM_PAGES_4K };
	int fd = memfd_create("arena", MFD_CLOEXEC);

	MUST(fd >= 0 && ftruncate(fd, FD_UNITS * HUGE_LEN) == 0);
	MUST(arena_reserve(&arena, FD_UNITS * HUGE_LEN, true) == 0 && arena_map_extent(&arena, &e, fd) == 0);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct input in = { data, len };
	struct cache_config cfg = { .arena = &arena };
	struct directory d;
	struct cache *c;
	long ret;

	if (!arena.base)
		map_arena();
	fuzz_dir_damage(&f, &in);
	if (directory_attach(f.fd, true, &d) < 0)
		return 0;
	cfg.dir = &d;
	MUST(pin_set_create(1, &cfg.pins) == 0 && cache_create(&cfg, &c) == 0);
	ret = cache_recover(c, is_alive, NULL, 1000);
	/* The daemon has mapped what the extent table names, or starts cold; here there is one extent. */
	if (ret >= 0) {
		verify(c);
		if (d.sb->nr_extents == 1 && d.extent[0].len == FD_UNITS * HUGE_LEN && d.extent[0].base == 0)
			use(c);
		verify(c);
	}
	cache_destroy(c);
	pin_set_destroy(cfg.pins);
	directory_detach(&d);
	return 0;
}
