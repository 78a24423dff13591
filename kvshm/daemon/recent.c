/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/recent.h"

#include <string.h>

void recent_look(struct recent *r, uint64_t now_ns, const uint64_t value[RECENT_VALUES])
{
	if (now_ns - r->mark_ns < RECENT_MARK_NS)
		return;
	r->mark_ns = now_ns;
	r->at = (r->at + 1) % RECENT_MARKS;
	memcpy(r->mark[r->at], value, sizeof(r->mark[0]));
}

uint64_t recent_grown(const struct recent *r, unsigned which, unsigned nr, uint64_t value)
{
	return value - r->mark[(r->at + RECENT_MARKS - nr) % RECENT_MARKS][which];
}
