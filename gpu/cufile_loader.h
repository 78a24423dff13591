/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cufile_loader.h - GPUDirect Storage's library as a table of function pointers, found at run time
 *
 * Where libcufile.so.0 is missing, or its kernel side is, files go through pinned host memory: that is an ordinary
 * machine, and the table says why.  The library alone is not enough: without nvidia-fs, or the kernel's own peer DMA, it
 * copies through host memory itself (its compatibility mode), which is no better than ours and counts as off.
 */
#ifndef GPU_CUFILE_LOADER_H
#define GPU_CUFILE_LOADER_H

#include <stdbool.h>

#include "gpu/cufile_types.h"

struct gpu_ctx;

struct cufile {
	void *lib;			/* of dlopen() */
	bool is_direct;			/* files and device memory meet without the host's */
	char how[48];			/* "nvidia-fs 2.17"; "" while it is off */
	char why[128];			/* why it is off; "" while it is on */
#define CUFILE_SYM(result, member, args) result(*member) args;
#include "gpu/cufile_syms.def"
#undef CUFILE_SYM
};

/**
 * cufile_load() - open the library, fill the table, ask what it stands on
 * @path: NULL: $KVSHM_LIBCUFILE, else libcufile.so.0 by the loader's usual search
 * @ctx: entered while the library looks at its device
 * @ret: caller's memory; filled also on failure; read-only afterwards, any thread may use it
 * Return: 0: it is direct; -ENOENT no such library; -ENOSYS an entry is missing; -EOPNOTSUPP compatibility mode only;
 * the error of its start.
 */
int cufile_load(const char *path, const struct gpu_ctx *ctx, struct cufile *ret);

/* Forget the table.  The library stays as it is: others in the process may use it. */
void cufile_unload(struct cufile *f);

/* A result as 0 or negative errno.  Of a read or write its negative; -1 stands for errno and is not for here. */
int cufile_errno(int err);

#endif
