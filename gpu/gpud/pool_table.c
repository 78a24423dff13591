/* SPDX-License-Identifier: Apache-2.0 */
/* pool_table.c - which blocks lie in the staging pool, and who holds them */
#include "gpu/gpud/pool_table.h"

#include <errno.h>
#include <stdlib.h>

#include "kvshm/base/bitmap.h"
#include "kvshm/base/rand.h"

#define BUCKETS_MIN 64u

struct pool_hold {			/* a user's of a block */
	struct pool_block *block;
	struct pool_user *user;
	uint32_t nr;			/* times */
	struct pool_hold *next_of_block;
	struct pool_hold *next, *prev;	/* of the user */
};

struct pool_table {
	struct pool_room room;
	uint64_t quota;
	struct pool_block **bucket;
	size_t nr_buckets;		/* a power of two */
	struct pool_block *oldest, *newest;	/* idle ones */
	struct pool_counts n;
};

int pool_table_create(uint64_t len, uint64_t quota, struct pool_table **ret)
{
	struct pool_table *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	err = pool_room_init(&t->room, len);
	if (err < 0)
		goto err_free;
	t->nr_buckets = BUCKETS_MIN;
	while (t->nr_buckets < t->room.nr_units / 4)
		t->nr_buckets *= 2;
	t->bucket = calloc(t->nr_buckets, sizeof(struct pool_block *));
	if (!t->bucket) {
		err = -ENOMEM;
		goto err_room;
	}
	t->quota = quota;
	t->n.bytes = t->room.free_bytes;
	*ret = t;
	return 0;
err_room:
	pool_room_fini(&t->room);
err_free:
	free(t);
	return err;
}

void pool_table_destroy(struct pool_table *t)
{
	struct pool_block *b;

	if (!t)
		return;
	for (size_t i = 0; i < t->nr_buckets; i++)
		while ((b = t->bucket[i])) {
			t->bucket[i] = b->next;
			free(b);
		}
	free(t->bucket);
	pool_room_fini(&t->room);
	free(t);
}

/* ---- by name --------------------------------------------------------------------------------------- */

static struct pool_block **bucket_of(const struct pool_table *t, struct kvshm_block_ref ref)
{
	return &t->bucket[rand_mix((uint64_t)ref.generation << 32 | ref.id) & (t->nr_buckets - 1)];
}

static struct pool_block *find(const struct pool_table *t, struct kvshm_block_ref ref)
{
	struct pool_block *b = *bucket_of(t, ref);

	while (b && (b->ref.id != ref.id || b->ref.generation != ref.generation))
		b = b->next;
	return b;
}

const struct pool_block *pool_table_find(const struct pool_table *t, struct kvshm_block_ref ref)
{
	return find(t, ref);
}

static void block_free(struct pool_table *t, struct pool_block *b)
{
	struct pool_block **at = bucket_of(t, b->ref);

	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	t->n.used_bytes -= pool_room_size(b->len);
	pool_room_give(&t->room, b->off, b->len);
	free(b);
}

/* ---- idle ones ------------------------------------------------------------------------------------- */

static void idle_push(struct pool_table *t, struct pool_block *b)
{
	b->older = t->newest;
	b->newer = NULL;
	*(t->newest ? &t->newest->newer : &t->oldest) = b;
	t->newest = b;
	t->n.idle_bytes += pool_room_size(b->len);
}

static void idle_remove(struct pool_table *t, struct pool_block *b)
{
	*(b->older ? &b->older->newer : &t->oldest) = b->newer;
	*(b->newer ? &b->newer->older : &t->newest) = b->older;
	t->n.idle_bytes -= pool_room_size(b->len);
}

static void evict_oldest(struct pool_table *t)
{
	struct pool_block *b = t->oldest;

	idle_remove(t, b);
	block_free(t, b);
	t->n.evicted_blocks++;
}

/* Nobody holds it any more, and nothing writes there. */
static void let_go(struct pool_table *t, struct pool_block *b)
{
	if (b->state == POOL_STAGED)
		idle_push(t, b);
	else if (b->state == POOL_FAILED)
		block_free(t, b);
}

/* ---- holds ----------------------------------------------------------------------------------------- */

static struct pool_hold *hold_of(const struct pool_block *b, const struct pool_user *u)
{
	struct pool_hold *h = b->holds;

	while (h && h->user != u)
		h = h->next_of_block;
	return h;
}

static int hold_new(struct pool_table *t, struct pool_user *u, struct pool_block *b)
{
	uint64_t size = pool_room_size(b->len);
	struct pool_hold *h;

	if (size > t->quota - u->held_bytes)
		return -EDQUOT;
	h = malloc(sizeof(*h));
	if (!h)
		return -ENOMEM;
	if (!b->holds) {
		t->n.held_bytes += size;
		if (b->state == POOL_STAGED)
			idle_remove(t, b);
	}
	*h = (struct pool_hold){ .block = b, .user = u, .nr = 1, .next_of_block = b->holds, .next = u->holds };
	b->holds = h;
	if (u->holds)
		u->holds->prev = h;
	u->holds = h;
	u->held_bytes += size;
	return 0;
}

static int hold(struct pool_table *t, struct pool_user *u, struct pool_block *b)
{
	struct pool_hold *h = hold_of(b, u);

	if (!h)
		return hold_new(t, u, b);
	if (h->nr == UINT32_MAX)
		return -ENOBUFS;
	h->nr++;
	return 0;
}

