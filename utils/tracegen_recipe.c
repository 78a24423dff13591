/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tracegen_recipe.c - loads that are known to the last number, so that figures of others can be set beside ours
 *
 * trace-a   what a policy's idea of value is judged by: at 10 arrivals a second a quarter of system prompts, a fifth
 *           of documents, a quarter of new chats and three tenths of prompts that never come back, of very different
 *           lengths.  An object is a chain of blocks, and a request uses all of it.
 * trace-b   what knowing the queue is judged by: conversations whose people think for long, one job a second.
 *
 * Blocks are numbered, ROOM to an object, in the order in which objects appear.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "utils/tracegen.h"

#define ROOM 4096u			/* blocks that an object may have */

/* A request to come, of a chat or of a conversation. */
struct due {
	double at_s;
	uint64_t object;
	int64_t parent;
	unsigned blocks, turn, more;	/* turns after this one */
};

/* ---- what both write ------------------------------------------------------------------------------------- */

static void write_use(const struct tracegen *g, const struct due *d, uint64_t nr, const char *type, FILE *out)
{
	const struct gen_line l = { .at_s = d->at_s, .chat = nr, .parent = d->parent, .turn = d->turn, .type = type,
				    .tokens = d->blocks * g->block_tokens };

	gen_write_begin(&l, out);
	for (unsigned i = 0; i < d->blocks; i++)
		gen_write_id(i, d->object * ROOM + i, out);
	gen_write_end(out);
}

/* ---- trace-a ------------------------------------------------------------------------------------------------ */

#define ARRIVALS 10.0			/* a second */
#define CHAT_GAP_S 40.0			/* mean */

enum { SYSTEM, DOCUMENT, CHAT, API };

static const struct part {
	const char *type;
	unsigned percent;		/* of arrivals */
	unsigned objects;		/* 0: each is new */
	double zipf;
	unsigned min, max;		/* blocks */
} parts[] = {
	[SYSTEM] = { "system", 25, 200, 0.9, 20, 120 },
	[DOCUMENT] = { "document", 20, 3000, 1.0, 200, 2000 },
	[CHAT] = { "chat", 25, 0, 0, 20, 200 },
	[API] = { "api", 30, 0, 0, 100, 1500 },
};

struct trace_a {
	const struct tracegen *g;
	struct rand rnd;
	struct zipf zipf[ARRAY_SIZE(parts)];
	struct gen_queue turns;		/* of chats */
	uint64_t next_object;
	double next_s;			/* arrival */
};

static const struct part *draw_part(struct trace_a *a)
{
	unsigned p = (unsigned)rand_below(&a->rnd, 100), i = 0;

	while (p >= parts[i].percent)
		p -= parts[i++].percent;
	return &parts[i];
}

/* One of a part's objects: its number, and a length that is its own, whoever asks and when. */
static void draw_shared(struct trace_a *a, const struct part *p, struct due *d)
{
	const unsigned rank = zipf_draw(&a->zipf[p - parts], &a->rnd);
	struct rand own;

	d->object = (p == &parts[SYSTEM] ? 0 : parts[SYSTEM].objects) + rank;
	rand_init(&own, rand_mix(a->g->seed) + d->object);
	d->blocks = draw_between(&own, p->min, p->max);
}

static const char *arrive(struct trace_a *a, struct due *d)
{
	static const unsigned turns[] = { 0, 0, 1, 2, 4, 8 };
	const struct part *p = draw_part(a);

	*d = (struct due){ .at_s = a->next_s, .parent = -1 };
	a->next_s += draw_exponential(&a->rnd, 1 / ARRIVALS);
	if (p->objects) {
		draw_shared(a, p, d);
		return p->type;
	}
	d->object = a->next_object++;
	d->blocks = draw_between(&a->rnd, p->min, p->max);
	d->turn = 1;
	if (p == &parts[CHAT])
		d->more = turns[rand_below(&a->rnd, ARRAY_SIZE(turns))];
	return p->type;
}

