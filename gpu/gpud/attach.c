/* SPDX-License-Identifier: Apache-2.0 */
/* attach.c - the arena, as kvshm-gpud has it */
#include "gpu/gpud/attach.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/handshake.h"
#include "ipc/sock.h"
#include "kvshm/arena/block.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"

#define SPAN_MIN (16ull << 30)		/* least address space for the arena */
#define CONNECT_MS 1000
#define CLOSED_NS 20000000ull		/* a scan takes tens of us; a writer that lost its core, ms */

static int map_extents(struct attach *a, uint64_t deadline_ns)
{
	int fds[KVSHM_MSG_MAX_FDS], ret = 0;

	while (ret >= 0 && arena_is_behind(&a->arena, &a->dir)) {
		ret = handshake_extents(a->sock, a->arena.nr_extents, deadline_ns, fds);
		if (ret > 0)
			ret = arena_add_extents(&a->arena, &a->dir, fds, (unsigned)ret);
		else if (!ret)
			ret = -EBADMSG;
	}
	return ret;
}

static int map_all(struct attach *a, const struct kvshm_msg_welcome *w, const int *fds)
{
	int ret;

	a->pin_fd = fds[HANDSHAKE_FD_PINS];
	a->doorbell_fd = fds[HANDSHAKE_FD_DOORBELL];
	a->is_trusted = w->flags & KVSHM_WELCOME_F_TRUSTED;
	a->slot = w->slot;
	ret = directory_attach(fds[HANDSHAKE_FD_DIRECTORY], false, &a->dir);
	if (!ret)
		ret = segment_map(fds[HANDSHAKE_FD_SEGMENT], &a->seg);
	close(fds[HANDSHAKE_FD_DIRECTORY]);
	close(fds[HANDSHAKE_FD_SEGMENT]);
	if (!ret)
		ret = pinfile_map(a->pin_fd, w->pin_words, w->pin_quota_bytes, &a->pins);
	return ret ? ret : arena_reserve(&a->arena, SPAN_MIN, a->is_trusted);
}

int attach_open(struct attach *a, const char *socket, uint64_t deadline_ns)
{
	const struct kvshm_msg_hello hello = { .abi = KVSHM_ABI, .label = "kvshm-gpud" };
	struct kvshm_msg_welcome w;
	int fds[HANDSHAKE_NR_FDS], ret;

	memset(a, 0, sizeof(*a));
	a->pin_fd = a->doorbell_fd = -1;
	a->sock = sock_connect(socket, CONNECT_MS);
	if (a->sock < 0)
		return a->sock;
	ret = handshake_hello(a->sock, &hello, deadline_ns, &w, fds);
	if (!ret)
		ret = map_all(a, &w, fds);
	if (!ret)
		ret = handshake_mapped(a->sock, deadline_ns);
	if (!ret)
		ret = map_extents(a, deadline_ns);
	if (ret < 0)
		attach_close(a);
	return ret;
}

void attach_close(struct attach *a)
{
	if (a->arena.base)
		arena_unmap(&a->arena);
	if (a->dir.sb)
		directory_detach(&a->dir);
	segment_unmap(&a->seg);
	if (a->pins.word)
		pinfile_unmap(&a->pins);
	pin_table_fini(&a->pins);
	if (a->doorbell_fd >= 0)
		close(a->doorbell_fd);
	if (a->pin_fd >= 0)
		close(a->pin_fd);
	if (a->sock >= 0)
		close(a->sock);
	memset(a, 0, sizeof(*a));
	a->sock = a->pin_fd = a->doorbell_fd = -1;
}

/* pin_take(), again while the writer has the block closed: it opens it after its scan if the client pins it. */
static int pin_closed_too(struct attach *a, struct kvshm_block_ref ref, uint32_t *ret_slot)
{
	const struct index_hit hit = { .id = ref.id, .generation = ref.generation };
	const struct kvshm_desc *d = &a->dir.desc[ref.id];
	const uint64_t end = clock_ns() + CLOSED_NS;
	uint64_t state;
	int ret;

	for (;;) {
		ret = pin_take(&a->pins, &a->dir, &hit, ret_slot);
		state = READ_ONCE(d->state);
		if (ret != -ESTALE || state_generation(state) != ref.generation ||
		    state_of(state) < KVSHM_BLOCK_PUBLISHED || state_of(state) > KVSHM_BLOCK_EVICTING || clock_ns() >= end)
			return ret;
		sched_yield();
	}
}

/* One of the words that we have, or another one.  Return: its number, -errno. */
static int pin_get(struct attach *a, struct kvshm_block_ref ref)
{
	uint32_t free_at = a->nr_pins, slot;
	int ret;

	for (uint32_t i = 0; i < a->nr_pins; i++) {
		struct attach_pin *p = &a->pin[i];

		if (p->refs && p->ref.id == ref.id && p->ref.generation == ref.generation) {
			p->refs++;
			return (int)i;
		}
		free_at = p->refs ? free_at : i;
	}
	if (free_at == ATTACH_PINS)
		return -ENOBUFS;
	ret = pin_closed_too(a, ref, &slot);
	if (ret < 0)
		return ret;
	a->pin[free_at] = (struct attach_pin){ .ref = ref, .slot = slot, .refs = 1 };
	a->nr_pins = max_of(a->nr_pins, free_at + 1);
	return (int)free_at;
}

