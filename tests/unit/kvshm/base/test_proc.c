/* SPDX-License-Identifier: Apache-2.0 */
/* test_proc.c - reading /proc, with names that are made to mislead */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kvshm/base/proc.h"

static void a_process_finds_itself_running(void **state)
{
	struct proc_stat st;

	assert_int_equal(proc_stat_read(getpid(), &st), 0);
	assert_int_equal(st.state, 'R');
	assert_true(st.start_ticks > 0);
}

static void a_name_of_brackets_and_spaces_misleads_nobody(void **state)
{
	struct proc_stat before, after;

	assert_int_equal(proc_stat_read(getpid(), &before), 0);
	assert_int_equal(prctl(PR_SET_NAME, "a) Z 1 (b) 2"), 0);
	assert_int_equal(proc_stat_read(getpid(), &after), 0);
	prctl(PR_SET_NAME, "test_proc");
	assert_int_equal(after.state, 'R');
	assert_int_equal(after.start_ticks, before.start_ticks);
}

static void processor_time_grows_with_work(void **state)
{
	struct proc_stat st, first;

	assert_int_equal(proc_stat_read(getpid(), &first), 0);
	/* Bounded by the runner; a tick is 10 ms of work. */
	do
		assert_int_equal(proc_stat_read(getpid(), &st), 0);
	while (st.cpu_ticks < first.cpu_ticks + 2);
	assert_int_equal(st.start_ticks, first.start_ticks);
}

static void a_process_that_is_gone_is_an_error_and_leaves_the_result_alone(void **state)
{
	struct proc_stat st = { .state = '?', .cpu_ticks = 1, .start_ticks = 2 };
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(proc_stat_read(pid, &st) < 0);
	assert_int_equal(st.state, '?');
	assert_int_equal(st.start_ticks, 2);
}

static void a_stopped_process_says_so(void **state)
{
	struct proc_stat st;
	pid_t pid = fork();

	if (pid == 0) {
		raise(SIGSTOP);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
	assert_int_equal(proc_stat_read(pid, &st), 0);
	assert_int_equal(st.state, 'T');
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void the_boot_has_one_id(void **state)
{
	const uint8_t none[16] = { 0 };
	uint8_t a[16], b[16];

	assert_int_equal(proc_boot_id(a), 0);
	assert_int_equal(proc_boot_id(b), 0);
	assert_memory_equal(a, b, sizeof(a));
	assert_memory_not_equal(a, none, sizeof(a));
}

static void the_boot_was_before_now_and_after_the_epoch_of_this_code(void **state)
{
	struct timespec up;
	uint64_t boot = proc_boot_time();

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &up);
	assert_in_range(boot, 1600000000, (uint64_t)time(NULL) - (uint64_t)up.tv_sec + 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_process_finds_itself_running),
		cmocka_unit_test(a_name_of_brackets_and_spaces_misleads_nobody),
		cmocka_unit_test(processor_time_grows_with_work),
		cmocka_unit_test(a_process_that_is_gone_is_an_error_and_leaves_the_result_alone),
		cmocka_unit_test(a_stopped_process_says_so),
		cmocka_unit_test(the_boot_has_one_id),
		cmocka_unit_test(the_boot_was_before_now_and_after_the_epoch_of_this_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
