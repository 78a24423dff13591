/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu/shared.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "gpu/stream.h"
#include "kvshm/base/clock.h"
#include "tests/lib/fake_cuda.h"

#define LEN (4u << 20)

static void shared_memory_is_offered_by_descriptor_and_dmabuf(void **state)
{
	struct gpu_shared pool;
	struct gpu_piece p;
	struct fake_cuda f;
	int fd, buf;

	fake_cuda_start(&f, NULL);
	assert_int_equal(gpu_shared_create(&f.ctx, 3u << 20, &pool), 0);
	assert_int_equal(pool.len, 4u << 20);
	assert_int_equal(gpu_export_piece(&f.ctx, pool.addr, pool.len, &p, &fd), 0);
	assert_int_equal(p.kind, GPU_MEM_VMM);
	assert_true(fd >= 0);
	close(fd);
	buf = gpu_export_dmabuf(&f.ctx, pool.addr + 4096, 8192);
	assert_true(buf >= 0);
	close(buf);
	assert_int_equal(gpu_export_dmabuf(&f.ctx, pool.addr + 1, 8192), -EINVAL);
	f.ctx.device.has_dmabuf = false;
	assert_int_equal(gpu_export_dmabuf(&f.ctx, pool.addr, 8192), -EOPNOTSUPP);
	gpu_shared_destroy(&pool);
	fake_cuda_stop(&f);
}

/* Owner and reader in one process: the driver tells them apart by nothing. */
struct world {
	struct fake_cuda f;
	struct gpu_ctx other;		/* device 1 */
	struct gpu_shared pool;
	struct gpu_piece piece;
	int fd;
};

static void start(struct world *w)
{
	fake_cuda_start(&w->f, NULL);
	assert_int_equal(gpu_ctx_open(&w->f.cu, &w->f.device[1], &w->other), 0);
	assert_int_equal(gpu_shared_create(&w->f.ctx, LEN, &w->pool), 0);
	assert_int_equal(gpu_export_piece(&w->f.ctx, w->pool.addr, w->pool.len, &w->piece, &w->fd), 0);
	memset((void *)(uintptr_t)w->pool.addr, 0x5a, LEN);
}

static void stop(struct world *w)
{
	close(w->fd);
	gpu_shared_destroy(&w->pool);
	gpu_ctx_close(&w->other);
	/* which looks that no import is left open */
	fake_cuda_stop(&w->f);
}

static bool is_readable(uint64_t addr)
{
	const unsigned char *at = (const unsigned char *)(uintptr_t)addr;

	return at[0] == 0x5a && at[LEN - 1] == 0x5a;
}

static int copy_over(const struct gpu_ctx *ctx, uint64_t dst, uint64_t src)
{
	struct gpu_stream s;
	int ret;

	assert_int_equal(gpu_stream_open(ctx, true, &s), 0);
	ret = gpu_stream_copy(&s, GPU_D2D, &(struct gpu_copy){ .dst = dst, .src = src, .len = 4096 });
	if (!ret)
		ret = gpu_stream_wait(&s, clock_ns() + 2000000000u);
	gpu_stream_close(&s);
	return ret;
}

static void reader_maps_the_same_memory_read_only(void **state)
{
	struct gpu_shared r;
	struct world w;

	start(&w);
	assert_int_equal(gpu_shared_open(&w.f.ctx, &w.piece, w.fd, &r), 0);
	assert_int_equal(r.len, w.pool.len);
	assert_true(r.is_readonly);
	assert_int_not_equal(r.addr, w.pool.addr);
	assert_true(is_readable(r.addr));
	assert_int_equal(copy_over(&w.f.ctx, r.addr, w.pool.addr), -EINVAL);
	assert_int_equal(copy_over(&w.f.ctx, w.pool.addr, r.addr), 1);
	/* what the owner writes from now on is seen */
	*(unsigned char *)(uintptr_t)w.pool.addr = 7;
	assert_int_equal(*(const unsigned char *)(uintptr_t)r.addr, 7);
	gpu_shared_destroy(&r);
	stop(&w);
}

static void owner_that_ends_leaves_the_reader_its_mapping(void **state)
{
	struct gpu_shared r;
	struct world w;

	start(&w);
	assert_int_equal(gpu_shared_open(&w.f.ctx, &w.piece, w.fd, &r), 0);
	gpu_shared_destroy(&w.pool);
	assert_true(is_readable(r.addr));
	gpu_shared_destroy(&r);
	stop(&w);
}

