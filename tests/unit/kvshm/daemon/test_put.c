/* SPDX-License-Identifier: Apache-2.0 */
/* A staged put, with a copier that runs when the test says so. */
#include "tests/unit/kvshm/daemon/fixture.h"

#include "kvshm/base/atomic.h"
#include "kvshm/base/checksum.h"

#define LEN (KVSHM_STAGING_SLICE * 2 + 4096) /* three slices, the last one short */
#define NR_SLICES 3u

static struct wfix x;
static const struct kvshm_key key = { { 1, 2, 3 } };

static int setup(void **state)
{
	wfix_open(&x, 64, 8, 1 << 20);
	return 0;
}

static int teardown(void **state)
{
	wfix_close(&x);
	return 0;
}

static char byte_at(uint32_t i)
{
	return (char)(i * 2654435761u >> 24);
}

/* One record, all of its slices in the window. */
static void stage(void)
{
	struct kvshm_commit_rec rec = { .key = key, .length = LEN };
	struct segment *seg = &x.s->q.seg;

	for (uint32_t i = 0; i < LEN; i++)
		x.s->q.staging[i] = byte_at(i);
	store_release(&seg->hdr->staging.tail, NR_SLICES);
	memcpy(seg->args, &rec, sizeof(rec));
	wfix_submit(&x, (struct kvshm_sqe){ .op = KVSHM_OP_COMMIT,
					    .flags = KVSHM_SQE_F_STAGED | KVSHM_SQE_F_NOPARENT,
					    .ns = x.ns,
					    .nr = 1,
					    .len = sizeof(rec) });
}

/* What the writer has handed to the copier, in order.  Return: number. */
static unsigned take_slices(struct slice **ret)
{
	struct mail m;
	unsigned nr = 0;

	while (mailbox_take(&x.d->copier[0].in, &m))
		ret[nr++] = m.ptr;
	return nr;
}

/* The copier copies these, and the writer hears of it. */
static void copy(struct slice **slice, unsigned nr)
{
	struct mailbox *in = &x.d->copier[0].in;

	for (unsigned i = 0; i < nr; i++)
		mailbox_send(in, LANE_ONLY, MAIL_COPY, slice[i], 0);
	mailbox_send(in, LANE_ONLY, MAIL_QUIT, NULL, 0);
	copier_main(&x.d->copier[0]);
	wfix_round(&x);
}

static void a_record_is_published_when_its_last_slice_has_landed(void **state)
{
	struct slice *slice[KVSHM_STAGING_SLICES];
	struct kvshm_cqe done;
	struct index_hit hit;
	const char *bytes;

	stage();
	wfix_round(&x);
	wfix_round(&x);
	assert_int_equal(take_slices(slice), NR_SLICES);
	assert_false(index_find(&x.f.dir, x.ns, &key, &hit));
	assert_int_equal(load_acquire(&x.s->q.seg.hdr->staging.head), 0);

	copy(slice, NR_SLICES - 1);
	assert_false(index_find(&x.f.dir, x.ns, &key, &hit));
	assert_false(wfix_completion(&x, &done));

	copy(&slice[NR_SLICES - 1], 1);
	assert_true(wfix_completion(&x, &done));
	assert_int_equal(done.res, 1);
	assert_int_equal(load_acquire(&x.s->q.seg.hdr->staging.head), NR_SLICES);
	assert_true(index_find(&x.f.dir, x.ns, &key, &hit));
	bytes = fix_bytes(&x.f, hit.id);
	for (uint32_t i = 0; i < LEN; i++)
		assert_int_equal(bytes[i], byte_at(i));
	assert_int_equal(x.f.dir.desc[hit.id].checksum, checksum32(bytes, LEN));
}

/* Its payload stays in the window, and would be taken for that of the next one. */
static void nothing_staged_is_taken_after_a_refused_entry(void **state)
{
	struct slice *slice[KVSHM_STAGING_SLICES];
	struct kvshm_cqe done;
	struct index_hit hit;

	x.s->q.has_staging = false;
	stage();
	wfix_round(&x);
	assert_true(wfix_completion(&x, &done));
	assert_int_equal(done.res, -EINVAL);

	x.s->q.has_staging = true;
	stage();
	wfix_round(&x);
	wfix_round(&x);
	assert_int_equal(take_slices(slice), 0);
	assert_true(wfix_completion(&x, &done));
	assert_int_equal(done.res, -EINVAL);
	assert_false(index_find(&x.f.dir, x.ns, &key, &hit));
}

static void a_window_is_let_go_when_no_copier_reads_it(void **state)
{
	struct slice *slice[KVSHM_STAGING_SLICES];

	stage();
	wfix_round(&x);
	assert_int_equal(take_slices(slice), NR_SLICES);
	wfix_tell(&x, MAIL_STOP);
	copy(slice, NR_SLICES - 1);
	assert_false(wfix_told_main(&x, MAIL_STOPPED));
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_GRANTED), 1);
	copy(&slice[NR_SLICES - 1], 1);
	assert_true(wfix_told_main(&x, MAIL_STOPPED));
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_GRANTED), 0);
	assert_int_equal(wfix_count(&x, KVSHM_BLOCK_PUBLISHED), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_record_is_published_when_its_last_slice_has_landed, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_staged_is_taken_after_a_refused_entry, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_window_is_let_go_when_no_copier_reads_it, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, wfix_group_setup, wfix_group_teardown);
}
