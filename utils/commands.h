/* SPDX-License-Identifier: Apache-2.0 */
/* commands.h - the subcommands of kvshm, and their exit statuses */
#ifndef UTILS_COMMANDS_H
#define UTILS_COMMANDS_H

#include "kvshm/base/options.h"

/* Exit statuses of every subcommand; kvshm(1) lists them. */
enum {
	EXIT_FINE = 0,
	EXIT_DEAD = 1,			/* daemon dead or not reachable; a bench or load that did not hold */
	EXIT_USAGE = 2,
	EXIT_PERMISSION = 3,
	EXIT_ABI = 4,
	EXIT_VIOLATION = 5,
	EXIT_ADVICE = 6,
	EXIT_HUNG = 7,
	EXIT_DATA = 8,			/* a trace is malformed or cut short */
};

_Static_assert(EXIT_FINE == (int)OPTIONS_HELPED && EXIT_USAGE == (int)OPTIONS_REFUSED, "a command ends as its options do");

struct command {
	const char *name;
	int (*run)(int argc, char **argv);	/* argv[0] is the subcommand; returns an exit status */
	const char *summary;
};

extern const struct command commands[];		/* ends with a NULL name */

int cmd_stat(int argc, char **argv);
int cmd_clients(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_exporter(int argc, char **argv);
int cmd_events(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_load(int argc, char **argv);
int cmd_drop(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_mrc(int argc, char **argv);

#endif
