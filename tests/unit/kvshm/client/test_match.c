/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct kvshm_client_stats stats_of(struct kvshm *k)
{
	struct kvshm_client_stats s = { .sz = sizeof(s) };

	assert_int_equal(kvshm_stats(k, &s), 0);
	return s;
}

static void acquire_pins_the_longest_cached_prefix_and_resolve_finds_its_bytes(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_key keys[12];
	struct kvshm_block b[12];
	struct kvshm_pin pin = { 0 };
	unsigned i;

	fake_put(k, ns, 5, 9);
	fake_keys(keys, 12, 5);
	assert_int_equal(kvshm_acquire(k, ns, keys, 12, &pin), 9);
	assert_int_equal(pin.nr, 9);
	assert_int_equal(kvshm_resolve(k, &pin, keys, b), 9);
	for (i = 0; i < 9; i++) {
		assert_int_equal(b[i].length, FAKE_LEN);
		assert_int_equal(b[i].tokens, 16);
		assert_true(fake_is_filled(b[i].ptr, 5, i, FAKE_LEN));
	}
	kvshm_release(k, &pin);
	assert_int_equal(pin.slot, 0);
	assert_int_equal(kvshm_resolve(k, &pin, keys, b), -EINVAL);
	kvshm_close(k);
}

static void a_stretch_from_inside_a_chain_is_pinned_and_resolved(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_key keys[12];
	struct kvshm_block b[12];
	struct kvshm_pin pin, loose[2];
	unsigned i;

	fake_put(k, ns, 5, 9);
	fake_keys(keys, 12, 5);
	assert_int_equal(kvshm_acquire(k, ns, keys + 3, 9, &pin), 6);
	assert_int_equal(kvshm_resolve(k, &pin, keys + 3, b), 6);
	for (i = 0; i < 6; i++)
		assert_true(fake_is_filled(b[i].ptr, 5, i + 3, FAKE_LEN));
	kvshm_release(k, &pin);
	assert_int_equal(kvshm_acquire_loose(k, ns, keys + 8, 2, loose), 1);
	assert_int_equal(kvshm_resolve(k, &loose[0], keys + 8, b), 1);
	assert_true(fake_is_filled(b[0].ptr, 5, 8, FAKE_LEN));
	kvshm_release(k, &loose[0]);
	kvshm_close(k);
}

static void acquire_counts_and_touches(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_key keys[8];
	struct kvshm_pin pin;
	struct kvshm_client_stats s;

	fake_put(k, ns, 5, 6);
	fake_keys(keys, 8, 5);
	assert_int_equal(kvshm_acquire(k, ns, keys, 8, &pin), 6);
	s = stats_of(k);
	assert_int_equal(s.lookups, 1);
	assert_int_equal(s.lookup_blocks, 8);
	assert_int_equal(s.hit_blocks, 6);
	assert_int_equal(s.hit_tokens, 6 * 16);
	assert_int_equal(s.miss_blocks, 2);
	assert_int_equal(READ_ONCE(f->seg.hdr->touch.tail), 1);
	assert_int_equal(f->seg.touch[0].nr, 6);
	assert_int_equal(f->seg.touch[0].id, pin.id);
	kvshm_close(k);
}

static void empty_and_too_long_chains_have_answers_of_their_own(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_key *keys = calloc(KVSHM_CHAIN_MAX + 1, sizeof(*keys));
	struct kvshm_pin pin = { .slot = 77 };

	assert_int_equal(kvshm_acquire(k, ns, keys, 0, &pin), 0);
	assert_int_equal(kvshm_acquire(k, ns, keys, KVSHM_CHAIN_MAX + 1, &pin), -E2BIG);
	assert_int_equal(kvshm_acquire(k, ns, keys, KVSHM_CHAIN_MAX, &pin), 0);
	assert_int_equal(kvshm_acquire(k, ns + 1, keys, 1, &pin), -EINVAL);
	assert_int_equal(kvshm_acquire(k, 0, keys, 1, &pin), -EINVAL);
	assert_int_equal(pin.slot, 77);
	free(keys);
	kvshm_close(k);
}

static void pins_run_out_and_come_back(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_pin pin[64];
	struct kvshm_key key;
	unsigned i;

	fake_put(k, ns, 5, 1);
	fake_keys(&key, 1, 5);
	for (i = 0; i < f->pin_words - 1; i++)
		assert_int_equal(kvshm_acquire(k, ns, &key, 1, &pin[i]), 1);
	assert_int_equal(kvshm_acquire(k, ns, &key, 1, &pin[63]), -ENOBUFS);
	kvshm_release(k, &pin[5]);
	assert_int_equal(kvshm_acquire(k, ns, &key, 1, &pin[5]), 1);
	kvshm_close(k);
}

