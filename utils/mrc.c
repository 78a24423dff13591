/* SPDX-License-Identifier: Apache-2.0 */
/* mrc.c - how the hit ratio goes with the size, and what more memory would give */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/options.h"
#include "utils/commands.h"
#include "utils/json.h"
#include "utils/mrc.h"
#include "utils/mrc_live.h"
#include "utils/replay.h"

#define CURVES_MAX 257u			/* all, and each type */

struct mrc_options {
	struct reader_options reader;
	const char *at, *more;		/* capacity now, and what is added; NULL: not given */
	const struct policy_ops *policy;	/* besides leaf-lru; NULL: none */
	uint32_t block_bytes;
	bool is_json, is_quiet, by_type;
};

static void usage(FILE *out)
{
	fputs("usage: kvshm mrc [OPTION...] TRACE\n"
	      "       kvshm mrc [OPTION...]\n\n"
	      "Prints the hit ratio of a trace under leaf-lru over the size of the cache, from one pass, and what\n"
	      "more memory would give.  Without a trace: of what is asked of a running daemon while it listens, for\n"
	      "each namespace.\n\n"
	      "      --at CAPACITY      the size now: 5%, 9139 (blocks) or 128G\n"
	      "      --more CAPACITY    what is added (default 64G if --block-bytes is given, else 10%)\n"
	      "      --block-bytes N    of a block; sizes in bytes need it\n"
	      "  -p, --policy NAME      the hit ratio under this policy, too, simulated at each size; without a trace it is\n"
	      "                         that of the daemon\n"
	      "      --by-type          also a curve for each type of request, as if alone\n"
	      "      --block-tokens N   of a block, when the trace does not tell\n"
	      "      --lenient          pass over malformed lines and count them\n"
	      "      --seconds N        without a trace: how long to listen (default 60; Ctrl-C ends it)\n"
	      "      --held             without a trace: begin with what the daemon's ring of events still holds\n"
	      "  -i, --instance NAME    without a trace: which daemon; default main\n"
	      "      --socket PATH      the same, by its socket\n"
	      "      --json             one object, schema kvshm.mrc/1\n"
	      "  -q, --quiet            no progress\n"
	      "  -h, --help             print this\n\n"
	      "Exit status: 0 done, 1 out of memory or no daemon, 2 usage, 3 no permission, 4 the daemon is of another\n"
	      "version, 8 the trace is malformed, cut short or out of order.\n", out);
}

/* Sizes of --at and --more.  Return: 0, an exit status. */
static int find_sizes(const struct mrc_options *o, const struct sim_trace *t, uint64_t *ret_at, uint64_t *ret_more)
{
	const char *more = o->more ? o->more : o->block_bytes ? "64G" : "10%";
	char why[READER_WHY_LEN];

	if (replay_capacity(o->at, t->nr_blocks, o->block_bytes, ret_at, why) < 0) {
		fprintf(stderr, "kvshm mrc: --at: %s\n", why);
		return EXIT_USAGE;
	}
	/* More than the trace has is as good as all of it, and no mistake. */
	if (replay_capacity(more, UINT32_MAX, o->block_bytes, ret_more, why) < 0) {
		fprintf(stderr, "kvshm mrc: --more: %s\n", why);
		return EXIT_USAGE;
	}
	if (strchr(more, '%'))
		*ret_more = (uint64_t)((double)*ret_more / UINT32_MAX * t->nr_blocks);
	return 0;
}

/* All that was found about a trace. */
struct answer {
	const struct mrc_options *o;
	const struct loaded_trace *l;
	struct mrc m[CURVES_MAX];
	unsigned nr;			/* curves */
	struct mrc_question q;
	struct mrc_policy p;
};

static double points(double now, double then)
{
	return 100 * (then - now);
}

static void print_advice(const struct answer *a)
{
	const double now = mrc_hit_ratio(&a->m[0], a->q.at), then = mrc_hit_ratio(&a->m[0], a->q.at + a->q.more);

	printf("\nat %s (%" PRIu64 " blocks) the hit ratio is %.4f; %" PRIu64
	       " blocks more give %.4f, %+.2f points\n",
	       a->o->at, a->q.at, now, a->q.more, then, points(now, then));
	if (a->o->policy)
		printf("under %s it is %.4f; they give %.4f, %+.2f points\n", a->o->policy->name,
		       a->p.now, a->p.then, points(a->p.now, a->p.then));
}

static void print_text(const struct answer *a)
{
	const uint32_t unique = a->l->t.nr_blocks;
	const char *all = a->o->policy ? "leaf-lru" : "all";

	printf("%-16s %8s", "blocks", "share");
	if (a->o->policy)
		printf(" %10.10s", a->o->policy->name);
	for (unsigned c = 0; c < a->nr; c++)
		if (a->m[c].uses)
			printf(" %10.10s", c ? reader_type_name(a->l->r, c) : all);
	putchar('\n');
	for (unsigned i = 0; i < MRC_SIZES; i++) {
		printf("%-16" PRIu64 " %7.1f%%", mrc_size_at(unique, i), mrc_shares[i]);
		if (a->o->policy)
			printf(" %10.4f", a->p.at_size[i]);
		for (unsigned c = 0; c < a->nr; c++)
			if (a->m[c].uses)
				printf(" %10.4f", mrc_hit_ratio(&a->m[c], mrc_size_at(unique, i)));
		putchar('\n');
	}
	if (a->o->at)
		print_advice(a);
}

