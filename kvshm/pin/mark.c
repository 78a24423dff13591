/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mark.c - pins as counts in a tree
 *
 * A pin protects its block and all ancestors.  Walking up from every pin at every scan would cost the
 * depth of each pin each time; but most pins of one scan were there at the last one.  So the marks
 * stay, as counts: a block counts its pins and its children that are marked.  A new pin walks up to the
 * first block that was marked already, a dropped one to the first that stays marked; a pin that stays
 * costs nothing.
 *
 * While a block is marked the writer does not free it, so its parent and length stay what they are;
 * they are remembered all the same, for what goes up must come down by the same way.  Where that does
 * not hold (a session past its quota) pins are taken off the marks before.
 */
#include "kvshm/pin/mark.h"

#include <errno.h>
#include <stdlib.h>

#include "kvshm/base/compiler.h"

#define AHEAD 8				/* a parent is most often the neighbour below */

int pin_marks_init(struct pin_marks *k, uint32_t max_blocks)
{
	k->m = calloc((size_t)max_blocks + 1, sizeof(*k->m));
	if (!k->m)
		return -ENOMEM;
	k->max_blocks = max_blocks;
	k->bytes = 0;
	return 0;
}

void pin_marks_fini(struct pin_marks *k)
{
	free(k->m);
	*k = (struct pin_marks){ 0 };
}

void pin_mark_up(struct pin_marks *k, const struct directory *dir, blk_id_t id)
{
	while (id && id <= k->max_blocks && k->m[id].refs++ == 0) {
		const struct kvshm_desc *d = &dir->desc[id];

		if (id > AHEAD) {
			prefetch(d - AHEAD);
			prefetch(&k->m[id - AHEAD]);
		}
		k->m[id].length = READ_ONCE(d->length);
		k->m[id].parent = READ_ONCE(d->parent);
		k->bytes += k->m[id].length;
		id = k->m[id].parent;
	}
}

void pin_mark_down(struct pin_marks *k, blk_id_t id)
{
	while (id && id <= k->max_blocks && --k->m[id].refs == 0) {
		if (id > AHEAD)
			prefetch(&k->m[id - AHEAD]);
		k->bytes -= k->m[id].length;
		id = k->m[id].parent;
	}
}
