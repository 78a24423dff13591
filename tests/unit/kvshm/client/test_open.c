/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

#include <dirent.h>
#include <sys/resource.h>

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static unsigned count_maps(void)
{
	FILE *m = fopen("/proc/self/maps", "r");
	unsigned n = 0;
	char line[512];

	while (fgets(line, sizeof(line), m))
		n += strstr(line, "fake") != NULL || strstr(line, "kvshm-") != NULL;
	fclose(m);
	return n;
}

static void the_environment_names_the_socket(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = NULL;

	setenv("KVSHM_SOCKET", f->path, 1);
	assert_int_equal(kvshm_open(NULL, &k), 0);
	kvshm_close(k);
	unsetenv("KVSHM_SOCKET");
}

static void a_closed_handle_leaves_no_descriptor_and_no_map(void **state)
{
	struct fake *f = *state;
	unsigned maps = count_maps(), fds = count_fds(), i;
	uint64_t end;

	for (i = 0; i < 20; i++) {
		struct kvshm *k = fake_open(f, i % 2 ? KVSHM_OPEN_UNTRUSTED : 0);

		fake_put(k, fake_attach_ns(k), i, 2);
		kvshm_close(k);
	}
	/* The daemon's thread lets go of the last session when it sees the hang-up. */
	end = clock_ns() + FAKE_SOON_NS;
	while ((count_maps() > maps || count_fds() > fds) && clock_ns() < end)
		sched_yield();
	assert_int_equal(count_fds(), fds);
	assert_int_equal(count_maps(), maps);
}

static void an_older_callers_options_are_understood(void **state)
{
	struct fake *f = *state;
	struct kvshm_options o = { .sz = offsetof(struct kvshm_options, socket), .socket = "/wrong" };
	struct kvshm *k = NULL;

	setenv("KVSHM_SOCKET", f->path, 1);
	assert_int_equal(kvshm_open(&o, &k), 0);
	kvshm_close(k);
	o.sz = 1;
	assert_int_equal(kvshm_open(&o, &k), -EINVAL);
	o.sz = sizeof(o) + 1;
	assert_int_equal(kvshm_open(&o, &k), -EINVAL);
	unsetenv("KVSHM_SOCKET");
}

static void no_descriptor_is_left_to_a_program_that_is_started(void **state)
{
	struct kvshm *k = fake_open(*state, KVSHM_OPEN_UNTRUSTED);
	char cmd[200];

	fake_put(k, fake_attach_ns(k), 1, 1);
	/* A shell sees what it inherits: the standard three, and the listing's own. */
	snprintf(cmd, sizeof(cmd), "ls -l /proc/self/fd | grep -q -e memfd -e socket: -e eventfd");
	assert_int_not_equal(system(cmd), 0);
	kvshm_close(k);
}

static void without_descriptors_open_says_so(void **state)
{
	struct fake *f = *state;
	struct kvshm_options o = { .sz = sizeof(o), .socket = f->path, .timeout_ms = 5000 };
	struct kvshm *k = NULL;
	struct rlimit was, few;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	few = was;
	few.rlim_cur = (rlim_t)dup(0) + 3;	/* the next free number, and two more */
	close((int)few.rlim_cur - 3);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(kvshm_open(&o, &k), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_null(k);
	assert_int_equal(kvshm_open(&o, &k), 0);
	kvshm_close(k);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_environment_names_the_socket),
		T(a_closed_handle_leaves_no_descriptor_and_no_map),
		T(an_older_callers_options_are_understood),
		T(without_descriptors_open_says_so),
		T(no_descriptor_is_left_to_a_program_that_is_started),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
