/* SPDX-License-Identifier: Apache-2.0 */
/* test_instance.c - where socket and statistics page of an instance are looked for */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/instance.h"
#include "tests/lib/tmp_dir.h"

static struct tmp_dir tmp;
static char run[300], path[400], buf[512];

static int setup(void **state)
{
	tmp_dir_create(&tmp);
	snprintf(run, sizeof(run), "%s/kvshm", tmp.path);
	mkdir(run, 0700);
	snprintf(run, sizeof(run), "%s/kvshm/lab", tmp.path);
	mkdir(run, 0700);
	setenv("XDG_RUNTIME_DIR", tmp.path, 1);
	unsetenv("KVSHM_SOCKET");
	return 0;
}

static int teardown(void **state)
{
	tmp_dir_destroy(&tmp);
	return 0;
}

static void touch(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", run, name);
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static void names_are_short_and_plain(void **state)
{
	assert_true(instance_name_ok("lab-1_a.b"));
	assert_false(instance_name_ok(""));
	assert_false(instance_name_ok(".hidden"));
	assert_false(instance_name_ok("a/b"));
	assert_false(instance_name_ok("123456789012345678901234567890123"));
	assert_int_equal(instance_socket(NULL, "a/b", buf, sizeof(buf)), -EINVAL);
}

static void an_explicit_path_is_taken_as_it_is(void **state)
{
	setenv("KVSHM_SOCKET", "/from/env", 1);
	assert_int_equal(instance_socket("/no/such.sock", NULL, buf, sizeof(buf)), 0);
	assert_string_equal(buf, "/no/such.sock");
	assert_int_equal(instance_stats("/no/such.sock", NULL, buf, sizeof(buf)), 0);
	assert_string_equal(buf, "/no/stats");
	assert_int_equal(instance_stats("such.sock", NULL, buf, sizeof(buf)), 0);
	assert_string_equal(buf, "stats");
	assert_int_equal(instance_socket("/no/such.sock", NULL, buf, 5), -ENAMETOOLONG);
	unsetenv("KVSHM_SOCKET");
}

static void the_environment_counts_unless_an_instance_is_named(void **state)
{
	setenv("KVSHM_SOCKET", "/from/env", 1);
	assert_int_equal(instance_socket(NULL, NULL, buf, sizeof(buf)), 0);
	assert_string_equal(buf, "/from/env");
	assert_int_equal(instance_socket(NULL, "nowhere", buf, sizeof(buf)), -ENOENT);
	unsetenv("KVSHM_SOCKET");
}

static void a_stopped_daemon_is_found_by_its_page(void **state)
{
	assert_int_equal(instance_stats(NULL, "lab", buf, sizeof(buf)), -ENOENT);
	touch("stats");
	assert_int_equal(instance_stats(NULL, "lab", buf, sizeof(buf)), 0);
	assert_string_equal(buf, path);
	assert_int_equal(instance_socket(NULL, "lab", buf, sizeof(buf)), -ENOENT);
	touch("kvshm.sock");
	assert_int_equal(instance_socket(NULL, "lab", buf, sizeof(buf)), 0);
	assert_string_equal(buf, path);
}

static void a_directory_of_somebody_else_is_passed_over(void **state)
{
	char link[400];

	/* A link stands for what anybody may put into /tmp. */
	snprintf(link, sizeof(link), "%s/kvshm/linked", tmp.path);
	assert_int_equal(symlink(run, link), 0);
	assert_int_equal(instance_stats(NULL, "linked", buf, sizeof(buf)), -ENOENT);
	unlink(link);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_short_and_plain),
		cmocka_unit_test(an_explicit_path_is_taken_as_it_is),
		cmocka_unit_test(the_environment_counts_unless_an_instance_is_named),
		cmocka_unit_test(a_stopped_daemon_is_found_by_its_page),
		cmocka_unit_test(a_directory_of_somebody_else_is_passed_over),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
