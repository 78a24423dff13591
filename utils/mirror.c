/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mirror.c - the directory followed from outside
 *
 * Ring and directory are read at different times, so each event is compared with the descriptor as it is now:
 *
 *   STORED   the descriptor lives the event's life: told.  It lives another: the block has gone meanwhile, its
 *            REMOVED follows and will not be told either.
 *   REMOVED  told if that life of the descriptor was told.
 *
 * A walk that begins after event n was counted and is followed by the events from n on misses nothing: what the
 * walk did not see yet has its STORED still to come, what it saw too early its REMOVED.  EVICTING counts as there:
 * it ends in REMOVED, or it is published again, of which no event tells.
 *
 * Invariant: the parent of what is told is told.  A walk may see a child whose parent it passed before that was
 * published; then both have their events to come, so such a child is left to them.
 */
#include "utils/mirror.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/arena/block.h"
#include "kvshm/arena/directory.h"
#include "kvshm/arena/namespace.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/testpoint.h"

struct mirror {
	struct directory dir;
	struct mirror_block *block;	/* [max_blocks + 1] */
	uint64_t told;
};

/* ---- open ---------------------------------------------------------------------------------------------- */

int mirror_open(const char *path, struct mirror **ret_m)
{
	struct mirror *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return -ENOMEM;
	ret = directory_open(path, &m->dir);
	if (ret < 0)
		goto err_free;
	/* Pages of it are made as blocks are told. */
	m->block = calloc((size_t)m->dir.max_blocks + 1, sizeof(*m->block));
	if (!m->block) {
		ret = -ENOMEM;
		goto err_detach;
	}
	*ret_m = m;
	return 0;
err_detach:
	directory_detach(&m->dir);
err_free:
	free(m);
	return ret;
}

struct mirror *mirror_close(struct mirror *m)
{
	if (m) {
		directory_detach(&m->dir);
		free(m->block);
	}
	free(m);
	return NULL;
}

bool mirror_is_served_by(const struct mirror *m, const struct kvshm_events_page *h)
{
	return directory_is_live(directory_state(&m->dir)) && READ_ONCE(m->dir.sb->daemon_pid) == h->pid &&
	       READ_ONCE(m->dir.sb->daemon_start_ticks) == h->start_ticks;
}

const uint8_t *mirror_fingerprint(const struct mirror *m, uint16_t ns)
{
	return m->dir.ns[ns].fingerprint;
}

uint64_t mirror_told(const struct mirror *m)
{
	return m->told;
}

/* ---- one descriptor ------------------------------------------------------------------------------------ */

static bool is_there(uint64_t word)
{
	return state_of(word) == KVSHM_BLOCK_PUBLISHED || state_of(word) == KVSHM_BLOCK_EVICTING;
}

static void read_key(const struct kvshm_desc *d, struct kvshm_key *ret)
{
	const uint64_t *from = (const uint64_t *)(const void *)d->key.bytes;
	uint64_t to[sizeof(*ret) / 8];

	for (unsigned i = 0; i < sizeof(to) / 8; i++)
		to[i] = READ_ONCE(from[i]);
	memcpy(ret, to, sizeof(*ret));
}

static void read_fields(const struct mirror *m, const struct kvshm_desc *d, struct mirror_block *ret)
{
	read_key(d, &ret->key);
	ret->parent = READ_ONCE(d->parent);
	if (ret->parent && ret->parent <= m->dir.max_blocks)
		ret->parent_generation = state_generation(READ_ONCE(m->dir.desc[ret->parent].state));
	ret->length = READ_ONCE(d->length);
	ret->tokens = READ_ONCE(d->tokens);
	ret->ns = READ_ONCE(d->ns);
}

/* A published block as it is now, all of one life; a parent lives longer than its children. */
static bool read_block(const struct mirror *m, uint32_t id, struct mirror_block *ret)
{
	const struct kvshm_desc *d = &m->dir.desc[id];
	const struct kvshm_ns_entry *ns;
	struct mirror_block b = { 0 };
	uint64_t now;
	/* BK-1: the state before the fields; pairs with block_publish(). */
	const uint64_t word = load_acquire(&d->state);

	if (!is_there(word))
		return false;
	TESTPOINT("mirror: state seen");
	read_fields(m, d, &b);
	/* AU-1: the fields before the second look; pairs with block_grant(). */
	smp_acquire();
	now = READ_ONCE(d->state);
	ns = ns_entry(&m->dir, b.ns);
	if (!is_there(now) || state_generation(now) != state_generation(word) || !ns || b.parent > m->dir.max_blocks)
		return false;
	b.generation = state_generation(word);
	b.tokens = b.tokens ? b.tokens : (uint16_t)ns->block_tokens;
	*ret = b;
	return true;
}

