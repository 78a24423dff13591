/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gix_save.c - what gix has learnt, over a restart: classes, the events seen in each, and which order hits most
 *
 * Blocks are not in it: who comes back is told by insert(), as of the time of the restart.  Those that
 * were inside when it was saved count as lost sight of at the age they had.  All or nothing is taken, after a
 * checksum and a look at each field, as the file lies where others may have written.
 */
#include <errno.h>
#include <string.h>

#include "kvshm/base/rand.h"
#include "policy/gix.h"

#define MAGIC 0x36786967766b0000ull	/* "kvgix6" */

#define NUMBER_MAX 1e18

struct save_header {
	uint64_t magic, sum;
	uint32_t nr, bins;
};

struct save_shadow {
	uint64_t live;
	double uses, hits[SHADOW_ARMS], got[SHADOW_ARMS], promised[SHADOW_ARMS];
	double score[HAZARD_MEMORIES];	/* of what is remembered by each */
};

#define NODES_AT (sizeof(struct save_header) + sizeof(struct save_shadow))

struct save_node {
	uint32_t parent, edge;
	struct hazard_sum own[HAZARD_MEMORIES][HAZARD_BINS];
};
_Static_assert(sizeof(struct save_node) % 8 == 0, "whole words");

static uint64_t sum_of(const void *buf, size_t len)
{
	uint64_t sum = len, word;
	size_t i;

	for (i = 0; i + 8 <= len; i += 8) {
		memcpy(&word, (const char *)buf + i, 8);
		sum = rand_mix(sum ^ word) + i;
	}
	return sum;
}

/* As the next estimate would have it, but for what fades until then. */
static void add_fresh(const struct hazard *h, unsigned m, uint32_t i, struct hazard_sum ret[HAZARD_BINS])
{
	for (unsigned b = 0; b < HAZARD_BINS; b++) {
		ret[b].events = h->memory[m].own[i][b].events + h->fresh[i][b].now.events;
		ret[b].risk = h->memory[m].own[i][b].risk + h->fresh[i][b].now.risk;
	}
}

size_t gix_save(struct policy *p, void *buf, size_t len)
{
	struct save_header h = { .magic = MAGIC, .nr = p->tree.nr, .bins = HAZARD_BINS };
	const size_t need = NODES_AT + h.nr * sizeof(struct save_node);
	struct save_shadow s = { .live = p->shadow.live, .uses = p->shadow.uses };
	char *at = (char *)buf + NODES_AT;
	uint32_t i;
	unsigned m;

	if (len < need)
		return need;
	hazard_count(&p->hazard, &p->tree);
	memcpy(s.hits, p->shadow.hits, sizeof(s.hits));
	memcpy(s.got, p->shadow.got, sizeof(s.got));
	memcpy(s.promised, p->shadow.promised, sizeof(s.promised));
	for (m = 0; m < HAZARD_MEMORIES; m++)
		s.score[m] = p->hazard.memory[m].score;
	memcpy((char *)buf + sizeof(h), &s, sizeof(s));
	for (i = 0; i < h.nr; i++, at += sizeof(struct save_node)) {
		struct save_node n = { .parent = p->tree.parent[i], .edge = p->tree.edge[i] };

		for (m = 0; m < HAZARD_MEMORIES; m++)
			add_fresh(&p->hazard, m, i, n.own[m]);
		memcpy(at, &n, sizeof(n));
	}
	h.sum = sum_of((char *)buf + sizeof(h), need - sizeof(h));
	memcpy(buf, &h, sizeof(h));
	return need;
}

/* Comparisons that a NaN fails. */
static bool is_number(double x)
{
	return x >= -NUMBER_MAX && x <= NUMBER_MAX;
}

/*
 * Late entries count below 0 where they came.  Who is alive is known by slots, which are coarser than that, so even
 * all that were at risk in a bin may be a little less than nobody; estimates bear it.
 */
static bool is_sound(const struct save_node *n, uint32_t i)
{
	unsigned m, b;

	for (m = 0; m < HAZARD_MEMORIES; m++)
		for (b = 0; b < HAZARD_BINS; b++)
			if (!(n->own[m][b].events >= 0) || !is_number(n->own[m][b].events) || !is_number(n->own[m][b].risk))
				return false;
	return i == 0 || n->parent < i;
}

static bool is_sound_shadow(const struct save_shadow *s)
{
	unsigned a;

	for (a = 0; a < SHADOW_ARMS; a++)
		if (!(s->hits[a] >= 0 && s->hits[a] <= s->uses && s->got[a] >= 0 && s->got[a] <= NUMBER_MAX &&
		      s->promised[a] >= 0 && s->promised[a] <= NUMBER_MAX))
			return false;
	for (a = 0; a < HAZARD_MEMORIES; a++)
		if (!is_number(s->score[a]))
			return false;
	return s->live < SHADOW_ARMS && s->uses <= NUMBER_MAX;
}

static const char *check(const void *buf, size_t len, uint32_t *ret_nr, struct save_shadow *ret_s)
{
	const char *nodes = (const char *)buf + NODES_AT;
	struct save_header h;
	struct save_node n;
	uint32_t i;

	if (len < NODES_AT)
		return NULL;
	memcpy(&h, buf, sizeof(h));
	memcpy(ret_s, (const char *)buf + sizeof(h), sizeof(*ret_s));
	if (h.magic != MAGIC || h.bins != HAZARD_BINS || h.nr == 0 || h.nr > CLASS_MAX ||
	    len != NODES_AT + h.nr * sizeof(n) ||
	    h.sum != sum_of((const char *)buf + sizeof(h), len - sizeof(h)) || !is_sound_shadow(ret_s))
		return NULL;
	for (i = 0; i < h.nr; i++) {
		memcpy(&n, nodes + i * sizeof(n), sizeof(n));
		if (!is_sound(&n, i))
			return NULL;
	}
	*ret_nr = h.nr;
	return nodes;
}

int gix_load(struct policy *p, const void *buf, size_t len)
{
	struct save_shadow s;
	struct save_node n;
	uint32_t i, nr = 0;
	unsigned m;
	const char *nodes = check(buf, len, &nr, &s);

	if (!nodes)
		return -EUCLEAN;
	for (i = 0; i < nr; i++) {
		memcpy(&n, nodes + i * sizeof(n), sizeof(n));
		if (i && class_child(&p->tree, (uint16_t)n.parent, n.edge) != i)
			goto err_twice;
		for (m = 0; m < HAZARD_MEMORIES; m++)
			memcpy(p->hazard.memory[m].own[i], n.own[m], sizeof(n.own[m]));
	}
	for (m = 0; m < HAZARD_MEMORIES; m++)
		p->hazard.memory[m].score = s.score[m];
	hazard_estimate(&p->hazard, &p->tree);
	shadow_adopt(&p->shadow, &p->tree, 1);
	p->shadow.live = (enum shadow_arm)s.live;
	p->shadow.uses = s.uses;
	memcpy(p->shadow.hits, s.hits, sizeof(s.hits));
	memcpy(p->shadow.got, s.got, sizeof(s.got));
	memcpy(p->shadow.promised, s.promised, sizeof(s.promised));
	p->shadow.planned = s.hits[s.live];
	return 0;
err_twice:
	class_init(&p->tree);
	hazard_init(&p->hazard);
	return -EUCLEAN;
}
