/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_model.c - random operations of four clients against a reference model, with crashes
 *
 * The model knows which key was published with which tag, and what every pin may read.  Eviction is the
 * cache's own choice, so an absent key is always allowed; what is never allowed: a key with a tag that
 * nobody committed, a pinned block that is freed, bytes that change under a pin (also at the old place
 * of a moved block), a grant that gets lost, books that do not agree.
 *
 * A crash is a longjmp out of a test point, or a plain restart; directory, arena and pin files stay.
 */
#define KVSHM_TESTPOINTS
#include "kvshm/cache/drop.c"
#include "kvshm/cache/publish.c"
#include "kvshm/cache/reclaim.c"
#include "kvshm/cache/relocate.c"

#include "model.h"

#ifdef KVSHM_SAN
enum { OPS = 60000 };
#else
enum { OPS = 250000 };
#endif
enum { BATCH = 200 };

static jmp_buf crash_jmp;
static unsigned crash_in;		/* test points until the crash, 0: none */
static unsigned nr_crashes;

/* ---- operations ------------------------------------------------------------------------------- */

static void forget_grant(unsigned i)
{
	grant[i] = grant[--nr_grants];
}

static unsigned grants_of(uint32_t owner, bool forget)
{
	unsigned i, nr = 0;

	for (i = nr_grants; i-- > 0;) {
		if (grant[i].owner != owner)
			continue;
		nr++;
		if (forget)
			forget_grant(i);
	}
	return nr;
}

static void op_grant(void)
{
	struct kvshm_id_run run[4];
	uint16_t ns = (uint16_t)(1 + (pick(20) ? pick(NR_NS - 1) : NR_NS - 1));	/* few of the big ones */
	unsigned s = pick(4) ? ns % FIX_SESSIONS : pick(FIX_SESSIONS);
	unsigned want = 1 + pick(ns < 4 ? 12 : 2), nr_runs, i, r;
	int got;

	if (nr_grants + want > GRANTS)
		return;
	got = cache_grant(f.c, FIX_OWNER + s, ns, 0, want, run, 4, &nr_runs, ++f.now);
	assert_true(got >= 0 && (unsigned)got <= want);
	for (r = 0; r < nr_runs; r++)
		for (i = 0; i < run[r].nr; i++, got--) {
			grant[nr_grants++] = (struct held_grant){
				.owner = FIX_OWNER + s, .ns = ns, .ref = fix_ref(&f, run[r].first + i),
			};
			fill(run[r].first + i, ++next_tag);
		}
	assert_int_equal(got, 0);
}

static void op_return(void)
{
	unsigned i = pick(nr_grants + 1);
	struct kvshm_block_ref ref;

	if (i == nr_grants)
		return;
	ref = grant[i].ref;
	assert_int_equal(cache_return(f.c, grant[i].owner + 1, ref), -EPERM);
	ref.generation++;
	assert_int_equal(cache_return(f.c, grant[i].owner, ref), -ESTALE);
	assert_int_equal(cache_return(f.c, grant[i].owner, grant[i].ref), 0);
	forget_grant(i);
}

/* A grant in hand of this namespace, any owner, or -1. */
static int grant_for(uint16_t ns, uint32_t owner, unsigned taken)
{
	unsigned i;

	for (i = 0; i < nr_grants; i++)
		if (grant[i].ns == ns && (owner == 0 || grant[i].owner == owner) && taken-- == 0)
			return (int)i;
	return -1;
}

struct put {
	struct kvshm_commit_rec rec[PUT_MAX];
	struct cache_commit m;
	struct kvshm_key parent;
	unsigned bad;			/* the record with a forged reference, or >= nr */
};

/* Records from @from of the chain, one for each grant that its owner has.  Return: number. */
static unsigned build_put(struct put *p, unsigned chain, unsigned from)
{
	uint16_t ns = ns_of(chain);
	int first = grant_for(ns, 0, 0), g;
	unsigned i, want = 1 + pick(PUT_MAX);
	uint32_t owner;

	pending.nr = 0;
	if (first < 0)
		return 0;
	owner = grant[first].owner;
	for (i = 0; i < want && from + i < DEPTH && (g = grant_for(ns, owner, i)) >= 0; i++) {
		unsigned n = node_of(chain, from + i);

		p->rec[i] = fix_rec(&f, grant[g].ref.id, key_of(n));
		pending.node[i] = n;
		pending.tag[i] = word_at(place_now(grant[g].ref.id), 0);
	}
	pending.nr = i;
	p->parent = from ? key_of(node_of(chain, from - 1)) : (struct kvshm_key){ 0 };
	p->m = (struct cache_commit){
		.owner = owner, .ns = ns, .flags = from ? 0 : KVSHM_SQE_F_NOPARENT, .nr = i,
		.parent = &p->parent, .rec = p->rec, .now_ns = ++f.now,
	};
	p->bad = pick(4) ? PUT_MAX : pick(PUT_MAX);
	if (p->bad < i)
		p->rec[p->bad].block.generation += 1 + pick(3);
	return i;
}

