/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_export.c - a pin handed to another handle as plain data, and all that must be refused
 *
 * The second handle throws the first out of the fake daemon; its maps and pins go on.
 */
#include "fake.h"

#include <sys/wait.h>

enum { NR = 9, CHAIN = 5 };

struct fixture {
	struct fake *f;
	struct kvshm *a, *b;		/* exporter, importer */
	uint32_t ns;			/* of b */
	struct kvshm_key keys[NR];
	struct kvshm_pin pin;
	struct kvshm_block blocks[NR];
	char data[KVSHM_EXPORT_LEN(NR)];
	int len;
};

static struct fixture x;

/* A chain that a has pinned and exported, and a second handle. */
static int setup(void **state)
{
	uint32_t ns;

	fake_setup(state);
	x = (struct fixture){ .f = *state };
	x.a = fake_open(x.f, 0);
	ns = fake_attach_ns(x.a);
	fake_put(x.a, ns, 4, NR);	/* so that ids are no depths */
	fake_put(x.a, ns, CHAIN, NR);
	fake_keys(x.keys, NR, CHAIN);
	assert_int_equal(kvshm_acquire(x.a, ns, x.keys, NR, &x.pin), NR);
	assert_int_equal(kvshm_resolve(x.a, &x.pin, x.keys, x.blocks), NR);
	x.len = kvshm_export(x.a, &x.pin, x.blocks, NR, x.data, sizeof(x.data));
	assert_int_equal(x.len, sizeof(x.data));
	x.b = fake_open(x.f, 0);
	x.ns = fake_attach_ns(x.b);
	return 0;
}

static int teardown(void **state)
{
	kvshm_close(x.a);
	kvshm_close(x.b);
	return fake_teardown(state);
}

static int import(const void *data, size_t len)
{
	struct kvshm_block blocks[NR] = { { 0 } };
	struct kvshm_pin pin = { 0 };
	unsigned i;
	int n = kvshm_import(x.b, x.ns, data, len, &pin, blocks);

	assert_int_equal(pin.slot != 0, n > 0);
	for (i = 0; n > 0 && i < (unsigned)n; i++)
		assert_true(fake_is_filled(blocks[i].ptr, CHAIN, NR - (unsigned)n + i, FAKE_LEN));
	kvshm_release(x.b, &pin);
	return n;
}

static struct kvshm_export *header(void)
{
	return (void *)x.data;
}

static struct kvshm_export_block *entry(unsigned i)
{
	return (void *)(x.data + KVSHM_EXPORT_LEN(i));
}

static struct kvshm_desc *desc(unsigned i)
{
	return &x.f->dir.desc[x.blocks[i].id];
}

static void an_import_pins_the_same_blocks_in_a_pin_file_of_its_own(void **state)
{
	struct kvshm_block blocks[NR];
	struct kvshm_pin pin = { 0 };
	unsigned i;

	assert_int_equal(kvshm_import(x.b, x.ns, x.data, sizeof(x.data), &pin, blocks), NR);
	x.a = kvshm_close(x.a);			/* the exporter ends first */
	for (i = 0; i < NR; i++) {
		assert_int_equal(blocks[i].id, x.blocks[i].id);
		assert_int_equal(blocks[i].generation, x.blocks[i].generation);
		assert_int_equal(blocks[i].arena_offset, x.blocks[i].arena_offset);
		assert_int_equal(blocks[i].tokens, 16);
		assert_true(fake_is_filled(blocks[i].ptr, CHAIN, i, FAKE_LEN));
	}
	assert_int_equal(pin.nr, NR);
	assert_int_equal(kvshm_resolve(x.b, &pin, x.keys, blocks), NR);
	kvshm_release(x.b, &pin);
	assert_int_equal(kvshm_resolve(x.b, &pin, x.keys, blocks), -EINVAL);
}

static void what_was_imported_can_be_exported_again(void **state)
{
	struct kvshm_block blocks[NR];
	char again[sizeof(x.data)];
	struct kvshm_pin pin;

	assert_int_equal(kvshm_import(x.b, x.ns, x.data, sizeof(x.data), &pin, blocks), NR);
	assert_int_equal(kvshm_export(x.b, &pin, blocks, NR, again, sizeof(again)), sizeof(again));
	assert_memory_equal(again, x.data, sizeof(again));
	kvshm_release(x.b, &pin);
}

