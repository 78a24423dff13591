/* SPDX-License-Identifier: Apache-2.0 */
/* degraded.h - what a daemon does without, as its page tells: it serves all the same */
#ifndef UTILS_DEGRADED_H
#define UTILS_DEGRADED_H

#include <stdbool.h>

#include "utils/snapshot.h"

#define DEGRADED_COMPONENTS 5u

struct degraded {
	const char *component;
	bool is;
	const char *means;
};

/* All components, each with its verdict, always in the same order. */
void degraded_find(const struct snapshot *s, struct degraded ret[DEGRADED_COMPONENTS]);

#endif
