/* SPDX-License-Identifier: Apache-2.0 */
/* trace.c - kvshm trace: what can be done with traces, one table for dispatch and help */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "utils/commands.h"
#include "utils/trace_commands.h"

static const struct command actions[] = {
	{ "characterise", trace_characterise, "reuse of a trace: ideal hit ratio, reuse times, lives, fits" },
	{ "gen", trace_gen, "write a synthetic trace of chats, API calls and agents" },
	{ "record", trace_record, "write down what is asked of a daemon, from now on" },
	{ NULL, NULL, NULL },
};

static void usage(FILE *out)
{
	fputs("usage: kvshm trace ACTION [OPTION...]\n\nActions:\n", out);
	for (const struct command *a = actions; a->name; a++)
		fprintf(out, "  %-13s %s\n", a->name, a->summary);
	fputs("\n`kvshm trace ACTION --help` lists the options of an action.\n", out);
}

static int run(const struct command *a, int argc, char **argv)
{
	static char name[48];

	snprintf(name, sizeof(name), "kvshm trace %s", a->name);
	argv[0] = name;
	optind = 0;
	return a->run(argc, argv);
}

static int help_all(void)
{
	char ask[] = "--help";
	char *argv[] = { NULL, ask, NULL };

	usage(stdout);
	for (const struct command *a = actions; a->name; a++) {
		putchar('\n');
		run(a, 2, argv);
	}
	return EXIT_FINE;
}

int cmd_trace(int argc, char **argv)
{
	if (argc > 1 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help")))
		return help_all();
	for (const struct command *a = actions; argc > 1 && a->name; a++)
		if (!strcmp(argv[1], a->name))
			return run(a, argc - 1, argv + 1);
	if (argc > 1)
		fprintf(stderr, "kvshm trace: unknown action \"%s\"\n", argv[1]);
	usage(stderr);
	return EXIT_USAGE;
}
