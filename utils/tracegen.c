/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tracegen.c - a seeded load of chats, API calls and coding agents
 *
 * Fitted to what studies of production traces publish, not to any one trace; tests/unit/utils/test_tracegen.c has
 * the numbers.  A visit is somebody with something to work on: his own document behind a prompt that others have too.
 * It is one session of some turns, or, if he is one of those who come back, several, each on the same document.
 */
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "utils/tracegen.h"

#define PROMPT_MAX 200000u		/* tokens; a session that gets there ends */

struct size { /* tokens, log-normal */
	double log, dev;
};

struct kind {
	const char *load, *type;
	double visits;			/* a second */
	double comes_back;		/* share of visits that do */
	double again, again_s;		/* of those, after each session: another one, after this mean */
	double goes_on[2];		/* after the first turn, after later ones */
	double gap_s, pause_s;		/* mean: the usual, and of one in ten that a person thinks about */
	unsigned prompts;		/* shared system prompts or templates, Zipf */
	double zipf;
	unsigned prompt_min, prompt_max;	/* tokens */
	struct size document;		/* the visit's own, dev 0: none */
	struct size first;		/* what a session brings */
	struct size more;		/* what a later turn adds */
	struct size output;
	bool is_agent;
};

static const struct kind kinds[] = {
	{ .load = "chat",
	  .type = "text",
	  .visits = 0.12,
	  .goes_on = { 0.865, 0.82 },
	  .gap_s = 80,
	  .pause_s = 200,
	  .prompts = 40,
	  .zipf = 0.9,
	  .prompt_min = 60,
	  .prompt_max = 200,
	  .first = { 4.7, 1.2 },
	  .more = { 3.2, 1.1 },
	  .output = { 4.1, 0.9 } },
	{ .load = "chat",
	  .type = "file",
	  .visits = 0.051,
	  .comes_back = 0.095,
	  .again = 0.935,
	  .again_s = 700,
	  .goes_on = { 0.04, 0.6 },
	  .gap_s = 70,
	  .pause_s = 200,
	  .prompts = 10,
	  .zipf = 0.9,
	  .prompt_min = 60,
	  .prompt_max = 400,
	  .document = { 9.1, 0.5 },
	  .first = { 4.5, 1.0 },
	  .more = { 3.5, 1.0 },
	  .output = { 4.5, 0.9 } },
	{ .load = "api",
	  .type = "api",
	  .visits = 0.6,
	  .comes_back = 1,
	  .again = 0.8,
	  .again_s = 5.5,
	  .goes_on = { 0.007, 0.5 },
	  .gap_s = 6,
	  .pause_s = 60,
	  .prompts = 3000,
	  .zipf = 1.1,
	  .prompt_min = 100,
	  .prompt_max = 2900,
	  .first = { 6.3, 1.2 },
	  .more = { 5.0, 1.0 },
	  .output = { 4.8, 0.9 } },
	{ .load = "agent",
	  .type = "agent",
	  .visits = 0.012,
	  .goes_on = { 0.97, 0.975 },
	  .gap_s = 7,
	  .pause_s = 240,
	  .prompts = 40,
	  .zipf = 0.9,
	  .prompt_min = 12000,
	  .prompt_max = 18000,
	  .first = { 8.5, 1.0 },
	  .more = { 6.8, 1.2 },
	  .output = { 5.4, 0.9 },
	  .is_agent = true },
};

struct session {
	double at_s;			/* of the next request; first, for gen_queue */
	const struct kind *kind;
	uint64_t number, visit;
	unsigned prompt;
	unsigned prompt_tokens, shared_tokens;	/* the prompt; and the visit's document with it */
	unsigned tokens, turn;
	bool comes_back;
	int64_t chat;			/* its request before, -1 */
};

struct gen {
	const struct tracegen *g;
	struct rand rnd;
	struct gen_queue queue;		/* of sessions */
	struct zipf zipf[ARRAY_SIZE(kinds)];
	double next_visit_s[ARRAY_SIZE(kinds)]; /* INFINITY: this kind is not in the load */
	double speed;
	uint64_t nr_visits, nr_sessions;
};

static unsigned draw_size(struct rand *r, const struct size *s)
{
	return s->dev > 0 ? draw_log_normal(r, s->log, s->dev) : 0;
}

/* ---- visits and sessions ----------------------------------------------------------------------------- */

static unsigned next_kind(const struct gen *s)
{
	unsigned best = 0;

	for (unsigned k = 1; k < ARRAY_SIZE(kinds); k++)
		if (s->next_visit_s[k] < s->next_visit_s[best])
			best = k;
	return best;
}

/* Of the visit that @x is of already. */
static void begin_session(struct gen *s, struct session *x)
{
	x->number = ++s->nr_sessions;
	x->tokens = x->shared_tokens + draw_size(&s->rnd, &x->kind->first);
	x->turn = 0;
	x->chat = -1;
}

/*
 * A prompt's length is its own, whoever uses it.  Steps of the golden section spread the few that most use evenly, so
 * that loads of different seeds are alike.
 */
static unsigned prompt_tokens(const struct kind *k, unsigned rank)
{
	const double at = 0.5 + rank * 0.6180339887498949;

	return k->prompt_min + (unsigned)((at - floor(at)) * (k->prompt_max - k->prompt_min));
}

static struct session begin_visit(struct gen *s, unsigned k)
{
	const struct kind *kind = &kinds[k];
	struct session x = { .at_s = s->next_visit_s[k], .kind = kind, .visit = ++s->nr_visits };

