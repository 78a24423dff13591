/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tier.h - a file below device memory: what a backend does
 *
 * Two of them: tier_cufile reads and writes device memory from the device that holds the file (GPUDirect Storage),
 * tier_file goes through pinned slices of host memory.  They block, so threads call them (tier_lane.h); each file that
 * they open belongs to one thread at a time.
 */
#ifndef GPU_TIER_H
#define GPU_TIER_H

#include <stdbool.h>
#include <stdint.h>

#include "gpu/ctx.h"

struct cufile;

#define TIER_ALIGN 4096u		/* offsets and lengths of these go without the page cache */

struct tier_target {
	const struct gpu_ctx *ctx;	/* outlives the file */
	const struct cufile *cufile;	/* of tier_cufile; outlives the file */
	const char *path;
	bool is_write;			/* written too; made if it is not there */
	uint64_t addr, len;		/* device memory that is read into and written from */
	char *host;			/* pinned, tier_ops.host_len of it */
};

struct tier_ops {
	size_t host_len;		/* bytes of host memory that each file wants, whole pages; 0: none */
	/* Return: 0; -errno of open(2), of the driver; tier_cufile: -EOPNOTSUPP this file system or device cannot. */
	int (*open)(const struct tier_target *t, void **ret_file);
	/*
	 * All of @len bytes at @off of the file; @addr lies in the target.  Return: 0; -ENODATA past its end; -errno;
	 * -ENOTRECOVERABLE, -ETIMEDOUT: the device is lost or hangs, and may still use the memory.
	 */
	int (*read)(void *file, uint64_t off, uint64_t addr, uint64_t len);
	int (*write)(void *file, uint64_t off, uint64_t addr, uint64_t len);
	void (*close)(void *file);
};

extern const struct tier_ops tier_file, tier_cufile;

/**
 * tier_open() - the file itself, without the page cache where its file system can
 * Return: a descriptor, -errno.
 */
int tier_open(const char *path, bool is_write);

#endif
