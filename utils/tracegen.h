/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tracegen.h - what generators of traces are made of: draws, requests to come, the lines that are written
 *
 * One thread.  What is drawn depends on the seed and the C library's log() and pow() alone.
 */
#ifndef UTILS_TRACEGEN_H
#define UTILS_TRACEGEN_H

#include <stdint.h>
#include <stdio.h>

#include "kvshm/base/rand.h"
#include "utils/trace.h"

/* ---- draws (tracegen_draw.c) ------------------------------------------------------------------------ */

double draw_exponential(struct rand *r, double mean);

/* exp() of a normal of mean @mu, between 1 and 60,000. */
unsigned draw_log_normal(struct rand *r, double mu, double sigma);

/* From @min to @max, both of them possible. */
unsigned draw_between(struct rand *r, unsigned min, unsigned max);

struct zipf {
	double *below;			/* [n]: chance of this rank or a lower one */
	unsigned n;
};

/* Ranks 0 .. @n - 1, of weight (rank + 1)^-@s.  Return: 0, -ENOMEM (@ret_z may be ended all the same). */
int zipf_init(struct zipf *ret_z, unsigned n, double s);
void zipf_fini(struct zipf *z);
unsigned zipf_draw(const struct zipf *z, struct rand *r);

/* ---- requests to come, the earliest first (tracegen_queue.c) ------------------------------------------- */

struct gen_queue {
	char *item;			/* a heap of @nr, each begins with its time, a double */
	size_t size, nr, room;		/* @size of an item is set by its owner, the rest begins as 0 */
};

/* Return: 0, -ENOMEM. */
int gen_queue_push(struct gen_queue *q, const void *item);
/* The earliest; there is one. */
void gen_queue_pop(struct gen_queue *q, void *ret_item);
/* INFINITY: there is none. */
double gen_queue_next_s(const struct gen_queue *q);
void gen_queue_fini(struct gen_queue *q);

/* ---- lines (tracegen_line.c) ----------------------------------------------------------------------------- */

struct gen_line {
	double at_s;
	uint64_t chat, session;		/* the request's number; 0: no session of its own */
	int64_t parent;			/* the request that it goes on from, -1 */
	unsigned tokens, output, turn;	/* output, turn 0: not known */
	const char *type, *stop;	/* stop NULL: not known */
};

/* @how: the options that give this trace again. */
void gen_write_header(const struct tracegen *g, const char *how, FILE *out);
/* All but the blocks, which gen_write_id() adds: @i is 0 for the first. */
void gen_write_begin(const struct gen_line *l, FILE *out);
void gen_write_id(unsigned i, uint64_t id, FILE *out);
void gen_write_end(FILE *out);

/* ---- recipes (tracegen_recipe.c) --------------------------------------------------------------------------- */

/* As tracegen_write(), for a load that is written down to the last number. */
int recipe_write(const struct tracegen *g, FILE *out);

#endif
