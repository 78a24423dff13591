/* SPDX-License-Identifier: Apache-2.0 */
/* recent.h - how much a few counters grew lately, for who looks at the page only once */
#ifndef KVSHM_DAEMON_RECENT_H
#define KVSHM_DAEMON_RECENT_H

#include <stdint.h>

#define RECENT_MARKS 14u		/* one a mark's time, and the one that is begun */
#define RECENT_MARK_NS 5000000000ull
#define RECENT_VALUES 4u

struct recent {				/* zeroed: all counters begin at 0 */
	uint64_t mark[RECENT_MARKS][RECENT_VALUES];
	uint64_t mark_ns;		/* of the newest */
	unsigned at;
};

/* The RECENT_VALUES counters now; at least once in RECENT_MARK_NS. */
void recent_look(struct recent *r, uint64_t now_ns, const uint64_t value[RECENT_VALUES]);

/* What @which grew since the mark that is @nr back, so in @nr to @nr + 1 times RECENT_MARK_NS; @nr < RECENT_MARKS. */
uint64_t recent_grown(const struct recent *r, unsigned which, unsigned nr, uint64_t value);

#endif
