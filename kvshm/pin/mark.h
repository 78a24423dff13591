/* SPDX-License-Identifier: Apache-2.0 */
/* mark.h - which blocks the pins protect, counted; inside pin/ only */
#ifndef KVSHM_PIN_MARK_H
#define KVSHM_PIN_MARK_H

#include "kvshm/arena/block.h"
#include "kvshm/arena/directory.h"

struct pin_mark {
	uint32_t refs;			/* pins on this block, and children with refs */
	blk_id_t parent;		/* as it was when refs became 1 */
	uint32_t length;
};

struct pin_marks {			/* the writer thread */
	struct pin_mark *m;		/* [max_blocks + 1] */
	uint32_t max_blocks;
	uint64_t bytes;			/* protected by all; a shared ancestor counts once */
};

/* Return: 0, -ENOMEM.  All zero before. */
int pin_marks_init(struct pin_marks *k, uint32_t max_blocks);
void pin_marks_fini(struct pin_marks *k);

/* One pin more or less on @id, which is in range.  Walks up as far as it is the first or the last. */
void pin_mark_up(struct pin_marks *k, const struct directory *dir, blk_id_t id);
void pin_mark_down(struct pin_marks *k, blk_id_t id);

#endif
