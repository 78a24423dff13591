/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/arena/backing.h"
#include "kvshm/daemon/conf.h"

static char path[64];

static void write_file(const char *text)
{
	int fd;

	snprintf(path, sizeof(path), "/tmp/kvshm-conf.XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static int read_text(struct conf *c, const char *text, struct diag *d)
{
	int ret;

	write_file(text);
	ret = conf_read(c, path, d);
	unlink(path);
	return ret;
}

static int load(struct conf *c, struct diag *d, char **args)
{
	char *argv[16] = { "kvshmd", "--config", "/dev/null" };
	int argc = 3;

	while (*args)
		argv[argc++] = *args++;
	return conf_load(c, argc, argv, d);
}

static void a_file_sets_what_it_names_and_says_where(void **state)
{
	struct conf c;
	struct diag d;

	conf_init(&c);
	assert_int_equal(read_text(&c,
				   "[arena]\nsize=3G\npages=tmpfs\n[clients]\ntrusted_uids=991, 7\n"
				   "handshake_timeout=500ms\npin_quota=10%\n",
				   &d),
			 0);
	assert_int_equal(c.size.bytes, 3ull << 30);
	assert_int_equal(c.pages, BACKING_TMPFS);
	assert_int_equal(c.trusted.nr, 2);
	assert_int_equal(c.trusted.uid[1], 7);
	assert_int_equal(c.handshake_ns, 500000000);
	assert_int_equal(c.pin_quota.percent, 10);
	assert_false(conf_is_default(&c, "arena", "size"));
	assert_true(conf_is_default(&c, "arena", "dir"));
}

static void an_unknown_key_is_an_error_with_file_and_line(void **state)
{
	struct conf c;
	struct diag d;
	char want[128];

	conf_init(&c);
	assert_int_equal(read_text(&c, "[arena]\n\nsiez=1G\n", &d), -1);
	assert_int_equal(d.status, EX_CONFIG);
	snprintf(want, sizeof(want), "%s:3: unknown key arena.siez", path);
	assert_string_equal(d.text, want);
}

static void an_unknown_key_passes_when_lenient(void **state)
{
	struct conf c;
	struct diag d;

	conf_init(&c);
	c.is_lenient = true;
	assert_int_equal(read_text(&c, "[future]\nx=1\n[arena]\nsize=1G\n", &d), 0);
	assert_int_equal(c.nr_warnings, 1);
	assert_int_equal(c.size.bytes, 1ull << 30);
}

static void a_bad_value_names_key_value_and_what_it_should_be(void **state)
{
	static const struct {
		const char *text, *want;
	} bad[] = {
		{ "[arena]\nsize=many\n", ":2: arena.size: 'many' is not a size" },
		{ "[arena]\nsize=101%\n", ":2: arena.size" },
		{ "[arena]\nsize=99999999T\n", ":2: arena.size" },
		{ "[arena]\npages=1G\n",
		  ":2: arena.pages: '1G' is not one of auto, hugetlb, tmpfs" },
		{ "[clients]\nmax=0\n", ":2: clients.max: '0' is not a number from 1 to 192" },
		{ "[clients]\nmax=-1\n", ":2: clients.max" },
		{ "[clients]\nhandshake_timeout=5\n",
		  ":2: clients.handshake_timeout: '5' is not a time" },
		{ "[clients]\ntrusted_uids=1;2\n", ":2: clients.trusted_uids" },
		{ "[clients]\nsocket_mode=0999\n", ":2: clients.socket_mode" },
		{ "[arena]\nsize\n", ":2: neither [section] nor key=value" },
	};
	struct conf c;
	struct diag d;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		conf_init(&c);
		assert_int_equal(read_text(&c, bad[i].text, &d), -1);
		assert_int_equal(d.status, EX_CONFIG);
		if (!strstr(d.text, bad[i].want))
			fail_msg("'%s' does not say '%s'", d.text, bad[i].want);
	}
}

static void the_command_line_wins_over_the_file(void **state)
{
	struct conf c;
	struct diag d;
	char *argv[] = { "kvshmd", "--size", "2G", "--config", path, "--set", "clients.max=9" };

	write_file("[arena]\nsize=1G\nmax_blocks=7\n[clients]\nmax=3\n");
	assert_int_equal(conf_load(&c, 7, argv, &d), 0);
	unlink(path);
	assert_int_equal(c.size.bytes, 2ull << 30);
	assert_int_equal(c.max, 9);
	assert_int_equal(c.max_blocks, 7);
}

static void a_bad_command_line_is_a_usage_error(void **state)
{
	char *bad[][4] = {
		{ "--size", "x", NULL },
		{ "--set", "arena.size", NULL },
		{ "--set", "arena.nope=1", NULL },
		{ "-i", "a/b", NULL },
	};
	struct conf c;
	struct diag d;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		d.status = 0;
		assert_int_equal(load(&c, &d, bad[i]), -1);
		assert_int_equal(d.status, EX_USAGE);
		assert_true(strlen(d.text) > 0);
	}
}

/* On stderr, by the parser: there is nothing left to say. */
static void what_is_no_option_is_told_where_it_is_parsed(void **state)
{
	char *bad[][2] = { { "--nope", NULL }, { "--size", NULL }, { "word", NULL }, { "-x", NULL } };
	struct conf c;
	struct diag d;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		d.status = 0;
		assert_int_equal(load(&c, &d, bad[i]), -1);
		assert_int_equal(d.status, EX_USAGE);
		assert_string_equal(d.text, "");
	}
}

