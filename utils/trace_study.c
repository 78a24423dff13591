/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace_study.c - what a trace's reuse is like: who, how soon, how long, how concentrated
 *
 * A use of a block belongs to the class of the request that used it; its reuse time is the time to the
 * block's next use.  A block's life, first use to last, belongs to the class that brought it.
 */
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "policy/hints.h"
#include "utils/trace.h"

#define TURN_CLASSES 6u

struct block_state {
	uint32_t uses;
	uint32_t request;		/* of the last use */
	uint32_t brought_by;		/* request of the first one */
};

static unsigned slot_of(uint32_t hints)
{
	struct hints h = hints_unpack(hints);

	return h.type * TURN_CLASSES + (h.turn < TURN_CLASSES ? h.turn : TURN_CLASSES - 1);
}

static double seconds(uint64_t from_ns, uint64_t to_ns)
{
	return (double)(to_ns - from_ns) * 1e-9;
}

/* ---- two passes over the chains: count, then fill ---------------------------------------------------- */

static void count_hits(struct study *s, const struct sim_trace *t, const struct sim_request *q,
		       struct study_class *c, uint32_t hits, const struct block_state *b)
{
	const uint64_t tokens = (uint64_t)hits * t->block_tokens;

	c->requests++;
	c->blocks += q->nr;
	c->block_hits += hits;
	s->blocks += q->nr;
	s->block_hits += hits;
	s->tokens += q->tokens;
	s->token_hits += tokens < q->tokens ? tokens : q->tokens;
	if (hints_unpack(q->hints).turn > 1)
		s->multi_hits += hits;
	else
		s->single_hits += hits;
	for (uint32_t i = 0; i < hits; i++) {
		uint32_t before = b[t->chain[q->first + i]].request;

		s->same_session_hits += q->session && t->req[before].session == q->session;
	}
}

/* Each use of a block by request @nr.  @is_fill: the times are stored, else counted. */
static void use_blocks(const struct sim_trace *t, size_t nr, struct study_class *class, struct block_state *b,
		       bool is_fill)
{
	const struct sim_request *q = &t->req[nr];

	for (uint32_t i = 0; i < q->nr; i++) {
		struct block_state *u = &b[t->chain[q->first + i]];
		const struct sim_request *before = &t->req[u->request];
		struct study_class *c = u->uses ? &class[slot_of(before->hints)] : NULL;

		if (c && is_fill)
			c->reuse_s[c->reused] = seconds(before->time_ns, q->time_ns);
		if (c)
			c->reused++;
		else
			u->brought_by = (uint32_t)nr;
		u->uses++;
		u->request = (uint32_t)nr;
	}
}

static void end_lives(const struct sim_trace *t, struct study_class *class, const struct block_state *b, bool is_fill)
{
	for (uint32_t i = 1; i <= t->nr_blocks; i++) {
		const struct sim_request *first = &t->req[b[i].brought_by];
		struct study_class *c = &class[slot_of(first->hints)];

		if (is_fill)
			c->life_s[c->nr_lives] = seconds(first->time_ns, t->req[b[i].request].time_ns);
		c->nr_lives++;
	}
}

static uint32_t leading_hits(const struct sim_trace *t, const struct sim_request *q, const struct block_state *b)
{
	uint32_t n = 0;

	while (n < q->nr && b[t->chain[q->first + n]].uses)
		n++;
	return n;
}

static void pass(struct study *s, const struct sim_trace *t, struct study_class *class, struct block_state *b,
		 bool is_fill)
{
	memset(b, 0, (t->nr_blocks + 1ull) * sizeof(*b));
	for (size_t r = 0; r < t->nr_req; r++) {
		const struct sim_request *q = &t->req[r];

		if (!is_fill)
			count_hits(s, t, q, &class[slot_of(q->hints)], leading_hits(t, q, b), b);
		use_blocks(t, r, class, b, is_fill);
	}
	end_lives(t, class, b, is_fill);
}

/* ---- concentration ---------------------------------------------------------------------------------------- */

static int by_uses(const void *a, const void *b)
{
	const struct block_state *x = a, *y = b;

	return x->uses < y->uses ? 1 : x->uses > y->uses ? -1 : 0;
}

static void concentrate(struct study *s, struct block_state *b, uint32_t nr)
{
	uint64_t all = 0, top = 0;

	qsort(b + 1, nr, sizeof(*b), by_uses);
	for (uint32_t i = 1; i <= nr; i++) {
		all += b[i].uses - 1;
		if (i <= (nr + 9) / 10)
			top += b[i].uses - 1;
		s->reused_blocks += b[i].uses > 1;
	}
	s->top10_share = all ? (double)top / (double)all : NAN;
}

