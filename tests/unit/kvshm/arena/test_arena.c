/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/arena/arena.h"
#include "tests/lib/tmp_dir.h"

#define EXTENT (2 * HUGE_LEN)

static const struct directory_geometry geometry = { .max_blocks = 100, .max_ns = 4, .max_extents = 4 };

struct fixture {
	struct tmp_dir tmp;
	struct directory dir;
	struct arena arena;
	struct arena_config cfg;
};

static int setup(void **state)
{
	static struct fixture f;
	int fd = memfd_create("directory", MFD_CLOEXEC);

	f = (struct fixture){ 0 };
	tmp_dir_create(&f.tmp);
	if (ftruncate(fd, (off_t)directory_size(&geometry)) < 0 || directory_create(fd, &geometry, &f.dir) < 0)
		return -1;
	close(fd);
	f.cfg = (struct arena_config){ .dirfd = f.tmp.fd, .size = 3 * EXTENT, .extent_len = EXTENT };
	*state = &f;
	return arena_reserve(&f.arena, 16 * EXTENT, true);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	arena_unmap(&f->arena);
	directory_detach(&f->dir);
	tmp_dir_destroy(&f->tmp);
	return 0;
}

static void reservation_is_large_aligned_and_unreadable(void **state)
{
	struct fixture *f = *state;
	int pipefd[2];

	assert_true(f->arena.reserved >= 16 * EXTENT);
	assert_int_equal((uintptr_t)f->arena.base % HUGE_LEN, 0);
	assert_int_equal(pipe(pipefd), 0);
	assert_int_equal(write(pipefd[1], f->arena.base, 1), -1);
	assert_int_equal(errno, EFAULT);
	close(pipefd[0]);
	close(pipefd[1]);
	assert_false(arena_contains(&f->arena, 0, 1));
}

static void reservation_beyond_all_addresses_is_refused(void **state)
{
	struct arena a = { .reserved = 4711 };

	assert_int_equal(arena_reserve(&a, SIZE_MAX, false), -ENOMEM);
	assert_int_equal(a.reserved, 4711);
}

static void grow_adds_extents_up_to_the_size(void **state)
{
	struct fixture *f = *state;
	unsigned i;

	f->cfg.size = 3 * EXTENT - 4096;	/* rounded up */
	for (i = 0; i < 3; i++) {
		assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), EXTENT);
		assert_int_equal(f->dir.sb->nr_extents, i + 1);
		assert_int_equal(f->dir.extent[i].base, i * EXTENT);
		assert_int_equal(f->dir.extent[i].len, EXTENT);
		assert_int_equal(f->dir.extent[i].number, i);
		assert_in_range(f->dir.extent[i].page_kind, KVSHM_PAGES_4K, KVSHM_PAGES_HUGETLB);
	}
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), 0);
	assert_int_equal(f->arena.span, 3 * EXTENT);
	assert_int_equal(tmp_dir_count(&f->tmp), 3);
	assert_true(arena_contains(&f->arena, 0, 3 * EXTENT));
	assert_true(arena_contains(&f->arena, 3 * EXTENT, 0));
	assert_false(arena_contains(&f->arena, 1, 3 * EXTENT));
	assert_false(arena_contains(&f->arena, UINT64_MAX, 2));
	memset(arena_ptr(&f->arena, 0), 1, 3 * EXTENT);
}

static void last_extent_is_what_is_left(void **state)
{
	struct fixture *f = *state;

	f->cfg.size = EXTENT + HUGE_LEN;
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), EXTENT);
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), HUGE_LEN);
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), 0);
}

static void extents_have_64_mib_at_least_by_default(void **state)
{
	struct fixture *f = *state;

	f->cfg.size = 66ul << 20;
	f->cfg.extent_len = 0;
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), 64 << 20);
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), 2 << 20);
}

static void full_extent_table_is_enospc(void **state)
{
	struct fixture *f = *state;
	unsigned i;

	f->cfg.size = 16 * EXTENT;
	for (i = 0; i < geometry.max_extents; i++)
		assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), EXTENT);
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), -ENOSPC);
	assert_int_equal(tmp_dir_count(&f->tmp), geometry.max_extents);
}

static void file_that_no_entry_names_is_replaced(void **state)
{
	struct fixture *f = *state;
	int fd = openat(f->tmp.fd, "arena.0.0", O_CREAT | O_WRONLY, 0600);

	assert_int_equal(write(fd, "old", 3), 3);
	close(fd);
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), EXTENT);
	assert_int_equal(*(char *)arena_ptr(&f->arena, 0), 0);
}

