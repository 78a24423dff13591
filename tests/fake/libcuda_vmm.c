/* SPDX-License-Identifier: Apache-2.0 */
/* libcuda_vmm.c - the fake driver's virtual memory: what is physical is a memfd, which is passed as it is */
#include "tests/fake/fake.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvshm/base/compiler.h"

#define GRANULARITY (2ull << 20)
#define MEMFD_NAME "fake-cuda.dev"

static struct fake_phys *physes;

static struct fake_phys *phys_of(CUmemGenericAllocationHandle handle)
{
	for (struct fake_phys *p = physes; p; p = p->next)
		if ((uintptr_t)p == handle && p->refs)
			return p;
	return NULL;
}

static struct fake_phys *phys_new(int fd, int dev, uint64_t len, bool can_export)
{
	struct fake_phys *p = calloc(1, sizeof(*p));

	if (!p)
		abort();
	*p = (struct fake_phys){ .next = physes, .fd = fd, .dev = dev, .len = len, .refs = 1, .can_export = can_export };
	physes = p;
	return p;
}

static void phys_put(struct fake_phys *p)
{
	if (--p->refs)
		return;
	close(p->fd);
	if (p->is_import)
		fake_count->imports--;
}

FAKE_CALL(MemGetAllocationGranularity, (size_t *granularity, const CUmemAllocationProp *prop, int option),
	  (granularity, prop, option))
{
	(void)prop;
	(void)option;
	*granularity = GRANULARITY;
	return CUDA_SUCCESS;
}

FAKE_CALL(MemAddressReserve, (CUdeviceptr *addr, size_t len, size_t align, CUdeviceptr hint,
			      unsigned long long flags),
	  (addr, len, align, hint, flags))
{
	void *at;

	(void)align;
	(void)hint;
	(void)flags;
	if (!len || len % GRANULARITY)
		return CUDA_ERROR_INVALID_VALUE;
	at = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*addr = (uintptr_t)at;
	fake_mem_add(FAKE_RESERVED, *addr, len);
	return CUDA_SUCCESS;
}

FAKE_CALL(MemAddressFree, (CUdeviceptr addr, size_t len), (addr, len))
{
	struct fake_mem *m = fake_mem_at(FAKE_RESERVED, addr);

	if (!m || m->len != len)
		return CUDA_ERROR_INVALID_VALUE;
	munmap((void *)(uintptr_t)addr, len);
	m->is_dead = true;
	return CUDA_SUCCESS;
}

FAKE_CALL(MemCreate, (CUmemGenericAllocationHandle *handle, size_t len, const CUmemAllocationProp *prop,
		      unsigned long long flags),
	  (handle, len, prop, flags))
{
	char name[32];
	int fd;

	(void)flags;
	if (!len || len % GRANULARITY || prop->type != CU_MEM_ALLOCATION_TYPE_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	/* who opens its descriptor sees where it lies */
	snprintf(name, sizeof(name), MEMFD_NAME "%d", prop->location.id);
	fd = memfd_create(name, MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)len) < 0)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*handle = (uintptr_t)phys_new(fd, prop->location.id, len,
					prop->requestedHandleTypes & CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
	return CUDA_SUCCESS;
}

FAKE_CALL(MemRelease, (CUmemGenericAllocationHandle handle), (handle))
{
	struct fake_phys *p = phys_of(handle);

	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	phys_put(p);
	return CUDA_SUCCESS;
}

FAKE_CALL(MemMap, (CUdeviceptr addr, size_t len, size_t offset, CUmemGenericAllocationHandle handle,
		   unsigned long long flags),
	  (addr, len, offset, handle, flags))
{
	struct fake_phys *p;
	struct fake_mem *m;

	(void)flags;
	p = phys_of(handle);
	if (!p || offset || len != p->len || fake_mem_find(addr, 1))
		return CUDA_ERROR_INVALID_VALUE;
	if (mmap((void *)(uintptr_t)addr, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, p->fd, 0) == MAP_FAILED)
		return CUDA_ERROR_INVALID_VALUE;
	m = fake_mem_add(FAKE_MAPPING, addr, len);
	m->phys = p;
	p->refs++;
	return CUDA_SUCCESS;
}

