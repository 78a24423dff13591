/* SPDX-License-Identifier: Apache-2.0 */
#include "utils/mrc_watch.h"

#include <stdlib.h>
#include <string.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/stats/events.h"
#include "utils/heard.h"
#include "utils/mrc.h"

#define NS_MAX 64u
#define USES_MAX (1u << 20)		/* of a namespace: then it begins anew, and the curve stays until half of that */
#define BATCH 512u
#define OPEN_NS 1000000000ull		/* look for another daemon */
#define RECKON_NS 30000000000ull

struct watched {
	struct heard_ns now;
	struct mrc_watch_curve last;	/* of those before */
};

struct mrc_watch {
	struct target target;
	struct event_ring *ring;	/* NULL: none there */
	uint64_t next;			/* event of the ring */
	uint64_t opened_ns, reckoned_ns;
	struct hear *hear;
	struct watched *ns;		/* [NS_MAX] */
	uint64_t capacity_bytes;
	struct mrc_watch_curve curve[MRC_WATCH_CURVES];
	unsigned nr_curves;
};

const double mrc_watch_sizes[MRC_WATCH_POINTS] = { 0.125, 0.25, 0.5, [MRC_WATCH_AS_IS] = 1, 2, 4, 8, 16 };

/* Return: 0, -1 no memory. */
static int reckon(const struct mrc_watch *w, unsigned ns, struct mrc_watch_curve *ret_c)
{
	const struct heard_ns *n = &w->ns[ns].now;
	struct mrc_watch_curve c = { .ns = ns };
	struct mrc m;

	if (mrc_run(&n->t, -1, &m) < 0)
		return -1;
	c.uses = m.uses;
	for (unsigned i = 0; i < MRC_WATCH_POINTS; i++)
		c.ratio[i] = mrc_hit_ratio(&m, heard_blocks_in(n, (uint64_t)((double)w->capacity_bytes * mrc_watch_sizes[i])));
	c.ratio_with_more = mrc_hit_ratio(&m, heard_blocks_in(n, w->capacity_bytes + MRC_WATCH_MORE_BYTES));
	c.ratio_infinite = mrc_hit_ratio(&m, UINT64_MAX);
	mrc_fini(&m);
	*ret_c = c;
	return 0;
}

static int on_request(void *arg, const struct heard_request *q)
{
	struct mrc_watch *w = arg;
	struct watched *n;

	if (q->ns >= NS_MAX)
		return 0;
	n = &w->ns[q->ns];
	if (heard_add(&n->now, q) < 0 || n->now.t.nr_chain >= USES_MAX) {
		if (n->now.is_heard && w->capacity_bytes)
			reckon(w, q->ns, &n->last);
		heard_clear(&n->now);
	}
	return 0;
}

static void forget(struct mrc_watch *w)
{
	w->ring = events_close(w->ring);
	w->hear = hear_destroy(w->hear);
	for (unsigned ns = 0; ns < NS_MAX; ns++)
		heard_clear(&w->ns[ns].now);
	memset(w->ns, 0, NS_MAX * sizeof(*w->ns));
	w->nr_curves = 0;
}

struct mrc_watch *mrc_watch_create(const struct target *t)
{
	struct mrc_watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->target = *t;
	w->ns = calloc(NS_MAX, sizeof(*w->ns));
	if (!w->ns)
		return mrc_watch_destroy(w);
	return w;
}

struct mrc_watch *mrc_watch_destroy(struct mrc_watch *w)
{
	if (w && w->ns)
		forget(w);
	if (w)
		free(w->ns);
	free(w);
	return NULL;
}

/* A daemon's restart makes the file anew: what there is by that name now counts. */
static void look_for_ring(struct mrc_watch *w)
{
	uint64_t now_ns = clock_ns();
	struct event_ring *r;

	if (w->opened_ns && now_ns - w->opened_ns < OPEN_NS)
		return;
	w->opened_ns = now_ns;
	if (target_events(&w->target, &r) < 0)
		return;
	if (w->ring && events_start(r) == events_start(w->ring)) {
		events_close(r);
		return;
	}
	forget(w);
	w->ring = r;
	w->next = events_oldest(r);
	if (hear_create(on_request, w, &w->hear) < 0)
		forget(w);
}

void mrc_watch_look(struct mrc_watch *w)
{
	struct kvshm_event e[BATCH];
	uint64_t lost = 0;
	unsigned nr, i;
	int ret = 0;

	look_for_ring(w);
	while (w->ring && ret == 0 && (nr = events_read(w->ring, &w->next, e, BATCH, &lost)))
		for (i = 0; ret == 0 && i < nr; i++)
			ret = hear_event(w->hear, &e[i]);
	if (ret < 0)
		forget(w);
}

static int by_uses(const void *a, const void *b)
{
	const struct mrc_watch_curve *x = a, *y = b;

	return x->uses < y->uses ? 1 : x->uses > y->uses ? -1 : (int)x->ns - (int)y->ns;
}

unsigned mrc_watch_curves(struct mrc_watch *w, uint64_t capacity_bytes, const struct mrc_watch_curve **ret_c)
{
	struct mrc_watch_curve all[NS_MAX];
	uint64_t now_ns = clock_ns();
	unsigned nr = 0;

	*ret_c = w->curve;
	if (!capacity_bytes || (w->nr_curves && w->capacity_bytes == capacity_bytes && now_ns - w->reckoned_ns < RECKON_NS))
		return w->nr_curves;
	w->capacity_bytes = capacity_bytes;
	w->reckoned_ns = now_ns;
	for (unsigned ns = 0; ns < NS_MAX; ns++) {
		const struct watched *n = &w->ns[ns];

		if (n->last.uses && (!n->now.is_heard || n->now.t.nr_chain < USES_MAX / 2))
			all[nr++] = n->last;
		else if (n->now.is_heard && !reckon(w, ns, &all[nr]))
			nr++;
	}
	qsort(all, nr, sizeof(*all), by_uses);
	w->nr_curves = min_of(nr, MRC_WATCH_CURVES);
	memcpy(w->curve, all, w->nr_curves * sizeof(*all));
	return w->nr_curves;
}
