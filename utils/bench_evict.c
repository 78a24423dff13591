/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_evict.c - what a victim costs the writer: policy, scan of all pin files, index, slab
 *
 * The cache as a library in this process, over a directory and pin files of its own, 64 sessions with
 * pins each.  Payload is never touched, so the arena is address space only.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvshm/arena/backing.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/cache/cache.h"
#include "utils/bench.h"
#include "utils/commands.h"

#define DEFAULT_BLOCKS 1000000ul
#define BLOCK_LEN 4096u
#define CHAIN 64u
#define PINNED 16u			/* pins of each session */
#define BATCH_VICTIMS 4096ul
#define BATCHES 1000
#define WARM_UP 5

struct evict_run {
	struct directory dir;
	struct arena arena;
	struct pin_set *pins;
	struct cache *cache;
	int dirfd, dir_file;
	int pin_fd[256];
	char path[64];
	uint16_t ns;
	uint64_t next_chain;
};

static int make_directory(struct evict_run *r, unsigned long blocks)
{
	struct directory_geometry g = { .max_blocks = (uint32_t)(blocks + blocks / 8 + 4096), .max_ns = 64,
					.max_extents = 64 };
	uint32_t kind;
	int ret;

	snprintf(r->path, sizeof(r->path), "%s/kvshm-evict-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(r->path))
		return -errno;
	r->dirfd = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->dirfd < 0)
		return -errno;
	ret = backing_create(r->dirfd, "directory", directory_size(&g), BACKING_AUTO, -1, &r->dir_file, &kind);
	return ret < 0 ? ret : directory_create(r->dir_file, &g, &r->dir);
}

/* An extent of address space: its entry alone is what the allocator needs. */
static int make_arena(struct evict_run *r, unsigned long blocks)
{
	size_t len = round_up((size_t)blocks * BLOCK_LEN, (size_t)HUGE_LEN);
	int ret = arena_reserve(&r->arena, len, true);

	if (ret < 0)
		return ret;
	r->dir.extent[0] = (struct kvshm_extent_entry){ .base = 0, .len = len, .page_kind = KVSHM_PAGES_4K };
	r->dir.sb->nr_extents = 1;
	r->arena.nr_extents = 1;
	r->arena.span = len;
	return cache_add_extent(r->cache, 0);
}

static int make_pin_files(struct evict_run *r, unsigned sessions)
{
	int ret = 0;

	for (unsigned i = 0; i < sessions && !ret; i++) {
		r->pin_fd[i] = pinfile_create(r->dirfd, i + 1, KVSHM_PIN_WORDS);
		ret = r->pin_fd[i] < 0 ? r->pin_fd[i] :
		      pin_set_add(r->pins, i + 1, r->pin_fd[i], KVSHM_PIN_WORDS, 0);
	}
	return ret;
}

/* Names, made and gone again before a signal is taken: all the rest goes by descriptor. */
static int make_files(struct evict_run *r, unsigned sessions, unsigned long blocks)
{
	sigset_t all, before;
	char name[32];
	int ret;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	ret = make_directory(r, blocks);
	if (!ret)
		ret = pin_set_create(512, &r->pins);
	if (!ret)
		ret = make_pin_files(r, sessions);
	for (unsigned i = 0; i < sessions; i++) {
		snprintf(name, sizeof(name), "pins.%u", i + 1);
		unlinkat(r->dirfd, name, 0);
	}
	unlinkat(r->dirfd, "directory", 0);
	rmdir(r->path);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return ret;
}

static int publish_chain(struct evict_run *r)
{
	struct kvshm_commit_rec rec[CHAIN] = { 0 };
	struct kvshm_id_run runs[CHAIN];
	struct cache_commit m = { .owner = 1, .ns = r->ns, .flags = KVSHM_SQE_F_NOPARENT, .rec = rec,
				  .now_ns = clock_ns() };
	struct cache_commit_result done;
	unsigned nr_runs, n = 0;
	int got = cache_grant(r->cache, 1, r->ns, 0, CHAIN, runs, CHAIN, &nr_runs, m.now_ns);

	if (got <= 0)
		return got ? got : -ENOSPC;
	for (unsigned i = 0; i < nr_runs; i++)
		for (uint32_t k = 0; k < runs[i].nr; k++, n++) {
			uint32_t id = runs[i].first + k;

			rec[n].key = bench_key(r->next_chain, n);
			rec[n].block = (struct kvshm_block_ref){ id, state_generation(r->dir.desc[id].state) };
			rec[n].length = BLOCK_LEN;
		}
	m.nr = n;
	r->next_chain++;
	return cache_commit(r->cache, &m, &done);
}

