/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crash_stores.c - the daemon may die after any of its stores
 *
 * The writer's modules are compiled in here with stores that leave a record {address, old, new}.  After
 * each random operation the records are undone one by one, so that the directory is, one after the
 * other, what a daemon killed after each store would have left: an image.  Each image is copied,
 * recovered and checked:
 *
 *   - nothing is damaged, and all invariants hold
 *   - what was published before the operation and is after it is there at every store of it
 *   - what is there has the bytes of its key; a grant of a living owner is one still
 *   - what a pin holds has the same life and the same bytes
 *
 * Recovery stores too: some recoveries are recorded themselves, and cut after each of their stores.
 * That no store goes unrecorded is checked: the records played on a copy give the directory.
 *
 * KVSHM_STORES=N: how many images, otherwise 210,000; under a sanitizer 60,000.
 */
#define KVSHM_TESTPOINTS
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kvshm/base/atomic.h"

static void record_store(void *at, const void *value, size_t len);
static void record_copy(void *to, const void *from, size_t len);

#undef WRITE_ONCE
#undef store_release
#define WRITE_ONCE(x, v)						\
	({								\
		__typeof__(x) value_ = (v);				\
		record_store(&(x), &value_, sizeof(value_));		\
	})
#define store_release(p, v) WRITE_ONCE(*(p), (v))

#include "kvshm/arena/block.c"
#include "kvshm/index/index.c"
#include "kvshm/index/insert.c"
#include "kvshm/index/remove.c"
#include "kvshm/cache/drop.c"
#include "kvshm/cache/publish.c"
#include "kvshm/cache/reclaim.c"
#include "kvshm/cache/recover.c"

#include "kvshm/cache/namespace.c"

#define memcpy record_copy
#define collect relocate_collect
#include "kvshm/cache/relocate.c"
#undef collect
#undef memcpy

#include "kvshm/base/rand.h"
#include "tests/unit/kvshm/cache/fixture.h"

enum {
	BLOCKS = 160, UNITS = 4, CHAINS = 24, DEPTH = 10, PINS = 6, GRANTS = 12, RECORDS = 1 << 16, POINTS = 16,
	SECOND_EVERY = 11,		/* images whose recovery dies too */
};

static struct fix f;
static struct rand rnd;
static uint16_t ns[3];
static const uint32_t ns_len[3] = { 65536, 20480, 1u << 20 };
static unsigned long nr_images, nr_second, nr_wanted;

/* ---- records of stores -------------------------------------------------------------------------- */

struct record {
	char *at;
	uint64_t before, after;
	uint32_t len;
};

struct records {
	struct record r[RECORDS];
	size_t nr;
};

static struct records op_records, recovery_records, *recording;
static char *image_mem, *second_mem, *shadow;
static size_t dir_len;			/* bytes of the directory that are used */

static bool is_within(const char *p, const char *base, size_t len)
{
	return p >= base && p < base + len;
}

static bool is_shared(const char *p)
{
	return is_within(p, (char *)f.dir.sb, dir_len) || is_within(p, image_mem, dir_len) ||
	       is_within(p, second_mem, dir_len) || is_within(p, f.arena.base, f.arena.span);
}

static void record_store(void *at, const void *value, size_t len)
{
	if (recording && is_shared(at)) {
		struct record *r = &recording->r[recording->nr++];

		assert_true(recording->nr < RECORDS);
		*r = (struct record){ .at = at, .len = (uint32_t)len };
		memcpy(&r->before, at, len);
		memcpy(&r->after, value, len);
	}
	memcpy(at, value, len);
}

/* A block moves: its tags, which is what is compared, are recorded. */
static void record_copy(void *to, const void *from, size_t len)
{
	char *t = to;
	const char *p = from;

	assert_true(len >= 16);
	record_store(t, p, 8);
	record_store(t + len - 8, p + len - 8, 8);
	memcpy(to, from, len);
}

static void undo(const struct record *r)
{
	memcpy(r->at, &r->before, r->len);
}

