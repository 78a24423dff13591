/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/daemon/instance.h"

static char root[64];
static struct conf conf;
static struct instance in;
static struct diag diag;

static void set_path(char *field, const char *name)
{
	snprintf(field, CONF_TEXT_LEN, "%s/%s", root, name);
}

static int set_up(void **state)
{
	snprintf(root, sizeof(root), "/tmp/kvshm-inst.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	unsetenv("RUNTIME_DIRECTORY");
	conf_init(&conf);
	set_path(conf.run_dir, "run");
	set_path(conf.dir, "mem");
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = { "run/lock", "mem/lock", "run", "mem", "" };
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", root, names[i]);
		remove(path);
	}
	return 0;
}

static void directories_are_made_and_locked(void **state)
{
	struct instance second;
	struct stat st;

	assert_int_equal(instance_open(&in, &conf, &diag), 0);
	assert_int_equal(fstat(in.mem_fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_string_equal(in.pins_dir, in.mem_dir);
	assert_int_equal(instance_open(&second, &conf, &diag), -1);
	assert_int_equal(diag.status, EX_TEMPFAIL);
	assert_non_null(strstr(diag.text, "another kvshmd"));
	instance_close(&in);
	assert_int_equal(instance_open(&in, &conf, &diag), 0);
	instance_close(&in);
}

static void the_memory_is_locked_though_the_sockets_differ(void **state)
{
	struct instance second;
	struct conf other = conf;

	set_path(other.run_dir, "mem");
	assert_int_equal(instance_open(&in, &conf, &diag), 0);
	assert_int_equal(instance_open(&second, &other, &diag), -1);
	assert_int_equal(diag.status, EX_TEMPFAIL);
	instance_close(&in);
}

static void one_directory_for_everything_works(void **state)
{
	snprintf(conf.run_dir, sizeof(conf.run_dir), "%s", conf.dir);
	assert_int_equal(instance_open(&in, &conf, &diag), 0);
	instance_close(&in);
}

static void a_directory_that_others_may_write_is_refused(void **state)
{
	assert_int_equal(mkdir(conf.dir, 0700), 0);
	assert_int_equal(chmod(conf.dir, 0770), 0);
	assert_int_equal(instance_open(&in, &conf, &diag), -1);
	assert_int_equal(diag.status, EX_NOPERM);
	assert_non_null(strstr(diag.text, "mode 0770"));
}

static void a_link_in_place_of_the_directory_is_refused(void **state)
{
	assert_int_equal(symlink(root, conf.dir), 0);
	assert_int_equal(instance_open(&in, &conf, &diag), -1);
	remove(conf.dir);
}

static void an_explicit_socket_names_the_run_directory(void **state)
{
	conf.run_dir[0] = '\0';
	set_path(conf.socket, "run/s.sock");
	assert_int_equal(instance_name(&in, &conf, &diag), 0);
	assert_string_equal(in.socket, conf.socket);
	assert_memory_equal(in.run_dir + strlen(in.run_dir) - 4, "/run", 5);
	conf.socket[0] = '\0';
}

static void a_service_uses_the_directory_it_was_given(void **state)
{
	conf.run_dir[0] = '\0';
	setenv("RUNTIME_DIRECTORY", "/run/kvshm/main", 1);
	assert_int_equal(instance_name(&in, &conf, &diag), 0);
	unsetenv("RUNTIME_DIRECTORY");
	assert_string_equal(in.socket, "/run/kvshm/main/kvshm.sock");
	assert_true(in.is_system);
}

static void a_size_as_configured_is_rounded_up(void **state)
{
	uint64_t size;

	assert_int_equal(instance_open(&in, &conf, &diag), 0);
	conf.size.bytes = (64ull << 20) + 1;
	assert_int_equal(instance_size(&in, &conf, &size, &diag), 0);
	assert_int_equal(size, 66ull << 20);
	conf.size.bytes = 4096;
	assert_int_equal(instance_size(&in, &conf, &size, &diag), -1);
	assert_int_equal(diag.status, EX_CONFIG);
	instance_close(&in);
}

static void the_automatic_size_keeps_to_a_quarter_of_memory(void **state)
{
	uint64_t size;
	int ret;

	assert_int_equal(instance_open(&in, &conf, &diag), 0);
	ret = instance_size(&in, &conf, &size, &diag);
	if (ret < 0) {
		assert_int_equal(diag.status, EX_UNAVAILABLE);
		assert_non_null(strstr(diag.text, "--size"));
	} else {
		assert_true(size >= 256ull << 20 && size <= 4ull << 30);
		assert_true(size <= memsize_available() / 3);
	}
	instance_close(&in);
}

#define WITH_DIRS(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DIRS(directories_are_made_and_locked),
		WITH_DIRS(the_memory_is_locked_though_the_sockets_differ),
		WITH_DIRS(one_directory_for_everything_works),
		WITH_DIRS(a_directory_that_others_may_write_is_refused),
		WITH_DIRS(a_link_in_place_of_the_directory_is_refused),
		WITH_DIRS(an_explicit_socket_names_the_run_directory),
		WITH_DIRS(a_service_uses_the_directory_it_was_given),
		WITH_DIRS(a_size_as_configured_is_rounded_up),
		WITH_DIRS(the_automatic_size_keeps_to_a_quarter_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