/* All of them. */
static void hold_end(struct pool_table *t, struct pool_hold *h)
{
	struct pool_block *b = h->block;
	struct pool_hold **at = &b->holds;

	while (*at != h)
		at = &(*at)->next_of_block;
	*at = h->next_of_block;
	*(h->prev ? &h->prev->next : &h->user->holds) = h->next;
	if (h->next)
		h->next->prev = h->prev;
	h->user->held_bytes -= pool_room_size(b->len);
	free(h);
	if (b->holds)
		return;
	t->n.held_bytes -= pool_room_size(b->len);
	let_go(t, b);
}

int pool_table_release(struct pool_table *t, struct pool_user *u, struct kvshm_block_ref ref)
{
	struct pool_block *b = find(t, ref);
	struct pool_hold *h = b ? hold_of(b, u) : NULL;

	if (!h)
		return -ENOENT;
	if (!--h->nr)
		hold_end(t, h);
	return 0;
}

void pool_table_forget(struct pool_table *t, struct pool_user *u)
{
	while (u->holds)
		hold_end(t, u->holds);
}

/* ---- coming and going ------------------------------------------------------------------------------ */

int pool_table_take(struct pool_table *t, struct pool_user *u, uint16_t ns, struct kvshm_block_ref ref,
		    struct pool_block **ret)
{
	struct pool_block *b = find(t, ref);
	int err;

	if (!b)
		return 0;
	if (b->ns != ns)
		return -EINVAL;
	err = b->state == POOL_FAILED ? b->error : hold(t, u, b);
	if (err < 0)
		return err;
	t->n.shared_blocks++;
	*ret = b;
	return 1;
}

int pool_table_admit(const struct pool_table *t, const struct pool_user *u, uint64_t size)
{
	if (size > t->quota - u->held_bytes)
		return -EDQUOT;
	return size > t->room.free_bytes + t->n.idle_bytes ? -ENOSPC : 0;
}

static int find_room(struct pool_table *t, uint32_t len, uint64_t *ret_off)
{
	while (pool_room_take(&t->room, len, ret_off) < 0) {
		if (!t->oldest)
			return -ENOSPC;
		evict_oldest(t);
	}
	return 0;
}

int pool_table_add(struct pool_table *t, struct pool_user *u, uint16_t ns, struct kvshm_block_ref ref, uint32_t len,
		   struct pool_block **ret)
{
	struct pool_block *b, **at = bucket_of(t, ref);
	int err = pool_table_admit(t, u, pool_room_size(len));

	if (err < 0)
		return err;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	*b = (struct pool_block){ .ref = ref, .ns = ns, .state = POOL_COPYING, .len = len };
	err = find_room(t, len, &b->off);
	if (err < 0) {
		free(b);
		return err;
	}
	t->n.used_bytes += pool_room_size(len);
	b->next = *at;
	*at = b;
	err = hold_new(t, u, b);
	if (err < 0) {
		block_free(t, b);
		return err;
	}
	*ret = b;
	return 0;
}

void pool_table_landed(struct pool_table *t, struct pool_block *b)
{
	b->state = POOL_STAGED;
	t->n.staged_blocks++;
	t->n.staged_bytes += b->len;
	if (!b->holds)
		let_go(t, b);
}

void pool_table_failed(struct pool_table *t, struct pool_block *b, int error)
{
	b->state = POOL_FAILED;
	b->error = error;
	if (!b->holds)
		let_go(t, b);
}

void pool_table_counts(const struct pool_table *t, struct pool_counts *ret)
{
	*ret = t->n;
}

/* ---- the books ------------------------------------------------------------------------------------- */

struct sums {
	uint64_t used, held, idle, units;
	unsigned nr_idle;
};

static const char *verify_block(const struct pool_table *t, const struct pool_block *b, struct sums *s)
{
	uint64_t size = pool_room_size(b->len);

	s->used += size;
	s->units += size / POOL_UNIT;
	if (b->holds)
		s->held += size;
	else if (b->state == POOL_FAILED)
		return "a failed block that nobody holds";
	else if (b->state == POOL_STAGED) {
		s->idle += size;
		s->nr_idle++;
	}
	for (uint64_t at = b->off / POOL_UNIT; at < (b->off + size) / POOL_UNIT; at++)
		if (at >= t->room.nr_units || !bitmap_test(t->room.map, at))
			return "a block where its room is not taken";
	for (const struct pool_hold *h = b->holds; h; h = h->next_of_block)
		if (h->block != b || !h->nr || (h->prev ? h->prev->next : h->user->holds) != h)
			return "a hold that its user does not know";
	return NULL;
}

static const char *verify_idle(const struct pool_table *t, const struct sums *s)
{
	const struct pool_block *b = t->oldest, *older = NULL;
	unsigned nr = 0;

	for (; b; older = b, b = b->newer, nr++)
		if (b->holds || b->state != POOL_STAGED || b->older != older)
			return "an idle block that is none";
	return older != t->newest || nr != s->nr_idle ? "idle blocks that are not listed" : NULL;
}

const char *pool_table_verify(const struct pool_table *t)
{
	const char *broken = NULL;
	struct sums s = { 0 };

	for (size_t i = 0; i < t->nr_buckets && !broken; i++)
		for (const struct pool_block *b = t->bucket[i]; b && !broken; b = b->next)
			broken = bucket_of(t, b->ref) != &t->bucket[i] ? "a block in another's bucket" : verify_block(t, b, &s);
	if (!broken && (s.used != t->n.used_bytes || s.held != t->n.held_bytes || s.idle != t->n.idle_bytes))
		broken = "sums that are not those of the blocks";
	/* no two blocks share a unit, or there would be fewer bits than units */
	if (!broken && (bitmap_count(t->room.map, t->room.nr_units) != s.units || t->room.free_bytes + s.used != t->n.bytes))
		broken = "room that is taken by nobody, or twice";
	return broken ? broken : verify_idle(t, &s);
}