static void past_the_quota_the_longest_prefix_that_fits_is_pinned(void **state)
{
	struct fake *f = *state;
	struct kvshm_pin pin, other;
	struct kvshm_key keys[8];
	struct kvshm *k;
	uint32_t ns;

	f->quota_bytes = 5 * FAKE_LEN;
	k = fake_open(f, 0);
	ns = fake_attach_ns(k);
	fake_put(k, ns, 5, 8);
	fake_keys(keys, 8, 5);
	assert_int_equal(kvshm_acquire(k, ns, keys, 8, &pin), 5);
	assert_int_equal(kvshm_acquire(k, ns, keys, 8, &other), -ENOBUFS);
	assert_int_equal(stats_of(k).quota_refusals, 2);
	kvshm_release(k, &pin);
	assert_int_equal(kvshm_acquire(k, ns, keys, 8, &pin), 5);
	kvshm_close(k);
}

static void loose_keys_are_matched_one_by_one(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	uint32_t ns = fake_attach_ns(k);
	static char bytes[FAKE_LEN];
	const void *src[3] = { bytes, bytes, bytes };
	struct kvshm_key put[3], ask[130];
	struct kvshm_pin pins[130];
	struct kvshm_completion c;
	struct kvshm_block b;
	unsigned i;

	fake_keys(put, 3, 9);
	assert_int_equal(kvshm_put(k, ns, NULL, put, src, NULL, 3, KVSHM_COMMIT_LOOSE, 1, 5000000), 0);
	assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 1);
	assert_int_equal(c.res, 3);
	fake_keys(ask, 130, 10);
	ask[0] = put[2];
	ask[64] = put[0];
	ask[129] = put[1];
	assert_int_equal(kvshm_acquire_loose(k, ns, ask, 130, pins), 3);
	for (i = 0; i < 130; i++)
		assert_int_equal(pins[i].slot != 0, i == 0 || i == 64 || i == 129);
	assert_int_equal(kvshm_resolve(k, &pins[64], &ask[64], &b), 1);
	for (i = 0; i < 130; i++)
		kvshm_release(k, &pins[i]);
	kvshm_close(k);
}

static void a_forked_child_is_told_that_the_handle_is_not_its_own(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_completion c;
	struct kvshm_pin pin;
	struct kvshm_key key = fake_key_of(1, 0);
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int ok = kvshm_acquire(k, ns, &key, 1, &pin) == -EOWNERDEAD &&
			 kvshm_poll(k, &c, 1, 1000) == -EOWNERDEAD &&
			 kvshm_drop(k, ns, &key) == -EOWNERDEAD &&
			 kvshm_close(k) == NULL;
		_exit(!ok);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* The parent's session is as it was. */
	assert_int_equal(fake_put(k, ns, 5, 2).res, 2);
	kvshm_close(k);
}

static void allow_no_system_call_but_exit(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		_exit(77);
}

static void match_thousands(struct kvshm *k, uint32_t ns)
{
	struct kvshm_key keys[10];
	struct kvshm_block b[10];
	struct kvshm_pin pin;
	unsigned i;
	bool ok = true;

	fake_keys(keys, 10, 5);
	allow_no_system_call_but_exit();
	for (i = 0; i < 10000; i++) {
		ok = ok && kvshm_acquire(k, ns, keys, 10, &pin) == 8;
		ok = ok && kvshm_resolve(k, &pin, keys, b) == 8;
		kvshm_release(k, &pin);
	}
	syscall(SYS_exit_group, ok ? 0 : 1);
}

static void acquire_resolve_and_release_make_no_system_call(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	int status;
	pid_t pid;

	fake_put(k, fake_attach_ns(k), 5, 8);
	kvshm_close(k);
	pid = fork();
	if (pid == 0) {
		k = fake_open(f, 0);
		match_thousands(k, fake_attach_ns(k));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void an_extent_served_later_is_mapped_when_a_block_lies_in_it(void **state)
{
	struct fake *f = *state;
	struct kvshm *k = fake_open(f, 0);
	uint32_t ns = fake_attach_ns(k);
	struct kvshm_key keys[4];
	struct kvshm_block b[4];
	struct kvshm_pin pin;

	fake_serve_extent(f, 1);
	WRITE_ONCE(f->next_id, FAKE_EXTENT / FAKE_LEN - 1);	/* the next grants lie on both sides of the seam */
	fake_put(k, ns, 5, 4);
	fake_keys(keys, 4, 5);
	assert_int_equal(kvshm_acquire(k, ns, keys, 4, &pin), 4);
	assert_int_equal(kvshm_resolve(k, &pin, keys, b), 4);
	assert_true(b[3].arena_offset >= FAKE_EXTENT);
	assert_true(fake_is_filled(b[3].ptr, 5, 3, FAKE_LEN));
	kvshm_close(k);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(acquire_pins_the_longest_cached_prefix_and_resolve_finds_its_bytes),
		T(a_stretch_from_inside_a_chain_is_pinned_and_resolved),
		T(acquire_counts_and_touches),
		T(empty_and_too_long_chains_have_answers_of_their_own),
		T(pins_run_out_and_come_back),
		T(past_the_quota_the_longest_prefix_that_fits_is_pinned),
		T(loose_keys_are_matched_one_by_one),
		T(a_forked_child_is_told_that_the_handle_is_not_its_own),
		T(acquire_resolve_and_release_make_no_system_call),
		T(an_extent_served_later_is_mapped_when_a_block_lies_in_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
