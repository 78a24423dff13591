/* SPDX-License-Identifier: Apache-2.0 */
/* bench.c - kvshm bench: options, dispatch, report, assertions */
#include "utils/bench.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/number.h"
#include "utils/commands.h"

#define MAX_ASSERTS 16
#define ARG(option_) ((struct number_arg){ "kvshm bench", option_, optarg })

static const struct bench *const benches[] = {
	&bench_match, &bench_resolve, &bench_get, &bench_put, &bench_qp, &bench_evict, &bench_attach,
	&bench_policy, &bench_plan, &bench_stage, &bench_tier,
};

struct run_options {
	struct bench_options o;
	bool is_json, has_pmu;
	const char *assertion[MAX_ASSERTS];
	unsigned nr_assertions;
};

static void usage(FILE *out)
{
	fputs("usage: kvshm bench WHAT [OPTION...]\n\nWHAT:\n", out);
	for (unsigned i = 0; i < ARRAY_SIZE(benches); i++)
		fprintf(out, "  %-9s %s\n", benches[i]->name, benches[i]->summary);
	fputs("  compare   runs of before with runs of after: `kvshm bench compare --help`\n"
	      "  report    one HTML page of runs: `kvshm bench report --help`\n"
	      "\nStarts a private daemon in a temporary directory unless --socket names one.\n\n"
	      "      --keys N         keys of one call (match, resolve; default 2048)\n"
	      "      --blocks N       blocks in the cache (default as measured: match 1000000)\n"
	      "      --bytes SIZE     bytes of a block, as 2M (get, put; default 2M)\n"
	      "      --sessions N     sessions, one of them active (qp: default 1; evict: 64)\n"
	      "      --miss           nothing of the chains is cached (match)\n"
	      "      --scattered      chains grown by one commit a turn (resolve)\n"
	      "      --loose          a vector of loose keys (resolve)\n"
	      "      --staged         as an untrusted client, through staging (put)\n"
	      "      --daemon STATE   running, stopped or dead while measuring (match)\n"
	      "      --socket PATH    measure against this daemon\n"
	      "      --fake[=PATH]    the fake GPU driver, PATH or beside this program; figures are simulated (stage, tier)\n"
	      "      --device N       GPU by its ordinal (stage, tier; default 0)\n"
	      "      --model NAME     whose blocks, as llama-3.1-8b (stage, tier)\n"
	      "      --order NAME     how the engine keeps them: hnd, nhd, lbhnc, blhnc, mla, ... (stage, tier; default hnd)\n"
	      "      --costs FILE     write what copies cost, for /etc/kvshm/gpu.costs (stage)\n"
	      "      --dir DIR        where its files are made (tier; default $TMPDIR, else /tmp)\n"
	      "      --pmu            cycles, instructions, cache and TLB misses of a call (match, resolve, get, put)\n"
	      "      --assert F<=N    exit 1 unless field F holds; also >= ; may be repeated\n"
	      "      --json           one object, schema kvshm.bench/1\n"
	      "  -h, --help           print this\n\n"
	      "Exit status: 0 measured and every assertion held, 1 not, 2 usage.\n", out);
}

static int parse_daemon(const char *text, enum bench_daemon *ret_d)
{
	static const char *const names[] = { "running", "stopped", "dead" };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(text, names[i])) {
			*ret_d = (enum bench_daemon)i;
			return 0;
		}
	fprintf(stderr, "kvshm bench: --daemon takes running, stopped or dead, not \"%s\"\n", text);
	return -1;
}

enum { OPT_KEYS = 256, OPT_BLOCKS, OPT_BYTES, OPT_SESSIONS, OPT_MISS, OPT_SCATTERED, OPT_LOOSE, OPT_STAGED,
       OPT_DAEMON, OPT_SOCKET, OPT_ASSERT, OPT_PMU, OPT_JSON, OPT_FAKE, OPT_DEVICE, OPT_MODEL, OPT_ORDER, OPT_COSTS,
       OPT_DIR };

static int set_option(struct run_options *r, int c)
{
	switch (c) {
	case OPT_KEYS:
		return number_whole32(&ARG("keys"), 1, 65536, &r->o.keys);
	case OPT_BLOCKS:
		return number_whole(&ARG("blocks"), 1, 100000000, &r->o.blocks);
	case OPT_BYTES:
		return number_whole(&ARG("bytes"), 1, 64ul << 20, &r->o.bytes);
	case OPT_SESSIONS:
		return number_whole32(&ARG("sessions"), 1, 256, &r->o.sessions);
	case OPT_MISS:
		r->o.is_miss = true;
		return 0;
	case OPT_SCATTERED:
		r->o.is_scattered = true;
		return 0;
	case OPT_LOOSE:
		r->o.is_loose = true;
		return 0;
	case OPT_STAGED:
		r->o.is_staged = true;
		return 0;
	case OPT_DAEMON:
		return parse_daemon(optarg, &r->o.daemon);
	case OPT_SOCKET:
		r->o.socket = optarg;
		return 0;
	case OPT_ASSERT:
		if (r->nr_assertions == MAX_ASSERTS || !strpbrk(optarg, "<>")) {
			fprintf(stderr, "kvshm bench: --assert takes FIELD<=NUMBER or FIELD>=NUMBER, at most %d times\n",
				MAX_ASSERTS);
			return -1;
		}
		r->assertion[r->nr_assertions++] = optarg;
		return 0;
	case OPT_FAKE:
		r->o.is_fake = true;
		r->o.fake = optarg;
		return 0;
	case OPT_DEVICE:
		return number_whole32(&ARG("device"), 0, 15, &r->o.device);
	case OPT_MODEL:
		r->o.model = optarg;
		return 0;
	case OPT_ORDER:
		r->o.order = optarg;
		return 0;
	case OPT_COSTS:
		r->o.costs = optarg;
		return 0;
	case OPT_DIR:
		r->o.dir = optarg;
		return 0;
	case OPT_PMU:
		r->has_pmu = true;
		return 0;
	case OPT_JSON:
		r->is_json = true;
		return 0;
	}
	return -1;
}

