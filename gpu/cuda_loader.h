/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_loader.h - the driver as a table of function pointers, found at run time
 *
 * No libcuda.so.1, an old one or one that lacks an entry is an ordinary machine: what is missing takes
 * one feature away and leaves the words why.  There is no global state: whoever loads owns the table,
 * and everything else in gpu/ is handed it.
 */
#ifndef GPU_CUDA_LOADER_H
#define GPU_CUDA_LOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "gpu/cuda_types.h"

/* A feature and what stands in for it. */
enum cuda_feature {
	CUDA_F_CORE,			/* devices, contexts, streams, events, plain copies; without it: host only */
	CUDA_F_HOSTREG,			/* pin the arena; without it: bounce buffers */
	CUDA_F_COPY_2D,			/* strided copies; without it: one copy a row */
	CUDA_F_COPY_BATCH,		/* many copies in one call; without it: one call each */
	CUDA_F_IPC,			/* buffers and events of other processes by handle */
	CUDA_F_VMM,			/* the same by descriptor, expandable segments */
	CUDA_F_DMABUF,			/* device memory to network cards */
	CUDA_F_KERNEL,			/* scatter and gather kernels; without them: copies */
	CUDA_F_STREAM_WORD,		/* streams that wait for and write memory words */
	CUDA_F_PEER,			/* copies from GPU to GPU */
	CUDA_NR_FEATURES,
};

#define CUDA_WHY_LEN 112u

struct cuda {
	void *lib;			/* of dlopen() */
	int version;			/* the driver's, major * 1000 + minor * 10 */
	uint32_t features;		/* bits 1 << CUDA_F_x */
	char why[CUDA_NR_FEATURES][CUDA_WHY_LEN];	/* why it is off; "" while it is on */
#define CU_SYM(feature, member, version, args) CUresult(*member) args;
#include "gpu/cuda_syms.def"
#undef CU_SYM
};

/**
 * cuda_load() - open the driver, fill the table, cuInit()
 * @path: library to open; NULL: $KVSHM_LIBCUDA, else libcuda.so.1 by the loader's usual search
 * @ret: caller's memory; filled also on failure, .why[CUDA_F_CORE] then says what is wrong
 * Not a cheap call: cuInit() takes up to seconds.  The table is read-only afterwards, so any thread may
 * use it.  A feature is on when all of its entries are there; whether a device has it is in device.h.
 * Return: 0; -ENOENT no such library; -ENOSYS it is no driver or a core entry is missing; -ENODEV no
 * device; the error of cuInit().
 */
int cuda_load(const char *path, struct cuda *ret);

/**
 * cuda_unload() - forget the table
 * The library stays mapped: a driver that has run threads cannot be taken out of a process.
 */
void cuda_unload(struct cuda *cu);

static inline bool cuda_has(const struct cuda *cu, enum cuda_feature f)
{
	return cu->features & 1u << f;
}

/* One word: "copy_2d". */
const char *cuda_feature_name(enum cuda_feature f);

/* What is done without it, a phrase: "one copy a row". */
const char *cuda_feature_instead(enum cuda_feature f);

#endif