static void a_part_of_the_prefix_is_exported_alone(void **state)
{
	int len = kvshm_export(x.a, &x.pin, x.blocks + 3, NR - 3, x.data, sizeof(x.data));

	assert_int_equal(len, KVSHM_EXPORT_LEN(NR - 3));
	assert_int_equal(header()->first, 3);
	assert_int_equal(import(x.data, (size_t)len), NR - 3);
	/* One that ends before the pin does: its own last block is pinned. */
	len = kvshm_export(x.a, &x.pin, x.blocks, 2, x.data, sizeof(x.data));
	assert_int_equal(len, KVSHM_EXPORT_LEN(2));
	assert_memory_equal(&header()->key, &x.keys[1], sizeof(x.keys[1]));
}

static void an_export_wants_a_held_pin_and_its_own_blocks(void **state)
{
	struct kvshm_block wrong[NR];
	struct kvshm_pin pin = x.pin;

	assert_int_equal(kvshm_export(x.a, &pin, x.blocks, 0, x.data, sizeof(x.data)), -EINVAL);
	assert_int_equal(kvshm_export(x.a, &pin, x.blocks, NR + 1, x.data, sizeof(x.data)), -EINVAL);
	assert_int_equal(kvshm_export(x.a, &pin, x.blocks, NR, x.data, sizeof(x.data) - 1), -ENOSPC);
	memcpy(wrong, x.blocks, sizeof(wrong));
	wrong[2].generation++;
	assert_int_equal(kvshm_export(x.a, &pin, wrong, NR, x.data, sizeof(x.data)), -EINVAL);
	wrong[2] = x.blocks[3];
	assert_int_equal(kvshm_export(x.a, &pin, wrong, NR, x.data, sizeof(x.data)), -EINVAL);
	memcpy(wrong, x.blocks, sizeof(wrong));
	wrong[NR - 1].id = 1;			/* of another chain */
	assert_int_equal(kvshm_export(x.a, &pin, wrong, NR, x.data, sizeof(x.data)), -EINVAL);
	kvshm_release(x.a, &x.pin);
	assert_int_equal(kvshm_export(x.a, &pin, x.blocks, NR, x.data, sizeof(x.data)), -EINVAL);
}

static void what_is_no_export_is_refused(void **state)
{
	struct kvshm_export good = *header();
	struct kvshm_export *h = header();
	const struct kvshm_export bad[] = {
		{ .magic = 1 }, { .abi = 1 }, { .len = 1 }, { .nr = 1 }, { .first = KVSHM_CHAIN_MAX },
		{ .resv0 = 1 }, { .resv1 = { 0, 0, 1 } }, { .ns = 1 },
	};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		h->magic += bad[i].magic;
		h->abi += bad[i].abi;
		h->len += bad[i].len;
		h->nr += bad[i].nr;
		h->first += bad[i].first;
		h->resv0 += bad[i].resv0;
		h->resv1[2] += bad[i].resv1[2];
		h->ns += bad[i].ns;
		assert_int_equal(import(x.data, sizeof(x.data)), -EINVAL);
		*h = good;
	}
	for (i = 0; i < sizeof(x.data); i++)
		assert_int_equal(import(x.data, i), -EINVAL);
	h->nr = 0;
	h->len = KVSHM_EXPORT_LEN(0);
	assert_int_equal(import(x.data, KVSHM_EXPORT_LEN(0)), -EINVAL);
	*h = good;
	assert_int_equal(import(x.data, sizeof(x.data)), NR);
}

