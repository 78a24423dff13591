/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_gpumsg.c - what comes over gpud.sock and gpud.link, and what kvshm-gpud does with it
 *
 * The input is one message.  The pieces of a REGISTER that passes the check are opened over a driver that only counts,
 * and refuses what the input says; the blocks of a JOB are looked for in a small directory.
 */
#include "gpu/gpud/attach.h"
#include "gpu/import.h"
#include "ipc/gpumsg.h"
#include "kvshm/base/compiler.h"
#include "tests/fuzz/fuzz_dir.h"

enum { SLOT = 7, PIN_WORDS = 64 };

/* ---- a driver ------------------------------------------------------------------------------------- */

static struct {
	unsigned calls, fail_at;	/* the call that fails, 0: none */
	int nr_ipc, nr_handles, nr_ranges;
	uint64_t mapped;
} drv;

#define IPC_AT (1ull << 40)
#define IPC_LEN (1ull << 20)
#define VMM_AT (1ull << 41)

static CUresult step(void)
{
	return ++drv.calls == drv.fail_at ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

static CUresult push_current(CUcontext ctx)
{
	return CUDA_SUCCESS;
}

static CUresult pop_current(CUcontext *ctx)
{
	return CUDA_ERROR_DEINITIALIZED;
}

static CUresult ipc_open(CUdeviceptr *addr, CUipcMemHandle handle, unsigned flags)
{
	CUresult r = step();

	if (r == CUDA_SUCCESS) {
		drv.nr_ipc++;
		*addr = IPC_AT;
	}
	return r;
}

static CUresult ipc_close(CUdeviceptr addr)
{
	MUST(addr == IPC_AT && drv.nr_ipc-- > 0);
	return CUDA_SUCCESS;
}

static CUresult address_range(CUdeviceptr *base, size_t *len, CUdeviceptr addr)
{
	*base = addr;
	*len = IPC_LEN;
	return step();
}

static CUresult reserve(CUdeviceptr *addr, size_t len, size_t align, CUdeviceptr hint, unsigned long long flags)
{
	CUresult r = step();

	MUST(len > 0);
	if (r == CUDA_SUCCESS) {
		drv.nr_ranges++;
		*addr = VMM_AT;
	}
	return r;
}

static CUresult unreserve(CUdeviceptr addr, size_t len)
{
	MUST(addr == VMM_AT && drv.nr_ranges-- > 0);
	return CUDA_SUCCESS;
}

static CUresult import_handle(CUmemGenericAllocationHandle *handle, void *os_handle, int type)
{
	CUresult r = step();

	MUST((intptr_t)os_handle == STDERR_FILENO);
	drv.nr_handles += r == CUDA_SUCCESS;
	*handle = 1;
	return r;
}

static CUresult release(CUmemGenericAllocationHandle handle)
{
	MUST(drv.nr_handles-- > 0);
	return CUDA_SUCCESS;
}

static CUresult map(CUdeviceptr addr, size_t len, size_t offset, CUmemGenericAllocationHandle handle,
		    unsigned long long flags)
{
	CUresult r = step();

	MUST(addr == VMM_AT + drv.mapped);
	drv.mapped += r == CUDA_SUCCESS ? len : 0;
	return r;
}

static CUresult unmap(CUdeviceptr addr, size_t len)
{
	MUST(len > 0 && len <= drv.mapped);
	drv.mapped -= len;
	return CUDA_SUCCESS;
}

static CUresult set_access(CUdeviceptr addr, size_t len, const CUmemAccessDesc *desc, size_t nr)
{
	return step();
}

static const struct cuda cuda = {
	.features = 1u << CUDA_F_CORE | 1u << CUDA_F_IPC | 1u << CUDA_F_VMM,
	.CtxPushCurrent = push_current, .CtxPopCurrent = pop_current, .MemGetAddressRange = address_range,
	.IpcOpenMemHandle = ipc_open, .IpcCloseMemHandle = ipc_close, .MemAddressReserve = reserve,
	.MemAddressFree = unreserve, .MemImportFromShareableHandle = import_handle, .MemRelease = release,
	.MemMap = map, .MemUnmap = unmap, .MemSetAccess = set_access,
};
static const struct gpu_ctx ctx = { .cu = &cuda, .device = { .bytes = 1ull << 36, .has_vmm_fd = true } };

/* ---- a REGISTER ----------------------------------------------------------------------------------- */

static void open_one(struct gpu_imports *t, uint64_t peer, const struct gpumsg_register *m, unsigned nr_fds)
{
	struct gpu_piece piece[GPUMSG_PIECES_MAX];
	int fd[GPUMSG_PIECES_MAX];
	struct gpu_import *b;
	uint64_t at, len = 0;

	memcpy(piece, m->piece, m->nr * sizeof(*piece));
	for (unsigned i = 0; i < m->nr; i++) {
		fd[i] = piece[i].kind == GPU_MEM_VMM && i < nr_fds ? STDERR_FILENO : -1;
		len += piece[i].len;
	}
	if (gpu_import_open(t, peer, 1, m->addr, piece, fd, m->nr, &b) < 0)
		return;
	at = gpu_import_addr(b);
	MUST(gpu_import_len(b) == len && gpu_import_find(t, peer, m->addr) == b);
	if (piece[0].kind == GPU_MEM_IPC)
		MUST(at >= IPC_AT && len <= IPC_LEN && at - IPC_AT <= IPC_LEN - len);
	else
		MUST(at >= VMM_AT && len <= drv.mapped && at - VMM_AT <= drv.mapped - len);
}

static void open_pieces(const struct gpumsg_register *m, uint8_t how)
{
	struct gpu_imports *t;

	memset(&drv, 0, sizeof(drv));
	drv.fail_at = how % 16;
	MUST(gpu_imports_create(&ctx, 2, GPUMSG_PIECES_MAX, &t) == 0);
	open_one(t, 1, m, how & 0x10 ? 0 : m->nr);
	/* the same again, by itself and by another: its range is reserved behind nothing else, so IPC only */
	open_one(t, 1, m, m->nr);
	if (m->piece[0].kind == GPU_MEM_IPC)
		open_one(t, 2, m, m->nr);
	gpu_imports_destroy(t);
	MUST(!drv.nr_ipc && !drv.nr_handles && !drv.nr_ranges && !drv.mapped);
}

/* ---- a JOB ---------------------------------------------------------------------------------------- */

static struct fuzz_dir f;
static struct attach a = { .sock = -1, .pin_fd = -1, .doorbell_fd = -1, .slot = SLOT, .is_trusted = true };
static uint64_t pin_words[PIN_WORDS];

static void make_attach(void)
{
	struct kvshm_extent_entry e;
	int fd = memfd_create("arena", MFD_CLOEXEC);

	fuzz_dir_make(&f);
	MUST(directory_attach(f.fd, false, &a.dir) == 0);
	e = a.dir.extent[0];
	MUST(fd >= 0 && ftruncate(fd, (off_t)e.len) == 0);
	MUST(arena_reserve(&a.arena, e.len, true) == 0 && arena_map_extent(&a.arena, &e, fd) == 0);
	MUST(pin_table_init(&a.pins, pin_words, PIN_WORDS, 0) == 0);
	close(fd);
}

static void must_be_there(const struct gpumsg_job *m, const struct attach_block *b, bool is_granted)
{
	for (uint32_t i = 0; i < m->nr; i++) {
		const struct kvshm_block_ref ref = m->rec[i].block;
		uint64_t state;

		MUST(ref.id && ref.id <= FD_BLOCKS);
		state = a.dir.desc[ref.id].state;
		MUST(state_generation(state) == ref.generation && m->ns == 1);
		MUST(is_granted ? state_of(state) == KVSHM_BLOCK_GRANTED && state_owner(state) == SLOT :
				  state_of(state) == KVSHM_BLOCK_PUBLISHED);
		MUST((char *)b[i].ptr == a.arena.base + (size_t)a.dir.desc[ref.id].page * KVSHM_PAGE);
		MUST(b[i].length == FD_LEN);
	}
}

static void find_blocks(const struct gpumsg_job *m)
{
	struct attach_block b[KVSHM_STAGE_MAX];
	uint16_t pin[KVSHM_STAGE_MAX];
	uint32_t nr_pins = 0;

	if (!f.map)
		make_attach();
	if (attach_granted(&a, m->ns, m->rec, m->nr, 0, b) == 0)
		must_be_there(m, b, true);
	if (attach_pin(&a, m->ns, m->rec, m->nr, 0, b, pin, &nr_pins) == 0) {
		MUST(nr_pins && nr_pins <= m->nr);
		must_be_there(m, b, false);
		attach_unpin(&a, pin, nr_pins);
	}
	MUST(a.nr_pins == 0);
	for (unsigned i = 1; i < PIN_WORDS; i++)
		MUST(!pin_words[i]);
}

/* ---- a message ------------------------------------------------------------------------------------ */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct input in = { data, len };
	uint8_t how = take8(&in), type = take8(&in);
	size_t n = min_of(in.left, sizeof(union gpumsg));
	union gpumsg *m = calloc(1, max_of(n, sizeof(struct kvshm_msg_hdr)));
	const struct kvshm_msg_hdr hdr = { .magic = KVSHM_MSG_MAGIC, .type = type, .len = (uint16_t)n };

	MUST(m);
	take(&in, m, n);
	if (how & 0x80)
		m->hdr = hdr;
	switch (gpumsg_check(m, n)) {
	case GPUMSG_REGISTER:
		MUST(m->reg.nr && n == gpumsg_len(GPUMSG_REGISTER, m->reg.nr));
		open_pieces(&m->reg, how);
		break;
	case GPUMSG_JOB:
		MUST(m->job.nr && n == gpumsg_len(GPUMSG_JOB, m->job.nr));
		find_blocks(&m->job);
		break;
	case GPUMSG_DONE:
		MUST(!(m->done.flags & ~GPUMSG_DONE_F_KNOWN));
		break;
	default:
		break;
	}
	free(m);
	return 0;
}
