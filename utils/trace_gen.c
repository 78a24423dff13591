/* SPDX-License-Identifier: Apache-2.0 */
/* trace_gen.c - the command kvshm trace gen */
#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "kvshm/base/number.h"
#include "utils/commands.h"
#include "utils/trace.h"
#include "utils/trace_commands.h"

#define ARG(option_) ((struct number_arg){ "kvshm trace gen", option_, optarg })

static void usage(FILE *out)
{
	fputs("usage: kvshm trace gen [OPTION...]\n\n"
	      "Writes a synthetic trace to stdout, and says so in its header.  The same options give the same trace.\n\n"
	      "      --load NAME        chat, api, agent or mix (default)\n"
	      "      --recipe NAME      instead: trace-a (60,000 requests of four sorts that differ in value) or trace-b\n"
	      "                         (conversations of slow people, one job a second)\n"
	      "      --seed N           default 1\n"
	      "  -n, --requests N       default 10000; of a recipe: all\n"
	      "      --rate X           requests a second, in the long run; default: the load's own\n"
	      "      --block-tokens N   default 16\n"
	      "  -h, --help             print this\n\n"
	      "Exit status: 0 done, 1 could not be written, 2 usage.\n", out);
}

static int parse_option(struct tracegen *g, int c)
{
	switch (c) {
	case 'L':
		g->load = optarg;
		return 0;
	case 'R':
		g->recipe = optarg;
		return 0;
	case 's':
		return number_whole(&ARG("seed"), 0, UINT64_MAX, &g->seed);
	case 'n':
		return number_whole(&ARG("requests"), 1, 1u << 30, &g->requests);
	case 'r':
		return number_real(&ARG("rate"), 1e-6, 1e6, &g->rate);
	case 't':
		return number_whole32(&ARG("block-tokens"), 1, 1u << 20, &g->block_tokens);
	default:
		usage(stderr);
		return -1;
	}
}

int trace_gen(int argc, char **argv)
{
	static const struct option opts[] = {
		{ "load", required_argument, NULL, 'L' }, { "recipe", required_argument, NULL, 'R' },
		{ "seed", required_argument, NULL, 's' }, { "requests", required_argument, NULL, 'n' },
		{ "rate", required_argument, NULL, 'r' }, { "block-tokens", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' }, { 0 },
	};
	struct tracegen g = { .seed = 1, .block_tokens = 16 };
	int c, err;

	while ((c = getopt_long(argc, argv, "n:h", opts, NULL)) != -1) {
		if (c == 'h') {
			usage(stdout);
			return EXIT_FINE;
		}
		if (parse_option(&g, c) < 0)
			return EXIT_USAGE;
	}
	if (optind < argc) {
		fprintf(stderr, "kvshm trace gen: unexpected argument \"%s\"; the trace goes to stdout\n", argv[optind]);
		return EXIT_USAGE;
	}
	if (g.recipe && (g.load || g.rate > 0)) {
		fputs("kvshm trace gen: a recipe has its own load and rate: --load and --rate do not go with it\n",
		      stderr);
		return EXIT_USAGE;
	}
	if (!g.load)
		g.load = "mix";
	err = tracegen_write(&g, stdout);
	if (err == -EINVAL) {
		if (g.recipe)
			fprintf(stderr, "kvshm trace gen: unknown recipe \"%s\"; known are trace-a, trace-b\n", g.recipe);
		else
			fprintf(stderr, "kvshm trace gen: unknown load \"%s\"; known are chat, api, agent, mix\n", g.load);
		return EXIT_USAGE;
	}
	if (err < 0)
		fprintf(stderr, "kvshm trace gen: %s\n", strerror(-err));
	return err < 0 ? EXIT_DEAD : EXIT_FINE;
}
