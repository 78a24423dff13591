/* SPDX-License-Identifier: Apache-2.0 */
/* top.h - what kvshm top shows and what its keys do, without a screen */
#ifndef UTILS_TOP_H
#define UTILS_TOP_H

#include "utils/snapshot.h"

#define TOP_FILTER_LEN 40u

struct top {
	struct target target;
	double delay_s;
	struct snapshot look[2];	/* the latest is look[at] */
	struct snapshot base;		/* rates count from here on, if is_since */
	unsigned at;
	int status;			/* of the last look: 0, -errno */
	bool is_since, is_paused, is_helping, is_typing;
	unsigned view;			/* number in views[] */
	unsigned scroll, page_rows;
	int sort;			/* column, -1 and below: as it comes */
	const char *sort_name;		/* for people, NULL */
	char filter[TOP_FILTER_LEN];
	char *text;			/* the view, and its lines */
	const char **line;
	unsigned nr_lines;
	bool has_titles;		/* line 0 names the columns */
};

const struct snapshot *top_now(const struct top *t);
const struct snapshot *top_before(const struct top *t);

/* Look at the page once more; what it said stays when it is gone. */
void top_look(struct top *t);

/* The view as lines of @width columns, sorted and filtered. */
void top_lines(struct top *t, unsigned width);

/* What a key does; @key from screen_key().  Return: true, it ends the program. */
bool top_key(struct top *t, int key);

void top_fini(struct top *t);

#endif
