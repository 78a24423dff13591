/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <kvshm/abi.h>

#include "kvshm/arena/backing.h"
#include "kvshm/arena/mounts.h"
#include "tests/lib/tmp_dir.h"

#define LEN (4 * HUGE_LEN)

static int setup(void **state)
{
	static struct tmp_dir dir;

	tmp_dir_create(&dir);
	*state = &dir;
	return 0;
}

static int teardown(void **state)
{
	tmp_dir_destroy(*state);
	return 0;
}

static uint64_t allocated(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void file_is_whole_zero_and_private(void **state)
{
	struct tmp_dir *dir = *state;
	uint32_t kind = 0;
	struct stat st;
	char *map;
	size_t i;
	int fd;

	assert_int_equal(backing_create(dir->fd, "a", LEN, BACKING_AUTO, -1, &fd, &kind), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, LEN);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(allocated(fd) >= LEN);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_in_range(kind, KVSHM_PAGES_4K, KVSHM_PAGES_HUGETLB);
	map = backing_map(fd, LEN, PROT_READ, NULL);
	assert_non_null(map);
	assert_int_equal((uintptr_t)map % HUGE_LEN, 0);
	for (i = 0; i < LEN; i += 64)
		assert_int_equal(map[i], 0);
	munmap(map, LEN);
	close(fd);
}

static void existing_name_is_refused_and_kept(void **state)
{
	struct tmp_dir *dir = *state;
	uint32_t kind;
	int fd, other;

	assert_int_equal(backing_create(dir->fd, "b", HUGE_LEN, BACKING_AUTO, -1, &fd, &kind), 0);
	assert_int_equal(backing_create(dir->fd, "b", HUGE_LEN, BACKING_AUTO, -1, &other, &kind), -EEXIST);
	assert_int_equal(faccessat(dir->fd, "b", F_OK, 0), 0);
	close(fd);
}

static void bad_length_and_node_leave_nothing(void **state)
{
	struct tmp_dir *dir = *state;
	unsigned before = tmp_dir_count(dir);
	uint32_t kind = 99;
	int fd = 99;

	assert_int_equal(backing_create(dir->fd, "c", 0, BACKING_AUTO, -1, &fd, &kind), -EINVAL);
	assert_int_equal(backing_create(dir->fd, "c", HUGE_LEN + 4096, BACKING_AUTO, -1, &fd, &kind), -EINVAL);
	assert_int_equal(backing_create(dir->fd, "c", HUGE_LEN, BACKING_AUTO, 100000, &fd, &kind), -EINVAL);
	assert_int_equal(fd, 99);
	assert_int_equal(kind, 99);
	assert_int_equal(tmp_dir_count(dir), before);
}

static void insisting_on_hugetlb_fails_elsewhere(void **state)
{
	struct tmp_dir *dir = *state;
	unsigned before = tmp_dir_count(dir);
	uint32_t kind;
	int fd;

	assert_int_equal(backing_create(dir->fd, "d", HUGE_LEN, BACKING_HUGETLB, -1, &fd, &kind), -ENOMEM);
	assert_int_equal(tmp_dir_count(dir), before);
}

static void binding_to_node_0_works_or_says_why(void **state)
{
	struct tmp_dir *dir = *state;
	uint32_t kind;
	int fd, ret;

	ret = backing_create(dir->fd, "e", HUGE_LEN, BACKING_TMPFS, 0, &fd, &kind);
	if (ret == -EPERM || ret == -ENOSYS) {
		print_message("mbind is not allowed here\n");
		skip();
	}
	assert_int_equal(ret, 0);
	close(fd);
}

static void file_on_a_disk_has_small_pages(void **state)
{
	struct tmp_dir dir;
	uint32_t kind;
	int fd;

	assert_int_equal(tmp_dir_create_in(&dir, "."), 0);
	assert_int_equal(backing_create(dir.fd, "f", HUGE_LEN, BACKING_AUTO, -1, &fd, &kind), 0);
	assert_in_range(kind, KVSHM_PAGES_4K, KVSHM_PAGES_TMPFS_HUGE);
	assert_true(allocated(fd) >= HUGE_LEN);
	close(fd);
	tmp_dir_destroy(&dir);
}

static void map_goes_where_it_is_told(void **state)
{
	struct tmp_dir *dir = *state;
	char *room, *at;
	uint32_t kind;
	int fd;

	assert_int_equal(backing_create(dir->fd, "g", HUGE_LEN, BACKING_AUTO, -1, &fd, &kind), 0);
	room = mmap(NULL, 4 * HUGE_LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(room != MAP_FAILED);
	at = room + (-(uintptr_t)room & (HUGE_LEN - 1)) + HUGE_LEN;
	assert_ptr_equal(backing_map(fd, HUGE_LEN, PROT_READ | PROT_WRITE, at), at);
	at[HUGE_LEN - 1] = 7;
	munmap(room, 4 * HUGE_LEN);
	close(fd);
	assert_null(backing_map(-1, HUGE_LEN, PROT_READ, NULL));
	assert_int_equal(errno, EBADF);
}

static void kind_of_plain_memory_is_small_pages(void **state)
{
	void *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	assert_int_equal(backing_page_kind(p, 65536), KVSHM_PAGES_4K);
	assert_string_equal(backing_kind_name(KVSHM_PAGES_4K), "4 KiB pages");
	assert_string_equal(backing_kind_name(KVSHM_PAGES_TMPFS_HUGE), "tmpfs huge pages");
	assert_string_equal(backing_kind_name(KVSHM_PAGES_HUGETLB), "hugetlb pages");
	assert_string_equal(backing_kind_name(77), "unknown pages");
	munmap(p, 65536);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		perror(path);
	if (fd >= 0)
		close(fd);
}

/* A mount namespace of our own, as a plain user in a user namespace where we are root. */
static bool enter_namespace(void)
{
	unsigned uid = getuid(), gid = getgid();
	char map[64];

	if (unshare(CLONE_NEWNS) == 0)
		return true;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return false;
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", uid);
	write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "0 %u 1", gid);
	write_file("/proc/self/gid_map", map);
	return true;
}

/* Mount a tmpfs of our own on @path.  Return: false: not allowed here. */
static bool mount_tmpfs(const char *path, const char *options)
{
	return enter_namespace() && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("kvshm-test", path, "tmpfs", 0, options) == 0;
}

#define CHILD_SKIPS 77

/* In a process of its own: create a file on a fresh mount.  Return: its exit status. */
static int on_mount(struct tmp_dir *dir, const char *options, int (*body)(int dirfd))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int fd;

		if (!mount_tmpfs(dir->path, options))
			_exit(CHILD_SKIPS);
		fd = open(dir->path, O_RDONLY | O_DIRECTORY);
		_exit(fd < 0 ? 1 : body(fd));
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));	/* a full file system must not be SIGBUS */
	return WEXITSTATUS(status);
}

