/* SPDX-License-Identifier: Apache-2.0 */
/* libcuda_ipc.c - the fake driver's handles of memory and of events, for other processes */
#include "tests/fake/fake.h"

#include <string.h>
#include <unistd.h>

#define HANDLE_MAGIC 0x636970616b6166ull

struct handle {				/* inside the 64 bytes */
	uint64_t magic, len;
	int32_t pid;
	uint32_t seq;
	int32_t dev;
	uint32_t pad;
};
_Static_assert(sizeof(struct handle) <= CU_IPC_HANDLE_SIZE, "a handle has 64 bytes");

FAKE_CALL(IpcGetMemHandle, (CUipcMemHandle *handle, CUdeviceptr addr), (handle, addr))
{
	struct fake_mem *m = fake_mem_find(addr, 1);
	struct handle h;

	if (!m || m->kind != FAKE_ALLOC)
		return CUDA_ERROR_INVALID_VALUE;
	h = (struct handle){ .magic = HANDLE_MAGIC, .len = m->len, .pid = getpid(), .seq = m->seq, .dev = m->dev };
	memset(handle, 0, sizeof(*handle));
	memcpy(handle, &h, sizeof(h));
	return CUDA_SUCCESS;
}

FAKE_CALL(IpcOpenMemHandle, (CUdeviceptr *addr, CUipcMemHandle handle, unsigned flags), (addr, handle, flags))
{
	struct fake_mem *m;
	struct handle h;
	void *at;
	int fd;

	(void)flags;
	memcpy(&h, &handle, sizeof(h));
	if (h.magic != HANDLE_MAGIC)
		return CUDA_ERROR_INVALID_VALUE;
	/* the driver tells processes apart by the number that each sees itself as */
	if (h.pid == getpid())
		return CUDA_ERROR_INVALID_CONTEXT;
	if (fake_mem_imported(h.pid, h.seq))
		return 208;
	at = fake_file_open(h.pid, h.seq, h.len, &fd);
	if (!at)
		return CUDA_ERROR_INVALID_VALUE;
	*addr = (uintptr_t)at;
	m = fake_mem_add(FAKE_IMPORT, *addr, h.len);
	m->fd = fd;
	m->seq = h.seq;
	m->dev = h.pid;
	fake_count->imports++;
	return CUDA_SUCCESS;
}

FAKE_CALL(IpcCloseMemHandle, (CUdeviceptr addr), (addr))
{
	struct fake_mem *m = fake_mem_at(FAKE_IMPORT, addr);

	if (!m)
		return CUDA_ERROR_INVALID_VALUE;
	fake_mem_unmap(m);
	fake_count->imports--;
	return CUDA_SUCCESS;
}

FAKE_CALL(IpcGetEventHandle, (CUipcEventHandle *handle, CUevent event), (handle, event))
{
	struct handle h;

	if (!event || event->is_dead || !event->seq)
		return CUDA_ERROR_INVALID_VALUE;
	h = (struct handle){ .magic = HANDLE_MAGIC + 1, .len = 4096, .pid = getpid(), .seq = event->seq };
	memset(handle, 0, sizeof(*handle));
	memcpy(handle, &h, sizeof(h));
	return CUDA_SUCCESS;
}

FAKE_CALL(IpcOpenEventHandle, (CUevent *event, CUipcEventHandle handle), (event, handle))
{
	struct handle h;
	void *at;
	int fd;

	memcpy(&h, &handle, sizeof(h));
	if (h.magic != HANDLE_MAGIC + 1)
		return CUDA_ERROR_INVALID_VALUE;
	if (h.pid == getpid())
		return CUDA_ERROR_INVALID_CONTEXT;
	at = fake_file_open(h.pid, h.seq, h.len, &fd);
	if (!at)
		return CUDA_ERROR_INVALID_VALUE;
	close(fd);
	*event = fake_event_new(CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS, at);
	return *event ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
