/* SPDX-License-Identifier: Apache-2.0 */
/* test_pinfile.c - pin files: made, locked, unlocked by death */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kvshm/pin/pin.h"

static char path[64];
static int dirfd_;

static int setup(void **state)
{
	snprintf(path, sizeof(path), "/tmp/kvshm-test-pin-XXXXXX");
	if (!mkdtemp(path))
		return -1;
	dirfd_ = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dirfd_ < 0;
}

static int teardown(void **state)
{
	unlinkat(dirfd_, "pins.7", 0);
	close(dirfd_);
	return rmdir(path);
}

static void a_new_file_is_open_and_empty(void **state)
{
	uint64_t word[64];
	struct stat st;
	int fd, i;

	fd = pinfile_create(dirfd_, 7, 64);
	assert_true(fd >= 0);
	assert_int_equal(fstatat(dirfd_, "pins.7", &st, 0), 0);
	assert_int_equal(st.st_size, sizeof(word));
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(pread(fd, word, sizeof(word), 0), sizeof(word));
	assert_int_equal(word[0], KVSHM_PINFILE_OPEN);
	for (i = 1; i < 64; i++)
		assert_int_equal(word[i], 0);
	close(fd);
}

static void an_existing_number_is_refused(void **state)
{
	int fd = pinfile_create(dirfd_, 7, 64);

	assert_true(fd >= 0);
	assert_int_equal(pinfile_create(dirfd_, 7, 64), -EEXIST);
	close(fd);
}

static void a_file_without_room_for_a_pin_is_refused(void **state)
{
	assert_int_equal(pinfile_create(dirfd_, 7, 1), -EINVAL);
	assert_int_equal(pinfile_create(-1, 7, 64), -EBADF);
}

/* A child that locks the file, tells its state through the pipe, and waits to be killed. */
static pid_t locker(int fd)
{
	int p[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (!pid) {
		c = pinfile_lock(fd) == 0;
		if (write(p[1], &c, 1) == 1)
			pause();
		_exit(1);
	}
	close(p[1]);
	assert_int_equal(read(p[0], &c, 1), 1);
	close(p[0]);
	assert_int_equal(c, 1);
	return pid;
}

static void the_lock_names_its_owner_and_goes_with_it(void **state)
{
	int fd = pinfile_create(dirfd_, 7, 64), who = 0;
	pid_t pid;

	assert_int_equal(pinfile_is_locked(fd, &who), 0);
	pid = locker(fd);
	assert_int_equal(pinfile_is_locked(fd, &who), 1);
	assert_int_equal(who, pid);
	assert_int_equal(pinfile_is_locked(fd, NULL), 1);
	assert_int_equal(pinfile_lock(fd), -EAGAIN);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(pinfile_is_locked(fd, &who), 0);
	close(fd);
}

static void a_forked_child_does_not_hold_the_lock(void **state)
{
	int fd = pinfile_create(dirfd_, 7, 64), out[2];
	pid_t pid, child;
	char c;

	/* The locker forks and exits; its child lives on and reports. */
	assert_int_equal(pipe(out), 0);
	pid = fork();
	if (!pid) {
		if (pinfile_lock(fd) < 0)
			_exit(1);
		child = fork();
		if (child) {
			if (write(out[1], &child, sizeof(child)) != sizeof(child))
				_exit(1);
			_exit(0);
		}
		close(out[1]);
		pause();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(out[1]);
	assert_int_equal(read(out[0], &child, sizeof(child)), sizeof(child));
	assert_int_equal(pinfile_is_locked(fd, NULL), 0);
	kill(child, SIGKILL);
	assert_int_equal(read(out[0], &c, 1), 0);
	close(out[0]);
	close(fd);
}

static void assert_child_is_fine(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void a_client_maps_its_file_and_locks_it(void **state)
{
	int fd = pinfile_create(dirfd_, 7, 64);
	struct pin_table t;
	uint64_t word;
	pid_t pid;

	assert_int_equal(pinfile_map(fd, 64, 1000, &t), 0);
	assert_int_equal(t.nr, 64);
	assert_int_equal(t.nr_free, 63);
	assert_int_equal(t.quota_bytes, 1000);
	t.word[5] = 77;
	assert_int_equal(pread(fd, &word, sizeof(word), 5 * sizeof(word)), sizeof(word));
	assert_int_equal(word, 77);
	pid = fork();
	if (!pid)
		_exit(pinfile_is_locked(fd, NULL) != 1);
	assert_child_is_fine(pid);
	pinfile_unmap(&t);
	assert_null(t.word);
	pin_table_fini(&t);
	close(fd);
}

static void a_file_that_another_process_holds_is_not_mapped(void **state)
{
	int fd = pinfile_create(dirfd_, 7, 64);
	struct pin_table t = { .nr = 5 };
	pid_t pid = locker(fd);

	assert_int_equal(pinfile_map(fd, 64, 0, &t), -EAGAIN);
	assert_int_equal(t.nr, 5);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(fd);
}

/* What the daemon says of the file is believed only as far as the file goes. */
static void a_file_shorter_than_its_words_is_not_mapped(void **state)
{
	int fd = pinfile_create(dirfd_, 7, 64);
	struct pin_table t;

	assert_int_equal(pinfile_map(fd, 65, 0, &t), -EBADMSG);
	assert_int_equal(pinfile_is_locked(fd, NULL), 0);
	close(fd);
}

static void numbers_of_words_that_no_file_has_are_refused(void **state)
{
	int fd = pinfile_create(dirfd_, 7, 64);
	struct pin_table t;

	assert_int_equal(pinfile_map(fd, 0, 0, &t), -EBADMSG);
	assert_int_equal(pinfile_map(fd, 1, 0, &t), -EBADMSG);
	assert_int_equal(ftruncate(fd, ((1ll << 24) + 1) * 8), 0);
	assert_int_equal(pinfile_map(fd, (1u << 24) + 1, 0, &t), -EBADMSG);
	close(fd);
}

static void no_file_is_an_error(void **state)
{
	struct pin_table t;

	assert_int_equal(pinfile_is_locked(-1, NULL), -EBADF);
	assert_int_equal(pinfile_lock(-1), -EBADF);
	assert_int_equal(pinfile_map(-1, 64, 0, &t), -EBADF);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_new_file_is_open_and_empty),
		T(an_existing_number_is_refused),
		T(a_file_without_room_for_a_pin_is_refused),
		T(the_lock_names_its_owner_and_goes_with_it),
		T(a_forked_child_does_not_hold_the_lock),
		T(a_client_maps_its_file_and_locks_it),
		T(a_file_that_another_process_holds_is_not_mapped),
		T(a_file_shorter_than_its_words_is_not_mapped),
		T(numbers_of_words_that_no_file_has_are_refused),
		T(no_file_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
