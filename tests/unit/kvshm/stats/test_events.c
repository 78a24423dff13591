/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvshm/base/siphash.h"
#include "kvshm/stats/events.h"
#include "tests/lib/tmp_dir.h"

static struct tmp_dir tmp;
static char path[128];
static struct event_ring *writer;

static int set_up(void **state)
{
	(void)state;
	tmp_dir_create(&tmp);
	snprintf(path, sizeof(path), "%s/events", tmp.path);
	return events_create(tmp.fd, "events", &writer);
}

static int tear_down(void **state)
{
	(void)state;
	events_close(writer);
	tmp_dir_destroy(&tmp);
	return 0;
}

static void push(uint64_t from, uint64_t nr)
{
	for (; nr; nr--, from++)
		events_push(writer, &(struct kvshm_event){ .time_ns = from, .key = from + 1, .type = KVSHM_EVENT_STORED });
}

static struct event_ring *reader(void)
{
	struct event_ring *r = NULL;

	assert_int_equal(events_open(path, &r), 0);
	return r;
}

static void events_are_heard_in_order_from_where_one_begins(void **state)
{
	struct event_ring *r = reader();
	struct kvshm_event e[8];
	uint64_t next, lost = 0;

	(void)state;
	push(0, 3);
	next = events_next(r);
	assert_int_equal(next, 3);
	assert_int_equal(events_oldest(r), 0);
	assert_int_equal(events_read(r, &next, e, 8, &lost), 0);
	push(3, 10);
	assert_int_equal(events_read(r, &next, e, 8, &lost), 8);
	assert_int_equal(e[0].time_ns, 3);
	assert_int_equal(e[7].time_ns, 10);
	assert_int_equal(events_read(r, &next, e, 8, &lost), 2);
	assert_int_equal(next, 13);
	assert_int_equal(lost, 0);
	events_close(r);
}

static void who_is_too_slow_learns_how_many_were_lost(void **state)
{
	struct event_ring *r = reader();
	struct kvshm_event e;
	uint64_t next = 0, lost = 0;

	(void)state;
	push(0, KVSHM_EVENTS_NR + 100);
	assert_int_equal(events_oldest(r), 100);
	assert_int_equal(events_read(r, &next, &e, 1, &lost), 1);
	assert_int_equal(lost, 100);
	assert_int_equal(e.time_ns, 100);
	push(0, 3 * KVSHM_EVENTS_NR);
	assert_int_equal(events_read(r, &next, &e, 1, &lost), 1);
	assert_int_equal(lost, 100 - 1 + 3 * KVSHM_EVENTS_NR);
	events_close(r);
}

static void a_new_daemon_has_a_new_ring_and_another_key(void **state)
{
	const struct kvshm_key key = { { 1, 2, 3 } };
	struct event_ring *old = reader(), *fresh;
	const uint64_t hash = events_hash(writer, &key);

	(void)state;
	push(0, 5);
	assert_int_equal(events_hash(writer, &key), hash);
	events_close(writer);
	assert_int_equal(events_create(tmp.fd, "events", &writer), 0);
	fresh = reader();
	assert_int_equal(events_next(old), 5);
	assert_int_equal(events_next(fresh), 0);
	assert_int_not_equal(events_start(fresh), events_start(old));
	assert_int_not_equal(events_hash(writer, &key), hash);
	assert_int_equal(tmp_dir_count(&tmp), 1);
	events_close(old);
	events_close(fresh);
}

static void others_may_not_read_it(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
}

static struct kvshm_events_page *forge(void)
{
	int fd = open(path, O_RDWR);
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_true(p != MAP_FAILED);
	close(fd);
	return p;
}

static void what_is_no_ring_is_refused(void **state)
{
	struct kvshm_events_page *h = forge();
	struct event_ring *r = NULL;

	(void)state;
	h->major++;
	assert_int_equal(events_open(path, &r), -EPROTONOSUPPORT);
	h->major--;
	h->event_off += 64;
	assert_int_equal(events_open(path, &r), -EBADMSG);
	h->event_off -= 64;
	h->nr_events *= 2;
	assert_int_equal(events_open(path, &r), -EBADMSG);
	h->nr_events /= 2;
	h->magic++;
	assert_int_equal(events_open(path, &r), -EBADMSG);
	munmap(h, 4096);
	assert_int_equal(truncate(path, 4096), 0);
	assert_int_equal(events_open(path, &r), -EBADMSG);
	assert_int_equal(events_open(tmp.path, &r), -EBADMSG);
	assert_null(r);
}

/* Whatever the count says, a read looks at each entry once at most and comes to an end. */
static void a_count_that_lies_gives_no_events(void **state)
{
	static const uint64_t lies[] = { UINT64_MAX, UINT64_MAX / 2, 1ull << 40, 2, 0 };
	struct kvshm_events_page *h = forge();
	struct event_ring *r = reader();
	struct kvshm_event e[64];

	(void)state;
	push(0, 10);
	for (unsigned i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		uint64_t next = 5, lost = 0;
		unsigned nr = 0, got, calls = 0;

		h->next = lies[i];
		do {
			got = events_read(r, &next, e, 64, &lost);
			nr += got;
		} while (got && ++calls < 10);
		assert_in_range(nr, 0, 10);
		assert_int_equal(next, lies[i]);
	}
	munmap(h, 4096);
	events_close(r);
}

static void siphash_is_the_one_of_its_authors(void **state)
{
	const struct siphash_key key = { { 0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull } };
	const uint64_t word = 0x0706050403020100ull;

	(void)state;
	assert_int_equal(siphash_words(&key, &word, 0), 0x726fdb47dd0e0e31ull);
	assert_int_equal(siphash_words(&key, &word, 1), 0x93f5f5799a932462ull);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(events_are_heard_in_order_from_where_one_begins),
		T(who_is_too_slow_learns_how_many_were_lost),
		T(a_new_daemon_has_a_new_ring_and_another_key),
		T(others_may_not_read_it),
		T(what_is_no_ring_is_refused),
		T(a_count_that_lies_gives_no_events),
		cmocka_unit_test(siphash_is_the_one_of_its_authors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
