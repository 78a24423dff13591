/* SPDX-License-Identifier: Apache-2.0 */
#include "utils/kv_batch.h"

#include <stdlib.h>
#include <string.h>

#define FIRST 64u

/* Room for one more in an array that grows by doubling. */
static bool make_room(void **array, size_t nr, size_t *max, size_t size)
{
	size_t more = *max ? 2 * *max : FIRST;
	void *grown;

	if (nr < *max)
		return true;
	grown = reallocarray(*array, more, size);
	if (!grown)
		return false;
	*array = grown;
	*max = more;
	return true;
}

static struct kv_event *add_event(struct kv_batch *b, const struct kv_event *e)
{
	if (!make_room((void **)&b->event, b->nr_events, &b->max_events, sizeof(*b->event))) {
		b->is_broken = true;
		return NULL;
	}
	b->event[b->nr_events] = *e;
	b->event[b->nr_events].first = b->nr_keys;
	b->event[b->nr_events].nr = 0;
	return &b->event[b->nr_events++];
}

void kv_cleared(struct kv_batch *b, const char *reason)
{
	add_event(b, &(struct kv_event){ .type = KV_CLEARED, .reason = reason });
}

/* Does @e go on where @last ends? */
static bool goes_on(const struct kv_batch *b, const struct kv_event *last, const struct kv_event *e)
{
	if (last->type != e->type || memcmp(last->ns, e->ns, sizeof(e->ns)))
		return false;
	if (e->type == KV_REMOVED)
		return true;
	return e->has_parent && last->block_size == e->block_size && last->length == e->length &&
	       !memcmp(&e->parent, &b->key[b->nr_keys - 1], sizeof(e->parent));
}

void kv_add(struct kv_batch *b, const struct kv_event *e, const struct kvshm_key *key)
{
	struct kv_event *to = b->nr_events ? &b->event[b->nr_events - 1] : NULL;

	if (!make_room((void **)&b->key, b->nr_keys, &b->max_keys, sizeof(*b->key))) {
		b->is_broken = true;
		return;
	}
	if (!to || !goes_on(b, to, e))
		to = add_event(b, e);
	if (!to)
		return;
	b->key[b->nr_keys++] = *key;
	to->nr++;
}

void kv_batch_empty(struct kv_batch *b)
{
	b->nr_events = b->nr_keys = 0;
	b->is_broken = false;
}

void kv_batch_free(struct kv_batch *b)
{
	free(b->event);
	free(b->key);
	b->event = NULL;
	b->key = NULL;
	b->max_events = b->max_keys = 0;
	kv_batch_empty(b);
}
