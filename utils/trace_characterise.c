/* SPDX-License-Identifier: Apache-2.0 */
/* trace_characterise.c - print what trace_study.c found */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/number.h"
#include "utils/commands.h"
#include "utils/trace.h"
#include "utils/trace_commands.h"

static const double quantiles[] = { 0.5, 0.8, 0.9, 0.99 };
static const char *const turn_names[] = { "-", "1", "2", "3-4", "5-9", "10+" };

static void usage(FILE *out)
{
	fputs("usage: kvshm trace characterise [OPTION...] TRACE\n\n"
	      "Prints the ideal hit ratio, who reuses what, and for each type and turn how soon blocks are used\n"
	      "again, how long they live, and how near that is to an exponential.\n\n"
	      "      --block-tokens N   of a block, when the trace does not tell\n"
	      "      --lenient          pass over malformed lines and count them\n"
	      "      --json             one object, schema kvshm.trace-characterise/1\n"
	      "  -q, --quiet            no progress\n"
	      "  -h, --help             print this\n\n"
	      "Exit status: 0 done, 2 usage, 3 no permission, 8 the trace is malformed, cut short or out of order.\n", out);
}

static double share(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : 0;
}

static const char *type_name(const struct loaded_trace *l, const struct study_class *c)
{
	const char *name = reader_type_name(l->r, c->type);

	return name ? name : "-";
}

static void print_head(const struct loaded_trace *l, const struct study *s)
{
	struct reader_info info;

	reader_info(l->r, &info);
	printf("form              %s%s, %u tokens a block\n", info.form, info.is_synthetic ? ", SYNTHETIC" : "",
	       info.block_tokens);
	if (info.note[0])
		printf("note              %s\n", info.note);
	printf("requests          %llu in %.0f s\n", (unsigned long long)s->requests, s->span_s);
	printf("blocks            %llu asked, %llu unique, %.1f %% of these used again\n",
	       (unsigned long long)s->blocks, (unsigned long long)s->unique, 100 * share(s->reused_blocks, s->unique));
	printf("ideal hit ratio   %.4f of blocks, %.4f of tokens\n", share(s->block_hits, s->blocks),
	       share(s->token_hits, s->tokens));
	printf("hits by           first turns %.1f %%, later turns %.1f %%; same session as the use before %.1f %%\n",
	       100 * share(s->single_hits, s->block_hits), 100 * share(s->multi_hits, s->block_hits),
	       100 * share(s->same_session_hits, s->block_hits));
	printf("concentration     the tenth of blocks used most gets %.1f %% of the reuses\n", 100 * s->top10_share);
}

static void print_class(const char *type, const char *turn, const struct study_class *c)
{
	printf("%-16.16s %-5s %8llu %9llu %6.3f | %14.2f %8.2f %8.2f | %14.2f %8.2f | %6.3f %8.2f %8.3f\n",
	       type, turn, (unsigned long long)c->requests, (unsigned long long)c->blocks,
	       share(c->block_hits, c->blocks), study_quantile(c->reuse_s, c->reused, 0.5),
	       study_quantile(c->reuse_s, c->reused, 0.8),
	       study_quantile(c->reuse_s, c->reused, 0.9),
	       study_quantile(c->life_s, c->nr_lives, 0.5),
	       study_quantile(c->life_s, c->nr_lives, 0.9), c->fit_p, c->fit_mean_s,
	       c->fit_distance);
}

static void print_text(const struct loaded_trace *l, const struct study *s)
{
	print_head(l, s);
	printf("\n%-16s %-5s %8s %9s %6s | reuse s %6s %8s %8s | life s %7s %8s | fit: p %8s %8s\n", "type", "turn",
	       "requests", "blocks", "hits", "50%", "80%", "90%", "50%", "90%", "mean s", "distance");
	for (unsigned i = 0; i < s->nr_classes; i++)
		if (s->class[i].requests)
			print_class(type_name(l, &s->class[i]), turn_names[s->class[i].turn],
				    &s->class[i]);
	print_class("all", "all", &s->all);
}

static void json_quantiles(struct jdoc *o, const char *what, const double *sorted, size_t n)
{
	char name[48];

	for (unsigned i = 0; i < ARRAY_SIZE(quantiles); i++) {
		snprintf(name, sizeof(name), "%s_p%.0f_s", what, 100 * quantiles[i]);
		jdoc_real(o, name, study_quantile(sorted, n, quantiles[i]));
	}
}

