/* SPDX-License-Identifier: Apache-2.0 */
/* gather.h - a public description of pieces, checked and in the words of gpu/gather.h */
#ifndef KVSHM_CLIENT_GATHER_H
#define KVSHM_CLIENT_GATHER_H

#include <kvshm/kvshm.h>

#include "gpu/gather.h"

struct gather_taken {
	struct gpu_group group;
	struct gather_source s;		/* of .group; places are addresses of this process */
	struct gather_held held;
	const struct gather_piece *pieces;
};

/**
 * gather_take() - check all but the pieces
 * @ret: not copied afterwards, it points into itself and into @g
 * Return: 0, -EINVAL.
 */
int gather_take(const struct kvshm_gather_request *g, struct gather_taken *ret);

#endif
