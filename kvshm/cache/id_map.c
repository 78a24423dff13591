/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/cache/id_map.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "kvshm/base/bitmap.h"
#include "kvshm/base/compiler.h"

#define SEARCH_IDS 16384u		/* looked at before a shorter run will do */

int id_map_init(struct id_map *m, uint32_t max_ids)
{
	*m = (struct id_map){ .max_ids = max_ids, .nr_free = max_ids, .cursor = 1 };
	m->free = calloc(BITMAP_WORDS((size_t)max_ids + 1), sizeof(*m->free));
	if (!m->free)
		return -ENOMEM;
	bitmap_set_range(m->free, 1, (size_t)max_ids + 1);
	return 0;
}

void id_map_fini(struct id_map *m)
{
	free(m->free);
	m->free = NULL;
}

uint32_t id_map_take(struct id_map *m, uint32_t want, uint32_t *ret_first)
{
	const size_t end = (size_t)m->max_ids + 1;
	size_t pos = m->cursor, seen = 0, best = 0, best_len = 0;

	if (m->nr_free == 0 || want == 0)
		return 0;
	/* Once round, and the run at the cursor again, which may have been entered in its middle. */
	while (seen <= end && best_len < want && (best_len == 0 || seen < SEARCH_IDS)) {
		size_t first = bitmap_next_set(m->free, pos, end), next;

		next = bitmap_next_clear(m->free, first, min_of(first + want, end));
		if (next - first > best_len) {
			best = first;
			best_len = next - first;
		}
		seen += next - pos;
		pos = next < end ? next : 1;
		seen += pos == 1;
	}
	bitmap_clear_range(m->free, best, best + best_len);
	m->nr_free -= (uint32_t)best_len;
	m->cursor = best + best_len < end ? (uint32_t)(best + best_len) : 1;
	*ret_first = (uint32_t)best;
	return (uint32_t)best_len;
}

void id_map_claim(struct id_map *m, uint32_t id)
{
	assert(id_map_is_free(m, id));
	bitmap_clear(m->free, id);
	m->nr_free--;
}

void id_map_put(struct id_map *m, uint32_t first, uint32_t nr)
{
	assert(first > 0 && nr <= m->max_ids && first <= m->max_ids + 1 - nr);
	assert(bitmap_next_set(m->free, first, (size_t)first + nr) == (size_t)first + nr);
	bitmap_set_range(m->free, first, (size_t)first + nr);
	m->nr_free += nr;
}

bool id_map_is_free(const struct id_map *m, uint32_t id)
{
	return bitmap_test(m->free, id);
}