static void redo(const struct record *r)
{
	memcpy(r->at, &r->after, r->len);
}

/* ---- test points -------------------------------------------------------------------------------- */

static const char *const all_points[] = {
	"publish: descriptor without index slot", "evict: closed without index slot", "evict: closed, not scanned",
	"drop: published without index slot", "relocate: old place granted", "relocate: old place recorded",
	"relocate: moved",
};
static unsigned long point_hits[sizeof(all_points) / sizeof(all_points[0])];

static void on_point(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(all_points) / sizeof(all_points[0]); i++)
		point_hits[i] += !strcmp(name, all_points[i]);
}

/* ---- keys, bytes, pins, grants ------------------------------------------------------------------- */

struct look {				/* what a key is before or after an operation */
	blk_id_t id;			/* 0: absent */
	uint32_t generation;
};

static struct look before[CHAINS][DEPTH], after[CHAINS][DEPTH];

static struct {
	uint32_t slot;			/* 0: not held */
	unsigned chain, nr;
	struct look b[DEPTH];
	uint64_t place[DEPTH];
} pin[PINS];

static struct {
	blk_id_t id;			/* 0: not held */
	unsigned kind;
} grant[GRANTS];

static uint64_t tag_of(const struct kvshm_key *key)
{
	uint64_t w[4];

	memcpy(w, key, sizeof(w));
	return w[0] ^ w[1] * 3 ^ w[2] * 5 ^ w[3] * 7 ^ 0x1234567;
}

static bool has_tag(uint64_t place, uint32_t length, uint64_t tag)
{
	const char *p = arena_ptr(&f.arena, place);

	return !memcmp(p, &tag, 8) && !memcmp(p + length - 8, &tag, 8);
}

static unsigned kind_of(unsigned chain)
{
	return chain % 8 == 7 ? 2 : chain % 2;
}

static void look_all(struct look (*l)[DEPTH])
{
	unsigned c, i;

	for (c = 0; c < CHAINS; c++)
		for (i = 0; i < DEPTH; i++) {
			const struct kvshm_key key = fix_key(c, i);
			struct index_hit hit = { 0 };

			index_find(&f.dir, ns[kind_of(c)], &key, &hit);
			l[c][i] = (struct look){ .id = hit.id, .generation = hit.generation };
		}
}

/* ---- an image ------------------------------------------------------------------------------------ */

static void rebase(struct directory *d, char *mem)
{
	const ptrdiff_t by = mem - (char *)f.dir.sb;

	*d = f.dir;
	d->sb = (void *)mem;
	d->ns = (void *)((char *)f.dir.ns + by);
	d->extent = (void *)((char *)f.dir.extent + by);
	d->desc = (void *)((char *)f.dir.desc + by);
	d->bucket = (void *)((char *)f.dir.bucket + by);
}

struct image {
	struct directory dir;
	struct cache_config cfg;
	struct cache *c;
};

static void image_open(struct image *m, char *mem)
{
	unsigned i;

	rebase(&m->dir, mem);
	m->cfg = f.cfg;
	m->cfg.dir = &m->dir;
	assert_int_equal(pin_set_create(FIX_SESSIONS, &m->cfg.pins), 0);
	for (i = 0; i < FIX_SESSIONS; i++)
		assert_int_equal(pin_set_add(m->cfg.pins, FIX_OWNER + i, f.pin_fd[i], FIX_PIN_WORDS, 0), 0);
	assert_int_equal(cache_create(&m->cfg, &m->c), 0);
}

static void image_close(struct image *m)
{
	m->c = cache_destroy(m->c);
	m->cfg.pins = pin_set_destroy(m->cfg.pins);
}

static uint64_t grants_in(const struct directory *d)
{
	uint64_t nr = 0;
	blk_id_t id;

	for (id = 1; id <= d->max_blocks; id++)
		nr += state_of(d->desc[id].state) == KVSHM_BLOCK_GRANTED && state_owner(d->desc[id].state);
	return nr;
}