/* ---- the fit ------------------------------------------------------------------------------------------------ */

double study_quantile(const double *sorted, size_t n, double q)
{
	double at = q * (double)n;
	size_t i = (size_t)ceil(at);

	return n ? sorted[i ? i - 1 : 0] : NAN;
}

double study_share_within(const double *sorted, size_t n, double limit)
{
	size_t low = 0, high = n;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (sorted[middle] <= limit)
			low = middle + 1;
		else
			high = middle;
	}
	return n ? (double)low / (double)n : NAN;
}

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/*
 * The likeliest exponential has the mean of what was seen.  Uses at the trace's end, whose reuse is not
 * seen any more, count as not reused; so p is a lower bound.
 */
static void fit(struct study_class *c)
{
	double sum = 0;

	c->fit_p = c->blocks ? (double)c->reused / (double)c->blocks : NAN;
	c->fit_mean_s = c->fit_distance = NAN;
	if (!c->reused)
		return;
	for (size_t i = 0; i < c->reused; i++)
		sum += c->reuse_s[i];
	c->fit_mean_s = sum / (double)c->reused;
	c->fit_distance = 0;
	for (size_t i = 0; i < c->reused; i++) {
		double f = c->fit_mean_s > 0 ? 1 - exp(-c->reuse_s[i] / c->fit_mean_s) : 1;
		double above = (double)(i + 1) / (double)c->reused - f, below = f - (double)i / (double)c->reused;

		c->fit_distance = fmax(c->fit_distance, fmax(above, below));
	}
}

/* ---- all ------------------------------------------------------------------------------------------------------- */

static int make_arrays(struct study_class *class, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		struct study_class *c = &class[i];

		c->type = i / TURN_CLASSES;
		c->turn = i % TURN_CLASSES;
		c->reuse_s = malloc((c->reused + 1) * sizeof(double));
		c->life_s = malloc((c->nr_lives + 1) * sizeof(double));
		if (!c->reuse_s || !c->life_s)
			return -ENOMEM;
		c->reused = c->nr_lives = 0;
	}
	return 0;
}

static void order(struct study_class *c)
{
	qsort(c->reuse_s, c->reused, sizeof(double), by_value);
	qsort(c->life_s, c->nr_lives, sizeof(double), by_value);
	fit(c);
}

static int sum_up(struct study *s)
{
	struct study_class *all = &s->all;

	for (unsigned i = 0; i < s->nr_classes; i++) {
		all->reused += s->class[i].reused;
		all->nr_lives += s->class[i].nr_lives;
	}
	if (make_arrays(all, 1) < 0)
		return -ENOMEM;
	for (unsigned i = 0; i < s->nr_classes; i++) {
		const struct study_class *c = &s->class[i];

		all->requests += c->requests;
		all->blocks += c->blocks;
		all->block_hits += c->block_hits;
		memcpy(all->reuse_s + all->reused, c->reuse_s, c->reused * sizeof(double));
		memcpy(all->life_s + all->nr_lives, c->life_s, c->nr_lives * sizeof(double));
		all->reused += c->reused;
		all->nr_lives += c->nr_lives;
	}
	return 0;
}

int study_run(const struct sim_trace *t, struct study *ret)
{
	struct study s = { .requests = t->nr_req, .unique = t->nr_blocks };
	struct block_state *b = malloc((t->nr_blocks + 1ull) * sizeof(*b));
	int err = -ENOMEM;

	s.nr_classes = 256 * TURN_CLASSES;
	s.class = calloc(s.nr_classes, sizeof(*s.class));
	if (b && s.class) {
		pass(&s, t, s.class, b, false);
		err = make_arrays(s.class, s.nr_classes);
	}
	if (err == 0) {
		pass(&s, t, s.class, b, true);
		err = sum_up(&s);
	}
	if (err == 0) {
		concentrate(&s, b, t->nr_blocks);
		order(&s.all);
		for (unsigned i = 0; i < s.nr_classes; i++)
			order(&s.class[i]);
		s.span_s = t->nr_req ? seconds(t->req[0].time_ns, t->req[t->nr_req - 1].time_ns) : 0;
		*ret = s;
	} else
		study_fini(&s);
	free(b);
	return err;
}

void study_fini(struct study *s)
{
	for (unsigned i = 0; s->class && i < s->nr_classes; i++) {
		free(s->class[i].reuse_s);
		free(s->class[i].life_s);
	}
	free(s->class);
	free(s->all.reuse_s);
	free(s->all.life_s);
	*s = (struct study){ 0 };
}