void attach_unpin(struct attach *a, const uint16_t *pin, uint32_t nr)
{
	while (nr) {
		struct attach_pin *p = &a->pin[pin[--nr]];

		if (!--p->refs)
			pin_drop(&a->pins, p->slot);
	}
	while (a->nr_pins && !a->pin[a->nr_pins - 1].refs)
		a->nr_pins--;
}

/* ---- the blocks of a job ----------------------------------------------------------------------------- */

struct wanted {				/* a record's block; the depth is a hint until it is known to be pinned */
	struct kvshm_block_ref ref;
	uint32_t depth;
	bool is_covered;
};

static int by_depth(const void *x, const void *y)
{
	const struct wanted *a = x, *b = y;

	return a->depth < b->depth ? 1 : a->depth > b->depth ? -1 : 0;
}

/* Those behind @w[0], which is pinned, that are itself or its ancestors: its links cannot change. */
static void cover(const struct attach *a, struct wanted *w, uint32_t nr)
{
	const struct kvshm_desc *desc = a->dir.desc;
	uint32_t id = w[0].ref.id, steps = 0;

	for (uint32_t i = 0; i < nr && id; i++) {
		while (id && READ_ONCE(desc[id].depth) > w[i].depth) {
			id = READ_ONCE(desc[id].parent);
			if (id > a->dir.max_blocks || ++steps > KVSHM_CHAIN_MAX)
				return;
		}
		if (id && id == w[i].ref.id && state_generation(READ_ONCE(desc[id].state)) == w[i].ref.generation)
			w[i].is_covered = true;
	}
}

static int pin_wanted(struct attach *a, struct wanted *w, uint32_t nr, uint16_t *ret_pin, uint32_t *ret_nr_pins)
{
	int pin;

	for (uint32_t i = 0; i < nr; i++) {
		if (w[i].is_covered)
			continue;
		pin = pin_get(a, w[i].ref);
		if (pin < 0)
			return pin;
		ret_pin[(*ret_nr_pins)++] = (uint16_t)pin;
		cover(a, &w[i], nr - i);
	}
	return 0;
}

static int place(struct attach *a, uint16_t ns, uint32_t id, uint64_t deadline_ns, struct attach_block *ret)
{
	const struct kvshm_desc *d = &a->dir.desc[id];
	uint64_t offset = block_offset(d);
	uint32_t length = READ_ONCE(d->length);
	int err = READ_ONCE(d->ns) == ns ? 0 : -EINVAL;

	if (!err && !arena_contains(&a->arena, offset, length))
		err = map_extents(a, deadline_ns);
	if (!err && !arena_contains(&a->arena, offset, length))
		err = -EIO;
	if (!err)
		*ret = (struct attach_block){ .ptr = arena_ptr(&a->arena, offset), .length = length };
	return err;
}

int attach_pin(struct attach *a, uint16_t ns, const struct kvshm_stage_rec *rec, uint32_t nr, uint64_t deadline_ns,
	       struct attach_block *ret_block, uint16_t *ret_pin, uint32_t *ret_nr_pins)
{
	struct wanted w[KVSHM_STAGE_MAX];
	uint32_t nr_pins = 0;
	int ret;

	for (uint32_t i = 0; i < nr; i++) {
		if (!rec[i].block.id || rec[i].block.id > a->dir.max_blocks)
			return -ESTALE;
		w[i] = (struct wanted){ .ref = rec[i].block, .depth = READ_ONCE(a->dir.desc[rec[i].block.id].depth) };
	}
	qsort(w, nr, sizeof(*w), by_depth);
	ret = pin_wanted(a, w, nr, ret_pin, &nr_pins);
	for (uint32_t i = 0; i < nr && !ret; i++)
		ret = place(a, ns, rec[i].block.id, deadline_ns, &ret_block[i]);
	if (ret < 0) {
		attach_unpin(a, ret_pin, nr_pins);
		return ret;
	}
	*ret_nr_pins = nr_pins;
	return 0;
}

/* What we were told came after the daemon's stores, by a message of the kernel's. */
static bool is_ours(const struct attach *a, struct kvshm_block_ref ref)
{
	return ref.id && ref.id <= a->dir.max_blocks &&
	       READ_ONCE(a->dir.desc[ref.id].state) == state_make(KVSHM_BLOCK_GRANTED, 0, a->slot, ref.generation);
}

int attach_granted(struct attach *a, uint16_t ns, const struct kvshm_stage_rec *rec, uint32_t nr, uint64_t deadline_ns,
		   struct attach_block *ret_block)
{
	int ret = a->is_trusted ? 0 : -EROFS;

	for (uint32_t i = 0; i < nr && !ret; i++)
		ret = is_ours(a, rec[i].block) ? place(a, ns, rec[i].block.id, deadline_ns, &ret_block[i]) : -ESTALE;
	return ret;
}