static void check_key(const struct directory *d, unsigned chain, unsigned i)
{
	const struct look *b = &before[chain][i], *a = &after[chain][i];
	const struct kvshm_key key = fix_key(chain, i);
	struct index_hit hit;

	if (!index_find(d, ns[kind_of(chain)], &key, &hit)) {
		if (a->id && a->id == b->id && a->generation == b->generation)
			fail_msg("image %lu: block %u of chain %u is lost", nr_images, i, chain);
		return;
	}
	if (!has_tag((uint64_t)d->desc[hit.id].page * KVSHM_PAGE, d->desc[hit.id].length, tag_of(&key)))
		fail_msg("image %lu: block %u of chain %u has other bytes", nr_images, i, chain);
}

static void check_pins(const struct directory *d)
{
	unsigned p, i;

	for (p = 0; p < PINS; p++)
		for (i = 0; pin[p].slot && i < pin[p].nr; i++) {
			const struct kvshm_desc *b = &d->desc[pin[p].b[i].id];
			const struct kvshm_key key = fix_key(pin[p].chain, i);
			enum kvshm_block_state s = state_of(b->state);

			if (state_generation(b->state) != pin[p].b[i].generation ||
			    (s != KVSHM_BLOCK_PUBLISHED && s != KVSHM_BLOCK_QUARANTINED) ||
			    !has_tag(pin[p].place[i], b->length, tag_of(&key)))
				fail_msg("image %lu: a pinned block has changed", nr_images);
		}
}

static void check_image(struct image *m, uint64_t grants)
{
	struct cache_counts n;
	char first[160];
	unsigned c, i;

	cache_count(m->c, &n);
	if (n.damaged)
		fail_msg("image %lu: %lu blocks damaged", nr_images, (unsigned long)n.damaged);
	if (n.granted != grants)
		fail_msg("image %lu: %lu grants, not %lu", nr_images, (unsigned long)n.granted, (unsigned long)grants);
	if (cache_verify(m->c, first))
		fail_msg("image %lu: %s", nr_images, first);
	for (c = 0; c < CHAINS; c++)
		for (i = 0; i < DEPTH; i++)
			check_key(&m->dir, c, i);
	check_pins(&m->dir);
}

static void recover_image(char *mem, uint64_t grants)
{
	struct image m;

	image_open(&m, mem);
	assert_true(cache_recover(m.c, fix_is_owner_alive, &f, ++f.now) >= 0);
	check_image(&m, grants);
	image_close(&m);
	nr_images++;
}

/* The recovery of image_mem dies as well, after each of its stores. */
static void die_in_recovery(uint64_t grants)
{
	struct image m;
	size_t i;

	image_open(&m, image_mem);
	recovery_records.nr = 0;
	recording = &recovery_records;
	assert_true(cache_recover(m.c, fix_is_owner_alive, &f, ++f.now) >= 0);
	recording = NULL;
	image_close(&m);
	for (i = recovery_records.nr; i-- > 0;)
		undo(&recovery_records.r[i]);
	for (i = 0; i < recovery_records.nr; i++) {
		memcpy(second_mem, image_mem, dir_len);
		recover_image(second_mem, grants);
		nr_second++;
		redo(&recovery_records.r[i]);
	}
}

/* ---- an operation -------------------------------------------------------------------------------- */

/* An entry of the namespace table is filled by plain stores, while it is not live: nobody looks at them. */
static void take_unused_entries(void)
{
	struct kvshm_ns_entry *e = (void *)(shadow + ((char *)f.dir.ns - (char *)f.dir.sb));
	uint32_t i;

	for (i = 1; i < f.dir.max_ns; i++)
		if (!e[i].state) {
			e[i] = f.dir.ns[i];
			e[i].state = 0;
		}
}

