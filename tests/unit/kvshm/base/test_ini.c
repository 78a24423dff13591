/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kvshm/base/ini.h"

static char seen[1024];

static int note(void *arg, const struct ini_entry *e, char *error)
{
	size_t n = strlen(seen);

	snprintf(seen + n, sizeof(seen) - n, "%u:%s.%s=%s;", e->line, e->section, e->key, e->value);
	if (arg && !strcmp(e->key, arg)) {
		snprintf(error, INI_ERROR_LEN, "no such key");
		return -ENOENT;
	}
	return 0;
}

static int parse(const char *text, void *stop_at, char *error)
{
	seen[0] = '\0';
	return ini_parse("x.conf", text, strlen(text), note, stop_at, error);
}

static void entries_come_with_their_section_and_line(void **state)
{
	char error[INI_ERROR_LEN];

	assert_int_equal(parse("# c\n[a]\nk = v w \n\n[ b ]\nx=\ny=1#2 # c\n", NULL, error), 0);
	assert_string_equal(seen, "3:a.k=v w;6:b.x=;7:b.y=1#2;");
}

static void a_last_line_without_newline_counts(void **state)
{
	char error[INI_ERROR_LEN];

	assert_int_equal(parse("[a]\nk=v", NULL, error), 0);
	assert_string_equal(seen, "2:a.k=v;");
}

static void a_malformed_line_is_named_by_file_and_line(void **state)
{
	static const char *const bad[] = { "[a]\nword\n", "[a]\n=v\n", "\nk=v\n", "[a]\n[b\n",
					   "[a]\n[]\n" };
	char error[INI_ERROR_LEN];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(bad[i], NULL, error), -EINVAL);
		assert_memory_equal(error, "x.conf:2: ", 10);
	}
}

static void a_line_without_end_is_refused(void **state)
{
	char text[INI_LINE_LEN + 8], error[INI_ERROR_LEN];

	memset(text, 'a', sizeof(text));
	assert_int_equal(ini_parse("x", text, sizeof(text), note, NULL, error), -EINVAL);
	assert_string_equal(error, "x:1: line too long");
	assert_int_equal(ini_parse("x", "[a]\0\n", 5, note, NULL, error), -EINVAL);
}

static void the_callback_stops_the_parse(void **state)
{
	char error[INI_ERROR_LEN];

	assert_int_equal(parse("[a]\nk=1\nstop=2\nz=3\n", "stop", error), -ENOENT);
	assert_string_equal(error, "no such key");
	assert_string_equal(seen, "2:a.k=1;3:a.stop=2;");
}

static void a_missing_file_is_named(void **state)
{
	char error[INI_ERROR_LEN];

	assert_int_equal(ini_read("/nonexistent/x.conf", note, NULL, error), -ENOENT);
	assert_non_null(strstr(error, "/nonexistent/x.conf"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_come_with_their_section_and_line),
		cmocka_unit_test(a_last_line_without_newline_counts),
		cmocka_unit_test(a_malformed_line_is_named_by_file_and_line),
		cmocka_unit_test(a_line_without_end_is_refused),
		cmocka_unit_test(the_callback_stops_the_parse),
		cmocka_unit_test(a_missing_file_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
