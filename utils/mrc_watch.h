/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mrc_watch.h - the miss-ratio curve of a daemon that is watched for long: the exporter's
 *
 * Follows the ring of events and keeps the newest requests of each namespace, bounded; the curve is that of
 * leaf-lru from one pass over them.  `kvshm mrc` asks for the daemon's own policy, which takes a run a size.
 */
#ifndef UTILS_MRC_WATCH_H
#define UTILS_MRC_WATCH_H

#include "utils/target.h"

#define MRC_WATCH_POINTS 8u
#define MRC_WATCH_CURVES 8u
#define MRC_WATCH_AS_IS 3u			/* the point at the size that the arena has */

/* Sizes, as parts of the arena: 1/8 to 16. */
extern const double mrc_watch_sizes[MRC_WATCH_POINTS];
#define MRC_WATCH_MORE_BYTES (64ull << 30)

struct mrc_watch_curve {
	unsigned ns;
	uint64_t uses;			/* of blocks, that it is of */
	double ratio[MRC_WATCH_POINTS];	/* block hit ratio, alone in that much */
	double ratio_with_more;		/* the same of the arena and MRC_WATCH_MORE_BYTES */
	double ratio_infinite;		/* of a cache that never evicts */
};

struct mrc_watch;

/* Return: NULL: no memory. */
struct mrc_watch *mrc_watch_create(const struct target *t);
struct mrc_watch *mrc_watch_destroy(struct mrc_watch *w);

/* Hear what happened since the last look; a daemon that is there now and was not, or is another one, begins anew. */
void mrc_watch_look(struct mrc_watch *w);

/**
 * mrc_watch_curves() - of the namespaces that were used most
 * @capacity_bytes: of the arena
 * Reckons anew every half a minute at most.  Return: curves, at most MRC_WATCH_CURVES; good until the next call.
 */
unsigned mrc_watch_curves(struct mrc_watch *w, uint64_t capacity_bytes, const struct mrc_watch_curve **ret_c);

#endif
