/* SPDX-License-Identifier: Apache-2.0 */
/* load.c - kvshm load: options */
#include "utils/load.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "kvshm/base/number.h"
#include "kvshm/cache/cache.h"
#include "utils/commands.h"

#define ARG(option_) ((struct number_arg){ "kvshm load", option_, optarg })

static void usage(FILE *out)
{
	fputs("usage: kvshm load [OPTION...]\n\n"
	      "Runs real client processes: conversations that share system prompts, grow and are asked for\n"
	      "again.  Every block is filled with bytes that name it, every byte got back is checked.\n"
	      "Starts a private daemon in a temporary directory unless --socket names one.\n\n"
	      "      --procs N           client processes (default 8)\n"
	      "      --seconds S         how long (default 10)\n"
	      "      --kill-clients T    SIGKILL a random client each T (as 200ms), and start another\n"
	      "      --kill-daemon T     SIGKILL the private daemon each T (as 5s), start it again after 0.3 s\n"
	      "      --socket PATH       use this daemon\n"
	      "      --size SIZE         arena of the private daemon (default 1G)\n"
	      "      --block-bytes SIZE  bytes of a block, a multiple of 4K (default 64K; --trace 4K)\n"
	      "      --seed N            of all that is random (default 1)\n"
	      "      --shared-prefix     instead: prompts of 2304 tokens that share 2048; what the arena holds\n"
	      "      --trace FILE        instead: the requests of a trace, beside what the replayer makes of them\n"
	      "      --lockstep          with --trace: one at a time; every hit must be the replayer's\n"
	      "      --capacity C        with --trace: share of its unique blocks (5%), blocks or bytes (default 5%)\n"
	      "      --policy NAME       with --trace: of the daemon (default leaf-lru); several, as gix,wa,leaf-lru:\n"
	      "                          one daemon after the other, and a table\n"
	      "      --json              one object, schema kvshm.load/1\n"
	      "  -h, --help              print this\n\n"
	      "Exit status: 0 every invariant held; 1 wrong bytes, leaked blocks, a violation, a client that\n"
	      "hung, or no daemon; 2 usage; 8 a trace is malformed.\n", out);
}

enum { OPT_PROCS = 256, OPT_SECONDS, OPT_KILL_CLIENTS, OPT_KILL_DAEMON, OPT_SOCKET, OPT_SIZE, OPT_BLOCK_BYTES,
       OPT_SEED, OPT_SHARED_PREFIX, OPT_JSON, OPT_TRACE, OPT_LOCKSTEP, OPT_CAPACITY, OPT_POLICY };

static const struct option options[] = {
	{ "procs", required_argument, NULL, OPT_PROCS }, { "seconds", required_argument, NULL, OPT_SECONDS },
	{ "kill-clients", required_argument, NULL, OPT_KILL_CLIENTS },
	{ "kill-daemon", required_argument, NULL, OPT_KILL_DAEMON },
	{ "socket", required_argument, NULL, OPT_SOCKET }, { "size", required_argument, NULL, OPT_SIZE },
	{ "block-bytes", required_argument, NULL, OPT_BLOCK_BYTES }, { "seed", required_argument, NULL, OPT_SEED },
	{ "shared-prefix", no_argument, NULL, OPT_SHARED_PREFIX }, { "json", no_argument, NULL, OPT_JSON },
	{ "trace", required_argument, NULL, OPT_TRACE }, { "lockstep", no_argument, NULL, OPT_LOCKSTEP },
	{ "capacity", required_argument, NULL, OPT_CAPACITY }, { "policy", required_argument, NULL, OPT_POLICY },
	{ "help", no_argument, NULL, 'h' }, { 0 },
};

static int set_block_len(struct load_options *o, const char *text)
{
	const struct number_arg a = { "kvshm load", "block-bytes", text };
	uint32_t v;

	if (number_whole32(&a, 4096, 64u << 20, &v) < 0)
		return -1;
	if (v % 4096)
		return number_refuse(&a, "a multiple of 4K, at most 64M");
	o->block_len = v;
	return 0;
}

