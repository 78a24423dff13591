/* SPDX-License-Identifier: Apache-2.0 */
/* history.c - rates between looks */
#include "utils/history.h"

#include <string.h>

#include "kvshm/base/compiler.h"

/* Without a look-up between two looks there is no hit ratio to say. */
static float recent_hit_ratio(const struct snapshot *s, const struct snapshot *before)
{
	return snapshot_rate(s, before, METRIC_LOOKUP_BLOCKS) > 0 ? (float)snapshot_hit_ratio(s, before) : -1;
}

void history_add(struct history *h, const struct snapshot *s)
{
	const struct snapshot *before = &h->last;
	float v[HISTORY_LINES] = { -1, -1, -1, -1 };

	if (s && h->has_last) {
		v[HISTORY_HIT_RATIO] = recent_hit_ratio(s, before);
		v[HISTORY_LOOKUPS] = (float)snapshot_rate(s, before, METRIC_LOOKUPS);
		v[HISTORY_PUTS] = (float)snapshot_rate(s, before, METRIC_PUBLISHES);
		v[HISTORY_EVICTIONS] = (float)snapshot_rate(s, before, METRIC_EVICTIONS);
	}
	if (s)
		h->last = *s;
	h->has_last = s != NULL;
	if (h->nr == HISTORY_LEN)
		for (unsigned l = 0; l < HISTORY_LINES; l++)
			memmove(h->v[l], h->v[l] + 1, (HISTORY_LEN - 1) * sizeof(h->v[l][0]));
	else
		h->nr++;
	for (unsigned l = 0; l < HISTORY_LINES; l++)
		h->v[l][h->nr - 1] = v[l];
}

float history_max(const struct history *h, enum history_line line)
{
	float max = 0;

	for (unsigned i = 0; i < h->nr; i++)
		max = max_of(max, h->v[line][i]);
	return max;
}
