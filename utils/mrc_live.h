/* SPDX-License-Identifier: Apache-2.0 */
/* mrc_live.h - the curve of what is asked of a running daemon, for each namespace */
#ifndef UTILS_MRC_LIVE_H
#define UTILS_MRC_LIVE_H

#include "utils/listen.h"

struct mrc_live {
	struct listen l;
	uint64_t more_bytes;		/* that the advice is about */
	const struct policy_ops *policy;	/* NULL: the daemon's own */
	bool is_json;
};

/* Listens, then prints.  Return: an exit status. */
int mrc_live(struct mrc_live *m);

/* --more: bytes, as 64G.  Says what is wrong.  Return: 0, -1. */
int mrc_more_bytes(const char *text, uint64_t *ret);

#endif
