/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commit.c - keys bind here, and every check of a put is here
 *
 * A record's parent is the block of the record before it, present by our hand or by somebody else's:
 * the first commit of a key wins, and a duplicate in the middle of a chain only changes the id that
 * the next record hangs on.  A record that cannot be published breaks the chain there; whatever
 * happens, no grant that was named stays with its owner.
 */
#include <errno.h>

#include "kvshm/arena/namespace.h"
#include "kvshm/base/compiler.h"
#include "kvshm/cache/cache_priv.h"

enum outcome { PUT_PUBLISHED, PUT_DUPLICATE, PUT_DROPPED };

/* The reference and the fields, against the grant and the namespace. */
static int check_rec(const struct cache *c, const struct cache_commit *m, const struct kvshm_commit_rec *r)
{
	const struct kvshm_desc *d;

	if (grant_check(c, m->owner, r->block) < 0)
		return -EINVAL;
	d = desc_of(c, r->block.id);
	if (d->ns != m->ns || r->flags || r->resv[0] || r->resv[1])
		return -EINVAL;
	/* The place is found again by the length: a shorter payload must be of the same class. */
	if (r->length == 0 || r->length > d->length || slab_class(r->length) != slab_class(d->length))
		return -EINVAL;
	return 0;
}

/* The grant of a record that is not published goes home, if it is one. */
static void drop_grant(struct cache *c, const struct cache_commit *m, const struct kvshm_commit_rec *r)
{
	if (grant_check(c, m->owner, r->block) == 0)
		grant_end(c, r->block.id);
}

static struct block_info info_of(const struct cache *c, const struct cache_commit *m,
				 const struct kvshm_commit_rec *r, blk_id_t parent)
{
	return (struct block_info){
		.key = r->key,
		.parent = parent,
		.depth = parent ? desc_of(c, parent)->depth + 1 : 0,
		.length = r->length,
		.checksum = r->checksum,
		.ns = m->ns,
		.tokens = r->tokens,
		.flags = (parent ? 0 : KVSHM_FLAG_NOPARENT) | (r->checksum ? KVSHM_FLAG_CHECKSUM : 0),
	};
}

static enum outcome put_checked(struct cache *c, const struct cache_commit *m,
				const struct kvshm_commit_rec *r, blk_id_t parent)
{
	struct block_info info = info_of(c, m, r, parent);
	int ret;

	if (info.depth >= KVSHM_CHAIN_MAX) {
		c->n.dropped_bad++;
		return PUT_DROPPED;
	}
	ret = publish(c, r->block.id, &info, r->hint, m->now_ns);
	if (ret == 0)
		return PUT_PUBLISHED;
	if (ret == -ENOSPC)
		c->n.dropped_index++;
	else
		c->n.dropped_full++;
	return PUT_DROPPED;
}

/*
 * What a put found there was wanted a second time, by somebody who looked before the first had put it: a use of the
 * path down to it, as the policy is to learn what comes back.
 */
static void use_found(struct cache *c, const struct kvshm_commit_rec *r, blk_id_t *found)
{
	if (!*found)
		return;
	life_used(c, *found);
	c->pol_ops->touch(c->pol, *found, r->hint, c->order_ns);
	*found = 0;
}

/* @parent: 0 for a root; @ret_id: the block that has the key afterwards; @found: the last one that was there. */
static enum outcome put_rec(struct cache *c, const struct cache_commit *m, const struct kvshm_commit_rec *r,
			    blk_id_t parent, blk_id_t *ret_id, blk_id_t *found)
{
	enum outcome out = PUT_DROPPED;
	struct index_hit hit;

	if (check_rec(c, m, r) < 0) {
		c->n.dropped_bad++;
	} else if (index_find_any(c->dir, m->ns, &r->key, &hit)) {
		c->n.duplicates++;
		out = PUT_DUPLICATE;
		*ret_id = *found = hit.id;
		note(c, KVSHM_EVENT_FOUND, hit.id, r->hint, c->order_ns, 0);
	} else {
		use_found(c, r, found);
		out = put_checked(c, m, r, parent);
		if (out == PUT_PUBLISHED)
			*ret_id = r->block.id;
	}
	if (out != PUT_PUBLISHED)
		drop_grant(c, m, r);
	return out;
}

/* Return: records from @from on, none of them published. */
static uint32_t drop_rest(struct cache *c, const struct cache_commit *m, uint32_t from)
{
	uint32_t i;

	for (i = from; i < m->nr; i++)
		drop_grant(c, m, &m->rec[i]);
	return m->nr - from;
}

/* Return: 0 with @ret_parent; -ENOENT, -EINVAL. */
static int find_parent(const struct cache *c, const struct cache_commit *m, blk_id_t *ret_parent)
{
	const uint8_t flags = m->flags & (KVSHM_SQE_F_NOPARENT | KVSHM_SQE_F_LOOSE);
	struct index_hit hit = { 0 };

	if (m->nr == 0 || !ns_entry(c->dir, m->ns) || (!flags && !m->parent && !m->is_broken))
		return -EINVAL;
	if (m->is_broken || (!flags && !index_find_any(c->dir, m->ns, m->parent, &hit)))
		return -ENOENT;
	*ret_parent = hit.id;
	return 0;
}

int cache_commit(struct cache *c, const struct cache_commit *m, struct cache_commit_result *ret)
{
	const bool is_loose = m->flags & KVSHM_SQE_F_LOOSE;
	struct cache_commit_result res = { 0 };
	blk_id_t parent = 0, found = 0;
	enum outcome out;
	uint32_t i;
	int err;

	order_time(c, m->now_ns);
	err = find_parent(c, m, &parent);
	if (err < 0) {
		*(err == -ENOENT ? &c->n.dropped_parent : &c->n.dropped_bad) += drop_rest(c, m, 0);
		return err;
	}
	res.last = parent;
	for (i = 0; i < m->nr;) {
		out = put_rec(c, m, &m->rec[i], is_loose ? 0 : parent, &parent, &found);
		if (is_loose || i + 1 == m->nr)
			use_found(c, &m->rec[i], &found);
		i++;
		res.nr_published += out == PUT_PUBLISHED;
		res.nr_duplicate += out == PUT_DUPLICATE;
		res.nr_dropped += out == PUT_DROPPED;
		if (out == PUT_DROPPED && !is_loose) {
			res.nr_dropped += m->nr - i;
			c->n.dropped_parent += drop_rest(c, m, i);
			break;
		}
		res.last = parent;
	}
	*ret = res;
	return 0;
}
