/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/kv_dir.h"
#include "utils/mirror.h"

#define BLOCKS 32u

static struct kv_dir k;
static struct event_ring *ring;
static struct mirror *m;
static uint64_t next;

struct heard {
	enum kvshm_event_type type;
	struct kvshm_key key, parent;
	bool has_parent;
};
static struct heard heard[BLOCKS];
static unsigned nr_heard;

static void hear(void *arg, enum kvshm_event_type type, const struct mirror_block *b, const struct mirror_block *parent)
{
	(void)arg;
	assert_in_range(nr_heard, 0, BLOCKS - 1);
	heard[nr_heard] = (struct heard){ .type = type, .key = b->key, .has_parent = parent };
	if (parent)
		heard[nr_heard].parent = parent->key;
	nr_heard++;
}

static int begin(void **state)
{
	char path[96];

	(void)state;
	kv_dir_create(&k, BLOCKS);
	kv_dir_serve(&k);
	snprintf(path, sizeof(path), "%s/events", k.tmp.path);
	next = nr_heard = 0;
	return events_open(path, &ring) < 0 || mirror_open(k.tmp.path, &m) < 0 ? -1 : 0;
}

static int end(void **state)
{
	(void)state;
	m = mirror_close(m);
	events_close(ring);
	kv_dir_destroy(&k);
	return 0;
}

static void follow(void)
{
	struct kvshm_event e;
	uint64_t lost = 0;

	nr_heard = 0;
	while (events_read(ring, &next, &e, 1, &lost))
		assert_true(mirror_event(m, &e, hear, NULL));
	assert_int_equal(lost, 0);
}

static void walk(void)
{
	next = events_next(ring);
	assert_int_equal(mirror_walk(m), 0);
	nr_heard = 0;
	assert_int_equal(mirror_each(m, hear, NULL), 0);
	assert_int_equal(nr_heard, mirror_told(m));
}

static bool is_heard(unsigned i, enum kvshm_event_type type, blk_id_t id, uint32_t generation)
{
	const struct kvshm_key key = kv_dir_key(id, generation);

	return i < nr_heard && heard[i].type == type && !memcmp(&heard[i].key, &key, sizeof(key));
}

static void a_walk_tells_parents_first_whatever_their_ids(void **state)
{
	(void)state;
	kv_dir_store(&k, 9, 0);
	kv_dir_store(&k, 3, 9);
	kv_dir_store(&k, 20, 3);
	kv_dir_store(&k, 4, 9);
	kv_dir_store(&k, 5, 0);
	walk();
	assert_int_equal(nr_heard, 5);
	assert_true(is_heard(0, KVSHM_EVENT_STORED, 5, 1) && !heard[0].has_parent);
	assert_true(is_heard(1, KVSHM_EVENT_STORED, 9, 1) && !heard[1].has_parent);
	assert_true(is_heard(2, KVSHM_EVENT_STORED, 3, 1) && !memcmp(&heard[2].parent, &heard[1].key, 32));
	assert_true(is_heard(3, KVSHM_EVENT_STORED, 20, 1) && !memcmp(&heard[3].parent, &heard[2].key, 32));
	assert_true(is_heard(4, KVSHM_EVENT_STORED, 4, 1) && !memcmp(&heard[4].parent, &heard[1].key, 32));
}

static void events_after_the_walk_are_told_and_those_it_saw_are_not(void **state)
{
	(void)state;
	kv_dir_put(&k, 1, 0);
	walk();
	assert_int_equal(nr_heard, 1);
	/* The walk saw it between publication and event. */
	kv_dir_tell(&k, KVSHM_EVENT_STORED, 1, 1);
	kv_dir_store(&k, 2, 1);
	kv_dir_remove(&k, 2);
	kv_dir_store(&k, 2, 1);
	follow();
	/* Generation 1 had gone before it was read: neither its beginning nor its end. */
	assert_int_equal(nr_heard, 1);
	assert_true(is_heard(0, KVSHM_EVENT_STORED, 2, 2));
	kv_dir_remove(&k, 2);
	follow();
	assert_int_equal(nr_heard, 1);
	assert_true(is_heard(0, KVSHM_EVENT_REMOVED, 2, 2));
	assert_int_equal(mirror_told(m), 1);
}

static void a_removed_block_is_told_by_its_key_after_the_descriptor_has_another(void **state)
{
	(void)state;
	kv_dir_store(&k, 7, 0);
	follow();
	kv_dir_remove(&k, 7);
	kv_dir_store(&k, 7, 0);
	follow();
	assert_int_equal(nr_heard, 2);
	assert_true(is_heard(0, KVSHM_EVENT_REMOVED, 7, 1));
	assert_true(is_heard(1, KVSHM_EVENT_STORED, 7, 2));
}

static void a_block_that_is_closed_still_counts_for_it_may_open_again(void **state)
{
	(void)state;
	kv_dir_store(&k, 1, 0);
	block_close(&k.dir.desc[1]);
	walk();
	assert_int_equal(nr_heard, 1);
	block_reopen(&k.dir.desc[1]);
	follow();
	assert_int_equal(nr_heard, 0);
	assert_int_equal(mirror_told(m), 1);
}

