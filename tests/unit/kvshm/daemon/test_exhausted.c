/* SPDX-License-Identifier: Apache-2.0 */
/* What is made for a session and at a start, with each of its allocations failing once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ipc/doorbell.h"
#include "ipc/segment.h"
#include "kvshm/cache/scrub.h"
#include "kvshm/daemon/store.h"
#include "kvshm/daemon/writer.h"
#include "kvshm/stats/statpage.h"
#include "tests/lib/fault.h"
#include "tests/lib/tmp_dir.h"

static struct tmp_dir dir;
static struct session session;
static struct pin_set *pins;
static struct statpage *stats;
static struct scrub *scrub;
static struct cache *cache;
static struct directory directory;
static struct arena arena;

static int make_segment(void)
{
	return segment_create(&session.q.seg, &session.segment_fd);
}

static int make_bell(void)
{
	session.doorbell_fd = doorbell_create();
	return session.doorbell_fd < 0 ? session.doorbell_fd : 0;
}

static int make_staging(void)
{
	return staging_create(&session.q.staging, &session.staging_fd);
}

static void unmake_session(void)
{
	session_release(&session);
}

static int make_pin_file(void)
{
	session.pin_fd = pinfile_create(dir.fd, 7, KVSHM_PIN_WORDS);
	return session.pin_fd < 0 ? session.pin_fd : 0;
}

static void unmake_pin_file(void)
{
	session_release(&session);
	unlinkat(dir.fd, "pins.7", 0);
}

static int make_pin_set(void)
{
	int ret = pin_set_create(PINOWNER_MAX, &pins);

	if (ret == 0)
		ret = pin_set_add(pins, 7, session.pin_fd, KVSHM_PIN_WORDS, 1 << 20);
	if (ret < 0)
		pins = pin_set_destroy(pins);
	return ret;
}

static void unmake_pin_set(void)
{
	pins = pin_set_destroy(pins);
}

static int make_stats(void)
{
	return statpage_create(dir.fd, "stats", "1", &stats);
}

static void unmake_stats(void)
{
	statpage_destroy(stats);
	stats = NULL;
	unlinkat(dir.fd, "stats", 0);
}

static int make_scrub(void)
{
	return scrub_create(&scrub);
}

static void unmake_scrub(void)
{
	scrub = scrub_destroy(scrub);
}

static int make_cache(void)
{
	const struct cache_config cfg = { .dir = &directory, .arena = &arena, .pins = pins };
	int ret = cache_create(&cfg, &cache);

	if (ret < 0)
		return ret;
	ret = cache_add_extent(cache, 0);
	if (ret < 0)
		cache = cache_destroy(cache);
	return ret;
}

static void unmake_cache(void)
{
	cache = cache_destroy(cache);
}

static bool nobody(void *arg, uint32_t owner)
{
	return false;
}

static int make_recovered(void)
{
	const struct cache_config cfg = { .dir = &directory, .arena = &arena, .pins = pins };
	int ret = cache_create(&cfg, &cache);

	if (ret < 0)
		return ret;
	ret = (int)cache_recover(cache, nobody, NULL, 1);
	if (ret < 0)
		cache = cache_destroy(cache);
	return ret;
}

static int make_memory(void)
{
	const struct directory_geometry g = { .max_blocks = 64, .max_ns = 4, .max_extents = 4 };
	const struct arena_config cfg = { .dirfd = dir.fd, .size = 4 << 20, .extent_len = 4 << 20 };
	uint32_t kind;
	int fd, ret = backing_create(dir.fd, "directory", directory_size(&g), BACKING_AUTO, -1, &fd,
				     &kind);

	if (ret < 0)
		return ret;
	ret = directory_create(fd, &g, &directory);
	close(fd);
	if (ret == 0)
		ret = arena_reserve(&arena, cfg.size, true);
	if (ret == 0)
		ret = arena_grow(&arena, &directory, &cfg) < 0 ? -ENOMEM : 0;
	return ret;
}

static void unmake_memory(void)
{
	arena_unmap(&arena);
	directory_detach(&directory);
	unlinkat(dir.fd, "directory", 0);
	unlinkat(dir.fd, "arena.0.0", 0);
}

/* On failure the caller lets go of the parts, as store.c does. */
static int make_memory_or_none(void)
{
	int ret = make_memory();

	if (ret < 0)
		unmake_memory();
	return ret;
}

static void a_session_is_made_whole_or_not_at_all(void **state)
{
	assert_int_equal(fault_each(make_segment, unmake_session), 3);
	assert_int_equal(fault_each(make_bell, unmake_session), 1);
	assert_int_equal(fault_each(make_staging, unmake_session), 3);
	assert_true(fault_each(make_pin_file, unmake_pin_file) >= 2);
	assert_int_equal(tmp_dir_count(&dir), 0);
}

static void pin_files_are_scanned_or_refused(void **state)
{
	assert_int_equal(make_pin_file(), 0);
	assert_true(fault_each(make_pin_set, unmake_pin_set) >= 2);
	unmake_pin_file();
}

static void the_stats_page_is_made_whole_or_not_at_all(void **state)
{
	assert_true(fault_each(make_stats, unmake_stats) >= 2);
	assert_int_equal(tmp_dir_count(&dir), 0);
}

static void the_scrubber_is_made_whole_or_not_at_all(void **state)
{
	assert_int_equal(fault_each(make_scrub, unmake_scrub), 1);
}

static void memory_is_made_whole_or_not_at_all(void **state)
{
	assert_true(fault_each(make_memory_or_none, unmake_memory) >= 6);
	assert_int_equal(tmp_dir_count(&dir), 0);
}

static void a_cache_is_made_whole_or_not_at_all(void **state)
{
	assert_int_equal(make_memory(), 0);
	assert_int_equal(pin_set_create(4, &pins), 0);
	assert_true(fault_each(make_cache, unmake_cache) >= 8);
	assert_true(fault_each(make_recovered, unmake_cache) >= 9);
	unmake_pin_set();
	unmake_memory();
}

static int setup(void **state)
{
	tmp_dir_create(&dir);
	session_init(&session, 0);
	return 0;
}

static int teardown(void **state)
{
	tmp_dir_destroy(&dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_session_is_made_whole_or_not_at_all),
		cmocka_unit_test(pin_files_are_scanned_or_refused),
		cmocka_unit_test(the_stats_page_is_made_whole_or_not_at_all),
		cmocka_unit_test(the_scrubber_is_made_whole_or_not_at_all),
		cmocka_unit_test(memory_is_made_whole_or_not_at_all),
		cmocka_unit_test(a_cache_is_made_whole_or_not_at_all),
	};

	if (FAULT_MISSING) {
		printf("a sanitizer's build has its own malloc()\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
