/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gix_expect.c - load ahead what touches will need
 *
 * A path is a chain of loads, each of them waiting for memory in a big cache.  Those of many touches together
 * wait at the same time: expect_runs() goes a run up all paths, expect_labels() a block up all runs that are about to
 * become one with the run above.
 */
#include "policy/gix.h"

#define PREFETCH 32u			/* touches together */
#define EXPECT_RUNS 8u
#define EXPECT_LABELS 4u		/* blocks of a run, as many as a turn brings or so */

/* Live lanes stay together: which path ends when is not to be foretold. */
static unsigned expect_runs(const struct policy *p, uint32_t *run, unsigned nr, pol_id_t *ret_label)
{
	unsigned i, live, labels = 0, steps;

	for (steps = 0; nr && steps < EXPECT_RUNS; steps++) {
		for (i = live = 0; i < nr; i++) {
			const struct gix_run *n = &p->run[run[i]];
			const bool is_alike_soon = n->uses == CLASS_USES_ALL - 1;

			__builtin_prefetch(&p->run[n->above]);
			__builtin_prefetch(&p->blk[is_alike_soon ? n->tail : 0]);
			ret_label[labels] = n->tail;
			labels += is_alike_soon && labels < PREFETCH - 1;
			run[live] = n->above;
			live += n->above != 0;
		}
		nr = live;
	}
	return labels;
}

static void expect_labels(const struct policy *p, pol_id_t *label, unsigned nr)
{
	unsigned i, steps;

	for (steps = 0; steps < EXPECT_LABELS; steps++)
		for (i = 0; i < nr; i++) {
			label[i] = p->blk[label[i]].parent;
			__builtin_prefetch(&p->blk[label[i]]);
		}
}

static void expect_few(const struct policy *p, const pol_id_t *ids, unsigned nr)
{
	pol_id_t label[PREFETCH];
	uint32_t run[PREFETCH];
	unsigned i;

	for (i = 0; i < nr; i++)
		__builtin_prefetch(&p->blk[ids[i]]);
	for (i = 0; i < nr; i++) {
		run[i] = p->blk[ids[i]].run;
		__builtin_prefetch(&p->run[run[i]]);
	}
	/* Its neighbours in a cell, if it is in one. */
	for (i = 0; i < nr; i++) {
		__builtin_prefetch(&p->run[p->run[run[i]].prev]);
		__builtin_prefetch(&p->run[p->run[run[i]].next]);
	}
	expect_labels(p, label, expect_runs(p, run, nr, label));
}

void gix_expect(const struct policy *p, const pol_id_t *ids, unsigned nr)
{
	for (; nr > PREFETCH; ids += PREFETCH, nr -= PREFETCH)
		expect_few(p, ids, PREFETCH);
	expect_few(p, ids, nr);
}