static void check_records(void)
{
	size_t i;

	take_unused_entries();
	for (i = 0; i < op_records.nr; i++) {
		const struct record *r = &op_records.r[i];

		if (is_within(r->at, (char *)f.dir.sb, dir_len))
			memcpy(shadow + (r->at - (char *)f.dir.sb), &r->after, r->len);
	}
	assert_memory_equal(shadow, f.dir.sb, dir_len);
}

static void die_everywhere(void)
{
	uint64_t grants;
	size_t i;

	for (i = op_records.nr; i-- > 0;)
		undo(&op_records.r[i]);
	for (i = 0; i < op_records.nr; i++) {
		redo(&op_records.r[i]);
		grants = grants_in(&f.dir);
		memcpy(image_mem, f.dir.sb, dir_len);
		if (nr_images % SECOND_EVERY == 0)
			die_in_recovery(grants);
		memcpy(image_mem, f.dir.sb, dir_len);
		recover_image(image_mem, grants);
	}
}

static void run_op(void (*op)(void))
{
	look_all(before);
	memcpy(shadow, f.dir.sb, dir_len);
	op_records.nr = 0;
	recording = &op_records;
	op();
	recording = NULL;
	look_all(after);
	check_records();
	die_everywhere();
}

static unsigned arg_chain, arg_depth;

static blk_id_t arg_id;

static void op_grant_one(void)
{
	arg_id = fix_grant(&f, FIX_OWNER, ns[kind_of(arg_chain)]);
}

static void op_commit(void)
{
	const struct kvshm_key key = fix_key(arg_chain, arg_depth), parent = fix_key(arg_chain, arg_depth - 1);
	struct kvshm_commit_rec rec = fix_rec(&f, arg_id, key);
	struct cache_commit_result r;

	rec.checksum = arg_depth % 2 ? 0x5eed + arg_depth : 0;	/* known or not; recovery wants flag and value to agree */
	fix_commit(&f, FIX_OWNER, ns[kind_of(arg_chain)], arg_depth ? &parent : NULL, rec, &r);
}

static void put(void)
{
	const struct kvshm_key key = fix_key(arg_chain, arg_depth);
	const uint64_t tag = tag_of(&key);

	run_op(op_grant_one);
	if (!arg_id)
		return;
	memcpy(fix_bytes(&f, arg_id), &tag, 8);
	memcpy(fix_bytes(&f, arg_id) + f.dir.desc[arg_id].length - 8, &tag, 8);
	run_op(op_commit);
}

static void op_drop(void)
{
	const struct kvshm_key key = fix_key(arg_chain, arg_depth);

	cache_drop(f.c, ns[kind_of(arg_chain)], &key);
}

/* In steps, with other operations between them. */
static struct cache_drop slow_drop;
static bool is_dropping;

static void op_drop_step(void)
{
	is_dropping = cache_drop_step(f.c, &slow_drop, 2) > 0;
}

static void drop_slowly(void)
{
	if (!is_dropping)
		slow_drop = (struct cache_drop){ .ns = ns[kind_of(arg_chain)], .is_all = arg_chain % 3 == 0,
						 .key = fix_key(arg_chain, 0) };
	run_op(op_drop_step);
}

static void op_reclaim(void)
{
	cache_reclaim(f.c, (1 + arg_depth) * 65536, ++f.now);
}

static void op_grant(void)
{
	unsigned i = arg_chain % GRANTS;

	if (grant[i].id)
		cache_return(f.c, FIX_OWNER, fix_ref(&f, grant[i].id));
	grant[i].id = grant[i].id ? 0 : fix_grant(&f, FIX_OWNER, ns[kind_of(arg_chain)]);
}

static void op_owner_gone(void)
{
	cache_owner_gone(f.c, FIX_OWNER);
	memset(grant, 0, sizeof(grant));
}

static void op_tick(void)
{
	f.now += 1000000000;
	cache_tick(f.c, f.now);
}

static void op_namespace(void)
{
	static uint8_t name = 10;

	if (f.dir.sb->nr_ns < 60)
		fix_ns(&f, name++, 65536);
}