static void options_without_a_value_say_what_is_to_be_done(void **state)
{
	static const struct {
		char *args[3];
		int action;
		int verbosity;
	} row[] = {
		{ { "-h", NULL }, CONF_HELP, 0 },	       { { "--version", "-v", NULL }, CONF_VERSION, 1 },
		{ { "--check-config", "-q", NULL }, CONF_CHECK, -1 }, { { "--print-config", NULL }, CONF_PRINT, 0 },
		{ { "--discard", NULL }, CONF_RUN, 0 },
	};
	struct conf c;
	struct diag d;

	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		char *args[3];

		memcpy(args, row[i].args, sizeof(args));
		assert_int_equal(load(&c, &d, args), 0);
		assert_int_equal(c.action, row[i].action);
		assert_int_equal(c.verbosity, row[i].verbosity);
		assert_int_equal(c.is_discard, row[i].action == CONF_RUN);
	}
}

static void keys_that_contradict_each_other_are_refused(void **state)
{
	char *args[] = { "--set", "arena.readonly_dir=/x", NULL };
	struct conf c;
	struct diag d;

	assert_int_equal(load(&c, &d, args), -1);
	assert_non_null(strstr(d.text, "arena.dir"));
}

static void what_is_printed_can_be_read_again(void **state)
{
	char *args[] = { "--size", "80%",
			 "--set",  "clients.trusted_uids=1,2",
			 "--set",  "clients.handshake_timeout=1500ms",
			 NULL };
	struct conf c, again;
	struct diag d;
	char *text = NULL, *second = NULL;
	size_t len;
	FILE *out;

	assert_int_equal(load(&c, &d, args), 0);
	out = open_memstream(&text, &len);
	conf_print(&c, out);
	fclose(out);
	assert_non_null(strstr(text, "# command line"));
	assert_non_null(strstr(text, "# default"));
	conf_init(&again);
	assert_int_equal(read_text(&again, text, &d), 0);
	memcpy(again.origin, c.origin, sizeof(c.origin));
	out = open_memstream(&second, &len);
	conf_print(&again, out);
	fclose(out);
	assert_string_equal(text, second);
	free(text);
	free(second);
}

static void a_policy_is_known_by_its_name_or_refused_with_the_list(void **state)
{
	struct conf c;
	struct diag d;

	assert_int_equal(load(&c, &d, (char *[]){ "--set", "policy.name=gix", NULL }), 0);
	assert_int_equal(load(&c, &d, (char *[]){ "--set", "policy.name=belady", NULL }), -1);
	assert_int_equal(d.status, EX_CONFIG);
	assert_non_null(strstr(d.text, "belady"));
	assert_non_null(strstr(d.text, "gix, leaf-lru"));
	assert_null(strstr(d.text, "fifo"));
}

static void help_names_every_key(void **state)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	conf_help(out);
	fclose(out);
	assert_non_null(strstr(text, "--max-blocks"));
	assert_non_null(strstr(text, "arena.readonly_dir"));
	assert_non_null(strstr(text, "--check-config"));
	free(text);
}

static void sizes_and_times_are_printed_as_people_write_them(void **state)
{
	static const char *const sizes[] = { "512M", "64G", "80%", "auto", "1500", "3T" };
	static const char *const times[] = { "500ms", "10s", "70us" };
	struct conf_size v;
	uint64_t ns;
	char buf[32];

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(conf_parse_size(sizes[i], &v), 0);
		conf_format_size(&v, buf, sizeof(buf));
		assert_string_equal(buf, sizes[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		assert_int_equal(conf_parse_time(times[i], &ns), 0);
		conf_format_time(ns, buf, sizeof(buf));
		assert_string_equal(buf, times[i]);
	}
}

static void a_reload_takes_live_values_only(void **state)
{
	struct conf c, next;
	struct diag d;

	conf_init(&c);
	conf_init(&next);
	assert_int_equal(conf_take_live(&c, &next), 0);
	assert_int_equal(read_text(&next,
				   "[arena]\nsize=3G\n[clients]\nhandshake_timeout=500ms\n"
				   "pin_quota=10%\n[daemon]\nlog_level=debug\n",
				   &d),
			 0);
	assert_int_equal(conf_take_live(&c, &next), 3);
	assert_int_equal(c.handshake_ns, 500000000);
	assert_int_equal(c.pin_quota.percent, 10);
	assert_false(conf_is_default(&c, "clients", "pin_quota"));
	assert_int_equal(c.size.bytes, 0);
	assert_true(conf_is_default(&c, "arena", "size"));
	assert_int_equal(conf_take_live(&c, &next), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_sets_what_it_names_and_says_where),
		cmocka_unit_test(an_unknown_key_is_an_error_with_file_and_line),
		cmocka_unit_test(an_unknown_key_passes_when_lenient),
		cmocka_unit_test(a_bad_value_names_key_value_and_what_it_should_be),
		cmocka_unit_test(the_command_line_wins_over_the_file),
		cmocka_unit_test(a_bad_command_line_is_a_usage_error),
		cmocka_unit_test(what_is_no_option_is_told_where_it_is_parsed),
		cmocka_unit_test(options_without_a_value_say_what_is_to_be_done),
		cmocka_unit_test(keys_that_contradict_each_other_are_refused),
		cmocka_unit_test(what_is_printed_can_be_read_again),
		cmocka_unit_test(a_policy_is_known_by_its_name_or_refused_with_the_list),
		cmocka_unit_test(help_names_every_key),
		cmocka_unit_test(sizes_and_times_are_printed_as_people_write_them),
		cmocka_unit_test(a_reload_takes_live_values_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