/* "field<=number": Return: 1 holds, 0 not, -1 cannot be read. */
static int assertion_holds(const struct jdoc *j, const char *text)
{
	const char *op = strpbrk(text, "<>");
	char name[64], *end;
	double want, have;

	if (op[1] != '=' || (size_t)(op - text) >= sizeof(name))
		return -1;
	memcpy(name, text, (size_t)(op - text));
	name[op - text] = 0;
	want = strtod(op + 2, &end);
	if (*end || end == op + 2 || jdoc_number(j, name, &have) < 0)
		return -1;
	return *op == '<' ? have <= want : have >= want;
}

static int check_assertions(const struct run_options *r, const struct jdoc *j)
{
	int ret = EXIT_FINE;

	for (unsigned i = 0; i < r->nr_assertions; i++) {
		int holds = assertion_holds(j, r->assertion[i]);

		if (holds == 1)
			continue;
		fprintf(stderr, holds < 0 ? "kvshm bench: \"%s\": no such field, or not a number\n" :
			"kvshm bench: does not hold: %s\n", r->assertion[i]);
		ret = holds < 0 ? EXIT_USAGE : EXIT_DEAD;
	}
	return ret;
}

static int run_bench(const struct bench *b, struct run_options *r)
{
	struct jdoc *j;
	int ret;

	if (r->o.daemon != BENCH_RUNNING && r->o.socket) {
		fprintf(stderr, "kvshm bench: --daemon %s would harm the daemon of --socket; leave one of them out\n",
			r->o.daemon == BENCH_DEAD ? "dead" : "stopped");
		return EXIT_USAGE;
	}
	j = jdoc_begin("bench", "n/a");
	jdoc_text(j, "bench", b->name);
	jdoc_text(j, "daemon", r->o.daemon == BENCH_DEAD ? "dead" : r->o.daemon == BENCH_STOPPED ? "stopped" : "running");
	r->o.pmu = r->has_pmu ? pmu_open() : NULL;
	ret = b->run(&r->o, j);
	r->o.pmu = pmu_close(r->o.pmu);
	if (!ret)
		ret = check_assertions(r, j);
	if (r->is_json)
		jdoc_end(j, stdout);
	else
		jdoc_end_lines(j, stdout);
	return ret;
}

static int no_such_bench(const char *name)
{
	fprintf(stderr, "kvshm bench: unknown benchmark \"%s\"; `kvshm bench --help` lists them\n", name);
	return EXIT_USAGE;
}

int cmd_bench(int argc, char **argv)
{
	static const struct option opts[] = {
		{ "keys", required_argument, NULL, OPT_KEYS }, { "blocks", required_argument, NULL, OPT_BLOCKS },
		{ "bytes", required_argument, NULL, OPT_BYTES }, { "sessions", required_argument, NULL, OPT_SESSIONS },
		{ "miss", no_argument, NULL, OPT_MISS }, { "scattered", no_argument, NULL, OPT_SCATTERED },
		{ "loose", no_argument, NULL, OPT_LOOSE }, { "staged", no_argument, NULL, OPT_STAGED },
		{ "daemon", required_argument, NULL, OPT_DAEMON }, { "socket", required_argument, NULL, OPT_SOCKET },
		{ "assert", required_argument, NULL, OPT_ASSERT }, { "pmu", no_argument, NULL, OPT_PMU }, { "json", no_argument, NULL, OPT_JSON },
		{ "fake", optional_argument, NULL, OPT_FAKE }, { "device", required_argument, NULL, OPT_DEVICE },
		{ "model", required_argument, NULL, OPT_MODEL }, { "order", required_argument, NULL, OPT_ORDER },
		{ "costs", required_argument, NULL, OPT_COSTS },
		{ "dir", required_argument, NULL, OPT_DIR },
		{ "help", no_argument, NULL, 'h' }, { 0 },
	};
	struct run_options r = { .o = { .keys = 2048, .bytes = 2ul << 20 } };
	int c;

	if (argc > 1 && !strcmp(argv[1], "compare"))
		return bench_compare(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "report"))
		return bench_report(argc - 1, argv + 1);
	while ((c = getopt_long(argc, argv, "h", opts, NULL)) != -1) {
		if (c == 'h') {
			usage(stdout);
			return EXIT_FINE;
		}
		if (c == '?' || set_option(&r, c) < 0)
			return EXIT_USAGE;
	}
	if (optind + 1 != argc) {
		usage(stderr);
		return EXIT_USAGE;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(benches); i++)
		if (!strcmp(argv[optind], benches[i]->name)) {
			if (!r.o.sessions)
				r.o.sessions = benches[i] == &bench_evict ? 64 : 1;
			return run_bench(benches[i], &r);
		}
	return no_such_bench(argv[optind]);
}
