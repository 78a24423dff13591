/* SPDX-License-Identifier: Apache-2.0 */
/* test_statpage.c - the statistics page from both ends, and on damaged bytes */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/base/compiler.h"
#include "kvshm/stats/metrics.h"

static char dir[] = "/tmp/kvshm-statpage-XXXXXX";
static char path[64];
static int dirfd_;

static int setup(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/stats", dir);
	return dirfd_ < 0;
}

static int teardown(void **state)
{
	unlink(path);
	close(dirfd_);
	return rmdir(dir);
}

static void reader_sees_what_the_writer_stored(void **state)
{
	struct kvshm_stats_session s = { .state = 1, .slot = 7, .pins = 3, .label = "engine" }, got;
	struct statpage *w, *r;
	char text[KVSHM_STATS_TEXT_LEN];

	assert_int_equal(statpage_create(dirfd_, "stats", "0.1.0", &w), 0);
	stat_set(w, METRIC_CAPACITY_BYTES, 1ull << 40);
	stat_add(w, METRIC_PUBLISHES, 5);
	stat_add(w, METRIC_PUBLISHES, 6);
	stat_session(w, 9, &s);
	stat_heartbeat(w, 1, 4242);
	stat_text(w, KVSHM_TEXT_INSTANCE, "main");
	assert_int_equal(statpage_open(path, &r), 0);
	assert_int_equal(stat_get(r, METRIC_CAPACITY_BYTES), 1ull << 40);
	assert_int_equal(stat_get(r, METRIC_PUBLISHES), 11);
	assert_int_equal(stat_get_session(r, 9, &got), 0);
	assert_memory_equal(&got, &s, sizeof(s));
	assert_int_equal(stat_get_heartbeat(r, 1), 4242);
	stat_get_text(r, KVSHM_TEXT_INSTANCE, text);
	assert_string_equal(text, "main");
	stat_get_text(r, KVSHM_TEXT_VERSION, text);
	assert_string_equal(text, "0.1.0");
	assert_int_equal(stat_header(r)->pid, getpid());
	assert_true(stat_header(r)->start_ticks > 0);
	statpage_destroy(r);
	statpage_destroy(w);
}

static void damage(size_t at, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, bytes, len, (off_t)at), len);
	close(fd);
}

static void uses_are_counted_by_namespace_and_by_class(void **state)
{
	const struct kvshm_stats_use two = { .hit_blocks = 2, .hit_tokens = 32, .put_blocks = 1 };
	struct kvshm_stats_use got;
	struct statpage *w, *r;

	assert_int_equal(statpage_create(dirfd_, "stats", "0.1.0", &w), 0);
	assert_int_equal(statpage_open(path, &r), 0);
	stat_use_add(w, stat_use_ns(64), &two);
	stat_use_add(w, stat_use_ns(64), &two);
	stat_use_add(w, stat_use_ns(65), &two);		/* past the last: the rest's */
	stat_use_add(w, stat_use_class(200), &two);
	stat_get_use(r, stat_use_ns(64), &got);
	assert_int_equal(got.hit_blocks, 4);
	assert_int_equal(got.hit_tokens, 64);
	assert_int_equal(got.put_blocks, 2);
	assert_int_equal(got.evicted_blocks, 0);
	stat_get_use(r, 0, &got);
	assert_int_equal(got.hit_blocks, 2);
	stat_get_use(r, stat_use_class(KVSHM_STATS_CLASSES - 1), &got);
	assert_int_equal(got.put_blocks, 1);
	stat_get_use(r, stat_use_class(0), &got);
	assert_int_equal(got.hit_blocks, 0);
	stat_get_use(r, STAT_USES, &got);		/* there is none */
	assert_int_equal(got.hit_blocks, 0);
	statpage_destroy(r);
	statpage_destroy(w);
}

static void times_are_counted_in_the_histogram_of_their_name(void **state)
{
	struct statpage *w, *r;
	struct hist h;

	assert_int_equal(statpage_create(dirfd_, "stats", "0.1.0", &w), 0);
	for (unsigned i = 0; i < HIST_LAST; i++)
		for (unsigned n = 0; n <= i; n++)
			stat_hist_record(w, (enum stat_hist)i, 1000);
	assert_int_equal(statpage_open(path, &r), 0);
	for (unsigned i = 0; i < HIST_LAST; i++) {
		stat_get_hist(r, (enum stat_hist)i, &h);
		assert_int_equal(hist_total(&h), i + 1);
		assert_in_range(hist_quantile(&h, 0.5), 938, 1062);
	}
	statpage_destroy(r);
	statpage_destroy(w);
}

