/* SPDX-License-Identifier: Apache-2.0 */
/* libcuda_mem.c - the fake driver's memory: ranges that copies may name, allocations, host registrations */
#include "tests/fake/fake.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvshm/base/compiler.h"

static struct fake_mem *mems;

/* ---- ranges ----------------------------------------------------------------------------------------- */

struct fake_mem *fake_mem_add(enum fake_mem_kind kind, uint64_t addr, uint64_t len)
{
	struct fake_mem *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	*m = (struct fake_mem){ .next = mems, .kind = kind, .addr = addr, .len = len, .fd = -1, .dev = fake_current() };
	mems = m;
	return m;
}

struct fake_mem *fake_mem_at(enum fake_mem_kind kind, uint64_t addr)
{
	for (struct fake_mem *m = mems; m; m = m->next)
		if (!m->is_dead && m->kind == kind && m->addr == addr)
			return m;
	return NULL;
}

bool fake_mem_imported(int pid, unsigned seq)
{
	for (struct fake_mem *m = mems; m; m = m->next)
		if (!m->is_dead && m->kind == FAKE_IMPORT && m->seq == seq && m->dev == pid)
			return true;
	return false;
}

struct fake_mem *fake_mem_find(uint64_t addr, uint64_t len)
{
	for (struct fake_mem *m = mems; m; m = m->next)
		if (!m->is_dead && m->kind != FAKE_RESERVED && addr >= m->addr && len <= m->len &&
		    addr - m->addr <= m->len - len)
			return m;
	return NULL;
}

bool fake_mem_is_pinned(uint64_t addr, uint64_t len)
{
	struct fake_mem *m = fake_mem_find(addr, len);

	return m && m->kind == FAKE_HOST;
}

/* A range may run over several mappings of one reservation. */
static bool is_device(uint64_t addr, uint64_t len, bool to_write)
{
	struct fake_mem *m;
	uint64_t n;

	while (len) {
		m = fake_mem_find(addr, 1);
		if (!m || m->kind == FAKE_HOST || (to_write && m->is_readonly))
			return false;
		n = min_of(len, m->addr + m->len - addr);
		addr += n;
		len -= n;
	}
	return true;
}

bool fake_mem_is_device(uint64_t addr, uint64_t len)
{
	return is_device(addr, len, false);
}

bool fake_mem_is_writable(uint64_t addr, uint64_t len)
{
	return is_device(addr, len, true);
}

/* ---- allocations ------------------------------------------------------------------------------------ */

FAKE_CALL(MemAlloc, (CUdeviceptr *addr, size_t len), (addr, len))
{
	struct fake_mem *m;
	unsigned seq;
	void *at;
	int fd;

	if (!len)
		return CUDA_ERROR_INVALID_VALUE;
	len = round_up(len, (size_t)4096);
	at = fake_file_new(len, &seq, &fd);
	if (!at)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*addr = (uintptr_t)at;
	m = fake_mem_add(FAKE_ALLOC, *addr, len);
	m->fd = fd;
	m->seq = seq;
	fake_count->allocations++;
	return CUDA_SUCCESS;
}

void fake_mem_unmap(struct fake_mem *m)
{
	if (fake_op_uses(m->addr, m->len))
		fake_count->misuses++;
	munmap((void *)(uintptr_t)m->addr, m->len);
	if (m->fd >= 0)
		close(m->fd);
	m->is_dead = true;
}

FAKE_CALL(MemFree, (CUdeviceptr addr), (addr))
{
	struct fake_mem *m = fake_mem_at(FAKE_ALLOC, addr);

	if (!m)
		return CUDA_ERROR_INVALID_VALUE;
	fake_mem_unmap(m);
	fake_file_remove(m->seq);
	fake_count->allocations--;
	return CUDA_SUCCESS;
}

FAKE_CALL(MemGetAddressRange, (CUdeviceptr *base, size_t *len, CUdeviceptr addr), (base, len, addr))
{
	struct fake_mem *m = fake_mem_find(addr, 1);

	if (!m || m->kind == FAKE_HOST)
		return CUDA_ERROR_NOT_FOUND;
	if (base)
		*base = m->addr;
	if (len)
		*len = m->len;
	return CUDA_SUCCESS;
}

FAKE_CALL(PointerGetAttribute, (void *value, int attribute, CUdeviceptr addr), (value, attribute, addr))
{
	struct fake_mem *m = fake_mem_find(addr, 1);

	if (!m)
		return CUDA_ERROR_INVALID_VALUE;
	if (attribute == CU_POINTER_ATTRIBUTE_MEMORY_TYPE)
		*(unsigned *)value = m->kind == FAKE_HOST ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
	else if (attribute == CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE)
		*(int *)value = m->kind == FAKE_ALLOC;
	else
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

/* ---- host memory ------------------------------------------------------------------------------------ */

/* Of the mapping that holds @addr: "rw-s". */
static bool map_mode(uint64_t addr, char mode[5])
{
	FILE *f = fopen("/proc/self/maps", "re");
	uint64_t from, to;
	bool found = false;
	char line[512];

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &from, &to, mode) == 3 && addr >= from && addr < to;
	if (f)
		fclose(f);
	return found;
}

/*
 * As the real one: a read-only mapping needs the flag and the attribute; a private writable one is taken,
 * and its pages are faulted in for writing, so that from now on they are copies.
 */
static CUresult check_host(uint64_t addr, uint64_t len, unsigned flags)
{
	char mode[5] = "";

	if (addr % 4096 || !map_mode(addr, mode))
		return CUDA_ERROR_INVALID_VALUE;
	if (flags & CU_MEMHOSTREGISTER_READ_ONLY)
		return fake_attribute(CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED, 0) ? CUDA_SUCCESS :
												  CUDA_ERROR_NOT_SUPPORTED;
	if (mode[1] != 'w')
		return CUDA_ERROR_INVALID_VALUE;
	if (mode[3] == 'p')
		for (uint64_t at = addr; at < addr + len; at += 4096)
			__atomic_fetch_or((char *)(uintptr_t)at, 0, __ATOMIC_RELAXED);
	return CUDA_SUCCESS;
}

FAKE_CALL(MemHostRegister, (void *addr, size_t len, unsigned flags), (addr, len, flags))
{
	const uint64_t at = (uintptr_t)addr;
	CUresult r;

	for (struct fake_mem *m = mems; m; m = m->next)
		if (!m->is_dead && m->kind == FAKE_HOST && at < m->addr + m->len && m->addr < at + len)
			return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
	r = check_host(at, len, flags);
	if (r)
		return r;
	fake_take(fake_conf.register_ns * (len >> 20));
	fake_mem_add(FAKE_HOST, at, len);
	fake_count->registered++;
	fake_count->registered_bytes += len;
	return CUDA_SUCCESS;
}

FAKE_CALL(MemHostUnregister, (void *addr), (addr))
{
	struct fake_mem *m = fake_mem_at(FAKE_HOST, (uintptr_t)addr);

	if (!m)
		return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
	if (fake_op_uses(m->addr, m->len))
		fake_count->misuses++;
	m->is_dead = true;
	fake_count->registered--;
	fake_count->registered_bytes -= m->len;
	return CUDA_SUCCESS;
}

FAKE_CALL(MemHostGetDevicePointer, (CUdeviceptr *dev, void *addr, unsigned flags), (dev, addr, flags))
{
	(void)flags;
	if (!fake_mem_is_pinned((uintptr_t)addr, 1))
		return CUDA_ERROR_INVALID_VALUE;
	*dev = (uintptr_t)addr;
	return CUDA_SUCCESS;
}