static void data_that_lies_is_stale(void **state)
{
	struct kvshm_export good = *header();
	struct kvshm_export_block mine;
	unsigned i;

	for (i = 0; i < NR; i++) {
		mine = *entry(i);
		entry(i)->generation++;
		assert_int_equal(import(x.data, sizeof(x.data)), -ESTALE);
		*entry(i) = mine;
		entry(i)->id = 3;		/* lives, in another chain */
		assert_int_equal(import(x.data, sizeof(x.data)), -ESTALE);
		entry(i)->id = 0;
		assert_int_equal(import(x.data, sizeof(x.data)), -ESTALE);
		entry(i)->id = UINT32_MAX;
		assert_int_equal(import(x.data, sizeof(x.data)), -ESTALE);
		*entry(i) = mine;
	}
	header()->key.bytes[5] ^= 1;
	assert_int_equal(import(x.data, sizeof(x.data)), -ESTALE);
	*header() = good;
	header()->first = 1;
	assert_int_equal(import(x.data, sizeof(x.data)), -ESTALE);
	*header() = good;
	header()->instance++;
	assert_int_equal(import(x.data, sizeof(x.data)), -ESTALE);
	*header() = good;
	/* The middle of a chain cannot pass for its beginning. */
	memmove(entry(0), entry(1), (NR - 1) * sizeof(*entry(0)));
	header()->nr = NR - 1;
	header()->len = KVSHM_EXPORT_LEN(NR - 1);
	assert_int_equal(import(x.data, KVSHM_EXPORT_LEN(NR - 1)), -ESTALE);
}

static void a_block_of_another_namespace_does_not_pass_under_a_forged_number(void **state)
{
	struct kvshm_ns_desc d = fake_desc(2);
	uint32_t mine = header()->ns, other;

	assert_int_equal(kvshm_attach_ns(x.b, &d, &other), 0);
	fake_put(x.b, other, CHAIN, NR);
	assert_int_equal(kvshm_acquire(x.b, other, x.keys, NR, &x.pin), NR);
	assert_int_equal(kvshm_resolve(x.b, &x.pin, x.keys, x.blocks), NR);
	assert_int_equal(kvshm_export(x.b, &x.pin, x.blocks, NR, x.data, sizeof(x.data)), sizeof(x.data));
	header()->ns = mine;
	assert_int_equal(import(x.data, sizeof(x.data)), -ESTALE);
}

static void a_link_that_leads_out_of_the_directory_is_not_followed(void **state)
{
	desc(NR - 1)->parent = UINT32_MAX;
	entry(NR - 2)->id = UINT32_MAX;
	assert_int_equal(import(x.data, sizeof(x.data)), -ESTALE);
}

static void a_wrong_offset_is_a_hint_and_harmless(void **state)
{
	entry(2)->offset = UINT64_MAX;
	assert_int_equal(import(x.data, sizeof(x.data)), NR);
}

static void a_block_that_was_evicted_or_dropped_is_stale(void **state)
{
	struct kvshm_desc *d = desc(NR - 1);

	block_quarantine(d);
	assert_int_equal(import(x.data, sizeof(x.data)), -ESTALE);
	block_free(d);
	assert_int_equal(import(x.data, sizeof(x.data)), -ESTALE);
	/* The next life of the same block, under the same key. */
	block_grant(d, d->page, FAKE_LEN, (uint16_t)header()->ns, 0);
	assert_int_equal(import(x.data, sizeof(x.data)), -ESTALE);
	block_publish(d, &(struct block_info){ .key = x.keys[NR - 1], .parent = x.blocks[NR - 2].id,
					       .depth = NR - 1, .length = FAKE_LEN, .ns = (uint16_t)header()->ns });
	assert_int_equal(import(x.data, sizeof(x.data)), -ESTALE);
}

static void *reopen(void *arg)
{
	poll(NULL, 0, 2);
	block_reopen(arg);
	return NULL;
}

/* The exporter's pin makes the writer open the block again; until then nobody may pin it. */
static void a_block_that_is_closed_for_a_scan_is_waited_for(void **state)
{
	struct kvshm_desc *d = desc(NR - 1);
	uint64_t began = clock_ns();
	pthread_t thread;

	block_close(d);
	assert_int_equal(import(x.data, sizeof(x.data)), -ESTALE);
	assert_true(clock_ns() - began >= 20000000u);	/* it looked again for so long */
	assert_int_equal(pthread_create(&thread, NULL, reopen, d), 0);
	do {
		x.len = import(x.data, sizeof(x.data));
	} while (x.len == -ESTALE);
	assert_int_equal(x.len, NR);
	pthread_join(thread, NULL);
}

