/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena_verify.c - descriptors and extents against the invariants
 *
 * Trusts nothing in the file but the geometry that directory_attach() has checked: every word is copied
 * once and the copy is looked at.  On a live directory a block may change between two looks; who checks
 * one runs this twice and believes what is seen twice.
 *
 * A relocated block: {QUARANTINED, RELOCATED} descriptor of the old place, whose parent field names the
 * block that moved.  Before the move is done both name the old place, and that is no overlap.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "kvshm/arena/arena.h"
#include "kvshm/arena/block.h"
#include "kvshm/arena/slab.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/bitmap.h"
#include "kvshm/base/compiler.h"

#define CAPACITY_MAX (16ull << 40)	/* all that 32-bit page numbers of 4 KiB can name */

struct check {
	const struct directory *dir;
	struct arena_report r;
	uint32_t nr_extents, nr_ns;
	uint64_t *end;			/* [nr_extents] where each ends, ascending */
	uint64_t *page;			/* a bit for each 4 KiB of the arena that a block has */
};

__printf(2, 3) static void violation(struct check *k, const char *format, ...)
{
	va_list args;

	if (k->r.violations++ > 0)
		return;
	va_start(args, format);
	vsnprintf(k->r.first, sizeof(k->r.first), format, args);
	va_end(args);
}

/* One look at a descriptor: the state first, the rest behind it. */
static struct kvshm_desc desc_read(const struct directory *dir, blk_id_t id)
{
	const struct kvshm_desc *d = &dir->desc[id];
	struct kvshm_desc copy = { 0 };

	/* BK-1: the state before the fields that it vouches for; pairs with block_grant(), block_publish(). */
	copy.state = load_acquire(&d->state);
	copy.parent = READ_ONCE(d->parent);
	copy.depth = READ_ONCE(d->depth);
	copy.page = READ_ONCE(d->page);
	copy.length = READ_ONCE(d->length);
	copy.ns = READ_ONCE(d->ns);
	copy.checksum = READ_ONCE(d->checksum);
	return copy;
}

/* Extents follow each other from offset 0; those from the first bad one on are not counted. */
static int check_extents(struct check *k)
{
	uint64_t base, len, end = 0;
	uint32_t i, nr;

	/* XT-1: the count before the entries; pairs with arena_grow(). */
	nr = load_acquire(&k->dir->sb->nr_extents);
	if (nr > k->dir->max_extents) {
		violation(k, "%u extents, the table has %u", nr, k->dir->max_extents);
		nr = 0;
	}
	k->end = calloc((size_t)nr + 1, sizeof(*k->end));
	if (!k->end)
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		base = READ_ONCE(k->dir->extent[i].base);
		len = READ_ONCE(k->dir->extent[i].len);
		if (base != end || len == 0 || len % HUGE_LEN != 0 || len > CAPACITY_MAX - end) {
			violation(k, "extent %u: base %#lx, length %#lx behind %#lx", i, base, len, end);
			break;
		}
		end += len;
		k->end[i] = end;
	}
	k->nr_extents = i;
	k->r.capacity_bytes = end;
	k->page = calloc(BITMAP_WORDS(end / KVSHM_PAGE) + 1, sizeof(*k->page));
	return k->page ? 0 : -ENOMEM;
}

/* Is [offset, offset + len) inside one extent? */
static bool is_in_extent(const struct check *k, uint64_t offset, uint64_t len)
{
	uint32_t low = 0, high = k->nr_extents, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (offset >= k->end[mid])
			low = mid + 1;
		else
			high = mid;
	}
	return low < k->nr_extents && len <= k->end[low] - offset;
}

/* Is @d the old place of a block that has not left it? */
static bool is_moving(const struct check *k, const struct kvshm_desc *d)
{
	struct kvshm_desc moved;

	if (!(d->state & KVSHM_FLAG_RELOCATED) || d->parent == 0 || d->parent > k->dir->max_blocks)
		return false;
	moved = desc_read(k->dir, d->parent);
	return state_of(moved.state) != KVSHM_BLOCK_FREE && moved.page == d->page;
}

/* Its bytes lie inside an extent and are nobody else's.  Return: bytes that the block takes. */
static uint64_t check_place(struct check *k, blk_id_t id, const struct kvshm_desc *d)
{
	uint64_t len = slab_class_len(d->length), first = d->page, end = first + len / KVSHM_PAGE;

	if (len == 0) {
		violation(k, "block %u: length %u", id, d->length);
		return 0;
	}
	if (!is_in_extent(k, first * KVSHM_PAGE, len)) {
		violation(k, "block %u: offset %#lx, length %#lx is in no extent", id, first * KVSHM_PAGE, len);
		return len;
	}
	if (is_moving(k, d))
		return len;
	if (bitmap_next_set(k->page, first, end) != end)
		violation(k, "block %u: offset %#lx overlaps another block", id,
			  bitmap_next_set(k->page, first, end) * KVSHM_PAGE);
	bitmap_set_range(k->page, first, end);
	return len;
}

