/* SPDX-License-Identifier: Apache-2.0 */
/* gix.h - what the files of the gix policy share: blocks, runs, cells.  Not for others. */
#ifndef POLICY_GIX_H
#define POLICY_GIX_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/class.h"
#include "policy/ghost.h"
#include "policy/hazard.h"
#include "policy/policy.h"
#include "policy/shadow.h"

/* What walks along a path look at, kept dense: blocks put together are neighbours. */
struct gix_blk {
	pol_id_t parent;
	uint32_t run : 31;		/* 0: not resident */
	uint32_t is_victim : 1;		/* taken and neither back nor gone */
};
_Static_assert(sizeof(struct gix_blk) == 8, "eight a line");

/* And what is asked for when a block comes or goes. */
struct gix_body {
	uint64_t key;
	uint32_t bytes;
	float value;			/* seconds that a hit saves, per MiB */
};
_Static_assert(sizeof(struct gix_body) == 16, "never two lines");

/*
 * Blocks of one path with one history, so with one class and age: only @tail may have children.
 * A run without blocks waits for its victims to come back or go.
 */
struct gix_run {
	pol_id_t tail;			/* deepest block */
	uint32_t above;			/* the run of the first one's parent, 0: none */
	uint32_t nr;
	uint32_t last;			/* use, in hazard_time() */
	union {
		uint32_t prev;		/* in the cell */
		uint32_t kids;		/* not listed: runs that hang on the tail, with blocks */
	};
	union {
		uint32_t next;		/* in the cell; free and parked runs: in their list */
		uint32_t young;		/* not listed, with kids: the last that came, if it still hangs here */
	};
	uint16_t node;			/* of the class tree */
	uint16_t weight;		/* of one block: 65536 / blocks of its request */
	uint16_t victims;		/* taken and neither back nor gone */
	uint8_t uses : 4;		/* class_use() */
	uint8_t value : 3;		/* octave of the tail's, when it was listed */
	uint8_t is_used : 1;		/* since it was inserted */
	uint8_t bin;			/* of the cell that it is listed in; RUN_UNLISTED */
};
_Static_assert(sizeof(struct gix_run) == 32, "half a cache line, never two");

#define RUN_UNLISTED 255u
#define RUN_PARKED 254u			/* its tail was pinned: off the cells until the next tick */
#define VALUE_SHIFT 3u
#define VALUES (1u << VALUE_SHIFT)	/* octaves of saved seconds per byte, as many as gix_run.value can tell */
#define CELLS_MAX (CLASS_MAX * HAZARD_BINS * VALUES)

struct gix_cell {
	uint32_t head, tail;		/* runs: longest unused first */
	uint32_t prev, next;		/* cells of this rank + 1, 0 ends */
	uint32_t rank;
};
_Static_assert(CLASS_MAX % 64 == 0, "whole words of cell_map");

struct policy {
	struct policy_config cfg;
	uint32_t now;			/* hazard_time(), never runs back */
	uint32_t ticked, estimated;	/* when */
	bool is_started;
	uint64_t nr_touches;
	uint32_t dice;			/* of the touch in progress, for class_use() */
	uint32_t open;			/* run that the request in progress extends, 0: none */
	uint32_t free_run;
	uint32_t parked;		/* runs, by next */
	struct gix_blk *blk;		/* [max_ids + 1] */
	struct gix_body *body;		/* [max_ids + 1] */
	struct gix_run *run;		/* [max_ids + 1] */
	struct ghost_table ghosts;
	struct class_tree tree;
	struct hazard hazard;
	struct shadow shadow;
	uint32_t nr_resident;
	uint32_t capacity;		/* blocks that were left after the last victims; UINT32_MAX: never full yet */
	uint32_t nr_values, nr_cells;	/* 1 without theta, then VALUES; of each class and bin */
	uint32_t value_shift;		/* log2 of nr_values */
	struct gix_cell *cell;
	uint64_t cell_map[CELLS_MAX / 64];	/* those with runs */
	float value_min;		/* of octave 0: that of the first block seen */
	double value_factor[VALUES];	/* of the index */
	uint32_t rank_head[RANKS];	/* cell + 1 */
	uint64_t rank_map[RANKS / 64];
};

/* What is listed or parked is a leaf. */
static inline uint32_t gix_run_kids(const struct gix_run *n)
{
	return n->bin == RUN_UNLISTED ? n->kids : 0;
}

/* ---- runs (gix_run.c) ------------------------------------------------------------------------------ */

void gix_runs_init(struct policy *p);
/* A run of no blocks.  There are as many as blocks, so there always is one. */
uint32_t gix_run_new(struct policy *p, pol_id_t up);
void gix_run_free(struct policy *p, uint32_t r);
/* Make @id the tail of its run.  Return: that run, which may be another than before. */
uint32_t gix_run_split(struct policy *p, pol_id_t id);
static inline bool gix_run_are_alike(const struct gix_run *a, const struct gix_run *b)
{
	return a->uses >= CLASS_USES_ALL && a->uses == b->uses && a->last == b->last &&
	       a->node == b->node && a->weight == b->weight;
}
/*
 * @r, which is not listed, and the run above have become one if they can; @below hangs on r (0: none that is known).
 * Return: the run that holds r's blocks.
 */
uint32_t gix_run_merge(struct policy *p, uint32_t r, uint32_t below);
static inline struct hazard_lot gix_run_lot(const struct policy *p, uint32_t r)
{
	const struct gix_run *n = &p->run[r];

	return (struct hazard_lot){ .nr = n->nr, .weight = n->weight, .node = n->node, .birth = n->last };
}

/* ---- what will be touched (gix_expect.c): as policy_ops.expect ------------------------------------- */

void gix_expect(const struct policy *p, const pol_id_t *ids, unsigned nr);

/* ---- what was learnt (gix_save.c): as policy_ops.save and .load ------------------------------------ */

size_t gix_save(struct policy *p, void *buf, size_t len);
int gix_load(struct policy *p, const void *buf, size_t len);

/* ---- cells (gix_cell.c) ---------------------------------------------------------------------------- */

/* A run without kids, with blocks, enters the cell of its class and age as the youngest or the oldest. */
void gix_list(struct policy *p, uint32_t r, bool is_oldest);
/* A run of @node, just used, will be. */
void gix_expect_list(const struct policy *p, uint16_t node);
void gix_unlist(struct policy *p, uint32_t r);
void gix_park(struct policy *p, uint32_t r);
void gix_unpark_all(struct policy *p);
/* The run to give a block next; 0: none listed. */
uint32_t gix_lowest(struct policy *p);
void gix_age_cells(struct policy *p);
void gix_rank_cells(struct policy *p);

#endif