static void forget_ref(struct kvshm_block_ref ref)
{
	unsigned i;

	for (i = 0; i < nr_grants; i++)
		if (grant[i].ref.id == ref.id && grant[i].ref.generation == ref.generation) {
			forget_grant(i);
			return;
		}
}

/* What must come out, record by record; the model learns it. */
static void expect_put(const struct put *p, const bool *was_there, const struct cache_commit_result *r)
{
	unsigned i, published = 0, duplicate = 0, stop = min_of(p->bad, p->m.nr);

	for (i = 0; i < stop; i++) {
		struct node *m = &node[pending.node[i]];

		duplicate += was_there[i];
		if (was_there[i])
			continue;
		published++;
		*m = (struct node){
			.tag = pending.tag[i], .generation = p->rec[i].block.generation, .is_present = true,
		};
	}
	assert_int_equal(r->nr_published, published);
	assert_int_equal(r->nr_duplicate, duplicate);
	assert_int_equal(r->nr_dropped, p->m.nr - stop);
}

static void op_put(void)
{
	unsigned chain = pick(CHAINS), from = 0, i, nr;
	struct cache_commit_result r;
	bool was_there[PUT_MAX];
	struct index_hit hit;
	struct put p;
	int ret;

	while (from < DEPTH && find(node_of(chain, from), &hit))
		from++;
	if (pick(3) == 0)
		from = pick(min_of(from + 2, (unsigned)DEPTH));	/* duplicates, or a parent too far */
	nr = build_put(&p, chain, from);
	if (nr == 0)
		return;
	for (i = 0; i < nr; i++) {
		sync_node(pending.node[i], false);
		was_there[i] = find(pending.node[i], &hit);
	}
	ret = cache_commit(f.c, &p.m, &r);
	for (i = 0; i < nr; i++)
		forget_ref(p.rec[i].block);
	if (ret < 0) {
		assert_int_equal(ret, -ENOENT);
		assert_false(find(node_of(chain, from - 1), &hit));
	} else {
		expect_put(&p, was_there, &r);
	}
	pending.nr = 0;
}

static void op_acquire(void)
{
	struct held_pin *p = &pin[nr_pins];
	unsigned chain = pick(CHAINS), nr = 1 + pick(DEPTH), i, retries;
	struct kvshm_key keys[DEPTH];
	struct index_hit hit;
	int got;

	if (nr_pins == PINS)
		return;
	for (i = 0; i < nr; i++)
		keys[i] = key_of(node_of(chain, i));
	*p = (struct held_pin){ .session = pick(FIX_SESSIONS), .length = ns_len[ns_of(chain) - 1] };
	got = pin_longest(&f.table[p->session], &f.dir, ns_of(chain), keys, nr, p->length, &hit,
			  &p->slot, &retries);
	if (got <= 0)
		return;
	p->nr = (unsigned)got;
	assert_int_equal(index_resolve(&f.dir, ns_of(chain), keys, p->nr, p->id), p->nr);
	for (i = 0; i < p->nr; i++) {
		p->generation[i] = fix_generation(&f, p->id[i]);
		p->place[i] = place_now(p->id[i]);
		p->tag[i] = node[node_of(chain, i)].tag;
	}
	nr_pins++;
	check_pin(p);
}

static void op_release(void)
{
	unsigned i = pick(nr_pins + 1);

	if (i == nr_pins)
		return;
	check_pin(&pin[i]);
	pin_drop(&f.table[pin[i].session], pin[i].slot);
	pin[i] = pin[--nr_pins];
}

static void op_drop(void)
{
	unsigned chain = pick(CHAINS), i = pick(DEPTH), n = node_of(chain, i);
	const struct kvshm_key key = key_of(n);
	struct index_hit hit;
	bool was_there = find(n, &hit);
	long nr = pick(50) ? cache_drop(f.c, ns_of(chain), &key) : cache_drop_ns(f.c, ns_of(chain));

	assert_true(nr >= was_there);
	assert_true(!was_there || nr > 0);
	for (; i < DEPTH; i++) {
		assert_false(find(node_of(chain, i), &hit));
		node[node_of(chain, i)].is_present = false;
	}
}