static void the_ancestors_may_be_closed(void **state)
{
	block_close(desc(4));
	assert_int_equal(import(x.data, sizeof(x.data)), NR);
}

static void pins_and_quota_bound_an_import(void **state)
{
	struct kvshm_block blocks[NR];
	struct kvshm_pin pin[64];
	unsigned i;

	for (i = 0; i < x.f->pin_words - 1; i++)
		assert_int_equal(kvshm_import(x.b, x.ns, x.data, sizeof(x.data), &pin[i], blocks), NR);
	assert_int_equal(import(x.data, sizeof(x.data)), -ENOBUFS);
	x.b = kvshm_close(x.b);
	x.f->quota_bytes = (NR - 1) * FAKE_LEN;
	x.b = fake_open(x.f, 0);
	x.ns = fake_attach_ns(x.b);
	assert_int_equal(import(x.data, sizeof(x.data)), -ENOBUFS);
}

static void another_namespace_is_refused(void **state)
{
	struct kvshm_ns_desc d = fake_desc(2);

	assert_int_equal(kvshm_attach_ns(x.b, &d, &x.ns), 0);
	assert_int_equal(import(x.data, sizeof(x.data)), -EINVAL);
	x.ns = 77;
	assert_int_equal(import(x.data, sizeof(x.data)), -EINVAL);
}

static void a_cold_start_makes_it_stale(void **state)
{
	struct fake *f = x.f;
	uint64_t end = clock_ns() + FAKE_SOON_NS;

	fake_die(f);
	directory_set_state(&f->dir, KVSHM_SB_DEAD, f->start_count);
	assert_int_equal(import(x.data, sizeof(x.data)), -ESTALE);
	fake_content_end(f);
	fake_content(f);
	fake_start(f);
	while (kvshm_sync(x.b) < 0)		/* until it has attached again */
		assert_true(clock_ns() < end);
	assert_int_equal(fake_attach_ns(x.b), x.ns);
	fake_put(x.b, x.ns, 4, NR);
	fake_put(x.b, x.ns, CHAIN, NR);		/* equal keys, ids and generations */
	assert_int_equal(import(x.data, sizeof(x.data)), -ESTALE);
	assert_int_equal(kvshm_resolve(x.a, &x.pin, x.keys, x.blocks), NR);	/* the exporter has its bytes still */
}

static void a_warm_start_leaves_it_good(void **state)
{
	fake_die(x.f);
	assert_int_equal(import(x.data, sizeof(x.data)), NR);
	fake_start(x.f);
	assert_int_equal(import(x.data, sizeof(x.data)), NR);
}

static void a_forked_child_neither_exports_nor_imports(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct kvshm_block b[NR];
		struct kvshm_pin pin;
		int ok = kvshm_export(x.a, &x.pin, x.blocks, NR, x.data, sizeof(x.data)) == -EOWNERDEAD &&
			 kvshm_import(x.b, x.ns, x.data, sizeof(x.data), &pin, b) == -EOWNERDEAD;

		_exit(!ok);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_import_pins_the_same_blocks_in_a_pin_file_of_its_own),
		T(what_was_imported_can_be_exported_again),
		T(a_part_of_the_prefix_is_exported_alone),
		T(an_export_wants_a_held_pin_and_its_own_blocks),
		T(what_is_no_export_is_refused),
		T(data_that_lies_is_stale),
		T(a_block_of_another_namespace_does_not_pass_under_a_forged_number),
		T(a_link_that_leads_out_of_the_directory_is_not_followed),
		T(a_wrong_offset_is_a_hint_and_harmless),
		T(a_block_that_was_evicted_or_dropped_is_stale),
		T(a_block_that_is_closed_for_a_scan_is_waited_for),
		T(the_ancestors_may_be_closed),
		T(pins_and_quota_bound_an_import),
		T(another_namespace_is_refused),
		T(a_cold_start_makes_it_stale),
		T(a_warm_start_leaves_it_good),
		T(a_forked_child_neither_exports_nor_imports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
