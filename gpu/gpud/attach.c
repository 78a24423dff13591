/* SPDX-License-Identifier: Apache-2.0 */
/* attach.c - the arena, as kvshm-gpud has it */
#include "gpu/gpud/attach.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ipc/handshake.h"
#include "ipc/sock.h"
#include "kvshm/arena/block.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"

#define SPAN_MIN (16ull << 30)		/* least address space for the arena */
#define CONNECT_MS 1000
#define CLOSED_NS 20000000ull		/* a scan takes tens of us; a writer that lost its core, ms */

static bool is_behind(const struct attach *a)
{
	/* XT-1: entries below the number are complete; pairs with arena_grow(). */
	return load_acquire(&a->dir.sb->nr_extents) > a->arena.nr_extents;
}

static int map_extents(struct attach *a, uint64_t deadline_ns)
{
	int fds[KVSHM_MSG_MAX_FDS], nr, ret = 0;

	while (!ret && is_behind(a)) {
		nr = handshake_extents(a->sock, a->arena.nr_extents, deadline_ns, fds);
		if (nr <= 0)
			return nr ? nr : -EBADMSG;
		for (int i = 0; i < nr; i++) {
			struct kvshm_extent_entry e = a->dir.extent[a->arena.nr_extents];

			if (!ret)
				ret = is_behind(a) ? arena_map_extent(&a->arena, &e, fds[i]) : -EBADMSG;
			close(fds[i]);
		}
	}
	return ret;
}

/* The descriptor carries the lock and stays open. */
static int map_pins(struct attach *a, const struct kvshm_msg_welcome *w)
{
	void *map;
	int ret;

	if (w->pin_words < 2 || w->pin_words > 1u << 24)
		return -EBADMSG;
	a->pin_len = (size_t)w->pin_words * sizeof(uint64_t);
	map = mmap(NULL, a->pin_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, a->pin_fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	a->pin_map = map;
	ret = pinfile_lock(a->pin_fd);
	return ret < 0 ? ret : pin_table_init(&a->pins, a->pin_map, w->pin_words, w->pin_quota_bytes);
}

static int map_all(struct attach *a, const struct kvshm_msg_welcome *w, const int *fds)
{
	int ret;

	a->pin_fd = fds[HANDSHAKE_FD_PINS];
	a->doorbell_fd = fds[HANDSHAKE_FD_DOORBELL];
	a->is_trusted = w->flags & KVSHM_WELCOME_F_TRUSTED;
	ret = directory_attach(fds[HANDSHAKE_FD_DIRECTORY], false, &a->dir);
	if (!ret)
		ret = segment_map(fds[HANDSHAKE_FD_SEGMENT], &a->seg);
	close(fds[HANDSHAKE_FD_DIRECTORY]);
	close(fds[HANDSHAKE_FD_SEGMENT]);
	if (!ret)
		ret = map_pins(a, w);
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
		pin_table_fini(&a->pins);
	if (a->pin_map)
		munmap(a->pin_map, a->pin_len);
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

int attach_pin(struct attach *a, uint16_t ns, struct kvshm_block_ref ref, uint64_t deadline_ns, struct attach_block *ret)
{
	const struct kvshm_desc *d = &a->dir.desc[ref.id];
	struct attach_block b;
	uint64_t offset;
	int err;

	if (!ref.id || ref.id > a->dir.max_blocks)
		return -ESTALE;
	err = pin_closed_too(a, ref, &b.slot);
	if (err < 0)
		return err;
	offset = block_offset(d);
	b.length = READ_ONCE(d->length);
	if (READ_ONCE(d->ns) != ns)
		err = -EINVAL;
	else if (!arena_contains(&a->arena, offset, b.length))
		err = map_extents(a, deadline_ns);
	if (!err && !arena_contains(&a->arena, offset, b.length))
		err = -EIO;
	if (err < 0) {
		pin_drop(&a->pins, b.slot);
		return err;
	}
	b.ptr = arena_ptr(&a->arena, offset);
	*ret = b;
	return 0;
}

void attach_unpin(struct attach *a, const struct attach_block *b)
{
	pin_drop(&a->pins, b->slot);
}
