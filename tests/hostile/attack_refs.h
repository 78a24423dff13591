/* SPDX-License-Identifier: Apache-2.0 */
/* attack_refs.h - well-formed entries that name what is not the client's: blocks, parents, namespaces, credit */
#ifndef TESTS_HOSTILE_ATTACK_REFS_H
#define TESTS_HOSTILE_ATTACK_REFS_H

#include "tests/hostile/raw.h"

/* ---- references (H4) --------------------------------------------------------------------------------- */

/* A commit of this one record publishes nothing. */
static void commits_nothing(struct raw *r, struct kvshm_block_ref ref, uint32_t length)
{
	struct kvshm_commit_rec rec = raw_rec(0xbad, ref, length);
	struct kvshm_cqe c = raw_commit(r, &rec, 1, KVSHM_SQE_F_LOOSE, NULL);

	if (c.res > 0 || c.nr_dropped != 1)
		die("block %u:%u is published: %d, %u dropped", ref.id, ref.generation, c.res, c.nr_dropped);
}

static void ref_foreign(void)
{
	struct kvshm_block_ref ref;
	struct raw a, b;
	struct kvshm_cqe c;

	raw_open(&a, 0);
	raw_open(&b, 0);
	ref = raw_grant(&a);
	commits_nothing(&b, ref, RAW_BLOCK);
	memcpy(raw_args(&b), &ref, sizeof(ref));
	c = raw_call(&b, (struct kvshm_sqe){ .op = KVSHM_OP_RETURN, .nr = 1, .len = sizeof(ref) });
	must(c.res == 0);
	must((raw_desc(&a, ref.id)->state & KVSHM_STATE_MASK) == KVSHM_BLOCK_GRANTED);
}

static void ref_published(void)
{
	struct raw r;
	uint32_t id;

	raw_open(&r, 0);
	id = raw_find(&r, KVSHM_BLOCK_PUBLISHED, r.ns);
	must(id != 0);
	commits_nothing(&r, raw_ref(&r, id), RAW_BLOCK);
}

static void ref_free_stale_beyond(void)
{
	struct kvshm_block_ref ref;
	struct raw r;
	uint32_t max;

	raw_open(&r, 0);
	max = raw_sb(&r)->max_blocks;
	ref = raw_grant(&r);
	commits_nothing(&r, (struct kvshm_block_ref){ ref.id, ref.generation - 1 }, RAW_BLOCK);
	commits_nothing(&r, (struct kvshm_block_ref){ ref.id, ref.generation + 1 }, RAW_BLOCK);
	commits_nothing(&r, (struct kvshm_block_ref){ 0, 0 }, RAW_BLOCK);
	commits_nothing(&r, (struct kvshm_block_ref){ max + 1, 0 }, RAW_BLOCK);
	commits_nothing(&r, (struct kvshm_block_ref){ 0xffffffffu, 0xffffffffu }, RAW_BLOCK);
	ref.id = raw_find(&r, KVSHM_BLOCK_FREE, 0xffff);
	commits_nothing(&r, raw_ref(&r, ref.id), RAW_BLOCK);
}

static void ref_used_twice(void)
{
	struct kvshm_commit_rec rec[2];
	struct kvshm_block_ref ref[3];
	struct kvshm_cqe c;
	struct raw r;

	raw_open(&r, 0);
	ref[0] = raw_grant(&r);
	rec[0] = raw_rec(1, ref[0], RAW_BLOCK);
	rec[1] = raw_rec(2, ref[0], RAW_BLOCK);
	c = raw_commit(&r, rec, 2, KVSHM_SQE_F_LOOSE, NULL);
	must(c.res + (int)c.nr_duplicate == 1 && c.nr_dropped == 1);
	commits_nothing(&r, ref[0], RAW_BLOCK);
	ref[0] = ref[1] = ref[2] = raw_grant(&r);
	memcpy(raw_args(&r), ref, sizeof(ref));
	c = raw_call(&r, (struct kvshm_sqe){ .op = KVSHM_OP_RETURN, .nr = 3, .len = sizeof(ref) });
	must(c.res == 1);
}

