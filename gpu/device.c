/* SPDX-License-Identifier: Apache-2.0 */
/* device.c - which devices there are, where they sit and what they can do */
#include "gpu/device.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "gpu/cuda_err.h"

/* 0 where the driver does not know the attribute: an older driver cannot do it. */
static int attribute(const struct cuda *cu, CUdevice dev, int which)
{
	int v = 0;

	return cu->DeviceGetAttribute(&v, which, dev) == CUDA_SUCCESS ? v : 0;
}

/* sysfs says -1 on machines of one node. */
static int node_of(const char *sys, const char *pci)
{
	char path[PATH_MAX];
	int node = -1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/numa_node", sys, pci);
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (fscanf(f, "%d", &node) != 1 || node < 0)
		node = -1;
	fclose(f);
	return node;
}

static void read_abilities(const struct cuda *cu, struct gpu_device *d)
{
	d->sm = attribute(cu, d->dev, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) * 10 +
		attribute(cu, d->dev, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
	d->nr_copy_engines = attribute(cu, d->dev, CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT);
	d->is_integrated = attribute(cu, d->dev, CU_DEVICE_ATTRIBUTE_INTEGRATED);
	d->has_hostreg = cuda_has(cu, CUDA_F_HOSTREG) &&
			 attribute(cu, d->dev, CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED);
	d->has_ro_hostreg = d->has_hostreg &&
			    attribute(cu, d->dev, CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED);
	d->has_vmm_fd = cuda_has(cu, CUDA_F_VMM) &&
			attribute(cu, d->dev, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED) &&
			attribute(cu, d->dev, CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED);
	d->has_rdma = attribute(cu, d->dev, CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED);
	d->has_dmabuf = cuda_has(cu, CUDA_F_DMABUF) && attribute(cu, d->dev, CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED);
	d->has_pools = attribute(cu, d->dev, CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED);
	d->has_stream_word = cuda_has(cu, CUDA_F_STREAM_WORD) &&
			     attribute(cu, d->dev, CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS);
}

static int device_read(const struct cuda *cu, const char *sys, int ordinal, struct gpu_device *ret)
{
	struct gpu_device d = { .ordinal = ordinal };
	size_t bytes = 0;
	CUresult r;

	r = cu->DeviceGet(&d.dev, ordinal);
	if (r == CUDA_SUCCESS)
		r = cu->DeviceGetName(d.name, sizeof(d.name), d.dev);
	if (r == CUDA_SUCCESS)
		r = cu->DeviceGetUuid(&d.uuid, d.dev);
	if (r == CUDA_SUCCESS)
		r = cu->DeviceTotalMem(&bytes, d.dev);
	if (r != CUDA_SUCCESS)
		return cuda_errno(r);
	d.name[sizeof(d.name) - 1] = 0;
	d.bytes = bytes;
	snprintf(d.pci, sizeof(d.pci), "%04x:%02x:%02x.0",
		 (unsigned)attribute(cu, d.dev, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID) & 0xffff,
		 (unsigned)attribute(cu, d.dev, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID) & 0xff,
		 (unsigned)attribute(cu, d.dev, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID) & 0xff);
	d.node = node_of(sys, d.pci);
	read_abilities(cu, &d);
	*ret = d;
	return 0;
}

int gpu_device_list(const struct cuda *cu, const char *sys, struct gpu_device *ret, unsigned max)
{
	unsigned nr = 0;
	int n = 0;
	CUresult r;

	if (!cuda_has(cu, CUDA_F_CORE))
		return -ENODEV;
	r = cu->DeviceGetCount(&n);
	if (r != CUDA_SUCCESS)
		return cuda_errno(r);
	for (int i = 0; i < n && nr < max; i++)
		if (!device_read(cu, sys, i, &ret[nr]))
			nr++;
	return (int)nr;
}

int gpu_device_find(const struct cuda *cu, const CUuuid *uuid, struct gpu_device *ret)
{
	struct gpu_device all[GPU_MAX_DEVICES];
	int n = gpu_device_list(cu, "/sys", all, GPU_MAX_DEVICES);

	if (n < 0)
		return n;
	for (int i = 0; i < n; i++)
		if (!memcmp(&all[i].uuid, uuid, sizeof(*uuid))) {
			*ret = all[i];
			return 0;
		}
	return -ENODEV;
}

int gpu_device_peer(const struct cuda *cu, const struct gpu_device *a, const struct gpu_device *b)
{
	int can = 0;
	CUresult r;

	if (!cuda_has(cu, CUDA_F_PEER))
		return -EOPNOTSUPP;
	r = cu->DeviceCanAccessPeer(&can, a->dev, b->dev);
	return r == CUDA_SUCCESS ? can != 0 : cuda_errno(r);
}
