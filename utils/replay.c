/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - traces through eviction policies, side by side */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/number.h"
#include "utils/commands.h"
#include "utils/replay.h"

#define ARG(option_) ((struct number_arg){ "kvshm replay", option_, optarg })

static void usage(FILE *out)
{
	fputs("usage: kvshm replay [OPTION...] TRACE...\n\n"
	      "Replays traces against eviction policies, each at each capacity.  Forms: kvshm, Qwen-Bailian,\n"
	      "Mooncake, csv; plain, xz or zstd.\n\n"
	      "  -p, --policy LIST      which, comma-separated; \"all\" (default: gix,wa,leaf-lru)\n"
	      "  -c, --capacity LIST    share of the unique blocks (5%), blocks (9139) or bytes (16G);\n"
	      "                         default 0.5%,1%,2%,5%,10%\n"
	      "      --block-bytes N    of a block, K M G allowed; capacities in bytes need it (default 1M)\n"
	      "      --block-tokens N   of a block, when the trace does not tell\n"
	      "      --theta X          gix: weight of saved time, 0 to 1 (default 0: hit ratio)\n"
	      "      --cost A,B,C       seconds of prefill a token, more for each token before it, of a load a byte\n"
	      "      --pinned           make room before each insertion, as a daemon without bypass\n"
	      "      --no-gap           do not run leaf-lru and belady besides, for the gap closed to OPT\n"
	      "      --lenient          pass over malformed lines and count them\n"
	      "      --json             one object, schema kvshm.replay/1\n"
	      "      --csv              a table with a line of names\n"
	      "      --plot FILE        draw hit ratio over capacity and time: FILE.svg or FILE.png, by gnuplot\n"
	      "  -q, --quiet            no progress\n"
	      "  -h, --help             print this\n\n"
	      "Policies:\n", out);
	for (unsigned i = 0; policy_at(i); i++)
		fprintf(out, "  %-9s %s\n", policy_at(i)->name, policy_at(i)->summary);
	fputs("\nExit status: 0 all runs done, 1 out of memory or no picture, 2 usage, 3 no permission,\n"
	      "8 a trace is malformed, cut short or out of order.  Results are printed only if all runs are done.\n", out);
}

static int add_policy(struct replay_options *o, const struct policy_ops *ops)
{
	if (o->nr_policies == REPLAY_LIST_MAX)
		return -1;
	for (unsigned i = 0; i < o->nr_policies; i++)
		if (o->policy[i] == ops)
			return 0;
	o->policy[o->nr_policies++] = ops;
	return 0;
}

static void say_policies(const char *name)
{
	fprintf(stderr, "kvshm replay: unknown policy \"%s\"; known are", name);
	for (unsigned i = 0; policy_at(i); i++)
		fprintf(stderr, "%s %s", i ? "," : "", policy_at(i)->name);
	fputc('\n', stderr);
}

static int parse_policies(struct replay_options *o, char *list)
{
	char *save, *name;

	o->nr_policies = 0;
	for (name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		const struct policy_ops *ops = policy_find(name);
		int ret = 0;

		if (!strcmp(name, "all"))
			for (unsigned i = 0; ret == 0 && policy_at(i); i++)
				ret = add_policy(o, policy_at(i));
		else if (ops)
			ret = add_policy(o, ops);
		else {
			say_policies(name);
			return -1;
		}
		if (ret < 0)
			fputs("kvshm replay: too many policies\n", stderr);
		if (ret < 0)
			return -1;
	}
	if (!o->nr_policies)
		fputs("kvshm replay: --policy names none\n", stderr);
	return o->nr_policies ? 0 : -1;
}

static int parse_capacities(struct replay_options *o, char *list)
{
	char *save, *text;

	o->nr_capacities = 0;
	for (text = strtok_r(list, ",", &save); text; text = strtok_r(NULL, ",", &save)) {
		if (o->nr_capacities == REPLAY_LIST_MAX) {
			fputs("kvshm replay: too many capacities\n", stderr);
			return -1;
		}
		o->capacity[o->nr_capacities++] = text;
	}
	if (!o->nr_capacities)
		fputs("kvshm replay: --capacity names none\n", stderr);
	return o->nr_capacities ? 0 : -1;
}

