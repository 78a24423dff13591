/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_fake.h - what the fake driver (tests/fake/) offers besides the driver's entries
 *
 * The fake is a libcuda.so.1 on host memory: copies, events and kernels run at the times that its model
 * of the hardware gives them, failures come by script, and everything is counted.  A program that loaded
 * it finds these by dlsym() on cuda->lib; cuda_fake_open() is NULL on a real driver.
 */
#ifndef GPU_CUDA_FAKE_H
#define GPU_CUDA_FAKE_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gpu/cuda_loader.h"

/* Also in the file of $FAKE_CUDA_STATS, so that a test can read another process's. */
struct fake_counters {
	uint64_t calls;			/* of any entry */
	uint64_t copies[3];		/* enum gpu_dir: plain copies, and those of 2-D or batch copies */
	uint64_t bytes[3];
	uint64_t landed[3];		/* copies that have completed */
	uint64_t copies_2d, rows_2d;	/* calls, rows in them */
	uint64_t batches, batched;	/* calls, copies in them */
	uint64_t launches;
	uint64_t pageable;		/* copies from or to host memory that was not pinned */
	uint64_t registered_bytes;	/* now */
	uint64_t registered;		/* ranges now */
	uint64_t imports;		/* handles and descriptors open now */
	uint64_t streams, events, allocations;	/* now */
	uint64_t misuses;		/* calls that a real driver leaves undefined: freed while imported, and the like */
};

struct fake_landed {			/* one completed copy */
	uint64_t dst, src, len;
	uint64_t submit_ns, start_ns, end_ns;	/* on the fake's clock */
	uint32_t dir;			/* enum gpu_dir */
	uint32_t pad;
};

/* A kernel's processor twin: the whole grid, arguments as cuLaunchKernel() got them. */
struct fake_launch {
	unsigned grid[3], block[3], shared_len;
	void *const *params;
};
typedef void (*fake_kernel_fn)(const struct fake_launch *l);

struct fake_kernel {
	const char *name;		/* outlives the driver */
	fake_kernel_fn fn;		/* NULL: it only takes time */
	const unsigned *param_len;	/* bytes of each argument, 0 behind the last */
	/* What it moves, and one of the addresses that may be the host's; NULL: it takes no longer than launch= */
	uint64_t (*bytes)(const struct fake_launch *l, uint64_t *ret_addr, bool *ret_writes);
};

struct cuda_fake {
	/*
	 * Words by ';', each "name=value" (numbers as 3, 2.5e10, 0x10), added to those of $FAKE_CUDA_SCRIPT:
	 *   fail=ENTRY:N:CODE     the Nth call of it from now on returns CODE, once; N of 0: every call
	 *   land=N:CODE           the Nth copy from now on does not land; CODE stays with its context
	 *   hang=N                the Nth copy from now on never completes, nor what comes behind it
	 *   lost=CODE[:DEVICE]    the device, or all, is lost: every call that uses it returns CODE
	 *   missing=ENTRY         the entry is not there (before the driver is loaded: environment only)
	 *   attr=NUMBER:VALUE     an attribute of all devices
	 *   devices=N node=N:NODE version=N
	 *   h2d= d2h= d2d= p2p=   bytes a second; latency= ns a copy; row= ns a row of a 2-D copy, item= of a batch
	 *   launch= ns a kernel, and its bytes at d2d=, or over the link at h2d= or d2h=; "fake_busy" is one that
	 *                         takes as long as its one 64-bit argument says
	 *   register= ns a MiB
	 *   call= ns that a submitting call costs the processor (virtual clock)
	 *   peer=0|1              may devices read one another
	 *   clock=virtual|real    time passes only by waiting, or as it does
	 *   reset                 no rules, records, counts and operations, times and bandwidths as at first, the
	 *                         context as good as new; devices and entries stay
	 * 0, -EINVAL (what stands before the word in question is applied).
	 */
	int (*script)(const char *text);
	void (*counters)(struct fake_counters *ret);
	/* Copies completed since the last reset, the oldest first; returns how many there are. */
	size_t (*landed)(size_t from, struct fake_landed *ret, size_t max);
	uint64_t (*now_ns)(void);	/* the fake's clock */
	void (*advance)(uint64_t ns);	/* the processor computes that long (virtual clock) */
	/* One more kernel than those of tests/fake/libcuda_kernels.c.  0, -ENOSPC. */
	int (*kernel)(const struct fake_kernel *k);
};

/* Exported by the fake: const struct cuda_fake *fake_cuda(void). */
#define CUDA_FAKE_SYMBOL "fake_cuda"

/* The fake's own functions, NULL where @cu is a real driver. */
static inline const struct cuda_fake *cuda_fake_open(const struct cuda *cu)
{
	const struct cuda_fake *(*get)(void);

	*(void **)&get = dlsym(cu->lib, CUDA_FAKE_SYMBOL);
	return get ? get() : NULL;
}

#endif
