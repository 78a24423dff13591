/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage_cost.h - what copies and kernels cost on this machine: what the planner weighs ways by
 *
 * `kvshm bench stage --costs FILE` measures it and writes a section for the card, as base/ini.h reads it:
 *
 *	[NVIDIA H200]
 *	source=measured
 *	call_ns=1800.000
 *	...
 *
 * Numbers are plain decimals.  A section counts for a card of that name alone, "simulated" only where the driver is the
 * fake one and "measured" only where it is not: figures of a model never plan copies of a device.
 */
#ifndef GPU_STAGE_COST_H
#define GPU_STAGE_COST_H

#include <stdbool.h>
#include <stddef.h>

struct stage_cost {
	double call_ns;			/* CPU time to issue a copy, or a kernel */
	double copy_ns;			/* the copy engine's own time of a copy, however short */
	double row_ns;			/* and of each row of a rectangle */
	double batch_ns, entry_ns;	/* CPU time of cuMemcpyBatchAsync, and of each entry */
	double entry_copy_ns;		/* the copy engine's own time of an entry */
	double launch_ns;		/* from launch to end of an empty kernel */
	double link_bytes_per_ns;	/* copy engine over the link */
	double device_bytes_per_ns;	/* scatter kernel, device memory to device memory */
	double direct_bytes_per_ns;	/* the same kernel over the mapped arena */
};

#define STAGE_COSTS_PATH "/etc/kvshm/gpu.costs"
#define STAGE_COST_TEXT 1024		/* suffices for a section */
#define STAGE_COST_WHY 256

extern const struct stage_cost stage_cost_default;

/* Is each a number, and within what any machine could have: up to a second, 1 MB/s to 1 PB/s? */
bool stage_cost_is_sane(const struct stage_cost *c);

/**
 * stage_cost_find() - the costs of a card, from a file
 * @path: NULL: $KVSHM_STAGE_COSTS, else STAGE_COSTS_PATH
 * @card: as the driver names it; @is_simulated: the driver is the fake one
 * @ret: stage_cost_default, unless they were found
 * @text: 1: the file's name; else why they were not found, "" if nobody wrote that file
 * Return: 1; 0 no file was named, and there is none at STAGE_COSTS_PATH; -ENODATA the file has nothing for this card;
 * -EINVAL the file is malformed or has a number that is out of range; -errno it cannot be read.
 */
int stage_cost_find(const char *path, const char *card, bool is_simulated, struct stage_cost *ret,
		    char text[static STAGE_COST_WHY]);

/**
 * stage_cost_print() - a section of such a file
 * Return: its length; -EINVAL not sane, or the card's name cannot be that of a section; -ENOSPC.
 */
int stage_cost_print(const struct stage_cost *c, const char *card, bool is_simulated, char *buf, size_t len);

/* One number of a cost after the other, for reports: @i from 0.  Return: its name, NULL: no more. */
const char *stage_cost_field(const struct stage_cost *c, unsigned i, double *ret);

#endif