static void a_block_in_quarantine_does_not_count(void **state)
{
	(void)state;
	kv_dir_store(&k, 1, 0);
	block_quarantine(&k.dir.desc[1]);
	walk();
	assert_int_equal(nr_heard, 0);
	kv_dir_tell(&k, KVSHM_EVENT_REMOVED, 1, 1);
	follow();
	assert_int_equal(nr_heard, 0);
}

/* A full index takes a published block back, and no event tells of either. */
static void a_block_that_went_without_a_word_is_taken_back_when_its_id_lives_again(void **state)
{
	(void)state;
	kv_dir_put(&k, 1, 0);
	walk();
	kv_dir_free(&k, 1);
	kv_dir_store(&k, 1, 0);
	follow();
	assert_int_equal(nr_heard, 2);
	assert_true(is_heard(0, KVSHM_EVENT_REMOVED, 1, 1));
	assert_true(is_heard(1, KVSHM_EVENT_STORED, 1, 2));
}

static void a_child_whose_parent_is_not_told_waits_for_the_events(void **state)
{
	(void)state;
	kv_dir_store(&k, 1, 0);
	kv_dir_store(&k, 2, 1);
	kv_dir_store(&k, 3, 2);
	/* As if the walk had passed 1 before that was published. */
	block_quarantine(&k.dir.desc[1]);
	walk();
	assert_int_equal(nr_heard, 0);
	assert_int_equal(mirror_told(m), 0);
	kv_dir_tell(&k, KVSHM_EVENT_STORED, 3, 1);
	follow();
	assert_int_equal(nr_heard, 0);
}

static void what_no_daemon_writes_is_refused(void **state)
{
	const struct kvshm_event bad[] = {
		{ .type = 0, .id = 1, .generation = 1 }, { .type = 5, .id = 1, .generation = 1 },
		{ .type = KVSHM_EVENT_STORED, .id = 0, .generation = 1 },
		{ .type = KVSHM_EVENT_REMOVED, .id = BLOCKS + 1, .generation = 1 },
		{ .type = KVSHM_EVENT_TOUCHED, .id = UINT32_MAX, .generation = 1 },
	};

	(void)state;
	kv_dir_store(&k, 1, 0);
	walk();
	nr_heard = 0;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(mirror_event(m, &bad[i], hear, NULL));
	assert_true(mirror_event(m, &(struct kvshm_event){ .type = KVSHM_EVENT_TOUCHED, .id = 1, .generation = 1 }, hear, NULL));
	/* Another life than the one that was told. */
	assert_true(mirror_event(m, &(struct kvshm_event){ .type = KVSHM_EVENT_REMOVED, .id = 1, .generation = 9 }, hear, NULL));
	assert_int_equal(nr_heard, 0);
}

static void damaged_descriptors_are_passed_over(void **state)
{
	(void)state;
	for (blk_id_t id = 1; id <= 4; id++)
		kv_dir_store(&k, id, 0);
	k.dir.desc[1].parent = BLOCKS + 1;
	k.dir.desc[2].ns = 7;
	k.dir.desc[3].parent = 3;	/* its own */
	walk();
	assert_int_equal(nr_heard, 1);
	assert_true(is_heard(0, KVSHM_EVENT_STORED, 4, 1));
}

static void it_is_served_by_the_daemon_that_has_taken_it_over(void **state)
{
	struct kvshm_events_page h = *events_header(ring);

	(void)state;
	assert_true(mirror_is_served_by(m, &h));
	h.start_ticks++;
	assert_false(mirror_is_served_by(m, &h));
	h.start_ticks--;
	h.pid++;
	assert_false(mirror_is_served_by(m, &h));
	h.pid--;
	directory_set_state(&k.dir, KVSHM_SB_DEAD, 1);
	assert_false(mirror_is_served_by(m, &h));
}

static void what_is_no_directory_is_refused(void **state)
{
	struct mirror *other = NULL;
	char path[96];

	(void)state;
	assert_int_equal(mirror_open("/nonexistent", &other), -ENOENT);
	snprintf(path, sizeof(path), "%s/directory", k.tmp.path);
	assert_int_equal(truncate(path, 100), 0);
	assert_int_equal(mirror_open(k.tmp.path, &other), -EBADMSG);
	assert_null(other);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(a_walk_tells_parents_first_whatever_their_ids),
		T(events_after_the_walk_are_told_and_those_it_saw_are_not),
		T(a_removed_block_is_told_by_its_key_after_the_descriptor_has_another),
		T(a_block_that_is_closed_still_counts_for_it_may_open_again),
		T(a_block_in_quarantine_does_not_count),
		T(a_block_that_went_without_a_word_is_taken_back_when_its_id_lives_again),
		T(a_child_whose_parent_is_not_told_waits_for_the_events),
		T(what_no_daemon_writes_is_refused),
		T(damaged_descriptors_are_passed_over),
		T(it_is_served_by_the_daemon_that_has_taken_it_over),
		T(what_is_no_directory_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
