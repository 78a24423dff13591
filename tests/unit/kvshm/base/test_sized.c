/* SPDX-License-Identifier: Apache-2.0 */
/* test_sized.c - structs of older, of this and of newer callers */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kvshm/base/sized.h"

struct options {
	size_t sz;
	uint32_t first, second;
	uint64_t third;			/* the first version ended here */
	uint64_t later, latest;
};

#define LEAST offsetof(struct options, later)
#define FULL sizeof(struct options)

struct newer {
	struct options o;
	uint64_t tail;
};

static const struct options given = { .first = 1, .second = 2, .third = 3, .later = 4, .latest = 5 };

static int take(size_t sz, struct options *ret)
{
	struct options o = given;

	o.sz = sz;
	return sized_take(&o, LEAST, ret, FULL);
}

static void this_versions_struct_is_copied_whole(void **state)
{
	struct options o, want = given;

	want.sz = FULL;
	memset(&o, 0xee, sizeof(o));
	assert_int_equal(take(FULL, &o), 0);
	assert_memory_equal(&o, &want, FULL);
}

static void what_an_older_struct_lacks_is_0(void **state)
{
	struct options o, want = given;

	want.later = want.latest = 0;
	want.sz = LEAST;
	memset(&o, 0xee, sizeof(o));
	assert_int_equal(take(LEAST, &o), 0);
	assert_memory_equal(&o, &want, FULL);
	want.later = given.later;
	want.sz = offsetof(struct options, latest);
	memset(&o, 0xee, sizeof(o));
	assert_int_equal(take(want.sz, &o), 0);
	assert_memory_equal(&o, &want, FULL);
}

/* Not a byte behind an older caller's struct is read: the sanitizer sees it here. */
static void an_older_struct_ends_where_it_says(void **state)
{
	union {
		char bytes[LEAST];
		size_t sz;
	} older = { .sz = LEAST };
	struct options o;

	assert_int_equal(sized_take(&older, LEAST, &o, FULL), 0);
	assert_int_equal(o.later, 0);
}

static void a_size_that_no_version_had_is_refused(void **state)
{
	static const size_t sizes[] = { 0, 1, sizeof(size_t), LEAST - 1, FULL + 1, SIZE_MAX };
	struct options o, was;

	memset(&was, 0xee, sizeof(was));
	o = was;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		assert_int_equal(take(sizes[i], &o), -EINVAL);
	assert_int_equal(sized_take(NULL, LEAST, &o, FULL), -EINVAL);
	assert_memory_equal(&o, &was, sizeof(o));
}

static void a_newer_struct_is_refused_whatever_its_tail_holds(void **state)
{
	struct newer n = { .o = given, .tail = 0 };
	struct options o;

	n.o.sz = sizeof(n);
	assert_int_equal(sized_take(&n, LEAST, &o, FULL), -EINVAL);
	n.tail = 6;
	assert_int_equal(sized_take(&n, LEAST, &o, FULL), -EINVAL);
}

static void a_struct_of_one_version_has_one_size(void **state)
{
	struct options o = given, ret;

	for (o.sz = 0; o.sz < 2 * FULL; o.sz++)
		assert_int_equal(sized_take(&o, FULL, &ret, FULL), o.sz == FULL ? 0 : -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(this_versions_struct_is_copied_whole),
		cmocka_unit_test(what_an_older_struct_lacks_is_0),
		cmocka_unit_test(an_older_struct_ends_where_it_says),
		cmocka_unit_test(a_size_that_no_version_had_is_refused),
		cmocka_unit_test(a_newer_struct_is_refused_whatever_its_tail_holds),
		cmocka_unit_test(a_struct_of_one_version_has_one_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
