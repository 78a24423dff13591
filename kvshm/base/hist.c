/* SPDX-License-Identifier: Apache-2.0 */
/* hist.c - log-linear histogram */
#include "kvshm/base/hist.h"

#include "kvshm/base/atomic.h"
#include "kvshm/base/compiler.h"

#define SUB (1u << HIST_SUB_BITS)

static unsigned cell_of(uint64_t v)
{
	unsigned shift, cell;

	if (v < SUB)
		return (unsigned)v;
	shift = 63 - (unsigned)__builtin_clzll(v) - HIST_SUB_BITS;
	cell = (shift + 1) * SUB + (unsigned)(v >> shift & (SUB - 1));
	return min_of(cell, HIST_CELLS - 1);
}

static uint64_t cell_middle(unsigned cell)
{
	unsigned shift;

	if (cell < SUB)
		return cell;
	shift = cell / SUB - 1;
	return ((uint64_t)(SUB + cell % SUB) << shift) + ((1ull << shift) - 1) / 2;
}

void hist_record(struct hist *h, uint64_t v)
{
	uint64_t *c = &h->count[cell_of(v)];

	WRITE_ONCE(*c, *c + 1);
}

void hist_merge(struct hist *h, const struct hist *from)
{
	for (unsigned i = 0; i < HIST_CELLS; i++)
		h->count[i] += READ_ONCE(from->count[i]);
}

uint64_t hist_total(const struct hist *h)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < HIST_CELLS; i++)
		total += READ_ONCE(h->count[i]);
	return total;
}

uint64_t hist_quantile(const struct hist *h, double q)
{
	uint64_t total = hist_total(h), rank, seen = 0;
	unsigned last = 0;

	if (!total)
		return 0;
	/* The rank-th smallest value, from 1. */
	rank = (uint64_t)(q * (double)total + 0.5);
	rank = min_of(max_of(rank, 1u), total);
	for (unsigned i = 0; i < HIST_CELLS && seen < rank; i++) {
		uint64_t n = READ_ONCE(h->count[i]);

		seen += n;
		if (n)
			last = i;
	}
	return cell_middle(last);
}

uint64_t hist_rank(const struct hist *h, uint64_t v)
{
	unsigned last = cell_of(v);
	uint64_t n = 0;

	for (unsigned i = 0; i <= last; i++)
		n += READ_ONCE(h->count[i]);
	return n;
}

uint64_t hist_sum(const struct hist *h)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < HIST_CELLS; i++)
		sum += READ_ONCE(h->count[i]) * cell_middle(i);
	return sum;
}

uint64_t hist_cell_range(unsigned cell, uint64_t *ret_low)
{
	unsigned shift = cell < SUB ? 0 : cell / SUB - 1;

	*ret_low = cell < SUB ? cell : (uint64_t)(SUB + cell % SUB) << shift;
	return *ret_low + (1ull << shift);
}
