/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcuda_mem.c - the fake driver's memory: allocations, host registrations, handles between processes
 *
 * "Device" memory is a shared mapping of a file, named in $FAKE_CUDA_DIR (/dev/shm) so that a handle of 64
 * bytes can say which, or a memfd that is passed as it is.  Files of processes that died are swept away
 * by the next one that starts.
 */
#include "tests/fake/fake.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvshm/base/compiler.h"

#define GRANULARITY (2ull << 20)
#define HANDLE_MAGIC 0x636970616b6166ull

struct handle {				/* inside the 64 bytes, of memory and of events */
	uint64_t magic, len;
	int32_t pid;
	uint32_t seq;
	int32_t dev;
	uint32_t pad;
};
_Static_assert(sizeof(struct handle) <= CU_IPC_HANDLE_SIZE, "a handle has 64 bytes");

static struct fake_mem *mems;
static struct fake_phys *physes;
static struct CUevent_st *events;
static unsigned next_seq;

/* ---- files ------------------------------------------------------------------------------------------ */

static const char *file_path(int pid, unsigned seq, char *buf, size_t len)
{
	const char *dir = getenv("FAKE_CUDA_DIR");

	snprintf(buf, len, "%s/fake-cuda.%d.%u", dir && *dir ? dir : "/dev/shm", pid, seq);
	return buf;
}

