/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gix_save.c - what gix has learnt, over a restart: classes, the events seen in each, and which order hits most
 *
 * Blocks are not in it: who comes back is told by insert(), as of the time of the restart.  Those that
 * were inside when it was saved count as censored at the age they had.  All or nothing is taken, after a
 * checksum and a look at each field, as the file lies where others may have written.
 */
#include <errno.h>
#include <string.h>

#include "kvshm/base/rand.h"
#include "policy/gix.h"

#define MAGIC 0x35786967766b0000ull	/* "kvgix5" */
#define COUNT_MAX (1ll << 56)

#define USES_MAX 1e18

struct save_header {
	uint64_t magic, sum;
	uint32_t nr, bins;
};

struct save_shadow {
	uint64_t live;
	double uses, hits[SHADOW_ARMS], got[SHADOW_ARMS], promised[SHADOW_ARMS];
};

#define NODES_AT (sizeof(struct save_header) + sizeof(struct save_shadow))

struct save_node {
	uint32_t parent, edge;
	int64_t events[HAZARD_BINS], censored[HAZARD_BINS];
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

size_t gix_save(struct policy *p, void *buf, size_t len)
{
	struct save_header h = { .magic = MAGIC, .nr = p->tree.nr, .bins = HAZARD_BINS };
	const size_t need = NODES_AT + h.nr * sizeof(struct save_node);
	struct save_shadow s = { .live = p->shadow.live, .uses = p->shadow.uses };
	char *at = (char *)buf + NODES_AT;
	uint32_t i;
	unsigned b;

	if (len < need)
		return need;
	hazard_settle(&p->hazard);
	memcpy(s.hits, p->shadow.hits, sizeof(s.hits));
	memcpy(s.got, p->shadow.got, sizeof(s.got));
	memcpy(s.promised, p->shadow.promised, sizeof(s.promised));
	memcpy((char *)buf + sizeof(h), &s, sizeof(s));
	for (i = 0; i < h.nr; i++, at += sizeof(struct save_node)) {
		struct save_node n = { .parent = p->tree.parent[i], .edge = p->tree.edge[i] };

		for (b = 0; b < HAZARD_BINS; b++)
			n.events[b] = p->hazard.node[i].events[b].weight;
		memcpy(n.censored, p->hazard.node[i].censored, sizeof(n.censored));
		hazard_alive_weights(&p->hazard, (uint16_t)i, n.censored);
		memcpy(at, &n, sizeof(n));
	}
	h.sum = sum_of((char *)buf + sizeof(h), need - sizeof(h));
	memcpy(buf, &h, sizeof(h));
	return need;
}

/*
 * Late entries count below 0 where they came.  Who is alive is known by slots, which are coarser than that, so even
 * the sum from an age on may be a little less than nobody; estimates bear it.
 */
static bool is_sound(const struct save_node *n, uint32_t i)
{
	unsigned b;

	for (b = 0; b < HAZARD_BINS; b++)
		if (n->events[b] < 0 || n->events[b] > COUNT_MAX || n->censored[b] < -COUNT_MAX ||
		    n->censored[b] > COUNT_MAX)
			return false;
	return i == 0 || n->parent < i;
}

/* Comparisons that a NaN fails. */
static bool is_sound_shadow(const struct save_shadow *s)
{
	unsigned a;

	for (a = 0; a < SHADOW_ARMS; a++)
		if (!(s->hits[a] >= 0 && s->hits[a] <= s->uses && s->got[a] >= 0 && s->got[a] <= USES_MAX &&
		      s->promised[a] >= 0 && s->promised[a] <= USES_MAX))
			return false;
	return s->live < SHADOW_ARMS && s->uses <= USES_MAX;
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
	unsigned b;
	const char *nodes = check(buf, len, &nr, &s);

	if (!nodes)
		return -EUCLEAN;
	for (i = 0; i < nr; i++) {
		memcpy(&n, nodes + i * sizeof(n), sizeof(n));
		if (i && class_child(&p->tree, (uint16_t)n.parent, n.edge) != i)
			goto err_twice;
		for (b = 0; b < HAZARD_BINS; b++)
			p->hazard.node[i].events[b].weight = n.events[b];
		memcpy(p->hazard.node[i].censored, n.censored, sizeof(n.censored));
	}
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
