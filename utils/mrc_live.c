/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mrc_live.c - the curve of what is asked of a running daemon, for each namespace
 *
 * What is heard becomes a trace in memory, and the curve is that of the trace: exact for what was heard.  The first
 * use of a block after one began to listen is a hit in the memory that there is, and in more, if the daemon had it;
 * else, and at smaller sizes, a miss.  So a short time tells little about other sizes; the share of such uses that
 * were no hits is printed as what no size gives.
 */
#include "utils/mrc_live.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/number.h"
#include "utils/commands.h"
#include "utils/heard.h"
#include "utils/json.h"
#include "utils/mrc.h"
#include "utils/mrc_together.h"

#define NS_MAX TOGETHER_MAX

struct live {
	struct heard_ns *ns;		/* [NS_MAX] */
	struct together all;
	struct together_share now[NS_MAX], then[NS_MAX];	/* of all; no uses: not known */
	uint64_t capacity_bytes;	/* of the arena */
	uint64_t max_blocks;		/* of its directory */
	uint64_t passed_over;		/* requests that do not fit a trace */
	const struct policy_ops *policy;
};

/* What was found about a namespace. */
struct ns_answer {
	const struct heard_ns *n;
	unsigned ns;
	struct mrc_question q;
	struct mrc curve;
	struct mrc_policy p;
	double held_before;		/* share of all uses */
	bool is_shared;			/* with others, and it is known how: */
	double shared_now, shared_then;
};

int mrc_more_bytes(const char *text, uint64_t *ret)
{
	const struct number_arg a = { "kvshm mrc", "more", text };

	return number_whole(&a, 1, 1ull << 60, ret);
}

/* ---- listening ------------------------------------------------------------------------------------------ */

static int hear_one(void *arg, const struct heard_request *q)
{
	struct live *live = arg;
	int ret = q->ns < NS_MAX ? heard_add(&live->ns[q->ns], q) : 0;

	live->passed_over += ret == 0;
	return ret > 0 ? together_add(&live->all, q) : ret;
}

/* ---- answers -------------------------------------------------------------------------------------------- */

/* @ratio of what was heard from its beginning, and what the daemon had before. */
static double with_held(const struct ns_answer *a, uint64_t blocks, double ratio)
{
	return blocks >= a->q.at ? ratio + a->held_before : ratio;
}

static double leaf_lru(const struct ns_answer *a, uint64_t blocks)
{
	return with_held(a, blocks, mrc_hit_ratio(&a->curve, blocks));
}

/*
 * Blocks of @block_bytes that an arena of @bytes holds: small ones are limited by the directory, which is taken to
 * grow as the arena does.
 */
static uint64_t blocks_of(const struct live *live, uint64_t block_bytes, uint64_t bytes)
{
	const double scale = live->capacity_bytes ? (double)bytes / (double)live->capacity_bytes : 0;

	return min_of(bytes / max_of(block_bytes, (uint64_t)1), (uint64_t)((double)live->max_blocks * scale));
}

/* Of all namespaces in one cache.  Return: 0, -ENOMEM. */
static int find_together(const struct mrc_live *m, struct live *live)
{
	const struct together *g = &live->all;
	const uint64_t at = blocks_of(live, g->block_bytes, live->capacity_bytes);
	int err = 0;

	if (!live->policy || !together_has_answer(g) || !at)
		return 0;
	err = together_run(g, live->policy, at, live->now);
	if (err == 0)
		err = together_run(g, live->policy, blocks_of(live, g->block_bytes, live->capacity_bytes + m->more_bytes),
				   live->then);
	return err;
}

static void find_shared(const struct live *live, struct ns_answer *a)
{
	const struct together_share *now = &live->now[a->ns], *then = &live->then[a->ns];

	if (!now->uses || !then->uses)
		return;
	a->is_shared = true;
	a->shared_now = (double)now->hits / (double)now->uses + a->held_before;
	a->shared_then = (double)then->hits / (double)then->uses + a->held_before;
}

