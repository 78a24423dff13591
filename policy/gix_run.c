/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gix_run.c - paths cut into runs of one history
 *
 * A use reaches the root, so histories along a path only differ where a use has ended: a use that
 * ends inside a run cuts it in two.  Nothing else cuts, and two neighbours whose histories have become
 * alike (used equally often as far as classes can tell, last in the same request) are joined again.
 * The work of both is in relabelling blocks, of the shorter side.
 */
#include "policy/gix.h"

#define MERGE_MAX 256u			/* blocks relabelled for a merger, at most */

void gix_runs_init(struct policy *p)
{
	uint32_t i;

	for (i = p->cfg.max_ids; i > 0; i--) {
		p->run[i].next = p->free_run;
		p->free_run = i;
	}
}

uint32_t gix_run_new(struct policy *p, pol_id_t up)
{
	uint32_t r = p->free_run;

	p->free_run = p->run[r].next;
	p->run[r] = (struct gix_run){ .above = p->blk[up].run, .bin = RUN_UNLISTED };
	return r;
}

void gix_run_free(struct policy *p, uint32_t r)
{
	p->run[r].next = p->free_run;
	p->run[r].nr = 0;
	p->free_run = r;
}

static void label(struct policy *p, pol_id_t from, uint32_t nr, uint32_t run)
{
	for (; nr; nr--, from = p->blk[from].parent)
		p->blk[from].run = run;
}

/* Blocks from @id up to the head of its run, or *@is_above false: blocks below it; the fewer. */
static uint32_t shorter_side(const struct policy *p, pol_id_t id, bool *is_above)
{
	const uint32_t run = p->blk[id].run;
	pol_id_t a = id, b = p->run[run].tail;
	uint32_t nr;

	for (nr = 1;; nr++) {
		a = p->blk[a].parent;
		*is_above = p->blk[a].run != run;
		if (*is_above)
			return nr;
		b = p->blk[b].parent;
		if (b == id)
			return nr;
	}
}

/* What hung on @u as @from does so as @to. */
static void rename_kid(struct policy *p, uint32_t u, uint32_t from, uint32_t to)
{
	if (u && p->run[u].young == from)
		p->run[u].young = to;
}

uint32_t gix_run_split(struct policy *p, pol_id_t id)
{
	const uint32_t r = p->blk[id].run;
	struct gix_run *n = &p->run[r], *low, *high;
	uint32_t nr, fresh;
	bool is_above, was_listed;

	if (n->tail == id)
		return r;
	nr = shorter_side(p, id, &is_above);
	if ((n->victims || gix_run_kids(n)) && !is_above) {
		/* They know the run by its number and belong to the lower part. */
		nr = n->nr - nr;
		is_above = true;
	}
	fresh = gix_run_new(p, 0);
	p->run[fresh] = *n;
	p->run[fresh].bin = RUN_UNLISTED;
	p->run[fresh].kids = 0;
	p->run[fresh].victims = 0;
	if (p->open == r)
		p->open = 0;
	if (is_above) {
		/* The old number, and with it the place in a cell, stays with the lower part. */
		high = &p->run[fresh];
		low = n;
		label(p, id, nr, fresh);
		high->nr = nr;
		low->nr -= nr;
	} else {
		high = n;
		low = &p->run[fresh];
		label(p, n->tail, nr, fresh);
		low->nr = nr;
		high->nr -= nr;
	}
	low->above = is_above ? fresh : r;
	high->tail = id;
	if (is_above) {
		high->kids = 1;
		high->young = r;
		rename_kid(p, high->above, r, fresh);
		return fresh;
	}
	/* Its leaf is in the lower part now. */
	was_listed = high->bin != RUN_UNLISTED;
	gix_unlist(p, r);
	high->kids = 1;
	high->young = fresh;
	if (was_listed)
		gix_list(p, fresh, false);
	return r;
}

uint32_t gix_run_merge(struct policy *p, uint32_t r, uint32_t below)
{
	struct gix_run *n = &p->run[r], *up = &p->run[n->above];
	const uint32_t u = n->above;

	if (!u || !gix_run_are_alike(n, up) || gix_run_kids(up) != 1 || up->victims || n->victims || !n->nr || !up->nr)
		return r;
	if (up->nr <= n->nr && up->nr <= MERGE_MAX) {
		label(p, up->tail, up->nr, r);
		n->nr += up->nr;
		n->above = up->above;
		rename_kid(p, n->above, u, r);
		gix_run_free(p, u);
		return r;
	}
	/* All that hangs on r must learn the other number. */
	if (n->nr > MERGE_MAX || gix_run_kids(n) > (below != 0))
		return r;
	label(p, n->tail, n->nr, u);
	up->nr += n->nr;
	up->tail = n->tail;
	up->kids = gix_run_kids(n);
	up->young = n->young;
	if (below)
		p->run[below].above = u;
	gix_run_free(p, r);
	return u;
}
