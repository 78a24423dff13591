/* SPDX-License-Identifier: Apache-2.0 */
/* class.c - nodes by (parent, edge) in a small open table, and a memo of whole descents */
#include "policy/class.h"

#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"
#include "policy/hints.h"

#define ROW_SHIFT 21			/* to CLASS_ROWS */
#define EDGE(level, value) ((uint32_t)(level) << 8 | (value))

void class_init(struct class_tree *t)
{
	memset(t, 0, sizeof(*t));
	memset(t->row_key, 0xff, sizeof(t->row_key));
	t->nr = 1;
}

uint16_t class_child(struct class_tree *t, uint16_t parent, uint32_t edge)
{
	uint32_t i = (uint32_t)rand_mix((uint64_t)parent << 32 | edge) % CLASS_SLOTS;
	uint16_t n;

	for (; (n = t->slot[i]); i = (i + 1) % CLASS_SLOTS)
		if (t->parent[n] == parent && t->edge[n] == edge)
			return n;
	if (t->nr == CLASS_MAX)
		return parent;
	n = (uint16_t)t->nr++;
	t->parent[n] = parent;
	t->edge[n] = edge;
	t->slot[i] = n;
	return n;
}

uint8_t class_use(uint8_t step, uint32_t dice)
{
	if (step >= CLASS_USES_MAX || (step >= CLASS_USES_ALL && dice & ((1u << (step - 2)) - 1)))
		return step;
	return (uint8_t)(step + 1);
}

/* Uses 1, 2-3, 4 and more. */
static uint32_t uses_value(unsigned uses)
{
	return uses >= 4 ? 3 : uses >= 2 ? 2 : 1;
}

/* Turns 1, 2, 3-4, 5 and more. */
static uint32_t turn_value(unsigned turn)
{
	return turn < 4 ? turn : 4;
}

/* All that a descent goes by but the uses: a field for each level. */
static uint32_t key_of(unsigned gap, uint32_t w)
{
	const struct hints h = hints_unpack(w);
	const uint32_t output = h.output ? 16u + (h.output - 1u) / 2 : 0;

	return h.stop | (uint32_t)h.type << 4 | output << 12 | turn_value(h.turn) << 17 | (gap + 1) / 2 << 20;
}

static uint16_t descend(struct class_tree *t, unsigned uses, uint32_t key)
{
	const uint32_t value[] = {
		uses_value(uses), key & 15, key >> 4 & 255, key >> 12 & 31, key >> 17 & 7, key >> 20,
		uses >= CLASS_USES_ALL ? uses - CLASS_USES_ALL + 1 : 0,
	};
	uint16_t n = 0;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(value); i++)
		if (value[i])
			n = class_child(t, n, EDGE(i, value[i]));
	return n;
}

uint32_t class_row(struct class_tree *t, unsigned gap, uint32_t hints)
{
	const uint32_t key = key_of(gap, hints), row = key * 0x9e3779b1u >> ROW_SHIFT;

	if (t->row_key[row] != key) {
		t->row_key[row] = key;
		memset(t->row[row], 0, sizeof(t->row[row]));
	}
	return row;
}

uint16_t class_in_row(struct class_tree *t, uint32_t row, unsigned uses)
{
	uint16_t *n = &t->row[row][uses];

	/* Not all of a full tree's nodes are made, but those by uses are: no descent ends at the root. */
	if (!*n)
		*n = descend(t, uses, t->row_key[row]);
	return *n;
}

uint16_t class_of(struct class_tree *t, unsigned uses, unsigned gap, uint32_t hints)
{
	return class_in_row(t, class_row(t, gap, hints), uses);
}

/* The same descent below a node of their own: nothing tells more than this. */
uint16_t class_set_apart(struct class_tree *t, uint16_t node, enum class_apart why)
{
	uint32_t edge[CLASS_LEVELS];
	unsigned nr = 0;
	uint16_t n;

	if (class_is_apart(t, node))
		return node;
	for (n = node; n && nr < CLASS_LEVELS; n = t->parent[n])
		edge[nr++] = t->edge[n];
	n = class_child(t, 0, EDGE(CLASS_LEVEL_APART, (uint32_t)why));
	while (nr)
		n = class_child(t, n, edge[--nr]);
	return n;
}