/* Return: 0, -ENOMEM. */
static int find_answer(const struct mrc_live *m, const struct live *live, unsigned ns,
		       struct ns_answer *ret_a)
{
	const struct heard_ns *n = &live->ns[ns];
	struct ns_answer a = { .n = n, .ns = ns, .q = {
		.policy = live->policy, .block_bytes = (uint32_t)min_of(n->block_bytes, (uint64_t)UINT32_MAX),
		.at = blocks_of(live, n->block_bytes, live->capacity_bytes),
		.shows_progress = !m->l.is_quiet && isatty(STDERR_FILENO),
	} };
	int err = mrc_run(&n->t, -1, &a.curve);

	a.q.more = blocks_of(live, n->block_bytes, live->capacity_bytes + m->more_bytes) - a.q.at;
	if (err == 0) {
		a.held_before = a.curve.uses ? (double)n->held_before / (double)a.curve.uses : 0;
		find_shared(live, &a);
		err = mrc_policy_run(&n->t, &a.curve, &a.q, &a.p);
	}
	if (err == 0)
		*ret_a = a;
	else
		mrc_fini(&a.curve);
	return err;
}

static double hit_ratio(const struct ns_answer *a)
{
	return a->curve.uses ? (double)a->n->hits / (double)a->curve.uses : 0;
}

static void print_advice(const struct mrc_live *m, const struct live *live,
			 const struct ns_answer *a)
{
	const uint64_t at = a->q.at, with = at + a->q.more;
	char size[16], extra[16];

	printf("\nwhile it listened %.4f were hits\n", hit_ratio(a));
	human_bytes(live->capacity_bytes, size);
	human_bytes(m->more_bytes, extra);
	if (a->q.policy)
		printf("alone in the %s that there are, %s: %.4f; +%s would give %.4f, %+.2f points\n",
		       size, a->q.policy->name, with_held(a, at, a->p.now), extra,
		       with_held(a, with, a->p.then), 100 * (a->p.then - a->p.now));
	if (a->is_shared)
		printf("with the others in it, %s: %.4f; +%s would give %.4f, %+.2f points\n", a->q.policy->name,
		       a->shared_now, extra, a->shared_then, 100 * (a->shared_then - a->shared_now));
	printf("alone in the %s that there are, leaf-lru: %.4f; +%s would give %.4f, %+.2f points\n",
	       size, leaf_lru(a, at), extra, leaf_lru(a, with),
	       100 * (leaf_lru(a, with) - leaf_lru(a, at)));
	printf("first uses since it listens, of what the daemon did not have, which no size makes hits: %.4f of all\n\n",
	       1 - leaf_lru(a, UINT64_MAX));
}

static void print_text(const struct mrc_live *m, const struct live *live, const struct ns_answer *a)
{
	const struct heard_ns *n = a->n;
	char size[16];

	printf("namespace %u: %zu requests, %" PRIu64
	       " blocks asked, %u unique, of %s\n\n%-12s %10s %8s",
	       a->ns, n->t.nr_req, a->curve.uses, n->t.nr_blocks, human_bytes(n->block_bytes, size),
	       "blocks", "size", "share");
	if (a->q.policy)
		printf(" %10.10s", a->q.policy->name);
	printf(" %10s\n", "leaf-lru");
	for (unsigned i = 0; i < MRC_SIZES; i++) {
		const uint64_t blocks = mrc_size_at(n->t.nr_blocks, i);

		printf("%-12" PRIu64 " %10s %7.1f%%", blocks,
		       human_bytes(blocks * n->block_bytes, size), mrc_shares[i]);
		if (a->q.policy)
			printf(" %10.4f", with_held(a, blocks, a->p.at_size[i]));
		printf(" %10.4f\n", leaf_lru(a, blocks));
	}
	print_advice(m, live, a);
}

static void add_point(const struct ns_answer *a, unsigned i, struct jdoc *j)
{
	const uint64_t blocks = mrc_size_at(a->n->t.nr_blocks, i);
	struct jdoc *p = jdoc_append(j, "points");

	jdoc_int(p, "namespace", a->ns);
	jdoc_int(p, "capacity_blocks", (int64_t)blocks);
	jdoc_real(p, "block_hit_ratio", leaf_lru(a, blocks));
	if (a->q.policy)
		jdoc_real(p, "policy_block_hit_ratio", with_held(a, blocks, a->p.at_size[i]));
}

