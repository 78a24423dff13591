/* SPDX-License-Identifier: Apache-2.0 */
/* own_mem.c - memory of our own for copies: on the device, and pinned on the host */
#include "gpu/own_mem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "gpu/cuda_err.h"
#include "gpu/hostreg.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"

#define PAGE ((size_t)4096)
#define PIN_NS 10000000000ull		/* bound of pinning our own few pages */

int own_device_alloc(const struct gpu_ctx *ctx, uint64_t len, uint64_t *ret_addr)
{
	CUdeviceptr addr;
	CUresult r;
	int ret = gpu_ctx_enter(ctx);

	if (ret < 0)
		return ret;
	r = ctx->cu->MemAlloc(&addr, len);
	gpu_ctx_leave(ctx);
	if (r == CUDA_SUCCESS)
		*ret_addr = addr;
	return cuda_errno(r);
}

void own_device_free(const struct gpu_ctx *ctx, uint64_t addr)
{
	if (!addr || gpu_ctx_enter(ctx) < 0)
		return;
	ctx->cu->MemFree(addr);
	gpu_ctx_leave(ctx);
}

static bool pin(const struct gpu_ctx *ctx, struct own_pinned *p)
{
	if (hostreg_create(ctx, &p->reg) < 0)
		return false;
	return !hostreg_add(p->reg, p->base, p->len, HOSTREG_SHARED_RW) && !hostreg_wait(p->reg, clock_ns() + PIN_NS) &&
	       hostreg_state(p->reg, p->base, p->len) == 1;
}

int own_pinned_create(const struct gpu_ctx *ctx, size_t len, struct own_pinned *ret)
{
	struct own_pinned p = { .len = round_up(len, PAGE) };
	void *map = mmap(NULL, p.len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		return -ENOMEM;
	/* A forked child must not take pages away from under the device. */
	madvise(map, p.len, MADV_DONTFORK);
	p.base = map;
	p.is_pinned = pin(ctx, &p);
	*ret = p;
	return 0;
}

void own_pinned_destroy(struct own_pinned *p)
{
	if (p->base && hostreg_destroy(p->reg, clock_ns() + PIN_NS) == 0)
		munmap(p->base, p->len);
	memset(p, 0, sizeof(*p));
}
