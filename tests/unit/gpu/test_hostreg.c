/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu/hostreg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/base/clock.h"
#include "tests/lib/fake_cuda.h"

#define LEN (4u << 20)

struct fixture {
	struct fake_cuda f;
	struct hostreg *h;
	int fd;
};

static uint64_t in_ms(unsigned ms)
{
	return clock_ns() + ms * 1000000ull;
}

static void start(struct fixture *x, const char *script)
{
	fake_cuda_start(&x->f, script);
	x->fd = memfd_create("arena", MFD_CLOEXEC);
	assert_true(x->fd >= 0);
	assert_int_equal(ftruncate(x->fd, LEN), 0);
	assert_int_equal(hostreg_create(&x->f.ctx, &x->h), 0);
}

static void stop(struct fixture *x)
{
	assert_int_equal(hostreg_destroy(x->h, in_ms(2000)), 0);
	close(x->fd);
	fake_cuda_stop(&x->f);
}

static char *map(const struct fixture *x, int prot, int flags)
{
	char *at = mmap(NULL, LEN, prot, flags, x->fd, 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	return at;
}

static void extents_are_pinned_one_by_one_in_the_background(void **state)
{
	struct hostreg_progress p;
	struct hostreg_span span;
	struct fixture x;
	char *at;

	start(&x, "register=20e6");
	at = map(&x, PROT_READ | PROT_WRITE, MAP_SHARED);
	assert_int_equal(hostreg_add(x.h, at, LEN / 2, HOSTREG_LOOK), 0);
	assert_int_equal(hostreg_add(x.h, at + LEN / 2, LEN / 2, HOSTREG_LOOK), 0);
	assert_int_equal(hostreg_state(x.h, at + LEN - 4096, 4096), 0);
	assert_int_equal(hostreg_wait(x.h, in_ms(1)), -ETIMEDOUT);
	assert_int_equal(hostreg_wait(x.h, in_ms(5000)), 0);
	hostreg_progress(x.h, &p);
	assert_int_equal(p.nr, 2);
	assert_int_equal(p.nr_pinned, 2);
	assert_int_equal(p.pinned_bytes, LEN);
	assert_true(p.busy_ns >= 80000000);
	assert_int_equal(hostreg_state(x.h, at, LEN / 2), 1);
	assert_int_equal(hostreg_state(x.h, at + LEN / 2 - 4096, 8192), -ENOENT);
	assert_int_equal(hostreg_state(x.h, at - 4096, 4096), -ENOENT);
	assert_int_equal(hostreg_extent(x.h, at + LEN / 2, &span), 1);
	assert_true(span.from == (uintptr_t)at + LEN / 2 && span.end == (uintptr_t)at + LEN);
	assert_int_equal(hostreg_extent(x.h, at + LEN / 2 - 1, &span), 1);
	assert_true(span.from == (uintptr_t)at && span.end == (uintptr_t)at + LEN / 2);
	assert_int_equal(hostreg_extent(x.h, at + LEN, &span), -ENOENT);
	assert_true(span.from == (uintptr_t)at);
	assert_int_equal(fake_cuda_counters(&x.f).registered_bytes, LEN);
	stop(&x);
	munmap(at, LEN);
}

static void refused(int prot, int flags, int error, const char *word)
{
	struct hostreg_progress p;
	struct fixture x;
	char *at;

	start(&x, NULL);
	at = map(&x, prot, flags);
	assert_int_equal(hostreg_add(x.h, at, LEN, HOSTREG_LOOK), 0);
	assert_int_equal(hostreg_wait(x.h, in_ms(5000)), 0);
	assert_int_equal(hostreg_state(x.h, at, 4096), error);
	hostreg_progress(x.h, &p);
	assert_int_equal(p.nr_refused, 1);
	assert_int_equal(p.error, error);
	assert_non_null(strstr(p.why, word));
	/* not even asked: the driver would take the private one */
	assert_int_equal(fake_cuda_counters(&x.f).registered, 0);
	stop(&x);
	munmap(at, LEN);
}

static void private_mapping_is_refused(void **state)
{
	refused(PROT_READ | PROT_WRITE, MAP_PRIVATE, -EINVAL, "private");
}

static void read_only_mapping_is_refused(void **state)
{
	refused(PROT_READ, MAP_SHARED, -EROFS, "read-only");
}

static void read_only_mapping_is_pinned_where_the_device_can(void **state)
{
	struct fixture x;
	char *at;

	start(&x, "attr=113:1");
	x.f.ctx.device.has_ro_hostreg = true;
	at = map(&x, PROT_READ, MAP_SHARED);
	assert_int_equal(hostreg_add(x.h, at, LEN, HOSTREG_LOOK), 0);
	assert_int_equal(hostreg_wait(x.h, in_ms(5000)), 0);
	assert_int_equal(hostreg_state(x.h, at, LEN), 1);
	stop(&x);
	munmap(at, LEN);
}

static void mixed_or_missing_mapping_is_refused(void **state)
{
	struct fixture x;
	char *at;

	start(&x, NULL);
	at = map(&x, PROT_READ | PROT_WRITE, MAP_SHARED);
	assert_int_equal(hostreg_check_map(at, LEN), 0);
	assert_int_equal(mprotect(at + 4096, 4096, PROT_READ), 0);
	assert_int_equal(hostreg_check_map(at, LEN), -EINVAL);
	assert_int_equal(hostreg_check_map(at + 4096, 4096), -EROFS);
	assert_int_equal(munmap(at + LEN - 4096, 4096), 0);
	assert_int_equal(hostreg_check_map(at + 8192, LEN - 8192), -EFAULT);
	munmap(at, LEN);
	stop(&x);
}

static void refused_registration_leaves_the_others(void **state)
{
	struct hostreg_progress p;
	struct fixture x;
	char *at;

	start(&x, "fail=cuMemHostRegister:2:2");
	at = map(&x, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(hostreg_add(x.h, at + i * (LEN / 4), LEN / 4, HOSTREG_SHARED_RW), 0);
	assert_int_equal(hostreg_wait(x.h, in_ms(5000)), 0);
	assert_int_equal(hostreg_state(x.h, at, 4096), 1);
	assert_int_equal(hostreg_state(x.h, at + LEN / 4, 4096), -ENOMEM);
	assert_int_equal(hostreg_state(x.h, at + LEN / 2, LEN / 4), 1);
	hostreg_progress(x.h, &p);
	assert_non_null(strstr(p.why, "out of memory"));
	stop(&x);
	munmap(at, LEN);
}

static void overlap_and_odd_sizes_are_refused(void **state)
{
	struct fixture x;
	char *at;

	start(&x, NULL);
	at = map(&x, PROT_READ | PROT_WRITE, MAP_SHARED);
	assert_int_equal(hostreg_add(x.h, at, 8192, HOSTREG_LOOK), 0);
	assert_int_equal(hostreg_add(x.h, at + 4096, 8192, HOSTREG_LOOK), -EEXIST);
	assert_int_equal(hostreg_add(x.h, at + 8192, 0, HOSTREG_LOOK), -EINVAL);
	assert_int_equal(hostreg_add(x.h, at + 8193, 4096, HOSTREG_LOOK), -EINVAL);
	assert_int_equal(hostreg_add(x.h, at + 8192, 100, HOSTREG_LOOK), -EINVAL);
	stop(&x);
	munmap(at, LEN);
}

/* Until the fake has seen that many calls, or five seconds have passed. */
static void reach(const struct fixture *x, uint64_t calls)
{
	const uint64_t deadline = in_ms(5000);

	while (fake_cuda_counters(&x->f).calls < calls && clock_ns() < deadline)
		usleep(1000);
	assert_true(fake_cuda_counters(&x->f).calls >= calls);
}

static void driver_that_hangs_is_left_behind(void **state)
{
	static struct fixture x;	/* the thread may go on with it */
	uint64_t calls;
	char *at;

	start(&x, "register=50e6");
	at = map(&x, PROT_READ | PROT_WRITE, MAP_SHARED);
	calls = fake_cuda_counters(&x.f).calls;
	assert_int_equal(hostreg_add(x.h, at, LEN, HOSTREG_SHARED_RW), 0);
	/* entered, and in the call that takes long */
	reach(&x, calls + 2);
	assert_int_equal(hostreg_destroy(x.h, in_ms(20)), -ETIMEDOUT);
	/* the thread goes on once the driver comes back: left, entered, unpinned, left */
	reach(&x, calls + 6);
	assert_int_equal(fake_cuda_counters(&x.f).registered, 0);
	close(x.fd);
}

static void device_that_cannot_pin_says_so(void **state)
{
	struct hostreg *h = NULL;
	struct fake_cuda f;

	fake_cuda_start(&f, NULL);
	f.ctx.device.has_hostreg = false;
	assert_int_equal(hostreg_create(&f.ctx, &h), -EOPNOTSUPP);
	assert_null(h);
	assert_int_equal(hostreg_destroy(NULL, 0), 0);
	fake_cuda_stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(extents_are_pinned_one_by_one_in_the_background),
		cmocka_unit_test(private_mapping_is_refused),
		cmocka_unit_test(read_only_mapping_is_refused),
		cmocka_unit_test(read_only_mapping_is_pinned_where_the_device_can),
		cmocka_unit_test(mixed_or_missing_mapping_is_refused),
		cmocka_unit_test(refused_registration_leaves_the_others),
		cmocka_unit_test(overlap_and_odd_sizes_are_refused),
		cmocka_unit_test(driver_that_hangs_is_left_behind),
		cmocka_unit_test(device_that_cannot_pin_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
