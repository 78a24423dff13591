/* SPDX-License-Identifier: Apache-2.0 */
/* replay_run.c - policies x capacities over one trace */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/number.h"
#include "utils/commands.h"
#include "utils/replay.h"

#define PROGRESS_EACH 512u

struct watch {
	const struct sim_trace *t;
	struct replay_result *r;	/* NULL: no curve wanted */
	bool shows;
	const char *policy, *capacity;
};

/* ---- capacity ------------------------------------------------------------------------------------ */

int replay_capacity(const char *text, uint64_t unique_blocks, uint32_t block_bytes, uint64_t *ret_blocks,
		    char *ret_why)
{
	char *end;
	double v, blocks;

	errno = 0;
	v = strtod(text, &end);
	if (end == text || strchr("+- \tiInN", *text) || errno || !isfinite(v))
		blocks = NAN;
	else if (!strcmp(end, "%"))
		/* 0.7 % of 1000 is 7: not a hair less for the sake of binary fractions */
		blocks = floor(v * (double)unique_blocks / 100 * (1 + 1e-12));
	else if (!*end)
		blocks = v == floor(v) ? v : NAN;
	else if (number_unit(end) && !block_bytes) {
		snprintf(ret_why, READER_WHY_LEN, "capacity \"%s\" is in bytes: give --block-bytes", text);
		return -EINVAL;
	} else
		blocks = number_unit(end) ? floor(v * (double)number_unit(end) / block_bytes) : NAN;
	if (isnan(blocks))
		snprintf(ret_why, READER_WHY_LEN, "capacity \"%s\" is no share (5%%), number of blocks (9139) or bytes (16G)",
			 text);
	else if (blocks < 1)
		snprintf(ret_why, READER_WHY_LEN, "capacity \"%s\" is 0 blocks of the trace's %llu", text,
			 (unsigned long long)unique_blocks);
	else if (blocks > (double)unique_blocks)
		snprintf(ret_why, READER_WHY_LEN, "capacity \"%s\" is above the trace: it has %llu unique blocks", text,
			 (unsigned long long)unique_blocks);
	else {
		*ret_blocks = (uint64_t)blocks;
		return 0;
	}
	return -EINVAL;
}

/* ---- one run ----------------------------------------------------------------------------------------- */

static void on_request(void *arg, size_t req, uint32_t hits)
{
	const struct watch *w = arg;
	const struct sim_request *q = &w->t->req[req];
	const uint64_t first = w->t->req[0].time_ns, span = w->t->req[w->t->nr_req - 1].time_ns - first + 1;
	unsigned at = (unsigned)((unsigned __int128)(q->time_ns - first) * REPLAY_CURVE / span);

	if (w->r) {
		w->r->curve[at].asked += q->nr;
		w->r->curve[at].hit += hits;
	}
	if (w->shows && req % PROGRESS_EACH == 0) {
		unsigned done = (unsigned)(req * 30 / w->t->nr_req);

		fprintf(stderr, "\r%-9s %-8s [%.*s%*s] %3zu %%", w->policy, w->capacity, (int)done,
			"##############################", (int)(30 - done), "", req * 100 / w->t->nr_req);
	}
}

static double ratio(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : 0;
}

static int run_one(const struct replay_options *o, const struct sim_trace *t, struct replay_result *r, bool is_asked)
{
	struct watch w = { .t = t, .r = is_asked ? r : NULL, .policy = r->policy->name, .capacity = r->capacity,
			   .shows = !o->is_quiet && isatty(STDERR_FILENO) };
	struct sim_config cfg = { .ops = r->policy, .capacity = r->capacity_blocks, .mode = o->mode,
				  .block_bytes = o->block_bytes, .cost = o->cost, .theta = o->theta,
				  .is_timed = is_asked, .on_request = on_request, .arg = &w };
	uint64_t ids = r->capacity_blocks + t->longest;
	int ret = sim_run(t, &cfg, &r->sim);

	if (w.shows)
		fputs("\r\033[K", stderr);
	if (ret < 0) {
		fprintf(stderr, "kvshm replay: %s at %s: %s\n", r->policy->name, r->capacity, strerror(-ret));
		return EXIT_DEAD;
	}
	ids = ids < t->nr_blocks ? ids : t->nr_blocks;
	r->block_hit_ratio = ratio(r->sim.block_hits, r->sim.blocks);
	r->token_hit_ratio = ratio(r->sim.token_hits, r->sim.tokens);
	r->bytes_per_block = (double)r->sim.mem.bytes / (double)ids;
	r->bytes_per_ghost = ratio(r->sim.mem.ghost_bytes, r->sim.mem.ghosts);
	return 0;
}

