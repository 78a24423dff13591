/* SPDX-License-Identifier: Apache-2.0 */
#include "utils/mrc_together.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/rand.h"

static int make_room(struct together *g, uint32_t nr)
{
	if (nr > g->hash_room) {
		uint64_t *hash = realloc(g->hash, 2 * (size_t)nr * sizeof(*hash));

		if (!hash)
			return -ENOMEM;
		g->hash = hash;
		g->hash_room = 2 * (size_t)nr;
	}
	if (g->t.nr_req == g->room) {
		const size_t room = g->room ? 2 * g->room : 1024;
		uint16_t *ns = realloc(g->ns, room * sizeof(*ns));

		if (!ns)
			return -ENOMEM;
		g->ns = ns;
		g->room = room;
	}
	return 0;
}

static void note_ns(struct together *g, const struct heard_request *q)
{
	g->nr_ns += !g->is_heard[q->ns];
	g->is_heard[q->ns] = true;
	/* A short last block tells nothing of the size of a full one. */
	if (q->tokens < (uint64_t)q->nr * q->block_tokens)
		return;
	g->is_uneven |= g->block_bytes && g->block_bytes != q->bytes;
	g->block_bytes = q->bytes;
}

int together_add(struct together *g, const struct heard_request *q)
{
	struct sim_record rec = { .time_ns = q->time_ns, .tokens = (uint32_t)q->tokens, .nr = q->nr,
				  .output_tokens = UINT64_MAX };
	int ret;

	if (q->ns >= TOGETHER_MAX || q->tokens > UINT32_MAX || !q->block_tokens || !q->nr)
		return 0;
	ret = make_room(g, q->nr);
	if (ret < 0)
		return ret;
	if (!g->t.block_tokens)
		sim_trace_init(&g->t, q->block_tokens);
	memcpy(g->hash, q->hash, q->nr * sizeof(*g->hash));
	/* Names hang on their parents, so the root's makes the whole chain the namespace's own. */
	g->hash[0] = rand_mix(g->hash[0] + rand_mix(q->ns + 1ull));
	rec.hash = g->hash;
	ret = sim_trace_add(&g->t, &rec);
	if (ret < 0)
		return ret;
	g->t.req[g->t.nr_req - 1].hints = q->hint;
	g->ns[g->t.nr_req - 1] = q->ns;
	note_ns(g, q);
	return 0;
}

void together_fini(struct together *g)
{
	sim_trace_fini(&g->t);
	free(g->ns);
	free(g->hash);
	*g = (struct together){ 0 };
}

bool together_has_answer(const struct together *g)
{
	return g->nr_ns > 1 && !g->is_uneven && g->block_bytes && g->block_bytes <= UINT32_MAX;
}

struct counting {
	const struct together *g;
	struct together_share *share;
};

static void count(void *arg, size_t req, uint32_t hits)
{
	const struct counting *c = arg;
	struct together_share *s = &c->share[c->g->ns[req]];

	s->uses += c->g->t.req[req].nr;
	s->hits += hits;
}

int together_run(const struct together *g, const struct policy_ops *ops, uint64_t blocks,
		 struct together_share *ret_share)
{
	struct counting c = { .g = g, .share = ret_share };
	const struct sim_config cfg = { .ops = ops, .capacity = blocks, .block_bytes = (uint32_t)g->block_bytes,
					.on_request = count, .arg = &c };
	struct sim_result r;

	memset(ret_share, 0, TOGETHER_MAX * sizeof(*ret_share));
	return sim_run(&g->t, &cfg, &r);
}
