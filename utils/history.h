/* SPDX-License-Identifier: Apache-2.0 */
/* history.h - the last minutes of a daemon, as rates between looks, for sparklines */
#ifndef UTILS_HISTORY_H
#define UTILS_HISTORY_H

#include "utils/snapshot.h"

#define HISTORY_LEN 120u

enum history_line {
	HISTORY_HIT_RATIO,
	HISTORY_LOOKUPS,
	HISTORY_PUTS,
	HISTORY_EVICTIONS,
	HISTORY_LINES,
};

struct history {
	float v[HISTORY_LINES][HISTORY_LEN];	/* the oldest first; negative: nothing to say */
	unsigned nr;
	struct snapshot last;
	bool has_last;
};

/* One more look, @s NULL: there was no page. */
void history_add(struct history *h, const struct snapshot *s);

/* The greatest value of a line, 0 of an empty one. */
float history_max(const struct history *h, enum history_line line);

#endif
