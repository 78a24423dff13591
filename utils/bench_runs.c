/* SPDX-License-Identifier: Apache-2.0 */
/* bench_runs.c - what kvshm bench --json printed, put together by benchmark, parameters and field */
#include "utils/bench_runs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "utils/commands.h"

/* What a run was asked to do; everything else with a number is a result. */
static bool is_parameter(const char *name)
{
	static const char *const names[] = { "keys", "blocks", "bytes", "block_bytes", "sessions", "kind", "daemon" };

	if (!strncmp(name, "is_", 3))
		return true;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static void add_parameter(void *arg, const char *name, const char *text, double number)
{
	struct runs *c = arg;
	size_t used = strlen(c->what);

	if (!strcmp(name, "bench"))
		snprintf(c->what + used, sizeof(c->what) - used, "%s", text ? text : "?");
	else if (is_parameter(name) && text && strcmp(text, "running"))
		snprintf(c->what + used, sizeof(c->what) - used, " %s", !strcmp(text, "yes") ? name + strlen("is_") : text);
	else if (is_parameter(name) && !text)
		snprintf(c->what + used, sizeof(c->what) - used, " %s=%.0f", name, number);
}

/* NULL: no room. */
static struct run_series *series_of(struct runs *c, const char *field)
{
	struct run_series *s;

	for (unsigned i = 0; i < c->nr; i++)
		if (!strcmp(c->series[i].what, c->what) && !strcmp(c->series[i].field, field))
			return &c->series[i];
	if (c->nr == SERIES_MAX)
		return NULL;
	s = &c->series[c->nr++];
	snprintf(s->what, sizeof(s->what), "%s", c->what);
	snprintf(s->field, sizeof(s->field), "%s", field);
	return s;
}

static void add_result(void *arg, const char *name, const char *text, double number)
{
	struct runs *c = arg;
	/* how many pairs there were is neither: it says how good a percentile is */
	bool is_result = !text && !is_parameter(name) && strcmp(name, "pairs");
	struct run_series *s = is_result ? series_of(c, name) : NULL;

	if (s)
		samples_add(&s->of[c->side], number);
}

/* Of the first run that says: all of a report are of one machine, or it says little. */
static void describe(struct runs *c, const struct jdoc *j)
{
	const char *cpu = jdoc_text_of(j, "machine", "cpu"), *kernel = jdoc_text_of(j, "machine", "kernel");
	const char *pages = jdoc_text_of(j, "machine", "page_kind");

	if (cpu && kernel && pages)
		snprintf(c->machine, sizeof(c->machine), "%s, kernel %s, %s", cpu, kernel, pages);
}

int runs_read(struct runs *c, unsigned side, const char *command, const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	unsigned number = 0;
	size_t room = 0;
	int ret = EXIT_FINE;

	if (!f) {
		fprintf(stderr, "%s: %s: %m\n", command, path);
		return EXIT_USAGE;
	}
	c->side = side;
	while (!ret && getline(&line, &room, f) > 0) {
		struct jdoc *j = jdoc_parse(line);

		number++;
		if (!j) {
			fprintf(stderr, "%s: %s:%u: no JSON object\n", command, path, number);
			ret = EXIT_DATA;
			break;
		}
		c->what[0] = 0;
		jdoc_each(j, add_parameter, c);
		if (c->what[0])
			jdoc_each(j, add_result, c);
		if (!c->machine[0])
			describe(c, j);
		jdoc_end(j, NULL);
	}
	free(line);
	fclose(f);
	return ret;
}

void runs_fini(struct runs *c)
{
	for (unsigned i = 0; i < c->nr; i++)
		for (unsigned side = 0; side < ARRAY_SIZE(c->series[i].of); side++)
			samples_fini(&c->series[i].of[side]);
}
