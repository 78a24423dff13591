/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"
#include "kvshm/daemon/learnt.h"
#include "policy/policy.h"

#define SECOND 1000000000ull
#define BLOCKS 400u

static char dir[] = "/tmp/kvshm-learnt.XXXXXX";
static int dirfd_;
static const struct learnt_id me = { .policy = "gix", .instance = 77, .max_blocks = 1000 };

static int make_dir(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY);
	return dirfd_ < 0;
}

static int remove_dir(void **state)
{
	(void)state;
	close(dirfd_);
	return rmdir(dir);
}

static int remove_file(void **state)
{
	(void)state;
	unlinkat(dirfd_, LEARNT_FILE, 0);
	return 0;
}

static struct learnt_file open_file(void)
{
	struct learnt_file f = { .fd = -1 };

	assert_int_equal(learnt_open(dirfd_, &f), 0);
	return f;
}

/* What the file holds for @id, through a new opening, as the next daemon does. */
static long read_back(const struct learnt_id *id, void **ret_buf)
{
	struct learnt_file f = open_file();
	long ret = learnt_read(&f, id, ret_buf);

	learnt_close(&f);
	return ret;
}

static void expect_text(const char *text)
{
	void *buf = NULL;

	assert_int_equal(read_back(&me, &buf), (long)strlen(text));
	assert_memory_equal(buf, text, strlen(text));
	free(buf);
}

static void put_text(const char *text)
{
	struct learnt_file f = open_file();
	void *buf = NULL;

	/* As a daemon does: read first, so that the newest copy is not the one to be overwritten. */
	if (learnt_read(&f, &me, &buf) > 0)
		free(buf);
	assert_int_equal(learnt_write(&f, &me, text, strlen(text)), 0);
	learnt_close(&f);
}

static void the_last_copy_counts(void **state)
{
	void *buf = NULL;

	(void)state;
	assert_int_equal(read_back(&me, &buf), -ENOENT);
	put_text("one");
	expect_text("one");
	put_text("two");
	put_text("three");
	expect_text("three");
}

static void a_write_that_was_cut_short_leaves_the_one_before(void **state)
{
	const char *text[] = { "one", "two", "three", "four" };
	char byte;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(text); i++) {
		struct learnt_file f;
		off_t at;

		put_text(text[i]);
		if (i == 0)
			continue;
		/* The first half of the next write: payload of the older copy, its header as it was. */
		f = open_file();
		at = (off_t)((i % 2) * LEARNT_MAX) + 72;
		assert_int_equal(pread(f.fd, &byte, 1, at), 1);
		byte ^= 1;
		assert_int_equal(pwrite(f.fd, &byte, 1, at), 1);
		learnt_close(&f);
		expect_text(text[i]);
	}
}

static void what_others_have_learnt_is_refused(void **state)
{
	struct learnt_id other[] = { me, me, me };
	void *buf = NULL;

	(void)state;
	put_text("mine");
	other[0].policy = "lhd";
	other[1].instance++;
	other[2].max_blocks++;
	for (unsigned i = 0; i < ARRAY_SIZE(other); i++)
		assert_int_equal(read_back(&other[i], &buf), -ESTALE);
	expect_text("mine");
}

static void a_file_that_is_cut_anywhere_is_refused_or_whole(void **state)
{
	struct learnt_file f;
	void *buf = NULL;
	off_t end;

	(void)state;
	put_text("a few bytes");
	f = open_file();
	for (end = lseek(f.fd, 0, SEEK_END) - 1; end > 0; end -= end > LEARNT_MAX ? 1 : LEARNT_MAX / 3) {
		assert_int_equal(ftruncate(f.fd, end), 0);
		assert_int_equal(learnt_read(&f, &me, &buf), -EUCLEAN);
	}
	learnt_close(&f);
}

static void too_much_is_refused_and_leaves_the_file(void **state)
{
	void *much = calloc(1, LEARNT_MAX);
	struct learnt_file f;

	(void)state;
	put_text("small");
	f = open_file();
	assert_int_equal(learnt_write(&f, &me, much, LEARNT_MAX), -EFBIG);
	assert_int_equal(learnt_write(&f, &me, much, 0), -EFBIG);
	learnt_close(&f);
	free(much);
	expect_text("small");
}

