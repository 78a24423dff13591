/* SPDX-License-Identifier: Apache-2.0 */
/* test_direct.c - memory that a network card may be let at */
#include "gpu_fixture.h"

#include <sys/mman.h>

#include <kvshm/direct.h>

static void a_range_of_the_pool_is_a_dma_buf(void **state)
{
	struct gx x;
	uint64_t off = 99;
	char *at;
	int fd;

	gx_begin(&x, *state, &gx_model, "L/BKHNC", NULL);
	gx_open(&x);
	fd = kvshm_gpu_dmabuf(x.g, (uintptr_t)x.pool + 5000, 6000, &off);
	assert_true(fd >= 0);
	assert_int_equal(off, 5000 - 4096);
	/* the fake's buffer is the file of the whole allocation */
	at = mmap(NULL, x.pool_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(at != MAP_FAILED);
	assert_memory_equal(at + 5000, x.pool + 5000, 6000);
	at[5000]++;
	assert_int_equal(at[5000], x.pool[5000]);
	munmap(at, x.pool_len);
	close(fd);
	gx_end(&x);
}

static void what_is_no_device_memory_has_no_dma_buf(void **state)
{
	struct gx x;
	uint64_t off = 99;

	gx_begin(&x, *state, &gx_model, "L/BKHNC", NULL);
	gx_open(&x);
	assert_int_equal(kvshm_gpu_dmabuf(x.g, (uintptr_t)x.pool, 0, &off), -EINVAL);
	assert_int_equal(kvshm_gpu_dmabuf(x.g, (uintptr_t)x.pool, UINT64_MAX, &off), -EINVAL);
	assert_int_equal(kvshm_gpu_dmabuf(x.g, (uintptr_t)&x, 4096, &off), -EINVAL);
	/* not to its end, though it begins in it */
	assert_int_equal(kvshm_gpu_dmabuf(x.g, (uintptr_t)x.pool, x.pool_len + 8192, &off), -EINVAL);
	/* the arena is host memory: it has mappings instead */
	assert_int_equal(kvshm_gpu_dmabuf(x.g, (uintptr_t)x.k->cur->content->arena.base, 4096, &off), -EINVAL);
	assert_int_equal(off, 99);
	gx_end(&x);
}

static void a_device_without_dma_bufs_says_so(void **state)
{
	struct gx x;
	uint64_t off;

	gx_begin(&x, *state, &gx_model, "L/BKHNC", "attr=124:0");
	gx_open(&x);
	assert_int_equal(kvshm_gpu_dmabuf(x.g, (uintptr_t)x.pool, 4096, &off), -EOPNOTSUPP);
	gx_end(&x);
}

static void blocks_lie_in_the_arenas_extents(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	struct kvshm_extent e[8] = { { 0 } };
	struct kvshm_block b;
	int nr = kvshm_extents(k, NULL, 0);
	bool is_in = false;

	assert_in_range(nr, 1, 8);
	assert_int_equal(kvshm_extents(k, e, 8), nr);
	assert_int_equal(kvshm_grant(k, fake_attach_ns(k), 0, 1, &b, FAKE_SOON_NS / 1000), 1);
	for (int i = 0; i < nr; i++) {
		assert_int_equal(e[i].is_writable, 1);
		assert_true(e[i].content);
		is_in |= (char *)b.ptr >= (char *)e[i].addr && (char *)b.ptr + b.length <= (char *)e[i].addr + e[i].len &&
			 b.arena_offset - e[i].arena_offset == (uint64_t)((char *)b.ptr - (char *)e[i].addr);
	}
	assert_true(is_in);
	kvshm_return(k, &b, 1);
	kvshm_close(k);
	/* whoever is not trusted may let a card read */
	k = fake_open(f, KVSHM_OPEN_UNTRUSTED);
	assert_true(kvshm_extents(k, e, 8) > 0);
	assert_int_equal(e[0].is_writable, 0);
	kvshm_close(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_range_of_the_pool_is_a_dma_buf, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(what_is_no_device_memory_has_no_dma_buf, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(a_device_without_dma_bufs_says_so, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(blocks_lie_in_the_arenas_extents, fake_setup, fake_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