static void nodes_take_turns_and_number_their_own_files(void **state)
{
	static const int nodes[] = { 0, 0 };
	struct fixture *f = *state;
	long ret;

	f->cfg.nr_nodes = 2;
	f->cfg.nodes = nodes;
	ret = arena_grow(&f->arena, &f->dir, &f->cfg);
	if (ret == -EPERM || ret == -ENOSYS) {
		print_message("mbind is not allowed here\n");
		skip();
	}
	assert_int_equal(ret, EXTENT);
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), EXTENT);
	assert_int_equal(f->dir.extent[1].number, 1);
}

static void one_node_only_names_the_file(void **state)
{
	static const int nodes[] = { 3 };
	struct fixture *f = *state;

	f->cfg.nr_nodes = 1;
	f->cfg.nodes = nodes;
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), EXTENT);
	assert_int_equal(faccessat(f->tmp.fd, "arena.3.0", F_OK, 0), 0);
	f->cfg.nr_nodes = 0;
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), EXTENT);
	assert_int_equal(faccessat(f->tmp.fd, "arena.0.0", F_OK, 0), 0);
}

static void failed_grow_changes_nothing(void **state)
{
	struct fixture *f = *state;
	size_t reserved = f->arena.reserved;

	f->cfg.pages = BACKING_HUGETLB;
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), -ENOMEM);
	f->cfg.pages = BACKING_AUTO;
	f->arena.reserved = HUGE_LEN;	/* made, but does not fit the reservation */
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), -EINVAL);
	f->arena.reserved = reserved;
	assert_int_equal(f->dir.sb->nr_extents, 0);
	assert_int_equal(f->arena.span, 0);
	assert_int_equal(tmp_dir_count(&f->tmp), 0);
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), EXTENT);
}

static void reopened_arena_has_its_bytes_and_grows_on(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), EXTENT);
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), EXTENT);
	memcpy(arena_ptr(&f->arena, EXTENT + 100), "kept", 5);
	arena_unmap(&f->arena);
	assert_int_equal(arena_reserve(&f->arena, 16 * EXTENT, true), 0);
	assert_int_equal(arena_open(&f->arena, &f->dir, f->tmp.fd), 0);
	assert_int_equal(f->arena.nr_extents, 2);
	assert_string_equal(arena_ptr(&f->arena, EXTENT + 100), "kept");
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), EXTENT);
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), 0);
}

static void open_names_a_missing_file(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), EXTENT);
	arena_unmap(&f->arena);
	assert_int_equal(unlinkat(f->tmp.fd, "arena.0.0", 0), 0);
	assert_int_equal(arena_reserve(&f->arena, EXTENT, true), 0);
	assert_int_equal(arena_open(&f->arena, &f->dir, f->tmp.fd), -ENOENT);
}

static void open_refuses_more_extents_than_the_table_has(void **state)
{
	struct fixture *f = *state;

	f->dir.sb->nr_extents = geometry.max_extents + 1;
	assert_int_equal(arena_open(&f->arena, &f->dir, f->tmp.fd), -EINVAL);
	f->dir.sb->nr_extents = 0;
}

/* Map the first extent's file under a changed entry. */
static int map_changed(struct fixture *f, uint64_t base, uint64_t len)
{
	struct kvshm_extent_entry e = { .base = base, .len = len };
	struct arena a;
	int fd, ret;

	if (f->dir.sb->nr_extents == 0)
		assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), EXTENT);
	fd = openat(f->tmp.fd, "arena.0.0", O_RDONLY);
	assert_int_equal(arena_reserve(&a, 16 * EXTENT, false), 0);
	ret = arena_map_extent(&a, &e, fd);
	assert_int_equal(a.nr_extents, ret == 0);
	assert_int_equal(a.span, ret == 0 ? len : 0);
	arena_unmap(&a);
	close(fd);
	return ret;
}

static void map_refuses_entries_that_do_not_fit(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(map_changed(f, 0, EXTENT), 0);
	assert_int_equal(map_changed(f, HUGE_LEN, EXTENT), -EINVAL);	/* a gap */
	assert_int_equal(map_changed(f, 0, 0), -EINVAL);
	assert_int_equal(map_changed(f, 0, HUGE_LEN + 4096), -EINVAL);
	assert_int_equal(map_changed(f, 0, EXTENT + HUGE_LEN), -EINVAL);	/* past the file */
	assert_int_equal(map_changed(f, 0, 1ull << 60), -EINVAL);
	assert_int_equal(map_changed(f, 0, -HUGE_LEN), -EINVAL);
}

