/* SPDX-License-Identifier: Apache-2.0 */
/* test_options.c - options come to where their rows say, and what ends a program says so */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <getopt.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/options.h"

#define WORDS_MAX 12

struct got {
	bool flag;
	int count;
	const char *text;
	uint64_t whole;
	unsigned octal, name;
	double seconds;
	char called[40];		/* names and texts of calls */
};

static bool has_usage = true;
static unsigned helps;			/* usage texts that were asked for */

static void usage(FILE *out)
{
	helps += out == stdout ? 1 : 100;
}

static int call(void *to, const char *name, const char *text)
{
	struct got *g = to;
	size_t len = strlen(g->called);

	snprintf(g->called + len, sizeof(g->called) - len, "%s=%s ", name, text);
	return *text == '!' ? -1 : 0;
}

/* The words of @line as options of a program; what is told goes nowhere. */
static int parse(const char *line, unsigned max_words, struct got *ret)
{
	static const char *const names[] = { "red", "green", NULL };
	const struct option_row rows[] = {
		FLAG_ROW("flag", 'f', &ret->flag),
		COUNT_ROW("count", 'c', &ret->count),
		TEXT_ROW("text", 't', &ret->text),
		WHOLE_ROW("whole", 'w', &ret->whole, 3, 5000),
		OCTAL_ROW("octal", 0, &ret->octal, 0777),
		SECONDS_ROW("seconds", 's', &ret->seconds, 0.5, 9, 2),
		NAME_ROW("name", 0, &ret->name, names),
		CALL_ROW("call", 'x', ret, call),
		{ 0 },
	};
	const struct option_table table = { "test", has_usage ? usage : NULL, rows, max_words };
	static char copy[200];
	char *argv[WORDS_MAX + 1] = { "test" }, *at = copy;
	int argc = 1, keep = dup(STDERR_FILENO), end;

	*ret = (struct got){ 0 };
	helps = 0;
	snprintf(copy, sizeof(copy), "%s", line);
	while (argc < WORDS_MAX && (argv[argc] = strsep(&at, " ")))
		argc++;
	argv[argc] = NULL;
	optind = 0;
	assert_non_null(freopen("/dev/null", "w", stderr));
	end = options_parse(&table, argc, argv);
	fflush(stderr);
	dup2(keep, STDERR_FILENO);
	close(keep);
	return end;
}

static void each_kind_comes_to_where_its_row_says(void **state)
{
	struct got g;

	assert_int_equal(parse("-f -cc --count --text=a -w 2K --octal 660 -s0.5 --name green", 0, &g), OPTIONS_GO_ON);
	assert_true(g.flag);
	assert_int_equal(g.count, 3);
	assert_string_equal(g.text, "a");
	assert_int_equal(g.whole, 2048);
	assert_int_equal(g.octal, 0660);
	assert_true(g.seconds == 0.5);
	assert_int_equal(g.name, 1);
}

static void a_value_that_may_be_missing_has_another(void **state)
{
	struct got g;

	assert_int_equal(parse("--seconds", 0, &g), OPTIONS_GO_ON);
	assert_true(g.seconds == 2);
}

static void help_is_told_and_ends_the_program(void **state)
{
	struct got g;

	assert_int_equal(parse("-h", 0, &g), OPTIONS_HELPED);
	assert_int_equal(helps, 1);
	assert_int_equal(parse("--help --octal 9", 0, &g), OPTIONS_HELPED);
	assert_int_equal(helps, 1);
}

static void what_does_not_fit_its_row_is_refused(void **state)
{
	static const char *const bad[] = { "-w 2", "-w 5001", "-w x", "--octal 8", "--octal 1000", "-s9.5", "--name blue" };
	struct got g;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse(bad[i], 0, &g), OPTIONS_REFUSED);
		assert_int_equal(helps, 0);
	}
}

static void an_option_that_is_not_there_is_refused_with_the_usage(void **state)
{
	static const char *const bad[] = { "--nope", "-z", "-t", "--flag=1" };
	struct got g;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse(bad[i], 0, &g), OPTIONS_REFUSED);
		assert_int_equal(helps, 100);
	}
}

static void calls_come_as_often_as_they_are_there(void **state)
{
	struct got g;

	assert_int_equal(parse("--call a -x b", 0, &g), OPTIONS_GO_ON);
	assert_string_equal(g.called, "call=a call=b ");
	assert_int_equal(parse("--call ! -x b", 0, &g), OPTIONS_REFUSED);
	assert_string_equal(g.called, "call=! ");
}

static void without_a_usage_text_help_is_no_option(void **state)
{
	struct got g;

	has_usage = false;
	assert_int_equal(parse("-f", 0, &g), OPTIONS_GO_ON);
	assert_int_equal(parse("--help", 0, &g), OPTIONS_REFUSED);
	assert_int_equal(parse("-h", 0, &g), OPTIONS_REFUSED);
	has_usage = true;
}

static void words_are_left_up_to_a_number(void **state)
{
	struct got g;

	assert_int_equal(parse("one -f two", 2, &g), OPTIONS_GO_ON);
	assert_int_equal(options_words(4), 2);
	assert_int_equal(parse("one -f two", 1, &g), OPTIONS_REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_comes_to_where_its_row_says),
		cmocka_unit_test(a_value_that_may_be_missing_has_another),
		cmocka_unit_test(help_is_told_and_ends_the_program),
		cmocka_unit_test(what_does_not_fit_its_row_is_refused),
		cmocka_unit_test(an_option_that_is_not_there_is_refused_with_the_usage),
		cmocka_unit_test(calls_come_as_often_as_they_are_there),
		cmocka_unit_test(without_a_usage_text_help_is_no_option),
		cmocka_unit_test(words_are_left_up_to_a_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