/* Of another major even the length is unknown: it must not be taken for damage. */
static void a_page_of_another_major_is_told_as_that(void **state)
{
	const uint32_t major = KVSHM_STATS_MAJOR + 1;
	struct statpage *w, *r;

	assert_int_equal(statpage_create(dirfd_, "stats", "0.1.0", &w), 0);
	statpage_destroy(w);
	damage(offsetof(struct kvshm_stats_page, major), &major, sizeof(major));
	assert_int_equal(statpage_open(path, &r), -EPROTONOSUPPORT);
	assert_int_equal(truncate(path, sizeof(struct kvshm_stats_page)), 0);
	assert_int_equal(statpage_open(path, &r), -EPROTONOSUPPORT);
	assert_int_equal(truncate(path, sizeof(struct kvshm_stats_page) - 1), 0);
	assert_int_equal(statpage_open(path, &r), -EBADMSG);
}

static void page_is_not_readable_by_others(void **state)
{
	struct statpage *w;
	struct stat st;

	assert_int_equal(statpage_create(dirfd_, "stats", "x", &w), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	statpage_destroy(w);
}

static void a_writer_that_died_inside_the_table_does_not_hang_the_reader(void **state)
{
	struct kvshm_stats_session got;
	struct statpage *w;

	assert_int_equal(statpage_create(dirfd_, "stats", "x", &w), 0);
	((struct kvshm_stats_page *)stat_header(w))->session_seq = 5;
	alarm(20);	/* ends the program if it does */
	assert_int_equal(stat_get_session(w, 0, &got), -EAGAIN);
	alarm(0);
	statpage_destroy(w);
}

static void metric_names_follow_the_rules(void **state)
{
	for (unsigned i = 0; i < METRIC_LAST; i++) {
		const struct metric_def *m = &metric_defs[i];
		size_t len = strlen(m->name);
		int is_total = len > 6 && !strcmp(m->name + len - 6, "_total");

		assert_int_equal(strncmp(m->name, "kvshm_", 6), 0);
		assert_int_equal(is_total, m->type == KVSHM_STATS_COUNTER);
		assert_true(len < sizeof(((struct kvshm_stats_metric *)0)->name));
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(m->name, metric_defs[j].name);
	}
}

static int open_bytes(const char *bytes, size_t len, struct statpage **ret_p)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
	return statpage_open(path, ret_p);
}

static void reader_refuses_or_survives_damaged_bytes(void **state)
{
	struct kvshm_stats_session got;
	struct statpage *w, *r;
	struct stat st;
	char *good, *bad, text[KVSHM_STATS_TEXT_LEN];
	unsigned refused = 0;
	int fd;

	assert_int_equal(statpage_create(dirfd_, "stats", "x", &w), 0);
	statpage_destroy(w);
	assert_int_equal(stat(path, &st), 0);
	good = malloc((size_t)st.st_size);
	bad = malloc((size_t)st.st_size);
	fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, good, (size_t)st.st_size), st.st_size);
	close(fd);
	srand(1);
	for (int i = 0; i < 3000; i++) {
		memcpy(bad, good, (size_t)st.st_size);
		for (int k = 0; k < 3; k++)
			bad[rand() % (int)sizeof(struct kvshm_stats_page)] ^= (char)(1 << rand() % 8);
		if (open_bytes(bad, (size_t)st.st_size, &r) < 0) {
			refused++;
			continue;
		}
		for (unsigned m = 0; m < METRIC_LAST; m++)
			stat_get(r, m);
		for (unsigned s = 0; s < 300; s++)
			stat_get_session(r, s, &got);
		stat_get_text(r, 99, text);
		statpage_destroy(r);
	}
	assert_true(refused > 100);
	assert_int_equal(open_bytes(good, 100, &r), -EBADMSG);
	free(good);
	free(bad);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reader_sees_what_the_writer_stored),
		cmocka_unit_test(uses_are_counted_by_namespace_and_by_class),
		cmocka_unit_test(times_are_counted_in_the_histogram_of_their_name),
		cmocka_unit_test(a_page_of_another_major_is_told_as_that),
		cmocka_unit_test(page_is_not_readable_by_others),
		cmocka_unit_test(a_writer_that_died_inside_the_table_does_not_hang_the_reader),
		cmocka_unit_test(metric_names_follow_the_rules),
		cmocka_unit_test(reader_refuses_or_survives_damaged_bytes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