	x.prompt = zipf_draw(&s->zipf[k], &s->rnd);
	x.prompt_tokens = prompt_tokens(kind, x.prompt);
	x.shared_tokens = x.prompt_tokens + draw_size(&s->rnd, &kind->document);
	x.comes_back = rand_double(&s->rnd) < kind->comes_back;
	begin_session(s, &x);
	s->next_visit_s[k] += draw_exponential(&s->rnd, 1 / (kind->visits * s->speed));
	return x;
}

/* ---- requests ------------------------------------------------------------------------------------------------ */

static uint64_t block_name(const struct gen *s, const struct session *x, unsigned i)
{
	const unsigned b = s->g->block_tokens, end = (i + 1) * b;
	const uint64_t seed = rand_mix(s->g->seed + 1);
	uint64_t owner;

	if (end <= x->prompt_tokens)
		owner = rand_mix(seed ^ ((uint64_t)(x->kind - kinds) << 32 | x->prompt));
	else if (end <= x->shared_tokens)
		owner = rand_mix(seed + (x->visit << 8));
	else if (end <= x->tokens)
		owner = rand_mix(seed + (x->number << 8) + 1);
	else
		owner = rand_mix(seed + (x->number << 8) + 2 + ((uint64_t)x->turn << 40));
	return rand_mix(owner + i) >> 16;
}

static void write_request(struct gen *s, const struct session *x, uint64_t chat, unsigned output, bool ends, FILE *out)
{
	const struct gen_line l = { .at_s = x->at_s,
				    .chat = chat,
				    .session = x->number,
				    .parent = x->chat,
				    .tokens = x->tokens,
				    .output = output,
				    .turn = x->turn,
				    .type = x->kind->type,
				    .stop = x->kind->is_agent && !ends ? "tool_use" : "end_turn" };

	gen_write_begin(&l, out);
	for (unsigned i = 0; i * s->g->block_tokens < x->tokens; i++)
		gen_write_id(i, block_name(s, x, i), out);
	gen_write_end(out);
}

/* Another session on the document of this one, of which this was the first turn. */
static int come_back(struct gen *s, const struct session *x)
{
	struct session next = *x;

	if (x->turn != 1 || !x->comes_back || rand_double(&s->rnd) >= x->kind->again)
		return 0;
	begin_session(s, &next);
	next.at_s += draw_exponential(&s->rnd, x->kind->again_s);
	return gen_queue_push(&s->queue, &next);
}

/* The request at x->at_s, and what comes of the session.  Return: 0, -ENOMEM. */
static int one_request(struct gen *s, struct session *x, uint64_t chat, FILE *out)
{
	const struct kind *k = x->kind;
	const unsigned output = draw_size(&s->rnd, &k->output);
	const bool ends = rand_double(&s->rnd) >= k->goes_on[x->turn > 0] || x->tokens > PROMPT_MAX;
	const bool pauses = rand_below(&s->rnd, 10) == 0;
	int err;

	x->turn++;
	write_request(s, x, chat, output, ends || pauses, out);
	err = come_back(s, x);
	if (err || ends)
		return err;
	x->at_s += draw_exponential(&s->rnd, pauses ? k->pause_s : k->gap_s);
	x->chat = (int64_t)chat;
	x->tokens += output + draw_size(&s->rnd, &k->more);
	return gen_queue_push(&s->queue, x);
}

/* Requests a second of a kind in the long run. */
static double rate_of(const struct kind *k)
{
	const double sessions = 1 - k->comes_back + k->comes_back / (1 - k->again);

	return k->visits * sessions * (1 + k->goes_on[0] / (1 - k->goes_on[1]));
}

static bool is_in_load(const struct gen *s, unsigned k)
{
	return !strcmp(s->g->load, "mix") || !strcmp(s->g->load, kinds[k].load);
}

static int start_kinds(struct gen *s)
{
	double rate = 0;
	int err = 0;

	for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++)
		rate += is_in_load(s, k) ? rate_of(&kinds[k]) : 0;
	if (rate <= 0)
		return -EINVAL;
	s->speed = s->g->rate > 0 ? s->g->rate / rate : 1;
	for (unsigned k = 0; err == 0 && k < ARRAY_SIZE(kinds); k++) {
		err = zipf_init(&s->zipf[k], kinds[k].prompts, kinds[k].zipf);
		s->next_visit_s[k] =
			is_in_load(s, k)
				? draw_exponential(&s->rnd, 1 / (kinds[k].visits * s->speed))
				: INFINITY;
	}
	return err;
}

static int load_write(const struct tracegen *g, FILE *out)
{
	struct gen s = { .g = g, .queue.size = sizeof(struct session) };
	char how[64];
	int err;

	rand_init(&s.rnd, g->seed);
	err = start_kinds(&s);
	if (err == 0) {
		snprintf(how, sizeof(how), "--load %s", g->load);
		gen_write_header(g, how, out);
	}
	for (uint64_t i = 0; err == 0 && i < g->requests; i++) {
		const unsigned k = next_kind(&s);
		struct session x;

		if (gen_queue_next_s(&s.queue) <= s.next_visit_s[k])
			gen_queue_pop(&s.queue, &x);
		else
			x = begin_visit(&s, k);
		err = one_request(&s, &x, i, out);
	}
	gen_queue_fini(&s.queue);
	for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++)
		zipf_fini(&s.zipf[k]);
	return err;
}

#define REQUESTS 10000u /* as many as is usual */

int tracegen_write(const struct tracegen *g, FILE *out)
{
	struct tracegen own = *g;
	int err;

	if (!g->recipe && !g->requests)
		own.requests = REQUESTS;
	err = g->recipe ? recipe_write(&own, out) : load_write(&own, out);
	return err ? err : fflush(out) || ferror(out) ? -EIO : 0;
}
