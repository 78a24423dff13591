/* SPDX-License-Identifier: Apache-2.0 */
/* replay_plot.c - gnuplot draws; we write its commands and data to a pipe */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "utils/commands.h"
#include "utils/replay.h"

extern char **environ;

static const char *terminal_of(const char *path)
{
	const char *dot = strrchr(path, '.');

	if (dot && !strcmp(dot, ".svg"))
		return "svg size 1100,480 dynamic background '#ffffff'";
	return dot && !strcmp(dot, ".png") ? "pngcairo size 1100,480" : NULL;
}

static bool is_in_path(const char *program)
{
	const char *path = getenv("PATH");
	char file[4096];

	for (path = path ? path : "/usr/bin:/bin"; *path; path += strspn(path, ":")) {
		int len = (int)strcspn(path, ":");

		snprintf(file, sizeof(file), "%.*s/%s", len, path, program);
		if (access(file, X_OK) == 0)
			return true;
		path += len;
	}
	return false;
}

int replay_plot_check(const char *path)
{
	/* The name goes into a command of gnuplot in single quotes. */
	if (!terminal_of(path) || strpbrk(path, "'\n\\")) {
		fprintf(stderr, "kvshm replay: --plot takes a file that ends in .svg or .png, without quotes, not \"%s\"\n",
			path);
		return EXIT_USAGE;
	}
	if (!is_in_path("gnuplot")) {
		fputs("kvshm replay: --plot needs gnuplot: install it (apt-get install gnuplot-nox), or use --csv\n", stderr);
		return EXIT_USAGE;
	}
	return 0;
}

static bool is_same_line(const struct replay_result *a, const struct replay_result *b)
{
	return a->trace == b->trace && a->policy == b->policy;
}

static bool is_first_of_line(const struct replay_results *results, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (is_same_line(&results->r[i], &results->r[at]))
			return false;
	return true;
}

/* Data of a line: capacity and hit ratio; then, over time, those of its first capacity. */
static void write_data(const struct replay_results *results, FILE *to)
{
	for (size_t i = 0; i < results->nr; i++) {
		const struct replay_result *r = &results->r[i];
		uint64_t asked = 0, hit = 0;

		if (!is_first_of_line(results, i))
			continue;
		fprintf(to, "$size%zu << EOD\n", i);
		for (size_t k = i; k < results->nr; k++)
			if (is_same_line(r, &results->r[k]))
				fprintf(to, "%.6g %.6g\n", 100.0 * (double)results->r[k].capacity_blocks /
					(double)r->unique_blocks, results->r[k].block_hit_ratio);
		fprintf(to, "EOD\n$time%zu << EOD\n", i);
		for (unsigned k = 0; k < REPLAY_CURVE; k++) {
			asked += r->curve[k].asked;
			hit += r->curve[k].hit;
			if (asked)
				fprintf(to, "%u %.6g\n", k + 1, (double)hit / (double)asked);
		}
		fputs("EOD\n", to);
	}
}

static void write_panel(const struct replay_results *results, const char *data, FILE *to)
{
	const char *before = "plot ";

	for (size_t i = 0; i < results->nr; i++)
		if (is_first_of_line(results, i)) {
			fprintf(to, "%s$%s%zu using 1:2 with %s noenhanced title \"%s %s\"", before, data, i,
				data[0] == 's' ? "linespoints" : "lines", results->r[i].policy->name,
				strcspn(results->r[i].trace, "\"\\\n") == strlen(results->r[i].trace) ? results->r[i].trace : "");
			before = ", ";
		}
	fputc('\n', to);
}

static void write_commands(const struct replay_results *results, const char *path, const char *target, FILE *to)
{
	write_data(results, to);
	fprintf(to, "set terminal %s\nset output '%s'\nset multiplot layout 1,2\nset key bottom right\n"
		"set yrange [0:*]\nset grid\nset ylabel 'block hit ratio'\n", terminal_of(path), target);
	fputs("set logscale x\nset xlabel 'capacity, % of the unique blocks'\n", to);
	write_panel(results, "size", to);
	fprintf(to, "unset logscale\nset xlabel '%% of the time of the trace, at capacity %s'\n",
		results->r[0].capacity);
	write_panel(results, "time", to);
	fputs("unset multiplot\nunset output\n", to);
}

/* Start gnuplot with its input from us.  Return: pid, -errno. */
static pid_t start_gnuplot(FILE **ret_to)
{
	char *argv[] = { (char *)"gnuplot", (char *)"-", NULL };
	posix_spawn_file_actions_t fa;
	int fds[2], err;
	pid_t pid;

	if (pipe(fds) < 0)
		return -errno;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, fds[0], STDIN_FILENO);
	posix_spawn_file_actions_addclose(&fa, fds[1]);
	err = posix_spawnp(&pid, "gnuplot", &fa, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	close(fds[0]);
	*ret_to = err ? NULL : fdopen(fds[1], "w");
	if (!*ret_to)
		close(fds[1]);
	return err ? -err : pid;
}

int replay_plot(const struct replay_results *results, const char *path)
{
	char target[4096];
	int status = -1;
	FILE *to = NULL;
	pid_t pid;

	if (snprintf(target, sizeof(target), "%s.part", path) >= (int)sizeof(target)) {
		fputs("kvshm replay: the name of the picture is too long\n", stderr);
		return EXIT_USAGE;
	}
	pid = start_gnuplot(&to);
	if (to) {
		write_commands(results, path, target, to);
		fclose(to);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
	if (pid > 0 && status == 0 && rename(target, path) == 0)
		return 0;
	unlink(target);
	fprintf(stderr, "kvshm replay: gnuplot did not draw %s\n", path);
	return EXIT_DEAD;
}
