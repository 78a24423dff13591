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
#define EXPECT_LABELS 4u		/* blocks of a run, as many as a turn brings or so */

static pol_id_t expect_run(const struct policy *p, uint32_t r)
{
	const struct gix_run *n = &p->run[r];

	if (n->bin != RUN_UNLISTED) {
		__builtin_prefetch(&p->run[n->prev]);
		__builtin_prefetch(&p->run[n->next]);
	}
	__builtin_prefetch(&p->run[n->above]);
	if (n->uses != CLASS_USES_ALL - 1)
		return 0;
	__builtin_prefetch(&p->blk[n->tail]);
	return n->tail;
}

static void expect_runs(const struct policy *p, uint32_t *run, pol_id_t *label, unsigned nr)
{
	unsigned i, live = nr, steps;
	pol_id_t id;

	for (steps = 0; live && steps < 8; steps++)
		for (i = live = 0; i < nr; i++) {
			if (!run[i])
				continue;
			id = expect_run(p, run[i]);
			label[i] = id ? id : label[i];
			run[i] = p->run[run[i]].above;
			live++;
		}
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

void gix_expect(const struct policy *p, const pol_id_t *ids, unsigned nr)
{
	pol_id_t label[PREFETCH] = { 0 };
	uint32_t run[PREFETCH];
	unsigned i;

	for (; nr > PREFETCH; ids += PREFETCH, nr -= PREFETCH)
		gix_expect(p, ids, PREFETCH);
	for (i = 0; i < nr; i++)
		__builtin_prefetch(&p->blk[ids[i]]);
	for (i = 0; i < nr; i++) {
		run[i] = p->blk[ids[i]].run;
		__builtin_prefetch(&p->run[run[i]]);
	}
	expect_runs(p, run, label, nr);
	expect_labels(p, label, nr);
}