static void json_class(struct jdoc *o, const char *type, const char *turn,
		       const struct study_class *c)
{
	jdoc_text(o, "type", type);
	jdoc_text(o, "turn", turn);
	jdoc_int(o, "requests", (int64_t)c->requests);
	jdoc_int(o, "blocks", (int64_t)c->blocks);
	jdoc_real(o, "block_hit_ratio", share(c->block_hits, c->blocks));
	json_quantiles(o, "reuse", c->reuse_s, c->reused);
	json_quantiles(o, "life", c->life_s, c->nr_lives);
	jdoc_real(o, "fit_reuse_ratio", c->fit_p);
	jdoc_real(o, "fit_mean_s", c->fit_mean_s);
	jdoc_real(o, "fit_distance_ratio", c->fit_distance);
}

static void print_json(const struct loaded_trace *l, const struct study *s)
{
	struct jdoc *j = jdoc_begin("trace-characterise", "none");
	struct reader_info info;

	reader_info(l->r, &info);
	jdoc_text(j, "form", info.form);
	jdoc_bool(j, "is_synthetic", info.is_synthetic);
	jdoc_int(j, "block_tokens", info.block_tokens);
	jdoc_int(j, "skipped_lines", (int64_t)info.nr_skipped);
	jdoc_int(j, "requests", (int64_t)s->requests);
	jdoc_real(j, "span_s", s->span_s);
	jdoc_int(j, "blocks", (int64_t)s->blocks);
	jdoc_int(j, "unique_blocks", (int64_t)s->unique);
	jdoc_int(j, "reused_blocks", (int64_t)s->reused_blocks);
	jdoc_real(j, "ideal_block_hit_ratio", share(s->block_hits, s->blocks));
	jdoc_real(j, "ideal_token_hit_ratio", share(s->token_hits, s->tokens));
	jdoc_real(j, "first_turn_hits_ratio", share(s->single_hits, s->block_hits));
	jdoc_real(j, "later_turn_hits_ratio", share(s->multi_hits, s->block_hits));
	jdoc_real(j, "same_session_hits_ratio", share(s->same_session_hits, s->block_hits));
	jdoc_real(j, "top_tenth_reuse_ratio", s->top10_share);
	json_class(jdoc_object(j, "all"), "all", "all", &s->all);
	for (unsigned i = 0; i < s->nr_classes; i++)
		if (s->class[i].requests)
			json_class(jdoc_append(j, "classes"), type_name(l, &s->class[i]),
				   turn_names[s->class[i].turn], &s->class[i]);
	jdoc_end(j, stdout);
}

static int characterise(const char *path, const struct reader_options *ro, bool is_quiet, bool is_json)
{
	struct loaded_trace l;
	struct study s;
	int err = reader_load("kvshm trace characterise", path, ro, is_quiet, &l);

	if (err)
		return err;
	if (study_run(&l.t, &s) < 0) {
		fputs("kvshm trace characterise: out of memory\n", stderr);
		err = EXIT_DEAD;
	} else {
		if (is_json)
			print_json(&l, &s);
		else
			print_text(&l, &s);
		study_fini(&s);
	}
	reader_unload(&l);
	return err;
}

int trace_characterise(int argc, char **argv)
{
	static const struct option opts[] = {
		{ "block-tokens", required_argument, NULL, 't' }, { "lenient", no_argument, NULL, 'l' },
		{ "json", no_argument, NULL, 'j' }, { "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' }, { 0 },
	};
	struct reader_options ro = { 0 };
	bool is_json = false, is_quiet = false;
	int c;

	while ((c = getopt_long(argc, argv, "qh", opts, NULL)) != -1) {
		switch (c) {
		case 't':
			if (number_whole32(&(struct number_arg){ "kvshm trace characterise", "block-tokens", optarg },
					   1, 1u << 20, &ro.block_tokens) < 0)
				return EXIT_USAGE;
			break;
		case 'l':
			ro.is_lenient = true;
			break;
		case 'j':
			is_json = true;
			break;
		case 'q':
			is_quiet = true;
			break;
		case 'h':
			usage(stdout);
			return EXIT_FINE;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (argc - optind != 1) {
		fputs("kvshm trace characterise: give one trace\n", stderr);
		return EXIT_USAGE;
	}
	return characterise(argv[optind], &ro, is_quiet, is_json);
}