static void driver_without_read_only_mappings_gives_a_writable_one(void **state)
{
	struct gpu_shared r;
	struct world w;

	start(&w);
	assert_int_equal(w.f.fake->script("fail=cuMemSetAccess:1:801"), 0);
	assert_int_equal(gpu_shared_open(&w.f.ctx, &w.piece, w.fd, &r), 0);
	assert_false(r.is_readonly);
	assert_int_equal(copy_over(&w.f.ctx, r.addr, w.pool.addr), 1);
	gpu_shared_destroy(&r);
	stop(&w);
}

static void another_device_reads_it_where_there_is_a_path(void **state)
{
	struct gpu_shared r = { 0 };
	struct world w;

	start(&w);
	assert_int_equal(gpu_shared_open(&w.other, &w.piece, w.fd, &r), 0);
	assert_true(is_readable(r.addr));
	gpu_shared_destroy(&r);
	assert_int_equal(w.f.fake->script("peer=0"), 0);
	assert_int_equal(gpu_shared_open(&w.other, &w.piece, w.fd, &r), -EOPNOTSUPP);
	assert_int_equal(r.addr, 0);
	assert_int_equal(w.f.fake->script("peer=1"), 0);
	stop(&w);
}

/* Everything else in each is valid. */
static void forged_pieces_are_refused(void **state)
{
	struct gpu_shared r = { 0 };
	struct gpu_piece p;
	struct world w;
	int no_fd;

	start(&w);
	p = w.piece;
	p.kind = GPU_MEM_IPC;
	assert_int_equal(gpu_shared_open(&w.f.ctx, &p, w.fd, &r), -EINVAL);
	p = w.piece;
	p.pad = 1;
	assert_int_equal(gpu_shared_open(&w.f.ctx, &p, w.fd, &r), -EINVAL);
	p = w.piece;
	p.len = 0;
	assert_int_equal(gpu_shared_open(&w.f.ctx, &p, w.fd, &r), -EINVAL);
	p = w.piece;
	p.off = 2u << 20;
	assert_int_equal(gpu_shared_open(&w.f.ctx, &p, w.fd, &r), -EINVAL);
	/* longer than it is: the driver knows */
	p = w.piece;
	p.len = p.alloc_len = 2 * LEN;
	assert_int_equal(gpu_shared_open(&w.f.ctx, &p, w.fd, &r), -EINVAL);
	/* a descriptor of something else */
	no_fd = memfd_create("other", MFD_CLOEXEC);
	assert_int_equal(ftruncate(no_fd, LEN), 0);
	assert_int_equal(gpu_shared_open(&w.f.ctx, &w.piece, no_fd, &r), -EINVAL);
	close(no_fd);
	w.f.ctx.device.has_vmm_fd = false;
	assert_int_equal(gpu_shared_open(&w.f.ctx, &w.piece, w.fd, &r), -EOPNOTSUPP);
	assert_int_equal(gpu_shared_create(&w.f.ctx, LEN, &r), -EOPNOTSUPP);
	assert_int_equal(r.addr, 0);
	stop(&w);
}

static void step_that_fails_undoes_those_before_it(void **state)
{
	static const char *const step[] = { "cuMemImportFromShareableHandle", "cuMemAddressReserve", "cuMemMap", "cuMemSetAccess" };
	struct gpu_shared r = { 0 };
	struct world w;

	start(&w);
	for (unsigned i = 0; i < 4; i++) {
		char script[80];

		snprintf(script, sizeof(script), "fail=%s:1:2", step[i]);
		assert_int_equal(w.f.fake->script(script), 0);
		assert_int_equal(gpu_shared_open(&w.f.ctx, &w.piece, w.fd, &r), -ENOMEM);
		assert_int_equal(fake_cuda_counters(&w.f).imports, 0);
	}
	assert_int_equal(r.addr, 0);
	stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shared_memory_is_offered_by_descriptor_and_dmabuf),
		cmocka_unit_test(reader_maps_the_same_memory_read_only),
		cmocka_unit_test(owner_that_ends_leaves_the_reader_its_mapping),
		cmocka_unit_test(driver_without_read_only_mappings_gives_a_writable_one),
		cmocka_unit_test(another_device_reads_it_where_there_is_a_path),
		cmocka_unit_test(forged_pieces_are_refused),
		cmocka_unit_test(step_that_fails_undoes_those_before_it),
	};

	setenv("FAKE_CUDA_SCRIPT", "devices=2", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
