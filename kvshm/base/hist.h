/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hist.h - log-linear histogram of whole numbers, as of nanoseconds
 *
 * 36 octaves of 16 cells.  Octave 0 holds 0..15, a cell a value; octave k > 0 holds [2^(k+3), 2^(k+4)),
 * a cell the sixteenth part of it.  So a value is known to 1/16 (6.25 %) of itself, up to 2^39 - 1
 * (9 minutes in ns); what is greater is counted in the last cell.
 *
 * A plain struct of fixed size that may lie in shared memory; zeroed is empty.  One writer; readers in
 * other threads and processes may look at any time and see counts that are whole, each for itself.
 */
#ifndef KVSHM_BASE_HIST_H
#define KVSHM_BASE_HIST_H

#include <stdint.h>

#define HIST_OCTAVES 36u
#define HIST_SUB_BITS 4u
#define HIST_CELLS (HIST_OCTAVES << HIST_SUB_BITS)

struct hist {
	uint64_t count[HIST_CELLS];
};

/* Count @v once. */
void hist_record(struct hist *h, uint64_t v);

/* Add all counts of @from, which may have a writer. */
void hist_merge(struct hist *h, const struct hist *from);

/* Number of values recorded. */
uint64_t hist_total(const struct hist *h);

/**
 * hist_quantile() - the value that a share @q of all values does not exceed
 * @q: 0 (the least) to 1 (the greatest)
 * Return: the middle of its cell, 6.25 % of the true value away at most; 0 for an empty histogram.
 */
uint64_t hist_quantile(const struct hist *h, double q);

/* Number of values up to @v; of those in its cell, which are 6.25 % off at most, all. */
uint64_t hist_rank(const struct hist *h, uint64_t v);

/* Sum of all values, each taken as the middle of its cell. */
uint64_t hist_sum(const struct hist *h);

/* The values of a cell: [*ret_low, return value).  @cell below HIST_CELLS. */
uint64_t hist_cell_range(unsigned cell, uint64_t *ret_low);

#endif
