/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/tmp_dir.h"
#include "utils/kv_lines.h"

#define LINE_LEN (1u << 20)
#define DUE_MAX (64u << 20)		/* as in kv_lines.c */

static struct tmp_dir tmp;
static struct kv_lines *l;
static char where[96], line[LINE_LEN];
static const char *greeting;

static int begin(void **state)
{
	(void)state;
	tmp_dir_create(&tmp);
	snprintf(where, sizeof(where), "%s/lines", tmp.path);
	memset(line, 'x', sizeof(line));
	greeting = "hello\n";
	return kv_lines_open(where, &l);
}

static int end(void **state)
{
	(void)state;
	l = kv_lines_close(l);
	assert_int_equal(access(where, F_OK), -1);
	tmp_dir_destroy(&tmp);
	return 0;
}

static char *greet(void *arg, size_t *ret_len)
{
	(void)arg;
	*ret_len = greeting ? strlen(greeting) : 0;
	return greeting ? strdup(greeting) : NULL;
}

static void serve(void)
{
	kv_lines_serve(l, greet, NULL);
}

static int come(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(a.sun_path, where, strlen(where));
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	serve();
	return fd;
}

static void hears(int fd, const char *want)
{
	char got[64] = "";

	assert_int_equal(recv(fd, got, strlen(want), MSG_WAITALL), strlen(want));
	assert_string_equal(got, want);
}

static void who_comes_is_greeted_and_hears_what_follows(void **state)
{
	int first = come(), second;

	(void)state;
	hears(first, "hello\n");
	kv_lines_send(l, "one\n", 4);
	greeting = NULL;
	second = come();
	kv_lines_send(l, "two\n", 4);
	hears(first, "one\ntwo\n");
	hears(second, "two\n");
	close(first);
	close(second);
	serve();
	assert_false(kv_lines_has_listeners(l));
}

static void who_does_not_read_is_waited_for_up_to_a_limit_and_nobody_else_notices(void **state)
{
	int lazy = come(), busy;
	unsigned nr = 0;

	(void)state;
	greeting = NULL;
	for (; nr < DUE_MAX / LINE_LEN - 1; nr++)
		kv_lines_send(l, line, LINE_LEN);
	assert_true(kv_lines_has_listeners(l));
	busy = come();
	kv_lines_send(l, "now\n", 4);
	hears(busy, "now\n");
	close(busy);
	serve();
	assert_true(kv_lines_has_listeners(l));
	for (nr = 0; nr < 3; nr++)
		kv_lines_send(l, line, LINE_LEN);
	assert_false(kv_lines_has_listeners(l));
	close(lazy);
}

static void what_a_listener_says_is_passed_over(void **state)
{
	int fd = come();

	(void)state;
	hears(fd, "hello\n");
	assert_int_equal(send(fd, line, 4096, 0), 4096);
	serve();
	kv_lines_send(l, "one\n", 4);
	hears(fd, "one\n");
	close(fd);
}

static void more_than_there_is_room_for_wait_outside(void **state)
{
	int fd[KV_LINES_MAX + 1];

	(void)state;
	for (unsigned i = 0; i <= KV_LINES_MAX; i++)
		fd[i] = come();
	assert_int_equal(recv(fd[KV_LINES_MAX], line, 1, MSG_DONTWAIT), -1);
	close(fd[0]);
	serve();
	hears(fd[KV_LINES_MAX], "hello\n");
	for (unsigned i = 1; i <= KV_LINES_MAX; i++)
		close(fd[i]);
}

static void a_place_in_use_is_refused(void **state)
{
	struct kv_lines *other = NULL;

	(void)state;
	assert_int_equal(kv_lines_open(where, &other), -EADDRINUSE);
	assert_null(other);
	/* The look whether somebody serves it has come and gone. */
	serve();
	serve();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(who_comes_is_greeted_and_hears_what_follows),
		T(who_does_not_read_is_waited_for_up_to_a_limit_and_nobody_else_notices),
		T(what_a_listener_says_is_passed_over),
		T(more_than_there_is_room_for_wait_outside),
		T(a_place_in_use_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