static void add_point(const struct answer *a, struct jdoc *j, unsigned c, unsigned i)
{
	const uint64_t blocks = mrc_size_at(a->l->t.nr_blocks, i);
	struct jdoc *p = jdoc_append(j, "points");

	jdoc_text(p, "type", c ? reader_type_name(a->l->r, c) : "all");
	jdoc_int(p, "capacity_blocks", (int64_t)blocks);
	jdoc_real(p, "block_hit_ratio", mrc_hit_ratio(&a->m[c], blocks));
	if (a->o->policy && c == 0)
		jdoc_real(p, "policy_block_hit_ratio", a->p.at_size[i]);
}

static void print_json(const struct answer *a)
{
	struct jdoc *j = jdoc_begin("mrc", "none"), *p;

	jdoc_int(j, "unique_blocks", a->l->t.nr_blocks);
	if (a->o->policy)
		jdoc_text(j, "policy", a->o->policy->name);
	for (unsigned c = 0; c < a->nr; c++)
		for (unsigned i = 0; a->m[c].uses && i < MRC_SIZES; i++)
			add_point(a, j, c, i);
	if (a->o->at) {
		p = jdoc_object(j, "advice");
		jdoc_int(p, "capacity_blocks", (int64_t)a->q.at);
		jdoc_real(p, "block_hit_ratio", mrc_hit_ratio(&a->m[0], a->q.at));
		jdoc_int(p, "more_blocks", (int64_t)a->q.more);
		jdoc_real(p, "block_hit_ratio_with_more",
			  mrc_hit_ratio(&a->m[0], a->q.at + a->q.more));
		if (a->o->policy) {
			jdoc_real(p, "policy_block_hit_ratio", a->p.now);
			jdoc_real(p, "policy_block_hit_ratio_with_more", a->p.then);
		}
	}
	jdoc_end(j, stdout);
}

/* Return: 0, -ENOMEM. */
static int find_curves(struct answer *a)
{
	unsigned wanted = 1;
	int err = 0;

	while (a->o->by_type && wanted < CURVES_MAX && reader_type_name(a->l->r, wanted))
		wanted++;
	for (; err == 0 && a->nr < wanted; a->nr += err == 0)
		err = mrc_run(&a->l->t, a->nr ? (int)a->nr : -1, &a->m[a->nr]);
	return err ? err : mrc_policy_run(&a->l->t, &a->m[0], &a->q, &a->p);
}

static int run(const struct mrc_options *o, const char *path)
{
	struct answer a = { .o = o, .q = { .policy = o->policy, .block_bytes = o->block_bytes } };
	struct loaded_trace l;
	int err = reader_load("kvshm mrc", path, &o->reader, o->is_quiet, &l);

	if (err)
		return err;
	a.l = &l;
	a.q.shows_progress = !o->is_quiet && isatty(STDERR_FILENO);
	if (o->at)
		err = find_sizes(o, &l.t, &a.q.at, &a.q.more);
	if (!err && find_curves(&a) < 0) {
		fputs("kvshm mrc: out of memory\n", stderr);
		err = EXIT_DEAD;
	}
	if (!err)
		(o->is_json ? print_json : print_text)(&a);
	while (a.nr)
		mrc_fini(&a.m[--a.nr]);
	reader_unload(&l);
	return err;
}

int cmd_mrc(int argc, char **argv)
{
	struct mrc_options o = { 0 };
	struct mrc_live live = { .l = { .command = "kvshm mrc" }, .more_bytes = 64ull << 30 };
	const char *policy = NULL;
	double seconds = 60;
	uint64_t block_bytes = 0, block_tokens = 0;
	const struct option_row rows[] = {
		TEXT_ROW("at", 0, &o.at),
		TEXT_ROW("more", 0, &o.more),
		WHOLE_ROW("block-bytes", 0, &block_bytes, 1, 1u << 30),
		WHOLE_ROW("block-tokens", 0, &block_tokens, 1, 1u << 20),
		TEXT_ROW("policy", 'p', &policy),
		FLAG_ROW("by-type", 0, &o.by_type),
		FLAG_ROW("lenient", 0, &o.reader.is_lenient),
		SECONDS_ROW("seconds", 0, &seconds, 0.1, 1e7, 0),
		FLAG_ROW("held", 0, &live.l.with_held),
		TARGET_ROWS(&live.l.target),
		FLAG_ROW("json", 0, &o.is_json),
		FLAG_ROW("quiet", 'q', &o.is_quiet),
		{ 0 },
	};
	const struct option_table t = { "kvshm mrc", usage, rows, 1 };
	int ret = options_parse(&t, argc, argv);

	if (ret != OPTIONS_GO_ON)
		return ret;
	if (policy && !(o.policy = mrc_find_policy(policy)))
		return EXIT_USAGE;
	o.block_bytes = (uint32_t)block_bytes;
	o.reader.block_tokens = (uint32_t)block_tokens;
	if (optind < argc)
		return run(&o, argv[optind]);
	if (o.at || o.by_type || o.block_bytes || o.reader.block_tokens || o.reader.is_lenient) {
		fputs("kvshm mrc: give a trace: --at, --by-type, --block-bytes, --block-tokens and --lenient are about one\n",
		      stderr);
		return EXIT_USAGE;
	}
	if (o.more && mrc_more_bytes(o.more, &live.more_bytes) < 0)
		return EXIT_USAGE;
	live.policy = o.policy;
	live.l.seconds = seconds;
	live.l.is_quiet = o.is_quiet;
	live.is_json = o.is_json;
	return mrc_live(&live);
}
