/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "kvshm/stats/events.h"
#include "kvshm/stats/statpage.h"
#include "tests/lib/tmp_dir.h"

#define LEN 65536u

static struct tmp_dir tmp;
static struct event_ring *ring, *heard;
static struct fix f;
static uint16_t ns;
static uint64_t next;

static int begin(void **state)
{
	struct cache_config cfg = { 0 };
	char path[128];

	(void)state;
	tmp_dir_create(&tmp);
	snprintf(path, sizeof(path), "%s/events", tmp.path);
	if (events_create(tmp.fd, "events", &ring) < 0 || events_open(path, &heard) < 0)
		return -1;
	cfg.events = ring;
	fix_open(&f, 256, 4, &cfg);
	ns = fix_ns(&f, 1, LEN);
	next = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	fix_verify(&f);
	fix_close(&f);
	events_close(heard);
	events_close(ring);
	tmp_dir_destroy(&tmp);
	return 0;
}

static unsigned listen_(struct kvshm_event *e, unsigned max)
{
	uint64_t lost = 0;
	unsigned nr = events_read(heard, &next, e, max, &lost);

	assert_int_equal(lost, 0);
	return nr;
}

static uint64_t hash(uint32_t chain, uint32_t i)
{
	const struct kvshm_key key = fix_key(chain, i);

	return events_hash(ring, &key);
}

static void what_is_stored_is_told_with_its_parent(void **state)
{
	struct kvshm_event e[8];

	(void)state;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 3), 3);
	assert_int_equal(listen_(e, 8), 3);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(e[i].type, KVSHM_EVENT_STORED);
		assert_int_equal(e[i].key, hash(1, i));
		assert_int_equal(e[i].parent, i ? hash(1, i - 1) : 0);
		assert_int_equal(e[i].nr, i + 1);
		assert_int_equal(e[i].ns, ns);
		assert_int_equal(e[i].length, LEN);
		assert_true(e[i].tokens == 16 && e[i].block_tokens == 16);
		assert_int_equal(e[i].id, fix_find(&f, ns, 1, i));
		assert_int_equal(e[i].generation, fix_generation(&f, e[i].id));
	}
}

static void uses_are_told_with_their_hints_and_stale_ones_are_not(void **state)
{
	struct kvshm_touch t[2] = { { .nr = 2, .hint = 0x77 } };
	struct kvshm_event e[8];

	(void)state;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 2), 2);
	listen_(e, 8);
	t[0].id = t[1].id = fix_find(&f, ns, 1, 1);
	t[0].generation = fix_generation(&f, t[0].id);
	t[1].generation = t[0].generation + 1;
	cache_touch(f.c, t, 2, ++f.now);
	assert_int_equal(listen_(e, 8), 1);
	assert_int_equal(e[0].type, KVSHM_EVENT_TOUCHED);
	assert_int_equal(e[0].key, hash(1, 1));
	assert_int_equal(e[0].hint, 0x77);
	assert_int_equal(e[0].nr, 2);
	assert_int_equal(e[0].time_ns, f.now);
}

static void what_goes_is_told_once_and_why(void **state)
{
	const struct kvshm_key key = fix_key(1, 0);
	struct kvshm_event e[8], stored[8];

	(void)state;
	assert_int_equal(fix_chain(&f, ns, 1, 0, 2), 2);
	assert_int_equal(listen_(stored, 8), 2);
	assert_int_equal(cache_reclaim(f.c, LEN, ++f.now), LEN);
	assert_int_equal(listen_(e, 8), 1);
	assert_true(e[0].type == KVSHM_EVENT_REMOVED && e[0].reason == KVSHM_EVENT_EVICTED && e[0].key == hash(1, 1));
	assert_true(e[0].id == stored[1].id && e[0].generation == stored[1].generation);
	assert_int_equal(cache_drop(f.c, ns, &key), 1);
	assert_int_equal(listen_(e, 8), 1);
	assert_true(e[0].id == stored[0].id && e[0].generation == stored[0].generation);
	assert_true(e[0].type == KVSHM_EVENT_REMOVED && e[0].reason == KVSHM_EVENT_DROPPED && e[0].key == hash(1, 0));
}

static void all_of_it_is_counted_by_namespace_and_by_class(void **state)
{
	const struct kvshm_key key = fix_key(1, 0);
	struct kvshm_touch t = { .nr = 2, .hint = 0x103 };
	struct kvshm_stats_use use;
	struct statpage *page;

	(void)state;
	assert_int_equal(statpage_create(tmp.fd, "stats", "0", &page), 0);
	cache_count_uses(f.c, page);
	assert_int_equal(fix_chain(&f, ns, 1, 0, 3), 3);
	t.id = fix_find(&f, ns, 1, 1);
	t.generation = fix_generation(&f, t.id);
	cache_touch(f.c, &t, 1, ++f.now);
	assert_int_equal(cache_reclaim(f.c, LEN, ++f.now), LEN);
	assert_int_equal(cache_drop(f.c, ns, &key), 2);

	stat_get_use(page, stat_use_ns(ns), &use);
	assert_true(use.put_blocks == 3 && use.put_tokens == 48 && use.hit_blocks == 2 && use.hit_tokens == 32);
	assert_true(use.evicted_blocks == 1 && use.dropped_blocks == 2);
	stat_get_use(page, stat_use_class(3), &use);		/* the touch's type; the puts had no hint */
	assert_true(use.put_blocks == 0 && use.hit_blocks == 2 && use.evicted_blocks == 0);
	stat_get_use(page, stat_use_class(0), &use);
	assert_true(use.put_blocks == 3 && use.hit_blocks == 0);
	cache_count_uses(f.c, NULL);
	statpage_destroy(page);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(what_is_stored_is_told_with_its_parent),
		T(uses_are_told_with_their_hints_and_stale_ones_are_not),
		T(what_goes_is_told_once_and_why),
		T(all_of_it_is_counted_by_namespace_and_by_class),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
