/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grant.c - blocks handed out ahead of need, and their ways back
 *
 * A grant lies in the directory, so it outlives the daemon; who may have how many is daemon/'s
 * business.  All grants are in one list: there are few, credits bound them.
 */
#include <errno.h>

#include "kvshm/arena/namespace.h"
#include "kvshm/cache/cache_priv.h"
#include "policy/exact.h"

#define ROOM_TRIES_MAX 64u		/* evictions and relocations for one place */

void cache_near(struct cache *c, int node)
{
	c->near = node >= 0 && slab_nodes_has(&c->slabs, (uint32_t)node) ? node : -1;
}

/* One node for all of a call, so that its blocks are neighbours. */
static uint32_t choose_node(const struct cache *c)
{
	return c->near >= 0 ? (uint32_t)c->near : slab_nodes_roomiest(&c->slabs);
}

static void count_node(struct cache *c, uint64_t place)
{
	if (c->near < 0)
		return;
	if (slab_nodes_of(&c->slabs, place) == (uint32_t)c->near)
		c->n.near++;
	else
		c->n.spilled++;
}

/* A place for one block; evicts and relocates when there is none. */
static int get_place(struct cache *c, uint32_t length, uint64_t now_ns, uint64_t *ret_place)
{
	unsigned tries = 0;
	int ret;

	while ((ret = place_get(c, c->node, length, ret_place)) == -ENOSPC)
		if (++tries > ROOM_TRIES_MAX || !make_room(c, length, now_ns))
			break;
	return ret;
}

/* Ids @first .. @first + @nr - 1 become grants.  Return: how many. */
static uint32_t grant_run(struct cache *c, uint32_t owner, uint16_t ns, uint32_t length, blk_id_t first,
			  uint32_t nr, uint64_t now_ns)
{
	uint64_t place;
	blk_id_t id;

	for (id = first; id < first + nr; id++) {
		if (get_place(c, length, now_ns, &place) < 0)
			break;
		count_node(c, place);
		wipe_granted(c, place, length, ns);
		block_grant(desc_of(c, id), (uint32_t)(place / KVSHM_PAGE), length, ns, owner);
		probe_state(c, id, KVSHM_BLOCK_FREE, KVSHM_BLOCK_GRANTED);
		c->blk[id] = (struct blk){ 0 };
		unit_link(c, id);
		blk_list_add(c, &c->granted, id);
		ledger_add(c, KVSHM_BLOCK_GRANTED, length);
	}
	return id - first;
}

/* Ids: they are short of supply only where blocks are much smaller than max_blocks was made for. */
static uint32_t take_ids(struct cache *c, uint32_t want, uint64_t now_ns, blk_id_t *ret_first)
{
	uint32_t nr;

	while ((nr = id_map_take(&c->ids, want, ret_first)) == 0)
		if (evict(c, UINT64_MAX, want, now_ns) == 0)
			break;
	return nr;
}

/* Enter a run, as part of the last one if it follows it.  Return: false: no room in the array. */
static bool runs_add(struct kvshm_id_run *runs, unsigned max_runs, unsigned *nr_runs, blk_id_t first,
		     uint32_t nr)
{
	struct kvshm_id_run *last = *nr_runs ? &runs[*nr_runs - 1] : NULL;

	if (last && last->first + last->nr == first) {
		last->nr += nr;
		return true;
	}
	if (*nr_runs == max_runs)
		return false;
	runs[(*nr_runs)++] = (struct kvshm_id_run){ .first = first, .nr = nr };
	return true;
}

int cache_grant(struct cache *c, uint32_t owner, uint16_t ns, uint32_t length, unsigned nr,
		struct kvshm_id_run *ret_runs, unsigned max_runs, unsigned *ret_nr_runs, uint64_t now_ns)
{
	const struct kvshm_ns_entry *e = ns_entry(c->dir, ns);
	unsigned done = 0, nr_runs = 0;
	uint32_t run, got;
	blk_id_t first;

	if (!e || owner > KVSHM_OWNER_MAX || length > e->block_len || nr > INT32_MAX || max_runs == 0)
		return -EINVAL;
	if (length == 0)
		length = e->block_len;
	c->node = choose_node(c);
	while (done < nr) {
		run = take_ids(c, nr - done, now_ns, &first);
		if (run == 0)
			break;
		if (!runs_add(ret_runs, max_runs, &nr_runs, first, 0)) {
			id_map_put(&c->ids, first, run);
			goto out;	/* the caller asks again: nothing was dropped */
		}
		got = grant_run(c, owner, ns, length, first, run, now_ns);
		runs_add(ret_runs, max_runs, &nr_runs, first, got);
		done += got;
		if (got < run) {
			id_map_put(&c->ids, first + got, run - got);
			break;
		}
	}
	c->n.dropped_full += nr - done;
out:
	if (nr_runs && ret_runs[nr_runs - 1].nr == 0)
		nr_runs--;
	*ret_nr_runs = nr_runs;
	return (int)done;
}

int grant_check(const struct cache *c, uint32_t owner, struct kvshm_block_ref ref)
{
	uint64_t w;

	if (ref.id == 0 || ref.id > c->dir->max_blocks)
		return -EINVAL;
	w = READ_ONCE(desc_of(c, ref.id)->state);
	if (state_of(w) != KVSHM_BLOCK_GRANTED || state_generation(w) != ref.generation)
		return -ESTALE;
	return state_owner(w) == owner ? 0 : -EPERM;
}

void grant_end(struct cache *c, blk_id_t id)
{
	blk_list_del(c, &c->granted, id);
	blk_release(c, id);
}

int cache_return(struct cache *c, uint32_t owner, struct kvshm_block_ref ref)
{
	int ret = grant_check(c, owner, ref);

	if (ret == 0)
		grant_end(c, ref.id);
	return ret;
}

unsigned cache_owner_gone(struct cache *c, uint32_t owner)
{
	blk_id_t id, next;
	unsigned nr = 0;

	exact_owner_gone(c->pol, owner);
	for (id = c->granted.head; id; id = next) {
		next = c->blk[id].list_next;
		if (state_owner(READ_ONCE(desc_of(c, id)->state)) != owner)
			continue;
		grant_end(c, id);
		nr++;
	}
	return nr;
}

void *cache_grant_ptr(struct cache *c, uint32_t owner, struct kvshm_block_ref ref, uint32_t *ret_len)
{
	if (grant_check(c, owner, ref) < 0)
		return NULL;
	*ret_len = desc_of(c, ref.id)->length;
	return arena_ptr(c->arena, place_of(desc_of(c, ref.id)));
}