static void reader_maps_without_write(void **state)
{
	struct fixture *f = *state;
	struct arena a;
	int pipefd[2];

	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), EXTENT);
	assert_int_equal(arena_reserve(&a, EXTENT, false), 0);
	assert_int_equal(arena_open(&a, &f->dir, f->tmp.fd), 0);
	assert_int_equal(pipe(pipefd), 0);
	assert_int_equal(write(pipefd[1], "x", 1), 1);
	assert_int_equal(read(pipefd[0], arena_ptr(&a, 0), 1), -1);
	assert_int_equal(errno, EFAULT);
	close(pipefd[0]);
	close(pipefd[1]);
	arena_unmap(&a);
}

/* ---- a client's side --------------------------------------------------------------------------- */

static int extent_fd(const struct fixture *f, uint32_t n)
{
	char name[32];

	arena_extent_name(&f->dir.extent[n], name);
	return openat(f->tmp.fd, name, O_RDONLY | O_CLOEXEC);
}

static void client_maps_what_is_served(void **state)
{
	struct fixture *f = *state;
	struct arena a;
	int fds[2];

	assert_int_equal(arena_reserve(&a, 3 * EXTENT, false), 0);
	assert_false(arena_is_behind(&a, &f->dir));
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), EXTENT);
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), EXTENT);
	memset(arena_ptr(&f->arena, EXTENT), 'x', 1);
	assert_true(arena_is_behind(&a, &f->dir));
	fds[0] = extent_fd(f, 0);
	fds[1] = extent_fd(f, 1);
	assert_int_equal(arena_add_extents(&a, &f->dir, fds, 2), 0);
	assert_false(arena_is_behind(&a, &f->dir));
	assert_int_equal(a.span, 2 * EXTENT);
	assert_int_equal(*(char *)arena_ptr(&a, EXTENT), 'x');
	assert_int_equal(fcntl(fds[0], F_GETFD), -1);
	assert_int_equal(fcntl(fds[1], F_GETFD), -1);
	arena_unmap(&a);
}

static void client_takes_no_more_than_is_served(void **state)
{
	struct fixture *f = *state;
	struct arena a;
	int fds[2];

	assert_int_equal(arena_reserve(&a, 3 * EXTENT, false), 0);
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), EXTENT);
	fds[0] = extent_fd(f, 0);
	fds[1] = extent_fd(f, 0);
	assert_int_equal(arena_add_extents(&a, &f->dir, fds, 2), -EBADMSG);
	assert_int_equal(a.nr_extents, 1);
	assert_int_equal(fcntl(fds[1], F_GETFD), -1);
	arena_unmap(&a);
}

/* A count that the table has no room for: the daemon is not believed. */
static void client_reads_no_entry_past_the_table(void **state)
{
	struct fixture *f = *state;
	struct arena a;
	int fd;

	assert_int_equal(arena_reserve(&a, 3 * EXTENT, false), 0);
	assert_int_equal(arena_grow(&f->arena, &f->dir, &f->cfg), EXTENT);
	f->dir.sb->nr_extents = f->dir.max_extents + 1;
	a.nr_extents = f->dir.max_extents;
	fd = extent_fd(f, 0);
	assert_int_equal(arena_add_extents(&a, &f->dir, &fd, 1), -EBADMSG);
	f->dir.sb->nr_extents = 1;
	arena_unmap(&a);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reservation_is_large_aligned_and_unreadable),
		TEST(reservation_beyond_all_addresses_is_refused),
		TEST(grow_adds_extents_up_to_the_size),
		TEST(last_extent_is_what_is_left),
		TEST(extents_have_64_mib_at_least_by_default),
		TEST(full_extent_table_is_enospc),
		TEST(file_that_no_entry_names_is_replaced),
		TEST(nodes_take_turns_and_number_their_own_files),
		TEST(one_node_only_names_the_file),
		TEST(failed_grow_changes_nothing),
		TEST(reopened_arena_has_its_bytes_and_grows_on),
		TEST(open_names_a_missing_file),
		TEST(open_refuses_more_extents_than_the_table_has),
		TEST(map_refuses_entries_that_do_not_fit),
		TEST(reader_maps_without_write),
		TEST(client_maps_what_is_served),
		TEST(client_takes_no_more_than_is_served),
		TEST(client_reads_no_entry_past_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