static const struct mirror_block *parent_of(const struct mirror *m, const struct mirror_block *b)
{
	return b->parent ? &m->block[b->parent] : NULL;
}

static bool has_parent_told(const struct mirror *m, const struct mirror_block *b)
{
	const struct mirror_block *p = parent_of(m, b);

	return !p || (p->is_told && p->generation == b->parent_generation);
}

/* ---- all of them --------------------------------------------------------------------------------------- */

struct tree {
	uint32_t *first_child;		/* [max_blocks + 1]; of 0: the roots */
	uint32_t *next;			/* among siblings, ascending ids */
};

static void tree_free(struct tree *t)
{
	free(t->first_child);
	free(t->next);
}

static int tree_build(const struct mirror *m, struct tree *t)
{
	const size_t nr = (size_t)m->dir.max_blocks + 1;

	t->first_child = calloc(nr, sizeof(*t->first_child));
	t->next = calloc(nr, sizeof(*t->next));
	if (!t->first_child || !t->next) {
		tree_free(t);
		return -ENOMEM;
	}
	for (uint32_t id = m->dir.max_blocks; id; id--) {
		const struct mirror_block *b = &m->block[id];

		if (!b->is_told || !has_parent_told(m, b))
			continue;
		t->next[id] = t->first_child[b->parent];
		t->first_child[b->parent] = id;
	}
	return 0;
}

/* The next one of a walk parents first, 0: the end.  Each block has one place, so it comes to an end. */
static uint32_t tree_next_of(const struct mirror *m, const struct tree *t, uint32_t id)
{
	if (t->first_child[id])
		return t->first_child[id];
	while (id && !t->next[id])
		id = m->block[id].parent;
	return id ? t->next[id] : 0;
}

int mirror_each(const struct mirror *m, mirror_fn fn, void *arg)
{
	struct tree t;
	int ret = tree_build(m, &t);

	if (ret < 0)
		return ret;
	for (uint32_t id = t.first_child[0]; id; id = tree_next_of(m, &t, id))
		fn(arg, KVSHM_EVENT_STORED, &m->block[id], parent_of(m, &m->block[id]));
	tree_free(&t);
	return 0;
}

/* Writes only where something is: the rest of the table needs no memory. */
static void clear_told(struct mirror *m)
{
	for (uint32_t id = 1; id <= m->dir.max_blocks; id++)
		if (m->block[id].is_told)
			m->block[id].is_told = false;
}

static void read_all(struct mirror *m)
{
	clear_told(m);
	for (uint32_t id = 1; id <= m->dir.max_blocks; id++) {
		struct mirror_block b;

		if (!read_block(m, id, &b))
			continue;
		b.is_told = true;
		m->block[id] = b;
	}
}

int mirror_walk(struct mirror *m)
{
	struct tree t;
	int ret;

	read_all(m);
	ret = tree_build(m, &t);
	if (ret < 0)
		return ret;
	clear_told(m);
	m->told = 0;
	for (uint32_t id = t.first_child[0]; id; id = tree_next_of(m, &t, id)) {
		m->block[id].is_told = true;
		m->told++;
	}
	tree_free(&t);
	return 0;
}

/* ---- events -------------------------------------------------------------------------------------------- */

static void take_back(struct mirror *m, struct mirror_block *b, mirror_fn fn, void *arg)
{
	b->is_told = false;
	m->told--;
	fn(arg, KVSHM_EVENT_REMOVED, b, NULL);
}

static void stored(struct mirror *m, const struct kvshm_event *e, mirror_fn fn, void *arg)
{
	struct mirror_block *b = &m->block[e->id], now;

	if (b->is_told && b->generation == e->generation)
		return;			/* the walk saw it */
	/* A full index takes a published block back without a word; a walk may have seen it in between. */
	if (b->is_told)
		take_back(m, b, fn, arg);
	if (!read_block(m, e->id, &now) || now.generation != e->generation || !has_parent_told(m, &now))
		return;
	*b = now;
	b->is_told = true;
	m->told++;
	fn(arg, KVSHM_EVENT_STORED, b, parent_of(m, b));
}

bool mirror_event(struct mirror *m, const struct kvshm_event *e, mirror_fn fn, void *arg)
{
	if (e->type < KVSHM_EVENT_STORED || e->type > KVSHM_EVENT_FOUND || !e->id || e->id > m->dir.max_blocks)
		return false;
	if (e->type == KVSHM_EVENT_STORED)
		stored(m, e, fn, arg);
	else if (e->type == KVSHM_EVENT_REMOVED && m->block[e->id].is_told && m->block[e->id].generation == e->generation)
		take_back(m, &m->block[e->id], fn, arg);
	return true;
}
