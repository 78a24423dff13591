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

#define ATTACH_PINS 4096u		/* held at once */

struct attach_pin {			/* a pin word; jobs share those of one block */
	struct kvshm_block_ref ref;
	uint32_t slot, refs;		/* refs 0: free */
};

struct attach {
	int sock, pin_fd, doorbell_fd;
	uint32_t slot;			/* of our session: what is granted to us bears it */
	bool is_trusted;		/* the arena is mapped read-write */
	struct directory dir;
	struct arena arena;
	struct segment seg;
	struct pin_table pins;
	struct attach_pin pin[ATTACH_PINS];
	uint32_t nr_pins;		/* all in use lie below */
};

/* Where a pinned or granted block lies. */
struct attach_block {
	void *ptr;			/* written to only if it was granted */
	uint32_t length;
};

/**
 * attach_open() - HELLO to READY, all extents
 * Return: 0; -ENOENT, -ECONNREFUSED no daemon; -EPROTONOSUPPORT; -ETIMEDOUT; -errno.
 */
int attach_open(struct attach *a, const char *socket, uint64_t deadline_ns);
void attach_close(struct attach *a);

/**
 * attach_pin() - pin the blocks that somebody named, and say where they lie
 * @ns: namespace that they must belong to
 * @rec: at most KVSHM_STAGE_MAX, of which .block is looked at
 * @ret_block: of each record
 * @ret_pin: numbers for attach_unpin(), @ret_nr_pins of them: a pin protects all ancestors, so the blocks of
 * one chain have one pin
 * Asks the daemon for extents that have come since, @deadline_ns at most.
 * Return: 0; -errno with nothing pinned: -ESTALE no longer, or never, such a block; -EINVAL another
 * namespace's; -ENOBUFS past the quota; -ETIMEDOUT.
 */
int attach_pin(struct attach *a, uint16_t ns, const struct kvshm_stage_rec *rec, uint32_t nr, uint64_t deadline_ns,
	       struct attach_block *ret_block, uint16_t *ret_pin, uint32_t *ret_nr_pins);
void attach_unpin(struct attach *a, const uint16_t *pin, uint32_t nr);

/**
 * attach_granted() - where blocks lie that the daemon granted to us
 * As attach_pin(), without pins: a grant stays until we have told the daemon of its end, or are gone.
 * Return: 0; -ESTALE not a grant of ours; -EINVAL, -ETIMEDOUT.
 */
int attach_granted(struct attach *a, uint16_t ns, const struct kvshm_stage_rec *rec, uint32_t nr, uint64_t deadline_ns,
		   struct attach_block *ret_block);

#endif
