/* SPDX-License-Identifier: Apache-2.0 */
#include "utils/heard.h"

#include "kvshm/base/compiler.h"

/* Dense numbers are given in order, so those above @known are of first uses. */
static void count_hits(struct heard_ns *n, const struct heard_request *q, uint32_t known)
{
	const uint32_t *chain = &n->t.chain[n->t.req[n->t.nr_req - 1].first];

	n->hits += q->hits;
	for (uint32_t i = 0; i < q->hits && i < q->nr; i++)
		n->held_before += chain[i] > known;
}

int heard_add(struct heard_ns *n, const struct heard_request *q)
{
	const struct sim_record rec = { .time_ns = q->time_ns, .tokens = (uint32_t)q->tokens, .hash = q->hash, .nr = q->nr,
					.output_tokens = UINT64_MAX };
	uint32_t known;
	int ret;

	if (q->tokens > UINT32_MAX || !q->block_tokens)
		return 0;
	if (!n->is_heard)
		sim_trace_init(&n->t, q->block_tokens);
	n->is_heard = true;
	n->block_bytes = max_of(n->block_bytes, q->bytes);
	known = n->t.nr_blocks;
	ret = sim_trace_add(&n->t, &rec);
	if (ret < 0)
		return ret;
	/* Hints as the daemon's policy had them. */
	n->t.req[n->t.nr_req - 1].hints = q->hint;
	count_hits(n, q, known);
	return 1;
}

void heard_clear(struct heard_ns *n)
{
	if (n->is_heard)
		sim_trace_fini(&n->t);
	*n = (struct heard_ns){ 0 };
}

uint64_t heard_blocks_in(const struct heard_ns *n, uint64_t bytes)
{
	return bytes / max_of(n->block_bytes, (uint64_t)1);
}