/* Invariant T: the parent of a published block is published, one step nearer to the root. */
static void check_parent(struct check *k, blk_id_t id, const struct kvshm_desc *d)
{
	struct kvshm_desc parent;
	enum kvshm_block_state s;

	if (d->state & KVSHM_FLAG_NOPARENT) {
		if (d->parent != 0 || d->depth != 0)
			violation(k, "block %u: no parent, but parent %u, depth %u", id, d->parent, d->depth);
		return;
	}
	if (d->parent == 0 || d->parent > k->dir->max_blocks || d->parent == id) {
		violation(k, "block %u: parent %u", id, d->parent);
		return;
	}
	parent = desc_read(k->dir, d->parent);
	s = state_of(parent.state);
	if (s != KVSHM_BLOCK_PUBLISHED &&
	    !(s == KVSHM_BLOCK_EVICTING && state_of(d->state) == KVSHM_BLOCK_EVICTING))
		violation(k, "block %u: its parent %u is not published (invariant T)", id, d->parent);
	else if (parent.ns != d->ns)
		violation(k, "block %u: namespace %u, its parent %u has %u", id, d->ns, d->parent, parent.ns);
	else if (d->depth == 0 || parent.depth != d->depth - 1)
		violation(k, "block %u: depth %u, its parent %u has %u", id, d->depth, d->parent,
			  parent.depth);
}

static void check_ns(struct check *k, blk_id_t id, const struct kvshm_desc *d)
{
	if (d->ns >= k->nr_ns || READ_ONCE(k->dir->ns[d->ns].state) != 1)
		violation(k, "block %u: namespace %u is not known", id, d->ns);
}

/* The state word by itself. */
static bool check_state(struct check *k, blk_id_t id, uint64_t w)
{
	enum kvshm_block_state s = state_of(w);
	uint64_t flags = w & KVSHM_FLAGS_MASK;
	uint64_t known = KVSHM_FLAG_NOPARENT | KVSHM_FLAG_CHECKSUM |
			 (s == KVSHM_BLOCK_QUARANTINED ? KVSHM_FLAG_RELOCATED : 0);

	if ((unsigned)s > KVSHM_BLOCK_QUARANTINED)
		violation(k, "block %u: state %u", id, (unsigned)s);
	else if (s != KVSHM_BLOCK_FREE && state_generation(w) == 0)
		violation(k, "block %u: state %u in generation 0", id, (unsigned)s);
	else if ((flags & ~known) || (flags && (s == KVSHM_BLOCK_FREE || s == KVSHM_BLOCK_GRANTED)))
		violation(k, "block %u: state %u with flags %#lx", id, (unsigned)s, flags);
	else if (s != KVSHM_BLOCK_GRANTED && state_owner(w) != 0)
		violation(k, "block %u: state %u with owner %u", id, (unsigned)s, state_owner(w));
	return (unsigned)s <= KVSHM_BLOCK_QUARANTINED;
}

static void check_block(struct check *k, blk_id_t id)
{
	struct kvshm_desc d = desc_read(k->dir, id);
	uint64_t len;

	if (!check_state(k, id, d.state))
		return;
	if (state_of(d.state) == KVSHM_BLOCK_FREE) {
		k->r.nr_free++;
		return;
	}
	len = check_place(k, id, &d);
	switch (state_of(d.state)) {
	case KVSHM_BLOCK_GRANTED:
		k->r.nr_granted++;
		k->r.granted_bytes += len;
		check_ns(k, id, &d);
		break;
	case KVSHM_BLOCK_QUARANTINED:
		k->r.nr_quarantined++;
		k->r.quarantined_bytes += len;
		if ((d.state & KVSHM_FLAG_RELOCATED) && (d.parent == 0 || d.parent > k->dir->max_blocks))
			violation(k, "block %u: old place of block %u", id, d.parent);
		break;
	default:
		k->r.nr_published++;
		k->r.published_bytes += len;
		check_ns(k, id, &d);
		check_parent(k, id, &d);
		if (!(d.state & KVSHM_FLAG_CHECKSUM) != (d.checksum == 0))
			violation(k, "block %u: checksum %#x and flags disagree", id, d.checksum);
	}
}

int arena_verify(const struct directory *dir, struct arena_report *ret)
{
	struct check k = { .dir = dir };
	uint64_t used;
	blk_id_t id;
	int err = check_extents(&k);

	if (err < 0)
		goto out;
	k.nr_ns = READ_ONCE(dir->sb->nr_ns);
	if (k.nr_ns > dir->max_ns) {
		violation(&k, "%u namespaces, the table has %u", k.nr_ns, dir->max_ns);
		k.nr_ns = 0;
	}
	if (READ_ONCE(dir->desc[0].state) != 0)
		violation(&k, "block 0 is in use");
	for (id = 1; id <= dir->max_blocks; id++)
		check_block(&k, id);
	used = k.r.granted_bytes + k.r.published_bytes + k.r.quarantined_bytes;
	if (used > k.r.capacity_bytes)
		violation(&k, "%lu bytes in blocks, capacity %lu", used, k.r.capacity_bytes);
	else
		k.r.free_bytes = k.r.capacity_bytes - used;
	*ret = k.r;
	err = k.r.violations ? -EUCLEAN : 0;
out:
	free(k.end);
	free(k.page);
	return err;
}
