/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach.h - the arena, as kvshm-gpud has it: a session of the daemon, with a pin file of its own
 *
 * A client like any other, so nothing of the daemon depends on it: what it pins is protected until its
 * process is gone, also while the daemon is dead.  A daemon that comes back gives new files: kvshm-gpud
 * ends and is started again.
 */
#ifndef GPU_GPUD_ATTACH_H
#define GPU_GPUD_ATTACH_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/segment.h"
#include "kvshm/arena/arena.h"
#include "kvshm/pin/pin.h"

struct attach {
	int sock, pin_fd, doorbell_fd;
	bool is_trusted;		/* the arena is mapped read-write */
	struct directory dir;
	struct arena arena;
	struct segment seg;
	struct pin_table pins;
	uint64_t *pin_map;
	size_t pin_len;
};

/* A block that is pinned. */
struct attach_block {
	uint32_t slot;			/* of the pin */
	uint32_t length;
	const void *ptr;
};

/**
 * attach_open() - HELLO to READY, all extents
 * Return: 0; -ENOENT, -ECONNREFUSED no daemon; -EPROTONOSUPPORT; -ETIMEDOUT; -errno.
 */
int attach_open(struct attach *a, const char *socket, uint64_t deadline_ns);
void attach_close(struct attach *a);

/**
 * attach_pin() - pin a block that somebody named, and say where it lies
 * @ns: namespace that it must belong to
 * Asks the daemon for extents that have come since, @deadline_ns at most.
 * Return: 0; -ESTALE no longer, or never, such a block; -EINVAL another namespace's; -ENOBUFS past the
 * quota; -ETIMEDOUT.
 */
int attach_pin(struct attach *a, uint16_t ns, struct kvshm_block_ref ref, uint64_t deadline_ns, struct attach_block *ret);
void attach_unpin(struct attach *a, const struct attach_block *b);

#endif
