/* SPDX-License-Identifier: Apache-2.0 */
#include "utils/hear.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"

#define QUIET_NS 30000000000ull		/* a prefill takes less */

struct block {				/* what is known of one */
	uint64_t key;			/* 0: an empty place of the table */
	uint64_t parent;		/* 0: a root, or not known */
	uint64_t chat;			/* number + 1 of the last request that ended here */
	uint64_t open;			/* number + 1 of the youngest open request that ends here */
	uint64_t unused;		/* number + 1 of the youngest that put below it and was not seen to use it */
	uint32_t nr;			/* blocks down to it */
	uint16_t tokens;
};

struct open_request {
	uint64_t time_ns, last_ns;	/* of its first and its last event */
	uint64_t leaf;			/* key of its deepest block so far */
	uint64_t older;			/* number + 1 of another that ends there */
	uint64_t older_unused;		/* number + 1 of another that put below the same block, unseen */
	uint64_t number;
	int64_t goes_on_from;
	uint64_t bytes;
	uint32_t hint, block_tokens, hits;
	uint16_t ns;
};

struct hear {
	int (*on_request)(void *arg, const struct heard_request *q);
	void *arg;
	struct block *block;		/* open addressing, @mask + 1 places */
	uint64_t mask, nr_blocks;
	struct open_request *open;	/* ring of @room: requests @first .. @next - 1 */
	uint64_t room, first, next;
	uint64_t now_ns;
	uint64_t *hash;			/* of the one that is told */
	uint32_t hash_room;
};

/* ---- blocks -------------------------------------------------------------------------------------------- */

static struct block *place_of(struct block *table, uint64_t mask, uint64_t key)
{
	uint64_t i = rand_mix(key) & mask;

	while (table[i].key && table[i].key != key)
		i = (i + 1) & mask;
	return &table[i];
}

static int grow_blocks(struct hear *h)
{
	const uint64_t mask = 2 * h->mask + 1;
	struct block *table = calloc(mask + 1, sizeof(*table));

	if (!table)
		return -ENOMEM;
	for (uint64_t i = 0; i <= h->mask; i++)
		if (h->block[i].key)
			*place_of(table, mask, h->block[i].key) = h->block[i];
	free(h->block);
	h->block = table;
	h->mask = mask;
	return 0;
}

/* A put names the parent; that it found the block there does not matter here. */
static bool is_put(const struct kvshm_event *e)
{
	return e->type == KVSHM_EVENT_STORED || e->type == KVSHM_EVENT_FOUND;
}

/* The block @key, new or known.  Return: NULL out of memory. */
static struct block *block_named(struct hear *h, uint64_t key, uint32_t nr)
{
	struct block *b;

	if (h->nr_blocks * 2 > h->mask && grow_blocks(h) < 0)
		return NULL;
	b = place_of(h->block, h->mask, key);
	if (!b->key) {
		*b = (struct block){ .key = key, .nr = nr };
		h->nr_blocks++;
	}
	return b;
}

/* That of this event, and its parent before it, which may be from before one listened.  Return: NULL out of memory. */
static struct block *block_of(struct hear *h, const struct kvshm_event *e)
{
	struct block *b;

	if (is_put(e) && e->parent && e->nr > 1 && !block_named(h, e->parent, e->nr - 1))
		return NULL;
	b = block_named(h, e->key, e->nr);
	if (!b)
		return NULL;
	b->tokens = e->tokens;
	if (is_put(e))
		b->parent = e->parent;
	return b;
}

static struct block *known(struct hear *h, uint64_t key)
{
	struct block *b = key ? place_of(h->block, h->mask, key) : NULL;

	return b && b->key ? b : NULL;
}

/* ---- requests ------------------------------------------------------------------------------------------ */

static struct open_request *request_at(const struct hear *h, uint64_t number)
{
	return &h->open[number % h->room];
}

static void ends_at(struct open_request *q, struct block *b)
{
	q->leaf = b->key;
	q->older = b->open;
	b->open = q->number + 1;
}

/* It no longer ends where it did. */
static void leave(struct hear *h, const struct open_request *q)
{
	struct block *b = known(h, q->leaf);
	uint64_t *at = &b->open;

	while (*at != q->number + 1)
		at = &request_at(h, *at - 1)->older;
	*at = q->older;
}

static int room_for_hashes(struct hear *h, uint32_t nr)
{
	uint64_t *hash;

	if (nr <= h->hash_room)
		return 0;
	hash = realloc(h->hash, (size_t)nr * 2 * sizeof(*hash));
	if (!hash)
		return -ENOMEM;
	h->hash = hash;
	h->hash_room = nr * 2;
	return 0;
}

/* The chain down to @leaf; above the first one that is known, names made of that one and the place. */
static uint64_t fill_chain(struct hear *h, const struct block *leaf)
{
	uint64_t above = 0, tokens = leaf->tokens;
	const struct block *b = leaf;
	uint32_t i = leaf->nr;

	while (i-- > 0) {
		h->hash[i] = b ? b->key : rand_mix(above + i);
		if (b) {
			above = b->key;
			b = known(h, b->parent);
		}
	}
	return tokens;
}

