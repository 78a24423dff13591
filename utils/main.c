/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - the command kvshm: one table is both dispatch and help */
#include <stdio.h>
#include <string.h>

#include <kvshm/version.h>

#include "utils/commands.h"

const struct command commands[] = {
	{ "stat", cmd_stat, "what the daemon holds and does, also when it hangs or is dead" },
	{ "clients", cmd_clients, "who is attached and holds what" },
	{ "top", cmd_top, "all of it on the full screen" },
	{ "doctor", cmd_doctor, "what is wrong with this host, and the lines to add" },
	{ "exporter", cmd_exporter, "the statistics page over HTTP: Prometheus, health, a status page" },
	{ "events", cmd_events, "which blocks the node holds, for routers: ZeroMQ as vLLM's, lines of JSON" },
	{ "verify", cmd_verify, "check the invariants of arena, directory and pins" },
	{ "drop", cmd_drop, "remove the blocks of a namespace" },
	{ "bench", cmd_bench, "measure a path on this host, as ratios of one run" },
	{ "load", cmd_load, "drive a daemon with real client processes and check every byte" },
	{ "replay", cmd_replay, "replay traces against eviction policies, side by side" },
	{ "trace", cmd_trace, "characterise a trace, or generate one" },
	{ "mrc", cmd_mrc, "hit ratio over the size of the cache, and what more memory would give" },
	{ NULL, NULL, NULL },
};

static void usage(FILE *out)
{
	fputs("usage: kvshm COMMAND [OPTION...]\n\nCommands:\n", out);
	for (const struct command *c = commands; c->name; c++)
		fprintf(out, "  %-9s %s\n", c->name, c->summary);
	fputs("\n`kvshm COMMAND --help` lists the options of a command.\n"
	      "  -V, --version  print version and ABI\n  -h, --help     print this\n", out);
}

static int run(const struct command *c, int argc, char **argv)
{
	static char name[40];

	/* What getopt puts before its messages. */
	snprintf(name, sizeof(name), "kvshm %s", c->name);
	argv[0] = name;
	return c->run(argc, argv);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return EXIT_FINE;
	}
	if (!strcmp(argv[1], "-V") || !strcmp(argv[1], "--version")) {
		printf("kvshm %s (abi %u)\n", KVSHM_VERSION_STRING, KVSHM_ABI);
		return EXIT_FINE;
	}
	for (const struct command *c = commands; c->name; c++)
		if (!strcmp(argv[1], c->name))
			return run(c, argc - 1, argv + 1);
	fprintf(stderr, "kvshm: unknown command \"%s\"; `kvshm --help` lists the commands\n", argv[1]);
	return EXIT_USAGE;
}
