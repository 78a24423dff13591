/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chat_trace.h - a made-up trace for tests: chats with shared system prompts, one-shot requests, ties
 *
 * The same seed gives the same trace on every machine: integers only.
 */
#ifndef TESTS_UNIT_UTILS_CHAT_TRACE_H
#define TESTS_UNIT_UTILS_CHAT_TRACE_H

#include <string.h>

#include "kvshm/base/rand.h"
#include "utils/sim.h"

enum { CHATS = 96, CHAIN_ROOM = 256, BLOCK_TOKENS = 16 };

struct chat {
	uint64_t hash[CHAIN_ROOM];
	uint32_t nr, turn, type;
	uint64_t id, due_ns;
};

static void chat_begin(struct chat *c, struct rand *r, uint64_t id, uint64_t now_ns)
{
	/* One draw a statement: the order of two in one expression is the compiler's. */
	const uint64_t prompt = rand_below(r, 1 + rand_below(r, 12));
	const unsigned type = 1 + (unsigned)rand_below(r, 3);
	const uint64_t due_ns = now_ns + rand_below(r, 40) * 1000000000u;
	unsigned i;

	*c = (struct chat){ .id = id, .type = type, .due_ns = due_ns };
	for (i = 0; i < 3 + 2 * prompt; i++)
		c->hash[c->nr++] = prompt * 1000 + i;
}

/* Gaps between a second and an hour, short ones far likelier; a chat ends with one chance in two, then in five. */
static void chat_turn(struct sim_trace *t, struct chat *c, struct rand *r, uint64_t *next_id)
{
	const unsigned more = 1 + (unsigned)rand_below(r, c->turn ? 6 : 24);
	const unsigned output = 10u << rand_below(r, 7);
	const uint64_t now_ns = c->due_ns;
	struct sim_record rec;
	uint64_t gap_s;
	unsigned i;

	for (i = 0; i < more && c->nr < CHAIN_ROOM; i++)
		c->hash[c->nr++] = rand_u64(r);
	rec = (struct sim_record){
		.time_ns = now_ns, .session = c->id, .type = c->type, .stop = 1 + output % 3, .turn = ++c->turn,
		.output_tokens = output, .tokens = c->nr * BLOCK_TOKENS - (unsigned)rand_below(r, 4),
		.hash = c->hash, .nr = c->nr,
	};
	sim_trace_add(t, &rec);
	if (c->nr == CHAIN_ROOM || rand_below(r, c->turn == 1 ? 2 : 5) == 0) {
		chat_begin(c, r, ++*next_id, now_ns);
		return;
	}
	gap_s = rand_below(r, 4096);
	gap_s = 1 + (gap_s >> rand_below(r, 12));
	c->due_ns += gap_s * 1000000000u;
}

/* sim_trace_fini() ends it. */
static void chat_trace(struct sim_trace *t, uint64_t seed, unsigned requests)
{
	static struct chat chat[CHATS];
	uint64_t next_id = CHATS;
	struct rand r;
	unsigned i, n;

	sim_trace_init(t, BLOCK_TOKENS);
	rand_init(&r, seed);
	for (i = 0; i < CHATS; i++)
		chat_begin(&chat[i], &r, i + 1, 0);
	for (n = 0; n < requests; n++) {
		struct chat *first = &chat[0];

		for (i = 1; i < CHATS; i++)
			if (chat[i].due_ns < first->due_ns)
				first = &chat[i];
		chat_turn(t, first, &r, &next_id);
	}
}

#endif