static int tell(struct hear *h, const struct open_request *q)
{
	struct block *leaf = known(h, q->leaf);
	struct heard_request r = { .time_ns = q->time_ns, .number = q->number, .goes_on_from = q->goes_on_from,
				   .nr = leaf->nr, .hits = q->hits, .hint = q->hint, .block_tokens = q->block_tokens,
				   .bytes = q->bytes, .ns = q->ns };
	int ret = room_for_hashes(h, leaf->nr);

	if (ret < 0)
		return ret;
	r.tokens = fill_chain(h, leaf) + (leaf->nr - 1ull) * q->block_tokens;
	r.hash = h->hash;
	leave(h, q);
	leaf->chat = q->number + 1;
	return h->on_request(h->arg, &r);
}

/* All that have been quiet for long, as far as the oldest one is. */
static int tell_quiet(struct hear *h, bool is_end)
{
	int ret = 0;

	while (ret == 0 && h->first != h->next) {
		const struct open_request *q = request_at(h, h->first);

		if (!is_end && h->now_ns - q->last_ns < QUIET_NS)
			break;
		ret = tell(h, q);
		h->first++;
	}
	return ret;
}

static int grow_open(struct hear *h)
{
	struct open_request *open = malloc(2 * h->room * sizeof(*open));

	if (!open)
		return -ENOMEM;
	for (uint64_t n = h->first; n != h->next; n++)
		open[n % (2 * h->room)] = *request_at(h, n);
	free(h->open);
	h->open = open;
	h->room *= 2;
	return 0;
}

static int begin_request(struct hear *h, struct block *b, const struct kvshm_event *e)
{
	struct open_request *q;
	const uint64_t chat = e->type != KVSHM_EVENT_TOUCHED ? 0 : b->open ? b->open : b->chat;

	if (h->next - h->first == h->room && grow_open(h) < 0)
		return -ENOMEM;
	q = request_at(h, h->next);
	*q = (struct open_request){ .time_ns = h->now_ns, .last_ns = h->now_ns, .number = h->next,
				    .goes_on_from = (int64_t)chat - 1, .bytes = e->length, .hint = e->hint,
				    .hits = e->type == KVSHM_EVENT_TOUCHED ? e->nr : 0,
				    .block_tokens = e->block_tokens, .ns = e->ns };
	h->next++;
	ends_at(q, b);
	return 0;
}

/* A request that begins with a put below @parent: the use of that may be told yet, as touches are drained by turns. */
static int begin_by_put(struct hear *h, struct block *b, const struct kvshm_event *e)
{
	const int ret = begin_request(h, b, e);
	struct block *parent = known(h, e->parent);

	if (ret < 0 || !parent)
		return ret;
	request_at(h, h->next - 1)->older_unused = parent->unused;
	parent->unused = h->next;
	return 0;
}

/* A use of @b: of the youngest open request that put below it before its use was told, else one of its own. */
static int use(struct hear *h, struct block *b, const struct kvshm_event *e)
{
	const uint64_t number = b->unused - 1, chat = b->open ? b->open : b->chat;
	struct open_request *q;

	if (!b->unused || number < h->first) {
		b->unused = 0;
		return begin_request(h, b, e);
	}
	q = request_at(h, number);
	b->unused = q->older_unused;
	q->hits = e->nr;
	q->hint = e->hint;
	if (chat <= number)
		q->goes_on_from = (int64_t)chat - 1;
	return 0;
}

/* Below the deepest block of an open request, the youngest: put by who used that. */
static int put(struct hear *h, struct block *b, const struct kvshm_event *e)
{
	struct block *parent = known(h, e->parent);
	struct open_request *q;

	if (!parent || !parent->open)
		return begin_by_put(h, b, e);
	q = request_at(h, parent->open - 1);
	leave(h, q);
	ends_at(q, b);
	q->last_ns = h->now_ns;
	q->bytes = max_of(q->bytes, (uint64_t)e->length);
	return 0;
}

int hear_event(struct hear *h, const struct kvshm_event *e)
{
	struct block *b;
	int ret;

	if ((!is_put(e) && e->type != KVSHM_EVENT_TOUCHED) || !e->key || !e->nr || e->nr > 65536)
		return 0;
	h->now_ns = max_of(h->now_ns, e->time_ns);
	ret = tell_quiet(h, false);
	if (ret < 0)
		return ret;
	b = block_of(h, e);
	if (!b)
		return -ENOMEM;
	return is_put(e) ? put(h, b, e) : use(h, b, e);
}

int hear_end(struct hear *h)
{
	return tell_quiet(h, true);
}

int hear_create(int (*on_request)(void *arg, const struct heard_request *q), void *arg, struct hear **ret_h)
{
	struct hear *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	*h = (struct hear){ .on_request = on_request, .arg = arg, .mask = 4095, .room = 256 };
	h->block = calloc(h->mask + 1, sizeof(*h->block));
	h->open = malloc(h->room * sizeof(*h->open));
	if (!h->block || !h->open) {
		hear_destroy(h);
		return -ENOMEM;
	}
	*ret_h = h;
	return 0;
}

struct hear *hear_destroy(struct hear *h)
{
	if (h) {
		free(h->block);
		free(h->open);
		free(h->hash);
		free(h);
	}
	return NULL;
}
