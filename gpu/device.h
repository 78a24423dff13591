/* SPDX-License-Identifier: Apache-2.0 */
/* device.h - which devices there are, where they sit and what they can do */
#ifndef GPU_DEVICE_H
#define GPU_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "gpu/cuda_loader.h"

#define GPU_MAX_DEVICES 16u

struct gpu_device {
	CUdevice dev;
	int ordinal;			/* among the devices that this process may see */
	char name[64];
	CUuuid uuid;			/* names the device in every process, ordinals do not */
	char pci[16];			/* "0000:3b:00.0", as in /sys/bus/pci/devices */
	int node;			/* NUMA node, -1: unknown or none */
	int sm;				/* compute capability, 90 for 9.0 */
	int nr_copy_engines;
	uint64_t bytes;			/* of memory */
	bool is_integrated;		/* shares the host's memory */
	bool has_hostreg;		/* pins memory that it did not allocate */
	bool has_ro_hostreg;		/* also memory that we may only read */
	bool has_vmm_fd;		/* memory shared by descriptor */
	bool has_rdma;			/* GPUDirect RDMA, peer memory or dma-buf */
	bool has_dmabuf;		/* a range of its memory as a dma-buf */
	bool has_pools;			/* stream-ordered pools: their memory has no IPC handle */
	bool has_stream_word;		/* streams wait for 64-bit words */
};

/**
 * gpu_device_list() - all devices of this process
 * @sys: "/sys", or where its copy lies
 * A device that does not answer is left out.  Return: number of devices stored (<= max), -errno.
 */
int gpu_device_list(const struct cuda *cu, const char *sys, struct gpu_device *ret, unsigned max);

/**
 * gpu_device_find() - the device of a UUID, whatever its ordinal here
 * Return: 0, -ENODEV no such device among ours, -errno.  @ret is set on success only.
 */
int gpu_device_find(const struct cuda *cu, const CUuuid *uuid, struct gpu_device *ret);

/**
 * gpu_device_peer() - may device @a read and write the memory of device @b directly?
 * Return: 1 yes, 0 no, -EOPNOTSUPP the driver lacks the question, -errno.
 */
int gpu_device_peer(const struct cuda *cu, const struct gpu_device *a, const struct gpu_device *b);

#endif
