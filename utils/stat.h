/* SPDX-License-Identifier: Apache-2.0 */
/* stat.h - what the parts of kvshm stat share */
#ifndef UTILS_STAT_H
#define UTILS_STAT_H

#include "utils/snapshot.h"
#include "utils/table.h"
#include "utils/views.h"

struct stat_options {
	const char *command;		/* "kvshm stat" */
	struct target target;
	const struct view *view;
	const char *name;		/* of a histogram: its cells; NULL */
	bool is_json, is_csv, is_batch, is_rate, is_total, is_check;
	double watch_s;			/* 0: once */
	uint64_t count;			/* 0: no end */
	uint64_t prefill_rate;		/* tokens a second that an engine here computes, 0: not said */
	const char *sort, *filter, *fields, *warn, *crit, *color;
	struct table_style style;
};

/* One answer.  @before: an earlier look, or NULL.  Return: 0; -1 a column that is not there, told. */
int stat_print(const struct stat_options *o, const struct snapshot *now, const struct snapshot *before);

/* Exit statuses of monitoring plugins. */
enum { CHECK_OK, CHECK_WARNING, CHECK_CRITICAL, CHECK_UNKNOWN };

/* One line with performance data.  @s NULL: there is no page, @status says why.  Return: a check status. */
int stat_check(const struct stat_options *o, const struct snapshot *s, int status);

#endif