static int no_policy(const char *name)
{
	fprintf(stderr, "kvshm load: no policy \"%s\" for a daemon; there are", name);
	for (unsigned i = 0; cache_policy_name(i); i++)
		fprintf(stderr, "%s %s", i ? "," : "", cache_policy_name(i));
	fputc('\n', stderr);
	return -1;
}

/* One name, or several. */
static int set_policy(struct load_options *o, const char *names)
{
	char name[64];

	o->policy = names;
	for (const char *at = names; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(at, ","), at);
		if (!cache_policy(name))
			return no_policy(name);
	}
	return 0;
}

static int set_option(struct load_options *o, int c)
{
	switch (c) {
	case OPT_PROCS:
		return number_whole32(&ARG("procs"), 1, LOAD_PROCS_MAX, &o->procs);
	case OPT_SECONDS:
		return number_time(&ARG("seconds"), &o->run_ns);
	case OPT_KILL_CLIENTS:
		return number_time(&ARG("kill-clients"), &o->kill_clients_ns);
	case OPT_KILL_DAEMON:
		return number_time(&ARG("kill-daemon"), &o->kill_daemon_ns);
	case OPT_SOCKET:
		o->socket = optarg;
		return 0;
	case OPT_SIZE:
		return number_whole(&ARG("size"), 1, 1ull << 46, &o->size);
	case OPT_BLOCK_BYTES:
		return set_block_len(o, optarg);
	case OPT_SEED:
		return number_whole(&ARG("seed"), 1, UINT32_MAX, &o->seed);
	case OPT_SHARED_PREFIX:
		o->is_shared_prefix = true;
		return 0;
	case OPT_JSON:
		o->is_json = true;
		return 0;
	case OPT_TRACE:
		o->trace = optarg;
		return 0;
	case OPT_LOCKSTEP:
		o->is_lockstep = true;
		return 0;
	case OPT_CAPACITY:
		o->capacity = optarg;
		return 0;
	case OPT_POLICY:
		return set_policy(o, optarg);
	}
	return -1;
}

/* Options that do not go together. */
static int check_options(const struct load_options *o)
{
	const char *why = NULL;

	if (o->socket && o->kill_daemon_ns)
		why = "--kill-daemon would harm the daemon of --socket; leave one of them out";
	if (o->is_shared_prefix && (o->socket || o->kill_daemon_ns || o->kill_clients_ns))
		why = "--shared-prefix measures an empty private daemon; leave --socket and the kills out";
	if (o->trace && (o->socket || o->kill_daemon_ns || o->kill_clients_ns || o->is_shared_prefix))
		why = "--trace is for a private daemon of its own; leave --socket, --shared-prefix and the kills out";
	if (!o->trace && (o->is_lockstep || o->capacity || o->policy))
		why = "--lockstep, --capacity and --policy go with --trace";
	if (why)
		fprintf(stderr, "kvshm load: %s\n", why);
	return why ? -1 : 0;
}

int cmd_load(int argc, char **argv)
{
	struct load_options o = { .procs = 8, .run_ns = 10000000000u, .size = 1ul << 30, .seed = 1,
				  .block_tokens = 16 };
	struct load_result r;
	int c, ret;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h') {
			usage(stdout);
			return EXIT_FINE;
		}
		if (c == '?' || set_option(&o, c) < 0)
			return EXIT_USAGE;
	}
	if (optind < argc) {
		fprintf(stderr, "kvshm load: unexpected argument \"%s\"\n", argv[optind]);
		return EXIT_USAGE;
	}
	if (check_options(&o) < 0)
		return EXIT_USAGE;
	if (!o.block_len)
		o.block_len = o.trace ? 4096 : 64u << 10;
	if (o.trace) {
		o.capacity = o.capacity ? o.capacity : "5%";
		o.policy = o.policy ? o.policy : "leaf-lru";
		if (strchr(o.policy, ','))
			return load_compare(&o);
		ret = load_trace(&o, &r);
		return ret ? ret : load_report(&o, &r);
	}
	if (o.is_shared_prefix)
		return load_shared_prefix(&o);
	ret = load_run(&o, &r);
	return ret ? ret : load_report(&o, &r);
}