static int parse_cost(struct replay_options *o, const char *text)
{
	struct policy_cost *c = &o->cost;
	char rest;

	if (sscanf(text, "%lf,%lf,%lf%c", &c->per_token, &c->per_token_offset, &c->per_byte, &rest) == 3 &&
	    c->per_token > 0 && c->per_token < 1 && c->per_token_offset >= 0 && c->per_token_offset < 1 &&
	    c->per_byte >= 0 && c->per_byte < 1)
		return 0;
	fprintf(stderr, "kvshm replay: --cost takes three numbers of seconds, not \"%s\"\n", text);
	return -1;
}

static int parse_option(struct replay_options *o, int c)
{
	switch (c) {
	case 'p':
		return parse_policies(o, optarg);
	case 'c':
		return parse_capacities(o, optarg);
	case 'b':
		return number_whole32(&ARG("block-bytes"), 1, 1u << 30, &o->block_bytes);
	case 't':
		return number_whole32(&ARG("block-tokens"), 1, 1u << 20, &o->reader.block_tokens);
	case 'T':
		return number_real(&ARG("theta"), 0, 1, &o->theta);
	case 'C':
		return parse_cost(o, optarg);
	case 'P':
		o->mode = SIM_PINNED;
		return 0;
	case 'G':
		o->has_gap = false;
		return 0;
	case 'l':
		o->reader.is_lenient = true;
		return 0;
	case 'j':
	case 'v':
		o->output = c == 'j' ? REPLAY_JSON : REPLAY_CSV;
		return 0;
	case 'g':
		o->plot = optarg;
		return 0;
	case 'q':
		o->is_quiet = true;
		return 0;
	default:
		usage(stderr);
		return -1;
	}
}

static int run(const struct replay_options *o, int nr, char *const *path)
{
	struct replay_results results = { 0 };
	struct loaded_trace l;
	int err = o->plot ? replay_plot_check(o->plot) : 0;

	for (int i = 0; err == 0 && i < nr; i++) {
		err = reader_load("kvshm replay", path[i], &o->reader, o->is_quiet, &l);
		if (err)
			break;
		err = replay_run(o, path[i], &l, &results);
		reader_unload(&l);
	}
	if (err == 0 && o->output == REPLAY_JSON)
		report_json(&results, stdout);
	else if (err == 0 && o->output == REPLAY_CSV)
		report_csv(&results, stdout);
	else if (err == 0)
		report_text(&results, stdout);
	if (err == 0 && (fflush(stdout) || ferror(stdout))) {
		fputs("kvshm replay: the results could not be written\n", stderr);
		err = EXIT_DEAD;
	}
	if (err == 0 && o->plot)
		err = replay_plot(&results, o->plot);
	free(results.r);
	return err;
}

int cmd_replay(int argc, char **argv)
{
	static const struct option opts[] = {
		{ "policy", required_argument, NULL, 'p' }, { "capacity", required_argument, NULL, 'c' },
		{ "block-bytes", required_argument, NULL, 'b' }, { "block-tokens", required_argument, NULL, 't' },
		{ "theta", required_argument, NULL, 'T' }, { "cost", required_argument, NULL, 'C' },
		{ "pinned", no_argument, NULL, 'P' }, { "no-gap", no_argument, NULL, 'G' },
		{ "lenient", no_argument, NULL, 'l' }, { "json", no_argument, NULL, 'j' },
		{ "csv", no_argument, NULL, 'v' }, { "plot", required_argument, NULL, 'g' },
		{ "quiet", no_argument, NULL, 'q' }, { "help", no_argument, NULL, 'h' }, { 0 },
	};
	static const char *const usual[] = { "gix", "wa", "leaf-lru" };
	static char usual_sizes[] = "0.5%,1%,2%,5%,10%";
	struct replay_options o = { .has_gap = true };
	int c;

	for (unsigned i = 0; i < ARRAY_SIZE(usual); i++)
		if (policy_find(usual[i]))
			add_policy(&o, policy_find(usual[i]));
	parse_capacities(&o, usual_sizes);
	while ((c = getopt_long(argc, argv, "p:c:qh", opts, NULL)) != -1) {
		if (c == 'h') {
			usage(stdout);
			return EXIT_FINE;
		}
		if (parse_option(&o, c) < 0)
			return EXIT_USAGE;
	}
	if (optind == argc) {
		fputs("kvshm replay: no trace given; `kvshm replay --help` says how\n", stderr);
		return EXIT_USAGE;
	}
	/* gnuplot that goes away must not take us with it. */
	if (o.plot)
		signal(SIGPIPE, SIG_IGN);
	return run(&o, argc - optind, argv + optind);
}
