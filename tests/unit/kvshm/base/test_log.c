/* SPDX-License-Identifier: Apache-2.0 */
/* test_log.c - what reaches stderr, and what does not */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/base/log.h"

static int saved_stderr, log_fd;
static char text[8192];

static int set_up(void **state)
{
	unsetenv("JOURNAL_STREAM");
	log_init("prog");
	saved_stderr = dup(STDERR_FILENO);
	log_fd = memfd_create("log", MFD_CLOEXEC);
	return dup2(log_fd, STDERR_FILENO) < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	log_adjust(-9);
	log_adjust(2);			/* info again */
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(log_fd);
	return 0;
}

/* Asserts come after stderr is whole again, so that their own words are seen. */
static const char *written(void)
{
	ssize_t n = pread(log_fd, text, sizeof(text) - 1, 0);

	text[n < 0 ? 0 : n] = '\0';
	return text;
}

static void lines_carry_the_name_and_the_level(void **state)
{
	log_err("no memory for %d sessions", 3);
	log_warn("client %d died", 4127);
	log_info("listening");
	assert_string_equal(written(), "prog: error: no memory for 3 sessions\n"
				       "prog: warning: client 4127 died\n"
				       "prog: listening\n");
}

static void debug_is_silent_unless_asked_for(void **state)
{
	log_debug("one");
	assert_int_equal(log_enabled(LOG_LEVEL_DEBUG), 0);
	log_adjust(1);
	log_debug("two");
	assert_string_equal(written(), "prog: debug: two\n");
}

static void quiet_leaves_errors(void **state)
{
	log_adjust(-5);			/* no less than errors */
	log_info("one");
	log_warn("two");
	log_err("three");
	log_adjust(1);
	log_warn("four");
	assert_string_equal(written(), "prog: error: three\nprog: warning: four\n");
}

static void percent_m_is_the_callers_errno_and_errno_stays(void **state)
{
	errno = ENOENT;
	log_warn("cannot open: %m");
	assert_int_equal(errno, ENOENT);
	assert_string_equal(written(), "prog: warning: cannot open: No such file or directory\n");
}

static void a_client_cannot_forge_a_line(void **state)
{
	log_info("label %s", "x\n<3>root: \x1b[2J\x7f");
	assert_string_equal(written(), "prog: label x?<3>root: ?[2J?\n");
}

static void a_long_line_is_cut_and_still_ends(void **state)
{
	static char big[3000];
	size_t len;

	memset(big, 'x', sizeof(big) - 1);
	log_info("%s", big);
	len = strlen(written());
	assert_true(len > 900 && len <= 1024);
	assert_int_equal(text[len - 1], '\n');
	assert_ptr_equal(strchr(text, '\n'), text + len - 1);
}

static void the_journal_gets_priorities(void **state)
{
	char id[64];
	struct stat st;

	fstat(log_fd, &st);
	snprintf(id, sizeof(id), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", id, 1);
	log_init("prog");
	log_err("bad");
	log_info("good");
	assert_string_equal(written(), "<3>bad\n<6>good\n");
}

static void an_inherited_journal_that_is_not_stderr_counts_not(void **state)
{
	struct stat st;
	char id[64];

	fstat(log_fd, &st);
	snprintf(id, sizeof(id), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino + 1);
	setenv("JOURNAL_STREAM", id, 1);
	log_init("prog");
	log_err("bad");
	assert_string_equal(written(), "prog: error: bad\n");
}

static void a_call_site_is_limited_and_says_what_it_left_out(void **state)
{
	struct log_limit l = { .lock = PTHREAD_MUTEX_INITIALIZER };
	uint64_t now = 1000;
	uint32_t missed;
	int i;

	for (i = 0; i < LOG_LIMIT_BURST; i++) {
		assert_int_equal(log_limit_pass(&l, now++, &missed), 1);
		assert_int_equal(missed, 0);
	}
	missed = 77;
	for (i = 0; i < 40; i++)
		assert_int_equal(log_limit_pass(&l, now++, &missed), 0);
	assert_int_equal(missed, 77);
	assert_int_equal(log_limit_pass(&l, 1000 + LOG_LIMIT_WINDOW_NS, &missed), 1);
	assert_int_equal(missed, 40);
}

static void call_sites_have_limits_of_their_own(void **state)
{
	const uint64_t before = log_suppressed();
	int i, lines = 0;
	const char *p;

	for (i = 0; i < 3 * LOG_LIMIT_BURST; i++) {
		log_limited(LOG_LEVEL_WARN, "first %d", i);
		log_limited(LOG_LEVEL_WARN, "second %d", i);
	}
	assert_int_equal(log_suppressed() - before, 4 * LOG_LIMIT_BURST);
	for (p = written(); *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, 2 * LOG_LIMIT_BURST);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(lines_carry_the_name_and_the_level),
		T(debug_is_silent_unless_asked_for),
		T(quiet_leaves_errors),
		T(percent_m_is_the_callers_errno_and_errno_stays),
		T(a_client_cannot_forge_a_line),
		T(a_long_line_is_cut_and_still_ends),
		T(the_journal_gets_priorities),
		T(an_inherited_journal_that_is_not_stderr_counts_not),
		T(a_call_site_is_limited_and_says_what_it_left_out),
		T(call_sites_have_limits_of_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