static int file_new(unsigned seq, uint64_t len)
{
	char path[256];
	int fd = open(file_path(getpid(), seq, path, sizeof(path)), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -1;
	if (ftruncate(fd, (off_t)len) < 0) {
		close(fd);
		unlink(path);
		return -1;
	}
	return fd;
}

static void file_remove(unsigned seq)
{
	char path[256];

	unlink(file_path(getpid(), seq, path, sizeof(path)));
}

static void sweep_dead(void)
{
	const char *dir = getenv("FAKE_CUDA_DIR");
	DIR *d = opendir(dir && *dir ? dir : "/dev/shm");
	struct dirent *e;
	unsigned seq;
	int pid;

	while (d && (e = readdir(d)))
		if (sscanf(e->d_name, "fake-cuda.%d.%u", &pid, &seq) == 2 && kill(pid, 0) < 0 && errno == ESRCH)
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

__attribute__((constructor)) static void start(void)
{
	sweep_dead();
}

__attribute__((destructor)) static void stop(void)
{
	for (struct fake_mem *m = mems; m; m = m->next)
		if (m->kind == FAKE_ALLOC && !m->is_dead)
			file_remove(m->seq);
	for (struct CUevent_st *e = events; e; e = e->next)
		if (e->seq && !e->is_dead)
			file_remove(e->seq);
}

/* ---- ranges ----------------------------------------------------------------------------------------- */

static struct fake_mem *mem_add(enum fake_mem_kind kind, uint64_t addr, uint64_t len)
{
	struct fake_mem *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	*m = (struct fake_mem){ .next = mems, .kind = kind, .addr = addr, .len = len, .fd = -1, .dev = fake_current() };
	mems = m;
	return m;
}

static struct fake_mem *mem_at(enum fake_mem_kind kind, uint64_t addr)
{
	for (struct fake_mem *m = mems; m; m = m->next)
		if (!m->is_dead && m->kind == kind && m->addr == addr)
			return m;
	return NULL;
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
bool fake_mem_is_device(uint64_t addr, uint64_t len)
{
	struct fake_mem *m;
	uint64_t n;

	while (len) {
		m = fake_mem_find(addr, 1);
		if (!m || m->kind == FAKE_HOST)
			return false;
		n = min_of(len, m->addr + m->len - addr);
		addr += n;
		len -= n;
	}
	return true;
}

/* ---- allocations ------------------------------------------------------------------------------------ */

FAKE_ENTRY(MemAlloc)(CUdeviceptr *addr, size_t len)
{
	CUresult r = fake_enter(E_MemAlloc);
	unsigned seq;
	void *at;
	int fd;

	if (r)
		return r;
	if (!len)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	seq = ++next_seq;
	len = round_up(len, (size_t)4096);
	fd = file_new(seq, len);
	if (fd < 0)
		return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
	at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED) {
		close(fd);
		file_remove(seq);
		return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
	}
	*addr = (uintptr_t)at;
	mem_add(FAKE_ALLOC, *addr, len)->fd = fd;
	mems->seq = seq;
	fake_count->allocations++;
	return fake_leave(CUDA_SUCCESS);
}

static void unmap(struct fake_mem *m)
{
	if (fake_op_uses(m->addr, m->len))
		fake_count->misuses++;
	munmap((void *)(uintptr_t)m->addr, m->len);
	if (m->fd >= 0)
		close(m->fd);
	m->is_dead = true;
}

FAKE_ENTRY(MemFree)(CUdeviceptr addr)
{
	CUresult r = fake_enter(E_MemFree);
	struct fake_mem *m;

	if (r)
		return r;
	m = mem_at(FAKE_ALLOC, addr);
	if (!m)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	unmap(m);
	file_remove(m->seq);
	fake_count->allocations--;
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(MemGetAddressRange)(CUdeviceptr *base, size_t *len, CUdeviceptr addr)
{
	CUresult r = fake_enter(E_MemGetAddressRange);
	struct fake_mem *m;

	if (r)
		return r;
	m = fake_mem_find(addr, 1);
	if (!m || m->kind == FAKE_HOST)
		return fake_leave(CUDA_ERROR_NOT_FOUND);
	if (base)
		*base = m->addr;
	if (len)
		*len = m->len;
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(PointerGetAttribute)(void *value, int attribute, CUdeviceptr addr)
{
	CUresult r = fake_enter(E_PointerGetAttribute);
	struct fake_mem *m;

	if (r)
		return r;
	m = fake_mem_find(addr, 1);
	if (!m)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	if (attribute == CU_POINTER_ATTRIBUTE_MEMORY_TYPE)
		*(unsigned *)value = m->kind == FAKE_HOST ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
	else if (attribute == CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE)
		*(int *)value = m->kind == FAKE_ALLOC;
	else
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	return fake_leave(CUDA_SUCCESS);
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

FAKE_ENTRY(MemHostRegister)(void *addr, size_t len, unsigned flags)
{
	CUresult r = fake_enter(E_MemHostRegister);
	uint64_t at = (uintptr_t)addr;

	if (r)
		return r;
	for (struct fake_mem *m = mems; m; m = m->next)
		if (!m->is_dead && m->kind == FAKE_HOST && at < m->addr + m->len && m->addr < at + len)
			return fake_leave(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
	r = check_host(at, len, flags);
	if (r)
		return fake_leave(r);
	fake_take(fake_conf.register_ns * (len >> 20));
	mem_add(FAKE_HOST, at, len);
	fake_count->registered++;
	fake_count->registered_bytes += len;
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(MemHostUnregister)(void *addr)
{
	CUresult r = fake_enter(E_MemHostUnregister);
	struct fake_mem *m;

	if (r)
		return r;
	m = mem_at(FAKE_HOST, (uintptr_t)addr);
	if (!m)
		return fake_leave(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
	if (fake_op_uses(m->addr, m->len))
		fake_count->misuses++;
	m->is_dead = true;
	fake_count->registered--;
	fake_count->registered_bytes -= m->len;
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(MemHostGetDevicePointer)(CUdeviceptr *dev, void *addr, unsigned flags)
{
	CUresult r = fake_enter(E_MemHostGetDevicePointer);

	(void)flags;
	if (r)
		return r;
	if (!fake_mem_is_pinned((uintptr_t)addr, 1))
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	*dev = (uintptr_t)addr;
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(ThreadExchangeStreamCaptureMode)(int *mode)
{
	static __thread int now;
	CUresult r = fake_enter(E_ThreadExchangeStreamCaptureMode);
	int was;

	if (r)
		return r;
	was = now;
	now = *mode;
	*mode = was;
	return fake_leave(CUDA_SUCCESS);
}

/* ---- handles ---------------------------------------------------------------------------------------- */

FAKE_ENTRY(IpcGetMemHandle)(CUipcMemHandle *handle, CUdeviceptr addr)
{
	CUresult r = fake_enter(E_IpcGetMemHandle);
	struct fake_mem *m;
	struct handle h;

	if (r)
		return r;
	m = fake_mem_find(addr, 1);
	if (!m || m->kind != FAKE_ALLOC)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	h = (struct handle){ .magic = HANDLE_MAGIC, .len = m->len, .pid = getpid(), .seq = m->seq, .dev = m->dev };
	memset(handle, 0, sizeof(*handle));
	memcpy(handle, &h, sizeof(h));
	return fake_leave(CUDA_SUCCESS);
}

static void *map_file(const struct handle *h, int *ret_fd)
{
	char path[256];
	void *at;
	int fd = open(file_path(h->pid, h->seq, path, sizeof(path)), O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return MAP_FAILED;
	at = mmap(NULL, h->len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		close(fd);
	else
		*ret_fd = fd;
	return at;
}

FAKE_ENTRY(IpcOpenMemHandle)(CUdeviceptr *addr, CUipcMemHandle handle, unsigned flags)
{
	CUresult r = fake_enter(E_IpcOpenMemHandle);
	struct handle h;
	int fd = -1;
	void *at;

	(void)flags;
	if (r)
		return r;
	memcpy(&h, &handle, sizeof(h));
	if (h.magic != HANDLE_MAGIC)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	/* the driver tells processes apart by the number that each sees itself as */
	if (h.pid == getpid())
		return fake_leave(CUDA_ERROR_INVALID_CONTEXT);
	for (struct fake_mem *m = mems; m; m = m->next)
		if (!m->is_dead && m->kind == FAKE_IMPORT && m->seq == h.seq && m->dev == h.pid)
			return fake_leave(208);
	at = map_file(&h, &fd);
	if (at == MAP_FAILED)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	*addr = (uintptr_t)at;
	mem_add(FAKE_IMPORT, *addr, h.len)->fd = fd;
	mems->seq = h.seq;
	mems->dev = h.pid;
	fake_count->imports++;
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(IpcCloseMemHandle)(CUdeviceptr addr)
{
	CUresult r = fake_enter(E_IpcCloseMemHandle);
	struct fake_mem *m;

	if (r)
		return r;
	m = mem_at(FAKE_IMPORT, addr);
	if (!m)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	unmap(m);
	fake_count->imports--;
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(EventCreate)(CUevent *event, unsigned flags)
{
	CUresult r = fake_enter(E_EventCreate);
	struct CUevent_st *e;
	int fd;

	if (r)
		return r;
	if (flags & CU_EVENT_INTERPROCESS && !(flags & CU_EVENT_DISABLE_TIMING))
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	e = calloc(1, sizeof(*e));
	if (!e)
		return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
	e->word = &e->own;
	e->flags = flags;
	e->dev = fake_current();
	if (flags & CU_EVENT_INTERPROCESS) {
		e->seq = ++next_seq;
		fd = file_new(e->seq, 4096);
		if (fd >= 0)
			e->word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (fd < 0 || e->word == MAP_FAILED)
			abort();
		close(fd);
	}
	e->next = events;
	events = e;
	fake_count->events++;
	*event = e;
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(EventDestroy)(CUevent event)
{
	CUresult r = fake_enter(E_EventDestroy);

	if (r)
		return r;
	if (!event || event->is_dead)
		return fake_leave(400);
	if (event->seq)
		file_remove(event->seq);
	event->is_dead = true;
	fake_count->events--;
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(IpcGetEventHandle)(CUipcEventHandle *handle, CUevent event)
{
	CUresult r = fake_enter(E_IpcGetEventHandle);
	struct handle h;

	if (r)
		return r;
	if (!event || event->is_dead || !event->seq)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	h = (struct handle){ .magic = HANDLE_MAGIC + 1, .len = 4096, .pid = getpid(), .seq = event->seq };
	memset(handle, 0, sizeof(*handle));
	memcpy(handle, &h, sizeof(h));
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(IpcOpenEventHandle)(CUevent *event, CUipcEventHandle handle)
{
	CUresult r = fake_enter(E_IpcOpenEventHandle);
	struct CUevent_st *e;
	struct handle h;
	int fd = -1;
	void *at;

	if (r)
		return r;
	memcpy(&h, &handle, sizeof(h));
	if (h.magic != HANDLE_MAGIC + 1)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	if (h.pid == getpid())
		return fake_leave(CUDA_ERROR_INVALID_CONTEXT);
	at = map_file(&h, &fd);
	if (at == MAP_FAILED)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	close(fd);
	e = calloc(1, sizeof(*e));
	if (!e)
		abort();
	e->word = at;
	e->dev = fake_current();
	e->flags = CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS;
	e->next = events;
	events = e;
	fake_count->events++;
	*event = e;
	return fake_leave(CUDA_SUCCESS);
}

/* ---- virtual memory --------------------------------------------------------------------------------- */

static struct fake_phys *phys_of(CUmemGenericAllocationHandle handle)
{
	for (struct fake_phys *p = physes; p; p = p->next)
		if ((uintptr_t)p == handle && p->refs)
			return p;
	return NULL;
}

static struct fake_phys *phys_new(int fd, uint64_t len, bool can_export)
{
	struct fake_phys *p = calloc(1, sizeof(*p));

	if (!p)
		abort();
	*p = (struct fake_phys){ .next = physes, .fd = fd, .dev = fake_current(), .len = len, .refs = 1, .can_export = can_export };
	physes = p;
	return p;
}

static void phys_put(struct fake_phys *p)
{
	if (!--p->refs)
		close(p->fd);
}

FAKE_ENTRY(MemGetAllocationGranularity)(size_t *granularity, const CUmemAllocationProp *prop, int option)
{
	CUresult r = fake_enter(E_MemGetAllocationGranularity);

	(void)prop;
	(void)option;
	if (r)
		return r;
	*granularity = GRANULARITY;
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(MemAddressReserve)(CUdeviceptr *addr, size_t len, size_t align, CUdeviceptr hint, unsigned long long flags)
{
	CUresult r = fake_enter(E_MemAddressReserve);
	void *at;

	(void)align;
	(void)hint;
	(void)flags;
	if (r)
		return r;
	if (!len || len % GRANULARITY)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	at = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
	*addr = (uintptr_t)at;
	mem_add(FAKE_RESERVED, *addr, len);
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(MemAddressFree)(CUdeviceptr addr, size_t len)
{
	CUresult r = fake_enter(E_MemAddressFree);
	struct fake_mem *m;

	if (r)
		return r;
	m = mem_at(FAKE_RESERVED, addr);
	if (!m || m->len != len)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	munmap((void *)(uintptr_t)addr, len);
	m->is_dead = true;
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(MemCreate)(CUmemGenericAllocationHandle *handle, size_t len, const CUmemAllocationProp *prop,
		      unsigned long long flags)
{
	CUresult r = fake_enter(E_MemCreate);
	int fd;

	(void)flags;
	if (r)
		return r;
	if (!len || len % GRANULARITY || prop->type != CU_MEM_ALLOCATION_TYPE_PINNED)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	fd = memfd_create("fake-cuda", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)len) < 0)
		return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
	*handle = (uintptr_t)phys_new(fd, len, prop->requestedHandleTypes & CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(MemRelease)(CUmemGenericAllocationHandle handle)
{
	CUresult r = fake_enter(E_MemRelease);
	struct fake_phys *p;

	if (r)
		return r;
	p = phys_of(handle);
	if (!p)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	phys_put(p);
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(MemMap)(CUdeviceptr addr, size_t len, size_t offset, CUmemGenericAllocationHandle handle,
		   unsigned long long flags)
{
	CUresult r = fake_enter(E_MemMap);
	struct fake_phys *p;
	struct fake_mem *m;

	(void)flags;
	if (r)
		return r;
	p = phys_of(handle);
	if (!p || offset || len != p->len || fake_mem_find(addr, 1))
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	if (mmap((void *)(uintptr_t)addr, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, p->fd, 0) == MAP_FAILED)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	m = mem_add(FAKE_MAPPING, addr, len);
	m->phys = p;
	p->refs++;
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(MemUnmap)(CUdeviceptr addr, size_t len)
{
	CUresult r = fake_enter(E_MemUnmap);
	uint64_t end = addr + len;
	struct fake_mem *m;

	if (r)
		return r;
	while (addr < end) {
		m = mem_at(FAKE_MAPPING, addr);
		if (!m)
			return fake_leave(CUDA_ERROR_INVALID_VALUE);
		if (fake_op_uses(m->addr, m->len))
			fake_count->misuses++;
		mmap((void *)(uintptr_t)addr, m->len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
		m->is_dead = true;
		phys_put(m->phys);
		addr += m->len;
	}
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(MemSetAccess)(CUdeviceptr addr, size_t len, const CUmemAccessDesc *desc, size_t nr)
{
	CUresult r = fake_enter(E_MemSetAccess);

	(void)desc;
	(void)nr;
	if (r)
		return r;
	return fake_leave(fake_mem_is_device(addr, len) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
}

FAKE_ENTRY(MemRetainAllocationHandle)(CUmemGenericAllocationHandle *handle, void *addr)
{
	CUresult r = fake_enter(E_MemRetainAllocationHandle);
	struct fake_mem *m;

	if (r)
		return r;
	m = fake_mem_find((uintptr_t)addr, 1);
	if (!m || m->kind != FAKE_MAPPING)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	m->phys->refs++;
	*handle = (uintptr_t)m->phys;
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(MemExportToShareableHandle)(void *shareable, CUmemGenericAllocationHandle handle, int type,
				       unsigned long long flags)
{
	CUresult r = fake_enter(E_MemExportToShareableHandle);
	struct fake_phys *p;

	(void)flags;
	if (r)
		return r;
	p = phys_of(handle);
	if (!p || !p->can_export || type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	*(int *)shareable = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(MemImportFromShareableHandle)(CUmemGenericAllocationHandle *handle, void *os_handle, int type)
{
	CUresult r = fake_enter(E_MemImportFromShareableHandle);
	off_t len;
	int fd;

	if (r)
		return r;
	fd = type == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR ? fcntl((int)(intptr_t)os_handle, F_DUPFD_CLOEXEC, 0) : -1;
	if (fd < 0)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	len = lseek(fd, 0, SEEK_END);
	if (len <= 0) {
		close(fd);
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	}
	*handle = (uintptr_t)phys_new(fd, (uint64_t)len, true);
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(MemGetHandleForAddressRange)(void *handle, CUdeviceptr addr, size_t len, int type, unsigned long long flags)
{
	CUresult r = fake_enter(E_MemGetHandleForAddressRange);
	struct fake_mem *m;

	(void)flags;
	if (r)
		return r;
	m = fake_mem_find(addr, len);
	if (!m || m->kind == FAKE_HOST || type != CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD || addr % 4096 || len % 4096)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	*(int *)handle = fcntl(m->phys ? m->phys->fd : m->fd, F_DUPFD_CLOEXEC, 0);
	return fake_leave(CUDA_SUCCESS);
}