static void add_json(const struct mrc_live *m, const struct ns_answer *a, struct jdoc *j)
{
	const uint64_t at = a->q.at, with = at + a->q.more;
	struct jdoc *p = jdoc_append(j, "namespaces");

	jdoc_int(p, "namespace", a->ns);
	jdoc_int(p, "requests", (int64_t)a->n->t.nr_req);
	jdoc_int(p, "asked_blocks", (int64_t)a->curve.uses);
	jdoc_int(p, "unique_blocks", a->n->t.nr_blocks);
	jdoc_int(p, "block_bytes", (int64_t)a->n->block_bytes);
	jdoc_int(p, "capacity_blocks", (int64_t)at);
	jdoc_real(p, "heard_block_hit_ratio", hit_ratio(a));
	jdoc_real(p, "block_hit_ratio", leaf_lru(a, at));
	jdoc_int(p, "more_bytes", (int64_t)m->more_bytes);
	jdoc_int(p, "capacity_blocks_with_more", (int64_t)with);
	jdoc_real(p, "block_hit_ratio_with_more", leaf_lru(a, with));
	if (a->q.policy) {
		jdoc_text(p, "policy", a->q.policy->name);
		jdoc_real(p, "policy_block_hit_ratio", with_held(a, at, a->p.now));
		jdoc_real(p, "policy_block_hit_ratio_with_more", with_held(a, with, a->p.then));
	}
	if (a->is_shared) {
		jdoc_real(p, "shared_block_hit_ratio", a->shared_now);
		jdoc_real(p, "shared_block_hit_ratio_with_more", a->shared_then);
	}
	for (unsigned i = 0; i < MRC_SIZES; i++)
		add_point(a, i, j);
}

/* Of all namespaces that were heard.  Return: an exit status. */
static int print_all(const struct mrc_live *m, const struct live *live)
{
	struct jdoc *j = m->is_json ? jdoc_begin("mrc", "none") : NULL;
	int ret = EXIT_FINE;
	struct ns_answer a;
	unsigned nr = 0;

	if (j) {
		jdoc_int(j, "capacity_bytes", (int64_t)live->capacity_bytes);
		jdoc_int(j, "lost_events", (int64_t)m->l.lost);
		jdoc_array(j, "namespaces");
		jdoc_array(j, "points");
	}
	for (unsigned ns = 0; ns < NS_MAX && ret == EXIT_FINE; ns++) {
		if (!live->ns[ns].is_heard)
			continue;
		if (find_answer(m, live, ns, &a) < 0) {
			fputs("kvshm mrc: out of memory\n", stderr);
			ret = EXIT_DEAD;
			break;
		}
		if (j)
			add_json(m, &a, j);
		else
			print_text(m, live, &a);
		mrc_fini(&a.curve);
		nr++;
	}
	if (j)
		jdoc_end(j, ret == EXIT_FINE ? stdout : NULL);
	else if (ret == EXIT_FINE && !nr)
		puts("nothing was asked");
	return ret;
}

int mrc_live(struct mrc_live *m)
{
	struct live live = { .ns = calloc(NS_MAX, sizeof(*live.ns)), .policy = m->policy };
	char policy[KVSHM_STATS_TEXT_LEN];
	struct statpage *page = NULL;
	int ret = live.ns ? target_open(&m->l.target, &page) : EXIT_DEAD;

	if (ret == EXIT_FINE)
		ret = listen_run(&m->l, hear_one, &live);
	if (ret == EXIT_FINE) {
		/* Now, as an arena grows after the start; the page outlives the daemon. */
		live.capacity_bytes = stat_get(page, METRIC_CAPACITY_BYTES);
		live.max_blocks = stat_get(page, METRIC_MAX_BLOCKS);
		stat_get_text(page, KVSHM_TEXT_POLICY, policy);
		if (!live.policy)
			live.policy = policy_find(policy);
	}
	if (ret == EXIT_FINE && find_together(m, &live) < 0) {
		fputs("kvshm mrc: out of memory\n", stderr);
		ret = EXIT_DEAD;
	}
	if (ret == EXIT_FINE)
		ret = print_all(m, &live);
	for (unsigned ns = 0; live.ns && ns < NS_MAX; ns++)
		heard_clear(&live.ns[ns]);
	free(live.ns);
	together_fini(&live.all);
	statpage_destroy(page);
	return ret;
}