static void ref_length_forged(void)
{
	static const uint32_t bad[] = { 0, 1, 4096, RAW_BLOCK / 2, RAW_BLOCK + 1, RAW_BLOCK * 2, KVSHM_BLOCK_MAX,
					KVSHM_BLOCK_MAX + 1, 0x80000000u, 0xffffffffu };
	struct raw r;

	raw_open(&r, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		commits_nothing(&r, raw_grant(&r), bad[i]);
}

static void commit_record_reserved(void)
{
	struct kvshm_commit_rec rec;
	struct raw r;

	raw_open(&r, 0);
	rec = raw_rec(1, raw_grant(&r), RAW_BLOCK);
	rec.resv[1] = 1;
	must(raw_commit(&r, &rec, 1, KVSHM_SQE_F_LOOSE, NULL).nr_dropped == 1);
	rec = raw_rec(1, raw_grant(&r), RAW_BLOCK);
	rec.flags = 1;
	must(raw_commit(&r, &rec, 1, KVSHM_SQE_F_LOOSE, NULL).nr_dropped == 1);
}

static void parent_forged(void)
{
	struct kvshm_key absent = { { 0xde, 0xad } }, self = raw_rec(77, (struct kvshm_block_ref){ 0 }, 0).key;
	struct kvshm_commit_rec rec[3];
	struct kvshm_cqe c;
	struct raw r;

	raw_open(&r, 0);
	rec[0] = raw_rec(77, raw_grant(&r), RAW_BLOCK);
	c = raw_commit(&r, rec, 1, 0, &absent);
	must(c.res == -ENOENT && c.nr_dropped == 1);
	rec[0].block = raw_grant(&r);
	c = raw_commit(&r, rec, 1, 0, &self);
	must(c.res == -ENOENT && c.nr_dropped == 1);
	/* A key that comes again below itself: a duplicate, no circle. */
	rec[0] = raw_rec(78, raw_grant(&r), RAW_BLOCK);
	rec[1] = raw_rec(79, raw_grant(&r), RAW_BLOCK);
	rec[2] = raw_rec(78, raw_grant(&r), RAW_BLOCK);
	c = raw_commit(&r, rec, 3, KVSHM_SQE_F_NOPARENT, NULL);
	must(c.res + (int)c.nr_duplicate == 3 && c.nr_duplicate >= 1);
}

/* A block of another namespace as parent: keys are looked up in the committer's own. */
static void parent_of_another_namespace(void)
{
	struct kvshm_commit_rec rec;
	struct kvshm_key key;
	struct raw r;
	uint32_t id;

	raw_open(&r, 0);
	id = raw_find(&r, KVSHM_BLOCK_PUBLISHED, r.ns);
	must(id != 0);
	memcpy(&key, &raw_desc(&r, id)->key, sizeof(key));
	rec = raw_rec(5, raw_grant(&r), RAW_BLOCK);
	must(raw_commit(&r, &rec, 1, 0, &key).res == -ENOENT);
}

static void namespace_forged(void)
{
	static const uint16_t bad[] = { 0, 999, 0xffff };
	struct kvshm_commit_rec rec;
	struct raw r;
	uint16_t own;

	raw_open(&r, 0);
	own = r.ns;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		must(raw_call(&r, (struct kvshm_sqe){ .op = KVSHM_OP_GRANT, .ns = bad[i], .nr = 1 }).res < 0);
		must(raw_call(&r, (struct kvshm_sqe){ .op = KVSHM_OP_GRANT, .ns = bad[i], .nr = 1, .len = 4096 }).res < 0);
		must(raw_call(&r, (struct kvshm_sqe){ .op = KVSHM_OP_DROP, .ns = bad[i], .flags = KVSHM_SQE_F_ALL }).res < 0);
		rec = raw_rec(6, raw_grant(&r), RAW_BLOCK);
		r.ns = bad[i];
		must(raw_commit(&r, &rec, 1, KVSHM_SQE_F_LOOSE, NULL).nr_dropped == 1);
		r.ns = own;
	}
}

/* Another namespace that is there, with the grants of this one. */
static void namespace_crossed(void)
{
	struct kvshm_commit_rec rec;
	struct raw r;

	raw_open(&r, 0);
	rec = raw_rec(6, raw_grant(&r), RAW_BLOCK);
	r.ns = raw_ns(&r, "hostile-2", RAW_BLOCK);
	must(raw_commit(&r, &rec, 1, KVSHM_SQE_F_LOOSE, NULL).nr_dropped == 1);
}

static void namespace_arguments(void)
{
	struct kvshm_ns_args a = { .block_len = RAW_BLOCK, .block_tokens = 16 };
	const struct kvshm_sqe e = { .op = KVSHM_OP_ATTACH_NS, .nr = 1, .len = sizeof(a) };
	struct raw r;

	raw_open(&r, 0);
	memcpy(raw_args(&r), &a, sizeof(a));
	must(raw_call(&r, e).res == -EINVAL);		/* fingerprint of zero */
	strcpy((char *)a.fingerprint, "hostile");
	a.block_len = RAW_BLOCK * 2;
	memcpy(raw_args(&r), &a, sizeof(a));
	must(raw_call(&r, e).res == -EMEDIUMTYPE);
	a.block_len = RAW_BLOCK;
	a.layout[0] = 1;
	memcpy(raw_args(&r), &a, sizeof(a));
	must(raw_call(&r, e).res == -EMEDIUMTYPE);
	a.fingerprint[0] = 'x';
	a.resv[1] = 1;
	memcpy(raw_args(&r), &a, sizeof(a));
	must(raw_call(&r, e).res == -EINVAL);
	a.resv[1] = 0;
	a.block_len = KVSHM_BLOCK_MAX + 1;
	memcpy(raw_args(&r), &a, sizeof(a));
	must(raw_call(&r, e).res == -EINVAL);
}

/* ---- grants ---------------------------------------------------------------------------------------- */

static void grant_beyond_credit(void)
{
	uint64_t bytes = 0;
	struct kvshm_cqe c;
	struct raw r;
	unsigned n;

	raw_open(&r, 0);
	for (n = 0; n < 64; n++) {
		c = raw_call(&r, (struct kvshm_sqe){ .op = KVSHM_OP_GRANT, .ns = r.ns, .nr = KVSHM_COMMIT_MAX });
		must(c.res >= 0 && c.nr_runs <= KVSHM_CQE_RUNS);
		bytes += (uint64_t)c.res * RAW_BLOCK;
	}
	must(bytes <= r.w.credit_bytes);
}

static void grant_length_forged(void)
{
	static const uint32_t bad[] = { RAW_BLOCK + 1, KVSHM_BLOCK_MAX + 1, 0xffffffffu };
	struct raw r;

	raw_open(&r, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		must(raw_call(&r, (struct kvshm_sqe){ .op = KVSHM_OP_GRANT, .ns = r.ns, .nr = 1, .len = bad[i] }).res < 0);
}

static void grant_untrusted(void)
{
	struct raw r;

	raw_open(&r, KVSHM_HELLO_F_UNTRUSTED);
	must(raw_call(&r, (struct kvshm_sqe){ .op = KVSHM_OP_GRANT, .ns = r.ns, .nr = 1 }).res == -EPERM);
}

#endif
