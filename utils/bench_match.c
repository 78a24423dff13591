/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_match.c - acquire + release of the longest cached prefix, as an engine's scheduler does it
 *
 * Each call takes a random chain and a random cached length; what lies beyond it is absent.  Warm: calls
 * in a row, after a warm-up.  Cold: all caches are flushed before each call.  The floor is a chain of 22
 * dependent cold misses (11 probes, a bucket and a descriptor each) over the same tables in the same
 * run: what a plain binary search could not beat.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvshm/arena/directory.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "utils/bench.h"
#include "utils/commands.h"

#define DEFAULT_BLOCKS 1000000ul
#define BLOCK_LEN 4096u
#define CALLS 16			/* of one batch */
#define BATCHES 1200
#define WARM_UP 40
#define COLD_CALLS 60
#define FLOOR_MISSES 22

struct match_run {
	const struct bench_options *o;
	struct bench_target *t;
	struct kvshm_key *keys;		/* [CALLS][o->keys] */
	unsigned cached[CALLS];
	uint64_t rand;
	unsigned long wrong;
};

/* Keys as an engine has just computed them: in cache, or nearly. */
static void prepare(struct match_run *r)
{
	for (unsigned c = 0; c < CALLS; c++) {
		struct kvshm_key *k = r->keys + (size_t)c * r->o->keys;
		uint64_t chain = bench_rand(&r->rand) % r->t->nr_chains;

		r->cached[c] = r->o->is_miss ? 0 : (unsigned)(bench_rand(&r->rand) % (r->t->chain_len + 1));
		for (unsigned i = 0; i < r->o->keys; i++)
			k[i] = i < r->cached[c] ? bench_key(chain, i) : bench_key(1ull << 62 | chain, i);
	}
}

static void call(struct match_run *r, unsigned c)
{
	struct kvshm_pin pin = { 0 };
	int n = kvshm_acquire(r->t->k, r->t->ns, r->keys + (size_t)c * r->o->keys, r->o->keys, &pin);

	if (n != (int)r->cached[c])
		r->wrong++;
	kvshm_release(r->t->k, &pin);
}

static void warm(struct match_run *r, struct samples *s)
{
	for (unsigned b = 0; b < WARM_UP + BATCHES; b++) {
		uint64_t start;

		prepare(r);
		if (b >= WARM_UP)
			pmu_start(r->o->pmu);
		start = clock_ns();
		for (unsigned c = 0; c < CALLS; c++)
			call(r, c);
		start = clock_ns() - start;
		pmu_stop(r->o->pmu);
		if (b >= WARM_UP)
			samples_add(s, (double)start / CALLS);
		bench_progress("warm batches", b, BATCHES);
	}
}

/* Each address depends on the value loaded before; buckets and descriptors in turn. */
static uint64_t floor_once(const struct directory *d, uint64_t *rand)
{
	uint64_t at = bench_rand(rand), start = clock_ns();

	for (unsigned i = 0; i < FLOOR_MISSES / 2; i++) {
		at = at * 0x9e3779b97f4a7c15ull +
		     READ_ONCE(d->bucket[(at >> 20) & d->bucket_mask].slot[at & 7]) + 1;
		at = at * 0x9e3779b97f4a7c15ull + READ_ONCE(d->desc[(at >> 20) % d->max_blocks + 1].state) + 1;
	}
	return clock_ns() - start;
}

static void cold(struct match_run *r, const struct directory *d, struct samples *s, struct samples *floor)
{
	for (unsigned i = 0; i < COLD_CALLS; i++) {
		uint64_t start;

		if (i % CALLS == 0)
			prepare(r);
		bench_flush_caches();
		start = clock_ns();
		call(r, i % CALLS);
		samples_add(s, (double)(clock_ns() - start));
		bench_flush_caches();
		samples_add(floor, (double)floor_once(d, &r->rand));
		bench_progress("cold calls", i, COLD_CALLS);
	}
	bench_progress("", 0, 0);
}

static void counted(struct kvshm *k, uint32_t ns, void *arg)
{
	struct match_run *r = arg;
	struct bench_target t = *r->t;
	struct match_run mine = *r;

	t.k = k;
	t.ns = ns;
	mine.t = &t;
	for (unsigned c = 0; c < CALLS; c++)
		call(&mine, c);
}

static int map_directory(const struct bench_target *t, struct directory *ret_d)
{
	return t->daemon ? directory_open(private_daemon_dir(t->daemon), ret_d) : -ENOENT;
}

static uint64_t messages(struct kvshm *k)
{
	struct kvshm_client_stats s = { .sz = sizeof(s) };

	return kvshm_stats(k, &s) < 0 ? 0 : s.messages;
}

static int measure(struct match_run *r, struct jdoc *j)
{
	struct samples w = { 0 }, c = { 0 }, f = { 0 };
	struct directory d;
	uint64_t sent, cpu = bench_process_cpu_ns(getpid()), start = clock_ns();
	long syscalls;

	prepare(r);
	syscalls = bench_count_syscalls(r->o, r->t, counted, r);
	sent = messages(r->t->k);
	warm(r, &w);
	jdoc_real(j, "p50_ns", samples_quantile(&w, 0.5));
	jdoc_real(j, "p99_ns", samples_quantile(&w, 0.99));
	samples_p999(&w, 1, j, "p999_ns");
	pmu_report(r->o->pmu, j, BATCHES * CALLS);
	if (!map_directory(r->t, &d)) {
		cold(r, &d, &c, &f);
		directory_detach(&d);
		jdoc_real(j, "cold_p50_ns", samples_quantile(&c, 0.5));
		jdoc_real(j, "cold_p99_ns", samples_quantile(&c, 0.99));
		jdoc_real(j, "floor_p50_ns", samples_quantile(&f, 0.5));
		jdoc_real(j, "cold_to_floor_ratio", samples_quantile(&c, 0.5) / samples_quantile(&f, 0.5));
	}
	jdoc_int(j, "syscalls", syscalls);
	jdoc_int(j, "messages", (int64_t)(messages(r->t->k) - sent));
	jdoc_int(j, "wrong_lengths", (int64_t)r->wrong);
	jdoc_real(j, "client_cpu_percent",
		  100.0 * (double)(bench_process_cpu_ns(getpid()) - cpu) / (double)(clock_ns() - start));
	samples_fini(&w);
	samples_fini(&c);
	samples_fini(&f);
	if (r->wrong) {
		fprintf(stderr, "kvshm bench match: %lu calls found another length than was put\n", r->wrong);
		return EXIT_DEAD;
	}
	return EXIT_FINE;
}

static int run(const struct bench_options *o, struct jdoc *j)
{
	unsigned long blocks = o->blocks ? o->blocks : DEFAULT_BLOCKS;
	struct match_run r = { .o = o, .rand = 88172645463325252ull };
	struct bench_target t;
	int ret = bench_open(o, j, blocks, BLOCK_LEN, 0, &t);

	if (ret)
		return ret;
	r.t = &t;
	r.keys = calloc((size_t)CALLS * o->keys, sizeof(*r.keys));
	ret = r.keys ? bench_fill(&t, blocks, min_of(o->keys, 4096u), 2048, false) : EXIT_DEAD;
	if (!ret) {
		jdoc_int(j, "keys", o->keys);
		jdoc_int(j, "blocks", (int64_t)(t.nr_chains * t.chain_len));
		jdoc_bool(j, "is_miss", o->is_miss);
		ret = measure(&r, j);
	}
	free(r.keys);
	bench_close(&t);
	return ret;
}

const struct bench bench_match = {
	"match", run, "pin the longest cached prefix of a chain and release it",
};