static void expect(int status)
{
	if (status == CHILD_SKIPS) {
		print_message("no mount namespace, or no huge pages of shared memory here\n");
		skip();
	}
	assert_int_equal(status, 0);
}

static int fill_past_the_end(int dirfd)
{
	struct stat st;
	uint32_t kind;
	int fd;

	if (backing_create(dirfd, "big", 8 * HUGE_LEN, BACKING_AUTO, -1, &fd, &kind) != -ENOSPC)
		return 1;
	if (fstatat(dirfd, "big", &st, 0) == 0)
		return 2;
	return backing_create(dirfd, "small", 2 * HUGE_LEN, BACKING_AUTO, -1, &fd, &kind) == 0 ? 0 : 3;
}

static void full_tmpfs_is_enospc_and_leaves_nothing(void **state)
{
	expect(on_mount(*state, "size=8m", fill_past_the_end));
}

static void full_huge_tmpfs_is_enospc_and_leaves_nothing(void **state)
{
	expect(on_mount(*state, "size=8m,huge=within_size", fill_past_the_end));
}

/* Does this kernel collapse memory at all, and shared memory too? */
static bool can_collapse(void)
{
	char word[128] = "", *p;
	FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "re");
	int ret;

	if (f && (!fgets(word, sizeof(word), f) || strstr(word, "[deny]")))
		word[0] = 0;
	if (f)
		fclose(f);
	p = mmap(NULL, 2 * HUGE_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!word[0] || p == MAP_FAILED)
		return false;
	p += -(uintptr_t)p & (HUGE_LEN - 1);
	p[0] = 1;
	ret = madvise(p, HUGE_LEN, 25);	/* MADV_COLLAPSE */
	return ret == 0;
}

static int make_huge(int dirfd)
{
	uint32_t kind;
	int fd;

	if (backing_create(dirfd, "huge", 4 * HUGE_LEN, BACKING_AUTO, -1, &fd, &kind) != 0)
		return 1;
	if (kind == KVSHM_PAGES_4K && !can_collapse())
		return CHILD_SKIPS;
	return kind == KVSHM_PAGES_TMPFS_HUGE ? 0 : 2;
}

static void tmpfs_mounted_huge_gives_huge_pages(void **state)
{
	expect(on_mount(*state, "size=64m,huge=within_size", make_huge));
}

static void plain_tmpfs_gives_huge_pages_too(void **state)
{
	expect(on_mount(*state, "size=64m", make_huge));
}

static int see_huge(int dirfd)
{
	return mount_is_huge(dirfd) ? 0 : 1;
}

static int see_plain(int dirfd)
{
	return mount_is_huge(dirfd) ? 1 : 0;
}

static void huge_option_of_the_mount_is_seen(void **state)
{
	expect(on_mount(*state, "size=8m,huge=within_size", see_huge));
	expect(on_mount(*state, "size=8m,huge=always", see_huge));
	expect(on_mount(*state, "size=8m,huge=never", see_plain));
	expect(on_mount(*state, "size=8m", see_plain));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(file_is_whole_zero_and_private),
		cmocka_unit_test(existing_name_is_refused_and_kept),
		cmocka_unit_test(bad_length_and_node_leave_nothing),
		cmocka_unit_test(insisting_on_hugetlb_fails_elsewhere),
		cmocka_unit_test(binding_to_node_0_works_or_says_why),
		cmocka_unit_test(file_on_a_disk_has_small_pages),
		cmocka_unit_test(map_goes_where_it_is_told),
		cmocka_unit_test(kind_of_plain_memory_is_small_pages),
		cmocka_unit_test(full_tmpfs_is_enospc_and_leaves_nothing),
		cmocka_unit_test(full_huge_tmpfs_is_enospc_and_leaves_nothing),
		cmocka_unit_test(tmpfs_mounted_huge_gives_huge_pages),
		cmocka_unit_test(plain_tmpfs_gives_huge_pages_too),
		cmocka_unit_test(huge_option_of_the_mount_is_seen),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