static void op_touch(void)
{
	struct kvshm_touch t = { .nr = 1 };
	struct index_hit hit;

	if (!find(pick(NODES), &hit))
		return;
	t.id = hit.id;
	t.generation = hit.generation;
	cache_touch(f.c, &t, 1, ++f.now);
}

static void op_reclaim(void)
{
	cache_reclaim(f.c, pick(4u << 20), ++f.now);
}

static void op_owner_gone(void)
{
	uint32_t owner = FIX_OWNER + pick(FIX_SESSIONS);

	assert_int_equal(cache_owner_gone(f.c, owner), grants_of(owner, true));
}

static void op_tick(void)
{
	f.now += 2000000000u;
	cache_tick(f.c, f.now);
}

/* ---- crashes ---------------------------------------------------------------------------------- */

static void crash_hook(const char *name)
{
	if (crash_in && --crash_in == 0)
		longjmp(crash_jmp, 1);
}

/* The grants as the directory has them: all known before, or just handed out. */
static void relearn_grants(void)
{
	blk_id_t id;

	nr_grants = 0;
	for (id = 1; id <= BLOCKS; id++) {
		uint64_t w = f.dir.desc[id].state;

		if (state_of(w) != KVSHM_BLOCK_GRANTED)
			continue;
		assert_int_not_equal(state_owner(w), f.dead_owner);
		assert_true(nr_grants < GRANTS);
		grant[nr_grants++] = (struct held_grant){
			.owner = state_owner(w), .ns = f.dir.desc[id].ns, .ref = fix_ref(&f, id),
		};
		fill(id, ++next_tag);
	}
}

static void restart(bool is_clean)
{
	unsigned kept;

	add_counts();
	f.dead_owner = FIX_OWNER + pick(FIX_SESSIONS);
	grants_of(f.dead_owner, is_clean);
	kept = nr_grants;
	assert_true(fix_restart(&f) >= 0);
	relearn_grants();
	if (is_clean)
		assert_int_equal(nr_grants, kept);
	sync_all(true);
	pending.nr = 0;
	nr_crashes++;
}

static void op_restart(void)
{
	restart(true);
}

static void op_crash_later(void)
{
	crash_in = 1 + pick(60);
}

static const struct {
	unsigned weight;
	void (*run)(void);
} ops[] = {
	{ 250, op_grant }, { 20, op_return }, { 250, op_put }, { 150, op_acquire }, { 140, op_release },
	{ 10, op_drop }, { 100, op_touch }, { 3, op_reclaim }, { 2, op_owner_gone }, { 5, op_tick },
	{ 1, op_restart }, { 3, op_crash_later },
};

static void op_any(void)
{
	unsigned sum = 0, i, at;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		sum += ops[i].weight;
	at = pick(sum);
	for (i = 0; at >= ops[i].weight; i++)
		at -= ops[i].weight;
	ops[i].run();
}

static void run_seed(uint64_t seed)
{
	static unsigned i;
	unsigned j;

	rand_init(&rnd, seed);
	memset(node, 0, sizeof(node));
	nr_pins = nr_grants = crash_in = 0;
	fix_open(&f, BLOCKS, UNITS, NULL);
	for (j = 0; j < NR_NS; j++)
		assert_int_equal(fix_ns(&f, (uint8_t)(j + 1), ns_len[j]), j + 1);
	for (i = 0; i < OPS; i++) {
		if (setjmp(crash_jmp))
			restart(false);
		else
			op_any();
		if (i % BATCH == 0)
			sync_all(false);
	}
	crash_in = 0;
	while (nr_pins)
		op_release();
	while (nr_grants)
		op_return();
	op_tick();
	sync_all(false);
	assert_int_equal(fix_count(&f).quarantined, 0);
	cache_reclaim(f.c, UINT64_MAX, ++f.now);
	assert_int_equal(fix_count(&f).free_bytes, fix_count(&f).capacity_bytes);
	add_counts();
	fix_close(&f);
}

static void random_operations_agree_with_the_model(void **state)
{
	uint64_t seed;

	testpoint_hook = crash_hook;
	for (seed = 1; seed <= 8; seed++)
		run_seed(seed);
	print_message("%u crashes, %lu published, %lu duplicate, %lu full, %lu evicted, %lu restored, "
		      "%lu relocated, %lu dropped, %u looks at an old place\n", nr_crashes, total.publishes,
		      total.duplicates, total.dropped_full, total.evictions, total.victims_restored,
		      total.relocations, total.drops, nr_moved_pins);
	/* The run must have met what it is about. */
	assert_true(nr_crashes > 100 && nr_moved_pins > 0 && total.dropped_full && total.dropped_bad);
	assert_true(total.dropped_parent && total.duplicates && total.victims_restored && total.relocations);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_agree_with_the_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
