/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_check.c - kvshm stat --check: one line for a monitoring system, with performance data
 *
 * A limit is NAME<NUMBER or NAME>NUMBER, several by commas: a metric with or without its prefix
 * "kvshm_", or one of the ratios below.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/stats/metrics.h"
#include "utils/commands.h"
#include "utils/stat.h"

static const char warn_default[] = "checksum_failures_total>0,lookup_anomalies_total>0";
static const char *const words[] = { "OK", "WARNING", "CRITICAL", "UNKNOWN" };

static double free_ratio(const struct snapshot *s)
{
	uint64_t capacity = s->metric[METRIC_CAPACITY_BYTES];

	return capacity ? (double)s->metric[METRIC_FREE_BYTES] / (double)capacity : 0;
}

/* Return: 0; -1 there is none of that name. */
static int value_of(const struct snapshot *s, const char *name, double *ret_v)
{
	for (unsigned i = 0; i < METRIC_LAST; i++)
		if (!strcmp(name, metric_defs[i].name) || !strcmp(name, metric_defs[i].name + strlen("kvshm_"))) {
			*ret_v = (double)s->metric[i];
			return 0;
		}
	if (!strcmp(name, "hit_ratio"))
		*ret_v = snapshot_hit_ratio(s, NULL);
	else if (!strcmp(name, "free_ratio"))
		*ret_v = free_ratio(s);
	else
		return -1;
	return 0;
}

/* One limit.  Return: 1 it is passed, 0 not, -1 it cannot be read. */
static int is_passed(const struct snapshot *s, const char *limit, size_t len, double *ret_v)
{
	size_t at = strcspn(limit, "<>");
	char name[80], *end;
	double bound;

	if (at >= len || !at || at >= sizeof(name))
		return -1;
	snprintf(name, sizeof(name), "%.*s", (int)at, limit);
	bound = strtod(limit + at + 1, &end);
	if (end != limit + len || end == limit + at + 1 || value_of(s, name, ret_v) < 0)
		return -1;
	return limit[at] == '<' ? *ret_v < bound : *ret_v > bound;
}

/* The first limit of a list that is passed, in words.  Return: as is_passed(). */
static int first_passed(const struct snapshot *s, const char *limits, char *why, size_t why_len)
{
	for (const char *at = limits; at && *at;) {
		size_t len = strcspn(at, ",");
		double v;
		int ret = is_passed(s, at, len, &v);

		if (ret < 0)
			snprintf(why, why_len, "\"%.*s\" is no limit as hit_ratio<0.5 or a metric's name>100", (int)len, at);
		else if (ret)
			snprintf(why, why_len, "%.*s: %.6g", (int)len, at, v);
		if (ret)
			return ret;
		at += len + (at[len] == ',');
	}
	return 0;
}

/* Unreadable limits come first, else a daemon in order would hide them. */
static int judge(const struct stat_options *o, const struct snapshot *s, char *why, size_t len)
{
	int crit = first_passed(s, o->crit, why, len), warn;

	if (crit < 0)
		return CHECK_UNKNOWN;
	if (s->state != TARGET_RUNNING) {
		snprintf(why, len, "daemon %s", target_state_name(s->state));
		return CHECK_CRITICAL;
	}
	if (crit)
		return CHECK_CRITICAL;
	warn = first_passed(s, o->warn ? o->warn : warn_default, why, len);
	return warn < 0 ? CHECK_UNKNOWN : warn ? CHECK_WARNING : CHECK_OK;
}

/* "name=value[unit];warn;crit;min;max", limits left out: they may be of anything. */
static void print_data(const struct snapshot *s)
{
	printf(" | hit_ratio=%.4f;;;0;1 free_ratio=%.4f;;;0;1", snapshot_hit_ratio(s, NULL), free_ratio(s));
	printf(" published=%" PRIu64 "B;;;0;%" PRIu64, s->metric[METRIC_PUBLISHED_BYTES], s->metric[METRIC_CAPACITY_BYTES]);
	printf(" pinned=%" PRIu64 "B;;;0;%" PRIu64, s->metric[METRIC_PINNED_BYTES], s->metric[METRIC_CAPACITY_BYTES]);
	printf(" clients=%" PRIu64 " lookups=%" PRIu64 "c evictions=%" PRIu64 "c\n", s->metric[METRIC_SESSIONS],
	       s->metric[METRIC_LOOKUPS], s->metric[METRIC_EVICTIONS]);
}

int stat_check(const struct stat_options *o, const struct snapshot *s, int status)
{
	char why[160] = "";
	int verdict;

	if (!s) {
		verdict = status == EXIT_DEAD ? CHECK_CRITICAL : CHECK_UNKNOWN;
		printf("KVSHM %s - %s\n", words[verdict], status == EXIT_DEAD ? "no daemon" :
		       status == EXIT_PERMISSION ? "no permission" : "page of another version");
		return verdict;
	}
	verdict = judge(o, s, why, sizeof(why));
	printf("KVSHM %s - %s%s%s, hit ratio %.1f %%", words[verdict], s->text[KVSHM_TEXT_INSTANCE], *why ? ": " : " running",
	       why, 100 * snapshot_hit_ratio(s, NULL));
	print_data(s);
	return verdict;
}
