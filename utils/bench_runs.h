/* SPDX-License-Identifier: Apache-2.0 */
/* bench_runs.h - files of what kvshm bench --json printed, one object a line, as series of figures */
#ifndef UTILS_BENCH_RUNS_H
#define UTILS_BENCH_RUNS_H

#include "utils/bench.h"

#define SERIES_MAX 512u

/* One field of one benchmark with certain parameters. */
struct run_series {
	char what[96];			/* "match keys=2048" */
	char field[48];
	struct samples of[2];		/* by side */
};

struct runs {
	struct run_series series[SERIES_MAX];
	unsigned nr;
	char machine[400];		/* of the first run */
	char what[96];			/* of the line being read */
	unsigned side;
};

/* Add a file to @side.  Says what is wrong.  Return: EXIT_FINE, EXIT_USAGE no such file, EXIT_DATA malformed. */
int runs_read(struct runs *r, unsigned side, const char *command, const char *path);
void runs_fini(struct runs *r);

#endif