FAKE_CALL(MemUnmap, (CUdeviceptr addr, size_t len), (addr, len))
{
	uint64_t end = addr + len;
	struct fake_mem *m;

	while (addr < end) {
		m = fake_mem_at(FAKE_MAPPING, addr);
		if (!m)
			return CUDA_ERROR_INVALID_VALUE;
		if (fake_op_uses(m->addr, m->len))
			fake_count->misuses++;
		mmap((void *)(uintptr_t)addr, m->len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
		m->is_dead = true;
		phys_put(m->phys);
		addr += m->len;
	}
	return CUDA_SUCCESS;
}

FAKE_CALL(MemSetAccess, (CUdeviceptr addr, size_t len, const CUmemAccessDesc *desc, size_t nr), (addr, len, desc, nr))
{
	const bool is_readonly = desc->flags == CU_MEM_ACCESS_FLAGS_PROT_READ;
	struct fake_mem *m;

	if (nr != 1 || !fake_mem_is_device(addr, len) || desc->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
		return CUDA_ERROR_INVALID_VALUE;
	for (uint64_t at = addr; at < addr + len; at = m->addr + m->len) {
		m = fake_mem_find(at, 1);
		if (m->phys && m->phys->dev != desc->location.id && !fake_conf.peer)
			return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
		m->is_readonly = is_readonly;
		mprotect((void *)(uintptr_t)m->addr, m->len, is_readonly ? PROT_READ : PROT_READ | PROT_WRITE);
	}
	return CUDA_SUCCESS;
}

FAKE_CALL(MemRetainAllocationHandle, (CUmemGenericAllocationHandle *handle, void *addr), (handle, addr))
{
	struct fake_mem *m = fake_mem_find((uintptr_t)addr, 1);

	if (!m || m->kind != FAKE_MAPPING)
		return CUDA_ERROR_INVALID_VALUE;
	m->phys->refs++;
	*handle = (uintptr_t)m->phys;
	return CUDA_SUCCESS;
}

FAKE_CALL(MemExportToShareableHandle, (void *shareable, CUmemGenericAllocationHandle handle, int type,
				       unsigned long long flags),
	  (shareable, handle, type, flags))
{
	struct fake_phys *p;

	(void)flags;
	p = phys_of(handle);
	if (!p || !p->can_export || type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
		return CUDA_ERROR_INVALID_VALUE;
	*(int *)shareable = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
	return CUDA_SUCCESS;
}

/* The device that it was made on, -1: none of ours. */
static int dev_of(int fd)
{
	char path[64], name[64] = "";
	int dev;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (readlink(path, name, sizeof(name) - 1) < 0 || sscanf(name, "/memfd:" MEMFD_NAME "%d", &dev) != 1)
		return -1;
	return dev;
}

FAKE_CALL(MemImportFromShareableHandle, (CUmemGenericAllocationHandle *handle, void *os_handle, int type),
	  (handle, os_handle, type))
{
	off_t len;
	int fd;

	fd = type == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR ? fcntl((int)(intptr_t)os_handle, F_DUPFD_CLOEXEC, 0) : -1;
	if (fd < 0)
		return CUDA_ERROR_INVALID_VALUE;
	len = lseek(fd, 0, SEEK_END);
	if (len <= 0 || dev_of(fd) < 0) {
		close(fd);
		return CUDA_ERROR_INVALID_VALUE;
	}
	*handle = (uintptr_t)phys_new(fd, dev_of(fd), (uint64_t)len, true);
	physes->is_import = true;
	fake_count->imports++;
	return CUDA_SUCCESS;
}

FAKE_CALL(MemGetHandleForAddressRange, (void *handle, CUdeviceptr addr, size_t len, int type,
					unsigned long long flags),
	  (handle, addr, len, type, flags))
{
	struct fake_mem *m;

	(void)flags;
	m = fake_mem_find(addr, len);
	if (!m || m->kind == FAKE_HOST || type != CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD || addr % 4096 || len % 4096)
		return CUDA_ERROR_INVALID_VALUE;
	*(int *)handle = fcntl(m->phys ? m->phys->fd : m->fd, F_DUPFD_CLOEXEC, 0);
	return CUDA_SUCCESS;
}