/* ---- the grid ------------------------------------------------------------------------------------------ */

/* The block hit ratio of @name at @like's capacity, from the results or from a run of its own. */
static int ratio_of(const struct replay_options *o, const struct sim_trace *t, const char *name,
		    const struct replay_result *row, double *ret)
{
	struct replay_result own = row[0];
	int err;

	*ret = NAN;
	own.policy = policy_find(name);
	for (unsigned i = 0; i < o->nr_policies; i++)
		if (row[i].policy == own.policy) {
			*ret = row[i].block_hit_ratio;
			return 0;
		}
	if (!own.policy || !o->has_gap)
		return 0;
	err = run_one(o, t, &own, false);
	if (err == 0)
		*ret = own.block_hit_ratio;
	return err;
}

/* All policies at one capacity. */
static int run_row(const struct replay_options *o, const struct sim_trace *t, struct replay_result *row)
{
	double base, opt;
	int err = 0;
	unsigned i;

	for (i = 0; err == 0 && i < o->nr_policies; i++)
		err = run_one(o, t, &row[i], true);
	if (err == 0)
		err = ratio_of(o, t, "leaf-lru", row, &base);
	if (err == 0)
		err = ratio_of(o, t, "belady", row, &opt);
	for (i = 0; err == 0 && i < o->nr_policies; i++) {
		row[i].opt_ratio = opt;
		row[i].gap_ratio = opt > base ? (row[i].block_hit_ratio - base) / (opt - base) : NAN;
	}
	return err;
}

int replay_run(const struct replay_options *o, const char *path, const struct loaded_trace *l,
	       struct replay_results *results)
{
	const size_t nr = (size_t)o->nr_policies * o->nr_capacities;
	const char *base = strrchr(path, '/');
	uint64_t blocks[REPLAY_LIST_MAX];
	struct sim_config cfg = { .block_bytes = o->block_bytes, .cost = o->cost };
	struct sim_result ideal;
	struct replay_result *r;
	char why[READER_WHY_LEN];
	int err = 0;

	/* All capacities before the first run: an error after minutes of work helps nobody. */
	for (unsigned c = 0; c < o->nr_capacities; c++)
		if (replay_capacity(o->capacity[c], l->t.nr_blocks, o->block_bytes, &blocks[c], why) < 0) {
			fprintf(stderr, "kvshm replay: %s: %s\n", path, why);
			return EXIT_USAGE;
		}
	r = realloc(results->r, (results->nr + nr) * sizeof(*r));
	if (!r) {
		fputs("kvshm replay: out of memory\n", stderr);
		return EXIT_DEAD;
	}
	results->r = r;
	r += results->nr;
	memset(r, 0, nr * sizeof(*r));
	sim_ideal(&l->t, &cfg, &ideal);
	for (unsigned c = 0; err == 0 && c < o->nr_capacities; c++) {
		for (unsigned p = 0; p < o->nr_policies; p++)
			r[c * o->nr_policies + p] = (struct replay_result){
				.trace = base ? base + 1 : path, .policy = o->policy[p],
				.capacity = o->capacity[c], .capacity_blocks = blocks[c],
				.unique_blocks = l->t.nr_blocks,
				.ideal_ratio = ratio(ideal.block_hits, ideal.blocks),
			};
		err = run_row(o, &l->t, &r[c * o->nr_policies]);
	}
	results->nr += nr;
	return err;
}
