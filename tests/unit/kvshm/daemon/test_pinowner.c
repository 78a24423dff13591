/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/daemon/pinowner.h"

static char dir[] = "/tmp/kvshm-owner.XXXXXX";
static int dirfd_;

static int set_up(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY);
	return dirfd_ < 0;
}

static int tear_down(void **state)
{
	unlinkat(dirfd_, "sessions", 0);
	close(dirfd_);
	return rmdir(dir);
}

static void entries_survive_the_daemon(void **state)
{
	struct pinowner o = { .slot = 77, .pid = 5, .start_ticks = 9, .uid = 3, .label = "x" }, got;
	int fd = pinowner_open(dirfd_);

	assert_true(fd >= 0);
	assert_int_equal(pinowner_put(fd, 4, &o), 0);
	close(fd);
	fd = pinowner_open(dirfd_);
	assert_int_equal(pinowner_find(fd, 77, &got), 1);
	assert_memory_equal(&got, &o, sizeof(o));
	assert_int_equal(pinowner_find(fd, 78, &got), 0);
	assert_int_equal(pinowner_find(fd, 0, &got), 0);
	close(fd);
}

static void a_live_process_is_known_by_pid_and_start_time(void **state)
{
	struct pinowner o = { .pid = (uint32_t)getpid(),
			      .start_ticks = process_start_ticks(getpid()) };

	assert_true(o.start_ticks > 0);
	assert_true(pinowner_is_alive(&o));
	o.start_ticks++; /* the number went to another process */
	assert_false(pinowner_is_alive(&o));
}

static void a_dead_process_is_not_alive(void **state)
{
	struct pinowner o = { 0 };
	pid_t pid = fork();

	if (pid == 0)
		pause();
	o.pid = (uint32_t)pid;
	o.start_ticks = process_start_ticks(pid);
	assert_true(pinowner_is_alive(&o));
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(pinowner_is_alive(&o));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_survive_the_daemon),
		cmocka_unit_test(a_live_process_is_known_by_pid_and_start_time),
		cmocka_unit_test(a_dead_process_is_not_alive),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