/* The chat's next turn.  Return: 0, -ENOMEM. */
static int go_on(struct trace_a *a, struct due *d, uint64_t nr)
{
	if (!d->more)
		return 0;
	d->parent = (int64_t)nr;
	d->at_s += draw_exponential(&a->rnd, CHAT_GAP_S);
	d->blocks += draw_between(&a->rnd, 10, 60);
	d->turn++;
	d->more--;
	return gen_queue_push(&a->turns, d);
}

static int write_trace_a(const struct tracegen *g, FILE *out)
{
	struct trace_a a = { .g = g, .turns.size = sizeof(struct due),
			     .next_object = parts[SYSTEM].objects + parts[DOCUMENT].objects };
	int err = zipf_init(&a.zipf[SYSTEM], parts[SYSTEM].objects, parts[SYSTEM].zipf);

	if (err == 0)
		err = zipf_init(&a.zipf[DOCUMENT], parts[DOCUMENT].objects, parts[DOCUMENT].zipf);
	rand_init(&a.rnd, g->seed);
	a.next_s = draw_exponential(&a.rnd, 1 / ARRIVALS);
	for (uint64_t i = 0; err == 0 && i < g->requests; i++) {
		const char *type = parts[CHAT].type;
		struct due d;

		if (gen_queue_next_s(&a.turns) <= a.next_s)
			gen_queue_pop(&a.turns, &d);
		else
			type = arrive(&a, &d);
		write_use(g, &d, i, type, out);
		err = go_on(&a, &d, i);
	}
	gen_queue_fini(&a.turns);
	zipf_fini(&a.zipf[SYSTEM]);
	zipf_fini(&a.zipf[DOCUMENT]);
	return err;
}

/* ---- trace-b ------------------------------------------------------------------------------------------------ */

#define CONVERSATIONS 1500u
#define START_S 7200.0			/* within which they begin */
#define THINK_S 1500.0			/* mean */

static int push_conversation(struct rand *r, uint64_t object, struct gen_queue *jobs)
{
	const unsigned more = draw_between(r, 1, 9), blocks = draw_between(r, 2, 6);
	const struct due d = { .at_s = START_S * rand_double(r), .object = object, .parent = -1, .blocks = blocks,
			       .turn = 1, .more = more };

	return gen_queue_push(jobs, &d);
}

/* Jobs in the order of their time, one a second whatever that time is. */
static int write_trace_b(const struct tracegen *g, FILE *out)
{
	struct gen_queue jobs = { .size = sizeof(struct due) };
	struct rand r;
	int err = 0;

	rand_init(&r, g->seed);
	for (unsigned c = 0; err == 0 && c < CONVERSATIONS; c++)
		err = push_conversation(&r, c, &jobs);
	for (uint64_t i = 0; err == 0 && i < g->requests && jobs.nr; i++) {
		struct due d, at_tick;

		gen_queue_pop(&jobs, &d);
		at_tick = d;
		at_tick.at_s = (double)i;
		write_use(g, &at_tick, i, "chat", out);
		if (!d.more--)
			continue;
		d.at_s += draw_exponential(&r, THINK_S);
		d.blocks += draw_between(&r, 1, 4);
		d.turn++;
		d.parent = (int64_t)i;
		err = gen_queue_push(&jobs, &d);
	}
	gen_queue_fini(&jobs);
	return err;
}

/* ---- by name -------------------------------------------------------------------------------------------------- */

static const struct recipe {
	const char *name;
	uint64_t requests;		/* unless it is said otherwise */
	int (*write)(const struct tracegen *g, FILE *out);
} recipes[] = {
	{ "trace-a", 60000, write_trace_a },
	{ "trace-b", 10 * CONVERSATIONS, write_trace_b },
};

int recipe_write(const struct tracegen *g, FILE *out)
{
	struct tracegen own = *g;
	char how[64];

	for (unsigned i = 0; i < ARRAY_SIZE(recipes); i++) {
		const struct recipe *r = &recipes[i];

		if (strcmp(r->name, g->recipe))
			continue;
		own.requests = g->requests ? g->requests : r->requests;
		snprintf(how, sizeof(how), "--recipe %s", r->name);
		gen_write_header(&own, how, out);
		return r->write(&own, out);
	}
	return -EINVAL;
}
