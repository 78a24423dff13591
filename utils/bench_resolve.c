/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_resolve.c - ids and places of a pinned prefix, and the vector match of loose keys
 *
 * Neighbours: whole chains committed at once.  Scattered: chains that grew by one block a turn, all of
 * them in turn, so that no two blocks of a chain are neighbours.  Loose: one look-up and one pin a key.
 */
#include <stdio.h>
#include <stdlib.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "utils/bench.h"
#include "utils/commands.h"

#define DEFAULT_BLOCKS 200000ul
#define BLOCK_LEN 4096u
#define BATCHES 1200
#define WARM_UP 20

struct resolve_run {
	const struct bench_options *o;
	struct bench_target *t;
	struct kvshm_key *keys;
	struct kvshm_block *blocks;
	struct kvshm_pin *pins;
	uint64_t rand;
	unsigned long wrong;
};

static void prepare(struct resolve_run *r)
{
	uint64_t chain = bench_rand(&r->rand) % r->t->nr_chains;

	for (unsigned i = 0; i < r->o->keys; i++)
		r->keys[i] = bench_key(chain, i);
}

static uint64_t once(struct resolve_run *r)
{
	struct kvshm_pin pin = { 0 };
	uint64_t start;
	int n;

	prepare(r);
	if (kvshm_acquire(r->t->k, r->t->ns, r->keys, r->o->keys, &pin) != (int)r->o->keys)
		r->wrong++;
	pmu_start(r->o->pmu);
	start = clock_ns();
	n = kvshm_resolve(r->t->k, &pin, r->keys, r->blocks);
	start = clock_ns() - start;
	pmu_stop(r->o->pmu);
	if (n != (int)r->o->keys)
		r->wrong++;
	kvshm_release(r->t->k, &pin);
	return start;
}

static uint64_t once_loose(struct resolve_run *r)
{
	uint64_t start;
	int n;

	prepare(r);
	pmu_start(r->o->pmu);
	start = clock_ns();
	n = kvshm_acquire_loose(r->t->k, r->t->ns, r->keys, r->o->keys, r->pins);
	start = clock_ns() - start;
	pmu_stop(r->o->pmu);
	if (n != (int)r->o->keys)
		r->wrong++;
	for (unsigned i = 0; i < r->o->keys; i++)
		kvshm_release(r->t->k, &r->pins[i]);
	return start;
}

static int measure(struct resolve_run *r, struct jdoc *j)
{
	struct samples s = { 0 };

	for (unsigned b = 0; b < WARM_UP + BATCHES; b++) {
		uint64_t ns = r->o->is_loose ? once_loose(r) : once(r);

		if (b >= WARM_UP)
			samples_add(&s, (double)ns / r->o->keys);
	}
	jdoc_real(j, "ns_per_block", samples_quantile(&s, 0.5));
	jdoc_real(j, "p99_ns_per_block", samples_quantile(&s, 0.99));
	samples_p999(&s, 1, j, "p999_ns_per_block");
	pmu_report(r->o->pmu, j, WARM_UP + BATCHES);
	jdoc_int(j, "wrong_lengths", (int64_t)r->wrong);
	samples_fini(&s);
	if (r->wrong)
		fprintf(stderr, "kvshm bench resolve: %lu calls did not find the whole chain\n", r->wrong);
	return r->wrong ? EXIT_DEAD : EXIT_FINE;
}

static int run(const struct bench_options *o, struct jdoc *j)
{
	unsigned long blocks = o->blocks ? o->blocks : DEFAULT_BLOCKS;
	struct resolve_run r = { .o = o, .rand = 88172645463325252ull };
	struct bench_target t;
	int ret = bench_open(o, j, blocks, BLOCK_LEN, 0, &t);

	if (ret)
		return ret;
	r.t = &t;
	r.keys = calloc(o->keys, sizeof(*r.keys));
	r.blocks = calloc(o->keys, sizeof(*r.blocks));
	r.pins = calloc(o->keys, sizeof(*r.pins));
	ret = r.keys && r.blocks && r.pins ?
	      bench_fill(&t, blocks, o->keys, o->is_scattered ? 1 : 2048, o->is_loose) : EXIT_DEAD;
	if (!ret) {
		jdoc_int(j, "keys", o->keys);
		jdoc_int(j, "blocks", (int64_t)(t.nr_chains * t.chain_len));
		jdoc_text(j, "kind", o->is_loose ? "loose" : o->is_scattered ? "scattered" : "neighbours");
		ret = measure(&r, j);
	}
	free(r.keys);
	free(r.blocks);
	free(r.pins);
	bench_close(&t);
	return ret;
}

const struct bench bench_resolve = {
	"resolve", run, "ids and places of a pinned prefix; with --loose the vector match",
};