/* Any damage: the newest copy, the one before it, or an error; never other bytes. */
static void damaged_bytes_never_come_out(void **state)
{
	struct rand r;
	struct learnt_file f;
	unsigned i, refused = 0;

	(void)state;
	rand_init(&r, 20261129);
	put_text("copy number one");
	put_text("copy number two");
	f = open_file();
	for (i = 0; i < 4000; i++) {
		const off_t at = (off_t)(rand_below(&r, 2) * LEARNT_MAX + rand_below(&r, 87));
		const char flip = (char)(1u << rand_below(&r, 8));
		void *buf = NULL;
		char byte;
		long ret;

		assert_int_equal(pread(f.fd, &byte, 1, at), 1);
		byte ^= flip;
		assert_int_equal(pwrite(f.fd, &byte, 1, at), 1);
		ret = learnt_read(&f, &me, &buf);
		refused += ret < 0;
		if (ret >= 0) {
			assert_int_equal(ret, 15);
			assert_true(!memcmp(buf, "copy number one", 15) || !memcmp(buf, "copy number two", 15));
			free(buf);
		}
		if (i % 3) {		/* leave some, so that both are damaged at times */
			byte ^= flip;
			assert_int_equal(pwrite(f.fd, &byte, 1, at), 1);
		}
	}
	learnt_close(&f);
	assert_in_range(refused, 100, 3999);
}

/* ---- gix through the file ----------------------------------------------------------------------------- */

static struct policy *make_gix(void)
{
	const struct policy_config cfg = { .max_ids = BLOCKS };
	struct policy *p = NULL;

	assert_int_equal(policy_gix.create(&cfg, &p), 0);
	return p;
}

static void insert_roots(struct policy *p, uint64_t now_ns, uint64_t key)
{
	for (pol_id_t id = 1; id <= BLOCKS; id++) {
		const struct pol_block b = { .id = id, .bytes = 4096, .hints = 1 + id % 3, .key = key + id };

		policy_gix.insert(p, &b, now_ns + id * SECOND / 10);
	}
}

/* Type 1 comes back after a minute, type 2 after five seconds, type 3 never. */
static struct policy *a_policy_with_experience(void)
{
	struct policy *p = make_gix();
	uint64_t now = SECOND;
	pol_id_t id, out[BLOCKS];

	for (unsigned round = 0; round < 20; round++) {
		insert_roots(p, now, round * BLOCKS);
		for (unsigned s = 0; s < 120; s++) {
			now += SECOND;
			policy_gix.tick(p, now);
			for (id = 1; id <= BLOCKS; id++)
				if ((id % 3 == 0 && s == 60) || (id % 3 == 1 && s == 5))
					policy_gix.touch(p, id, 1 + id % 3, now);
		}
		policy_gix.victims(p, UINT64_MAX, now, out, BLOCKS, NULL, NULL);
		for (unsigned i = 0; i < BLOCKS; i++)
			policy_gix.remove(p, out[i]);
	}
	return p;
}

static void victims_after_a_restart(struct policy *p, pol_id_t *out)
{
	insert_roots(p, 0, 1u << 20);
	policy_gix.tick(p, 70 * SECOND);
	assert_int_equal(policy_gix.victims(p, UINT64_MAX, 70 * SECOND, out, 60, NULL, NULL), 60);
}

static void what_was_learnt_gives_the_same_victims_after_a_restart(void **state)
{
	struct policy *p = a_policy_with_experience(), *direct = make_gix(), *file = make_gix(), *cold = make_gix();
	const size_t len = policy_gix.save(p, NULL, 0);
	pol_id_t want[60], got[60], cold_ones[60];
	struct learnt_file f = open_file();
	void *saved = malloc(len), *buf = NULL;

	(void)state;
	assert_int_equal(policy_gix.save(p, saved, len), len);
	assert_int_equal(learnt_write(&f, &me, saved, len), 0);
	learnt_close(&f);
	assert_int_equal(read_back(&me, &buf), (long)len);
	assert_int_equal(policy_gix.load(direct, saved, len), 0);
	assert_int_equal(policy_gix.load(file, buf, len), 0);
	victims_after_a_restart(direct, want);
	victims_after_a_restart(file, got);
	victims_after_a_restart(cold, cold_ones);
	assert_memory_equal(got, want, sizeof(want));
	assert_memory_not_equal(got, cold_ones, sizeof(want));
	free(buf);
	free(saved);
	policy_gix.destroy(p);
	policy_gix.destroy(direct);
	policy_gix.destroy(file);
	policy_gix.destroy(cold);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, remove_file)
	const struct CMUnitTest tests[] = {
		T(the_last_copy_counts),
		T(a_write_that_was_cut_short_leaves_the_one_before),
		T(what_others_have_learnt_is_refused),
		T(a_file_that_is_cut_anywhere_is_refused_or_whole),
		T(too_much_is_refused_and_leaves_the_file),
		T(damaged_bytes_never_come_out),
		T(what_was_learnt_gives_the_same_victims_after_a_restart),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