static unsigned present(unsigned chain)
{
	unsigned i;

	for (i = 0; i < DEPTH && fix_find(&f, ns[kind_of(chain)], chain, i); i++)
		;
	return i;
}

static void change_pin(unsigned p)
{
	unsigned i, nr;

	if (pin[p].slot) {
		fix_unpin(&f, pin[p].slot);
		pin[p].slot = 0;
		return;
	}
	pin[p].chain = (unsigned)rand_below(&rnd, CHAINS);
	nr = present(pin[p].chain);
	if (!nr)
		return;
	pin[p].slot = fix_pin(&f, ns[kind_of(pin[p].chain)], pin[p].chain, nr - 1);
	pin[p].nr = nr;
	for (i = 0; i < nr; i++) {
		blk_id_t id = fix_find(&f, ns[kind_of(pin[p].chain)], pin[p].chain, i);

		pin[p].b[i] = (struct look){ .id = id, .generation = fix_generation(&f, id) };
		pin[p].place[i] = (uint64_t)f.dir.desc[id].page * KVSHM_PAGE;
	}
}

static void random_op(void)
{
	unsigned what = (unsigned)rand_below(&rnd, 100);

	arg_chain = (unsigned)rand_below(&rnd, CHAINS);
	arg_depth = present(arg_chain);
	if (what < 60) {
		if (arg_depth < DEPTH)
			put();
	} else if (what < 66) {
		arg_depth = (unsigned)rand_below(&rnd, DEPTH);
		run_op(op_drop);
	} else if (what < 69) {
		drop_slowly();
	} else if (what < 72) {
		run_op(op_reclaim);
	} else if (what < 84) {
		run_op(op_grant);
	} else if (what < 85) {
		run_op(op_owner_gone);
	} else if (what < 88) {
		run_op(op_tick);
	} else if (what < 89) {
		run_op(op_namespace);
	} else if (what < 99) {
		change_pin((unsigned)rand_below(&rnd, PINS));
	} else {
		assert_true(fix_restart(&f) >= 0);
		fix_verify(&f);
	}
}

/* ---- tests --------------------------------------------------------------------------------------- */

static int setup(void **state)
{
	const char *n = getenv("KVSHM_STORES");
	unsigned i;

#ifdef KVSHM_SAN
	nr_wanted = 60000;
#else
	nr_wanted = 210000;
#endif
	if (n)
		nr_wanted = strtoul(n, NULL, 0);
	testpoint_hook = on_point;
	rand_init(&rnd, 5);
	fix_open(&f, BLOCKS, UNITS, NULL);
	dir_len = (size_t)((char *)&f.dir.bucket[f.dir.bucket_mask + 1] - (char *)f.dir.sb);
	image_mem = aligned_alloc(4096, (dir_len + 4095) & ~4095ul);
	second_mem = aligned_alloc(4096, (dir_len + 4095) & ~4095ul);
	shadow = malloc(dir_len);
	assert_true(image_mem && second_mem && shadow);
	for (i = 0; i < 3; i++)
		ns[i] = fix_ns(&f, (uint8_t)(1 + i), ns_len[i]);
	return 0;
}

static int teardown(void **state)
{
	free(image_mem);
	free(second_mem);
	free(shadow);
	fix_close(&f);
	return 0;
}

static void a_daemon_that_dies_after_any_store_is_recovered_whole(void **state)
{
	while (nr_images < nr_wanted)
		random_op();
	print_message("# %lu images, %lu of them of a recovery\n", nr_images, nr_second);
	assert_true(nr_second > 0);
}

static void every_test_point_was_passed(void **state)
{
	size_t i;

	for (i = 0; i < sizeof(all_points) / sizeof(all_points[0]); i++)
		if (!point_hits[i])
			fail_msg("never at \"%s\"", all_points[i]);
	assert_true(f.c->n.evictions + f.c->n.victims_restored > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_daemon_that_dies_after_any_store_is_recovered_whole),
		cmocka_unit_test(every_test_point_was_passed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