/* One session's pins on the ends of chains, newest first. */
static int pin_chains(struct evict_run *r, struct pin_table *t, unsigned session)
{
	for (unsigned p = 1; p <= PINNED; p++) {
		unsigned nth = session * PINNED + p;
		struct kvshm_key key;
		struct index_hit hit;
		uint32_t slot;
		int ret;

		if (nth > r->next_chain / 4)
			continue;
		key = bench_key(r->next_chain - 1 - nth % r->next_chain, CHAIN - 1);
		if (!index_find(&r->dir, r->ns, &key, &hit))
			continue;
		ret = pin_take(t, &r->dir, &hit, &slot);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* The newest blocks are pinned, as running requests do; of a small cache a quarter at most. */
static int pin_some(struct evict_run *r, unsigned sessions)
{
	struct pin_table t;
	int ret = 0;

	for (unsigned i = 0; i < sessions && !ret; i++) {
		ret = pinfile_map(r->pin_fd[i], KVSHM_PIN_WORDS, 1ull << 60, &t);
		if (ret < 0)
			break;
		ret = pin_chains(r, &t, i);
		pinfile_unmap(&t);
		pin_table_fini(&t);
	}
	return ret;
}

static int fill(struct evict_run *r, unsigned long blocks)
{
	struct cache_counts n;

	for (;;) {
		int ret;

		cache_count(r->cache, &n);
		if (n.free_bytes < (uint64_t)CHAIN * BLOCK_LEN || n.published >= blocks)
			return 0;
		ret = publish_chain(r);
		if (ret < 0)
			return ret;
		bench_progress("filling, blocks", n.published, blocks);
	}
}

static int measure(struct evict_run *r, unsigned long blocks, struct jdoc *j)
{
	unsigned victims = (unsigned)max_of(min_of(blocks / 8, BATCH_VICTIMS), CHAIN);
	struct samples s = { 0 };
	struct cache_counts before, after, last;
	int ret = 0;

	for (unsigned b = 0; b < WARM_UP + BATCHES && !ret; b++) {
		uint64_t start;

		cache_count(r->cache, &before);
		start = clock_ns();
		cache_reclaim(r->cache, (uint64_t)victims * BLOCK_LEN, start);
		start = clock_ns() - start;
		cache_count(r->cache, &after);
		if (after.evictions == before.evictions)
			return -ENOSPC;
		if (b >= WARM_UP)
			samples_add(&s, (double)start / (double)(after.evictions - before.evictions));
		for (unsigned i = 0; i < victims / CHAIN && !ret; i++)
			ret = publish_chain(r);
	}
	cache_count(r->cache, &last);
	if (!ret) {
		jdoc_real(j, "ns_per_victim", samples_quantile(&s, 0.5));
		jdoc_real(j, "p99_ns_per_victim", samples_quantile(&s, 0.99));
		samples_p999(&s, 1, j, "p999_ns_per_victim");
		jdoc_int(j, "victims", (int64_t)last.evictions);
		jdoc_real(j, "victims_per_scan", (double)last.evictions / (double)max_of(last.scans, 1u));
		jdoc_int(j, "pins", (int64_t)last.pins);
	}
	samples_fini(&s);
	return ret;
}

static void tear_down(struct evict_run *r, unsigned sessions)
{
	cache_destroy(r->cache);
	pin_set_destroy(r->pins);
	arena_unmap(&r->arena);
	for (unsigned i = 0; i < sessions; i++)
		close(r->pin_fd[i]);
	directory_detach(&r->dir);
	close(r->dir_file);
	close(r->dirfd);
}

static int set_up(struct evict_run *r, const struct bench_options *o, unsigned long blocks)
{
	struct kvshm_ns_args ns = { .fingerprint = "bench evict", .block_len = BLOCK_LEN, .block_tokens = 16 };
	struct cache_config cfg = { .dir = &r->dir, .arena = &r->arena };
	int ret = make_files(r, o->sessions, blocks);

	cfg.pins = r->pins;
	if (!ret)
		ret = cache_create(&cfg, &r->cache);
	if (!ret)
		ret = make_arena(r, blocks);
	if (!ret)
		ret = cache_ns_attach(r->cache, 0, &ns, &r->ns);
	if (!ret)
		ret = fill(r, blocks);
	if (!ret)
		ret = pin_some(r, o->sessions);
	return ret;
}

static int run(const struct bench_options *o, struct jdoc *j)
{
	unsigned long blocks = o->blocks ? o->blocks : DEFAULT_BLOCKS;
	struct evict_run *r = calloc(1, sizeof(*r));
	int ret;

	if (!r || o->sessions > ARRAY_SIZE(r->pin_fd)) {
		free(r);
		return EXIT_USAGE;
	}
	ret = set_up(r, o, blocks);
	bench_progress("", 0, 0);
	if (!ret) {
		jdoc_int(j, "blocks", (int64_t)blocks);
		jdoc_int(j, "sessions", o->sessions);
		ret = measure(r, blocks, j);
	}
	tear_down(r, o->sessions);
	free(r);
	if (ret < 0)
		fprintf(stderr, "kvshm bench evict: %s\n", strerror(-ret));
	return ret < 0 ? EXIT_DEAD : EXIT_FINE;
}

const struct bench bench_evict = {
	"evict", run, "cost of a victim, with pins of 64 sessions to scan",
};
