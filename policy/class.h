/* SPDX-License-Identifier: Apache-2.0 */
/*
 * class.h - the back-off tree: which accesses are alike, coarse to fine
 *
 *   all -> left behind, partial, or neither -> uses so far -> stop reason -> request type -> output length -> turn
 *       -> the block's last gap -> many uses
 *
 * A hint that is missing is passed over, and costs only what it would have told.  A node is made when an
 * access first needs it; when the tree is full, new accesses stay at the node above.
 */
#ifndef POLICY_CLASS_H
#define POLICY_CLASS_H

#include <stdbool.h>
#include <stdint.h>

#define CLASS_MAX 2048u			/* nodes */
#define CLASS_USES_ALL 4u		/* steps up to here are counted one by one */
#define CLASS_USES_MAX 7u		/* steps of uses: 1, 2, 3, and about 4, 8, 16, 32 */
#define CLASS_SLOTS (4 * CLASS_MAX)
#define CLASS_ROWS 2048u
#define CLASS_LEVEL_MANY 6u
#define CLASS_LEVEL_APART 7u		/* above all others: enum class_apart */
#define CLASS_LEVELS 8u			/* no path is longer */

/* Blocks that are hardly asked for again, for what they are. */
enum class_apart {
	CLASS_LEFT = 1,			/* the path above was used and went on elsewhere */
	CLASS_PARTIAL,			/* the last of a prompt, with fewer tokens than fit: the next turn replaces it */
};

struct class_tree {
	uint32_t nr;			/* nodes; 0 is the root, parents come before children */
	uint16_t parent[CLASS_MAX];
	uint32_t edge[CLASS_MAX];	/* level and value under the parent */
	uint16_t slot[CLASS_SLOTS];	/* node of (parent, edge); 0: empty */
	uint32_t row_key[CLASS_ROWS];	/* descents found before: gap and hints, as far as they tell */
	uint16_t row[CLASS_ROWS][CLASS_USES_MAX + 1];	/* node by uses, as the parts of a path differ in little else; 0: not known */
};

/* Is the node one that only differs from its parent in having been used often? */
static inline bool class_is_by_uses(const struct class_tree *t, uint32_t n)
{
	return n && t->edge[n] >> 8 == CLASS_LEVEL_MANY;
}

/* The edge that its path from the root begins with; of the root 0. */
static inline uint32_t class_first_edge(const struct class_tree *t, uint32_t n)
{
	while (t->parent[n])
		n = t->parent[n];
	return t->edge[n];
}

/* Is it one of blocks used once, and not apart? */
static inline bool class_is_first(const struct class_tree *t, uint32_t n)
{
	return class_first_edge(t, n) == 1;
}

static inline bool class_is_apart(const struct class_tree *t, uint32_t n)
{
	return class_first_edge(t, n) >> 8 == CLASS_LEVEL_APART;
}

void class_init(struct class_tree *t);
/*
 * The step after one use more: past the fourth by chance, twice as rare for each step, so that few bits count
 * far.  Blocks of one path are given the same @dice and stay alike.  @step 0: never used.
 */
uint8_t class_use(uint8_t step, uint32_t dice);
/*
 * Find or make the node of a block at step @uses, last with @hints and @gap (hint_octave() of the
 * half seconds; 0: its first use) after the use before.
 */
uint16_t class_of(struct class_tree *t, unsigned uses, unsigned gap, uint32_t hints);
/* The same in two steps, when @uses is all that changes: a row is good until another is asked for. */
uint32_t class_row(struct class_tree *t, unsigned gap, uint32_t hints);
uint16_t class_in_row(struct class_tree *t, uint32_t row, unsigned uses);

/* That of a block of @node which is apart; what is so already stays where it is. */
uint16_t class_set_apart(struct class_tree *t, uint16_t node, enum class_apart why);

/* The node of (@parent, @edge), made when it is new; @parent if there is no room. */
uint16_t class_child(struct class_tree *t, uint16_t parent, uint32_t edge);

#endif
