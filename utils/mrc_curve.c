/* SPDX-License-Identifier: Apache-2.0 */
/* mrc_curve.c - stack distances, and how many uses have each */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/hints.h"
#include "utils/mrc.h"

struct stack {
	uint32_t *tree;			/* Fenwick, 1..size: 1 where a block was last used */
	uint64_t *last;			/* [blocks + 1], 0: never */
	uint64_t size, now, nr;		/* nr: blocks in it */
};

static void tree_add(struct stack *s, uint64_t at, uint32_t v)
{
	for (; at <= s->size; at += at & -at)
		s->tree[at] += v;
}

static uint64_t tree_sum(const struct stack *s, uint64_t at)
{
	uint64_t sum = 0;

	for (; at; at &= at - 1)
		sum += s->tree[at];
	return sum;
}

/* Blocks used since @b was, itself included; 0: it never was. */
static uint64_t stack_distance(const struct stack *s, uint32_t b)
{
	return s->last[b] ? s->nr - tree_sum(s, s->last[b] - 1) : 0;
}

static void stack_use(struct stack *s, uint32_t b)
{
	if (s->last[b])
		tree_add(s, s->last[b], (uint32_t)-1);
	else
		s->nr++;
	s->last[b] = ++s->now;
	tree_add(s, s->now, 1);
}

/* What is resident before the request decides, so all distances come before the first use. */
static void run_request(struct stack *s, const struct sim_trace *t, const struct sim_request *q, struct mrc *m)
{
	const uint32_t *chain = &t->chain[q->first];

	for (uint32_t i = 0; i < q->nr; i++)
		m->hits[stack_distance(s, chain[i])]++;
	for (uint32_t i = q->nr; i-- > 0;)
		stack_use(s, chain[i]);
	m->uses += q->nr;
}

int mrc_run(const struct sim_trace *t, int type, struct mrc *ret)
{
	struct mrc m = { .nr_blocks = t->nr_blocks };
	struct stack s = { .size = t->nr_chain };

	m.hits = calloc(t->nr_blocks + 1ull, sizeof(*m.hits));
	s.tree = calloc(s.size + 1, sizeof(*s.tree));
	s.last = calloc(t->nr_blocks + 1ull, sizeof(*s.last));
	if (!m.hits || !s.tree || !s.last) {
		free(s.tree);
		free(s.last);
		mrc_fini(&m);
		return -ENOMEM;
	}
	for (size_t i = 0; i < t->nr_req; i++)
		if (type < 0 || hints_unpack(t->req[i].hints).type == type)
			run_request(&s, t, &t->req[i], &m);
	m.hits[0] = 0;			/* first uses */
	for (uint32_t b = 1; b <= t->nr_blocks; b++)
		m.hits[b] += m.hits[b - 1];
	free(s.tree);
	free(s.last);
	*ret = m;
	return 0;
}

void mrc_fini(struct mrc *m)
{
	free(m->hits);
	m->hits = NULL;
}

double mrc_hit_ratio(const struct mrc *m, uint64_t blocks)
{
	return m->uses ? (double)m->hits[blocks < m->nr_blocks ? blocks : m->nr_blocks] / (double)m->uses : 0;
}

const double mrc_shares[MRC_SIZES] = { 0.1, 0.2, 0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 70, 100 };

uint64_t mrc_size_at(uint32_t nr_blocks, unsigned i)
{
	const uint64_t blocks = (uint64_t)(mrc_shares[i] * nr_blocks / 100);

	return blocks ? blocks : 1;
}
