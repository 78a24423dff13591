/* SPDX-License-Identifier: Apache-2.0 */
/* Copies by a real kvshm-gpud over the fake driver, both ways, asked for through the library by an untrusted client. */
#include "live_gpud.h"

#include "tests/lib/fake_cuda.h"

#define NR 40u				/* blocks of a chain */

struct served {
	struct live *l;
	pid_t gpud;
	char libcuda[512];
	struct fake_cuda f;
	struct kvshm *k;
	uint32_t ns;
	struct kvshm_service *s;
	CUdeviceptr dev;
	uint64_t buffer;
	struct kvshm_key keys[NR];
	struct kvshm_block b[NR];
	struct kvshm_pin pin;
};

static void start(struct served *x, void **state, const char *script)
{
	memset(x, 0, sizeof(*x));
	x->l = *state;
	fake_cuda_path(x->libcuda, sizeof(x->libcuda));
	x->gpud = live_gpud_start(x->l, x->libcuda, script, "500", NULL);
	fake_cuda_start(&x->f, NULL);
	assert_int_equal(gpu_ctx_enter(&x->f.ctx), 0);
	assert_int_equal(x->f.cu.MemAlloc(&x->dev, NR * FAKE_LEN), 0);
	gpu_ctx_leave(&x->f.ctx);
	memset((void *)(uintptr_t)x->dev, 0, NR * FAKE_LEN);
	x->k = open_live(x->l, KVSHM_OPEN_UNTRUSTED);
	x->ns = fake_attach_ns(x->k);
	x->s = live_service(x->k, x->libcuda);
	assert_int_equal(kvshm_service_offer(x->s, x->dev, NR * FAKE_LEN, &x->buffer), 0);
	assert_int_equal(fake_put(x->k, x->ns, 1, NR).res, NR);
	fake_keys(x->keys, NR, 1);
	assert_int_equal(kvshm_acquire(x->k, x->ns, x->keys, NR, &x->pin), NR);
	assert_int_equal(kvshm_resolve(x->k, &x->pin, x->keys, x->b), NR);
}

static void stop(struct served *x)
{
	kvshm_release(x->k, &x->pin);
	assert_int_equal(kvshm_service_close(x->s), 0);
	kvshm_close(x->k);
	live_gpud_end(x->gpud);
	assert_int_equal(gpu_ctx_enter(&x->f.ctx), 0);
	assert_int_equal(x->f.cu.MemFree(x->dev), 0);
	gpu_ctx_leave(&x->f.ctx);
	fake_cuda_stop(&x->f);
}

/* A copy of each block, cut in @cut parts. */
static int load(struct served *x, unsigned cut, uint64_t user_data)
{
	struct kvshm_service_copy c[NR * 16];
	unsigned n = 0;

	for (unsigned i = 0; i < NR; i++)
		for (unsigned j = 0; j < cut; j++)
			c[n++] = (struct kvshm_service_copy){
				.id = x->b[i].id, .generation = x->b[i].generation, .off = j * (FAKE_LEN / cut),
				.len = FAKE_LEN / cut, .buffer = x->buffer, .buffer_off = i * FAKE_LEN + j * (FAKE_LEN / cut),
			};
	return kvshm_service_load(x->s, x->ns, c, n, user_data);
}

static struct kvshm_completion completion(struct served *x)
{
	struct kvshm_completion c = { 0 };

	assert_int_equal(kvshm_poll(x->k, &c, 1, 10000000), 1);
	return c;
}

static void check_buffer(const struct served *x)
{
	for (unsigned i = 0; i < NR; i++)
		assert_true(fake_is_filled((char *)(uintptr_t)x->dev + i * FAKE_LEN, 1, i, FAKE_LEN));
}

static void untrusted_client_gets_its_blocks_onto_the_device(void **state)
{
	struct kvshm_completion c;
	struct served x;

	start(&x, state, "");
	/* 640 copies: three entries, one completion */
	assert_int_equal(load(&x, 16, 7), 0);
	c = completion(&x);
	assert_int_equal(c.user_data, 7);
	assert_int_equal(c.res, NR * 16);
	assert_int_equal(c.nr_dropped, 0);
	check_buffer(&x);
	stop(&x);
}

static void buffers_are_offered_once_and_withdrawn(void **state)
{
	uint64_t again = 5;
	struct served x;

	start(&x, state, "");
	assert_int_equal(kvshm_service_offer(x.s, x.dev, NR * FAKE_LEN, &again), -EEXIST);
	assert_int_equal(kvshm_service_offer(x.s, x.dev + FAKE_LEN, 0, &again), -EINVAL);
	assert_int_equal(kvshm_service_offer(x.s, 4096, 4096, &again), -ENOENT);
	assert_int_equal(again, 5);
	assert_int_equal(kvshm_service_withdraw(x.s, x.dev), 0);
	assert_int_equal(kvshm_service_withdraw(x.s, x.dev), -ENOENT);
	assert_int_equal(load(&x, 1, 1), 0);
	assert_int_equal(completion(&x).res, -ENOENT);
	assert_int_equal(kvshm_service_offer(x.s, x.dev, NR * FAKE_LEN, &x.buffer), 0);
	assert_int_equal(load(&x, 1, 1), 0);
	assert_int_equal(completion(&x).res, NR);
	check_buffer(&x);
	stop(&x);
}

static void copies_that_cannot_be_are_told(void **state)
{
	struct kvshm_service_copy c;
	struct served x;

	start(&x, state, "");
	c = (struct kvshm_service_copy){ x.b[0].id, x.b[0].generation + 1, 0, FAKE_LEN, x.buffer, 0 };
	assert_int_equal(kvshm_service_load(x.s, x.ns, &c, 1, 1), 0);
	assert_int_equal(completion(&x).res, -ESTALE);
	c = (struct kvshm_service_copy){ x.b[0].id, x.b[0].generation, 1, FAKE_LEN, x.buffer, 0 };
	assert_int_equal(kvshm_service_load(x.s, x.ns, &c, 1, 1), 0);
	assert_int_equal(completion(&x).res, -ERANGE);
	assert_int_equal(kvshm_service_load(x.s, x.ns, &c, 0, 1), -EINVAL);
	assert_int_equal(kvshm_service_load(x.s, x.ns, &c, 4097, 1), -EINVAL);
	assert_int_equal(kvshm_service_load(x.s, x.ns + 1, &c, 1, 1), -EINVAL);
	stop(&x);
}

static void worker_that_ends_is_found_again(void **state)
{
	struct served x;

	start(&x, state, "hang=1");
	assert_int_equal(load(&x, 1, 1), 0);
	assert_int_equal(completion(&x).res, -ETIMEDOUT);
	/* the cache itself is as before */
	assert_int_equal(fake_put(x.k, x.ns, 2, 8).res, 8);
	assert_int_equal(kvshm_service_withdraw(x.s, x.dev), -ECONNRESET);
	assert_int_equal(kvshm_service_close(x.s), 0);
	x.s = live_service(x.k, x.libcuda);
	assert_int_equal(kvshm_service_offer(x.s, x.dev, NR * FAKE_LEN, &x.buffer), 0);
	stop(&x);
}

/* ---- saves ----------------------------------------------------------------------------------------- */

struct saved {				/* blocks of a chain, as they lie in the buffer */
	struct kvshm_key keys[NR];
	struct kvshm_service_piece piece[NR * 16];
	struct kvshm_service_blocks what;
};

/* All of chain @chain, each block in @cut pieces that lie the other way round in its part of the buffer. */
static void prepare(struct served *x, struct saved *v, uint32_t chain, unsigned cut)
{
	const uint32_t len = FAKE_LEN / cut;
	char block[FAKE_LEN], *to = (char *)(uintptr_t)x->dev;

	*v = (struct saved){ .what = { .sz = sizeof(v->what), .ns = x->ns, .nr = NR, .nr_pieces = NR * cut } };
	fake_keys(v->keys, NR, chain);
	for (unsigned i = 0; i < NR; i++) {
		fake_fill(block, chain, i, FAKE_LEN);
		for (unsigned j = 0; j < cut; j++) {
			const uint64_t at = (uint64_t)i * FAKE_LEN + (cut - 1 - j) * len;

			memcpy(to + at, block + (size_t)j * len, len);
			v->piece[i * cut + j] =
				(struct kvshm_service_piece){ .buffer = x->buffer, .buffer_off = at, .len = len };
		}
	}
	v->what.keys = v->keys;
	v->what.pieces = v->piece;
}

static struct kvshm_completion save(struct served *x, const struct saved *v)
{
	struct kvshm_completion c;

	assert_int_equal(kvshm_service_save(x->s, &v->what, 11), 0);
	c = completion(x);
	assert_int_equal(c.user_data, 11);
	return c;
}

/* Blocks of the chain that are found, each with its bytes. */
static int found(struct served *x, struct saved *v, uint32_t chain)
{
	struct kvshm_block b[NR];
	struct kvshm_pin pin;
	int nr = kvshm_acquire(x->k, x->ns, v->keys, NR, &pin);

	if (nr <= 0)
		return nr;
	assert_int_equal(kvshm_resolve(x->k, &pin, v->keys, b), nr);
	for (int i = 0; i < nr; i++) {
		assert_int_equal(b[i].length, FAKE_LEN);
		assert_true(fake_is_filled(b[i].ptr, chain, (uint32_t)i, FAKE_LEN));
	}
	kvshm_release(x->k, &pin);
	return nr;
}

static void untrusted_client_saves_from_the_device(void **state)
{
	struct kvshm_completion c;
	struct served x;
	struct saved v;

	start(&x, state, "");
	/* 640 pieces: three entries, one chain, one completion */
	prepare(&x, &v, 5, 16);
	c = save(&x, &v);
	assert_int_equal(c.res, NR);
	assert_int_equal(c.nr_duplicate + c.nr_dropped, 0);
	assert_int_equal(found(&x, &v, 5), NR);
	/* no piece of theirs is looked at again */
	memset((void *)(uintptr_t)x.dev, 0, NR * FAKE_LEN);
	c = save(&x, &v);
	assert_int_equal(c.res, 0);
	assert_int_equal(c.nr_duplicate, NR);
	assert_int_equal(found(&x, &v, 5), NR);
	stop(&x);
}

static void saves_go_on_where_a_chain_ends(void **state)
{
	struct kvshm_completion c;
	struct served x;
	struct saved v;

	start(&x, state, "");
	prepare(&x, &v, 5, 2);
	v.what.nr = 10;
	v.what.nr_pieces = 20;
	assert_int_equal(save(&x, &v).res, 10);
	/* ten of them are there, seen before anything is sent */
	v.what.nr = 20;
	v.what.nr_pieces = 40;
	c = save(&x, &v);
	assert_int_equal(c.res, 10);
	assert_int_equal(c.nr_duplicate, 10);
	v.what.parent = &v.keys[19];
	v.what.keys = &v.keys[20];
	v.what.pieces = &v.piece[40];
	assert_int_equal(save(&x, &v).res, 20);
	assert_int_equal(found(&x, &v, 5), NR);
	stop(&x);
}

static void two_saves_of_a_chain_need_no_wait_between_them(void **state)
{
	struct served x;
	struct saved v;

	start(&x, state, "d2h=5e7");
	prepare(&x, &v, 5, 1);
	v.what.nr = v.what.nr_pieces = NR / 2;
	assert_int_equal(kvshm_service_save(x.s, &v.what, 11), 0);
	v.what.parent = &v.keys[NR / 2 - 1];
	v.what.keys = &v.keys[NR / 2];
	v.what.pieces = &v.piece[NR / 2];
	assert_int_equal(kvshm_service_save(x.s, &v.what, 12), 0);
	assert_int_equal(found(&x, &v, 5), 0);
	assert_int_equal(completion(&x).res, NR / 2);
	assert_int_equal(completion(&x).res, NR / 2);
	assert_int_equal(found(&x, &v, 5), NR);
	stop(&x);
}

static void saves_that_cannot_be_are_told(void **state)
{
	struct kvshm_completion c;
	struct kvshm_key absent;
	struct served x;
	struct saved v;

	start(&x, state, "");
	prepare(&x, &v, 5, 1);
	absent = fake_key_of(77, 3);
	v.what.parent = &absent;
	c = save(&x, &v);
	assert_int_equal(c.res, -ENOENT);
	assert_int_equal(c.nr_dropped, NR);
	v.what.parent = NULL;
	v.piece[7].buffer ^= 1;
	assert_int_equal(save(&x, &v).res, -ENOENT);
	v.piece[7].buffer = x.buffer;
	v.piece[7].buffer_off = (uint64_t)NR * FAKE_LEN - 1;
	assert_int_equal(save(&x, &v).res, -ERANGE);
	assert_int_equal(found(&x, &v, 5), 0);
	/* those before the bad piece */
	v.what.flags = KVSHM_COMMIT_LOOSE;
	v.what.nr = v.what.nr_pieces = 7;
	assert_int_equal(save(&x, &v).res, 7);
	stop(&x);
}

static void saves_that_make_no_sense_are_refused_at_once(void **state)
{
	const uint32_t longer[1] = { FAKE_LEN + 4096 }, none[1] = { 0 }, shorter[1] = { FAKE_LEN / 2 };
	struct kvshm_service_piece many[257];
	struct served x;
	struct saved good, v;

	start(&x, state, "");
	prepare(&x, &good, 5, 1);
	good.what.nr = good.what.nr_pieces = 1;
#define WRONG(change) do { v = good; v.what.keys = v.keys; v.what.pieces = v.piece; change; \
	assert_int_equal(kvshm_service_save(x.s, &v.what, 1), -EINVAL); } while (0)
	WRONG(v.what.sz--);
	WRONG(v.what.ns = 0);
	WRONG(v.what.ns++);
	WRONG(v.what.nr = 0);
	WRONG(v.what.nr = 4097);
	WRONG(v.what.flags = 2);
	WRONG((v.what.flags = KVSHM_COMMIT_LOOSE, v.what.parent = v.keys));
	WRONG(v.what.lengths = longer);
	WRONG(v.what.lengths = none);
	WRONG(v.what.lengths = shorter);
	WRONG(v.what.nr_pieces = 0);
	WRONG(v.what.nr_pieces = 2);
	WRONG(v.piece[0].len = 0);
	WRONG(v.piece[0].len--);
	WRONG(v.piece[0].len++);
	WRONG(v.piece[0].buffer = 0);
	WRONG(v.piece[0].resv = 1);
	for (unsigned i = 0; i < 257; i++)
		many[i] = (struct kvshm_service_piece){ x.buffer, i, i ? 4 : FAKE_LEN - 256 * 4, 0 };
	WRONG((v.what.pieces = many, v.what.nr_pieces = 257));
#undef WRONG
	many[0].len += 4;
	good.what.keys = good.keys;
	good.what.pieces = many;
	good.what.nr_pieces = 256;
	assert_int_equal(save(&x, &good).res, 1);
	stop(&x);
}

static void a_short_block_is_saved_with_its_tokens(void **state)
{
	const uint32_t len = FAKE_LEN / 2;
	struct kvshm_block b;
	struct kvshm_pin pin;
	struct served x;
	struct saved v;

	start(&x, state, "");
	prepare(&x, &v, 5, 2);
	v.what.nr = v.what.nr_pieces = 1;
	v.what.lengths = &len;
	assert_int_equal(save(&x, &v).res, 1);
	assert_int_equal(kvshm_acquire(x.k, x.ns, v.keys, 1, &pin), 1);
	assert_int_equal(kvshm_resolve(x.k, &pin, v.keys, &b), 1);
	assert_int_equal(b.length, len);
	assert_int_equal(b.tokens, fake_desc(1).block_tokens / 2);
	assert_true(fake_is_filled(b.ptr, 5, 0, len));
	kvshm_release(x.k, &pin);
	stop(&x);
}

static void saves_under_a_device_that_hangs_are_told_and_come_again(void **state)
{
	struct kvshm_completion c;
	struct served x;
	struct saved v;

	start(&x, state, "hang=1");
	prepare(&x, &v, 5, 1);
	c = save(&x, &v);
	assert_int_equal(c.res, -ETIMEDOUT);
	assert_int_equal(c.nr_dropped, NR);
	assert_int_equal(found(&x, &v, 5), 0);
	assert_int_equal(fake_put(x.k, x.ns, 5, NR).res, NR);
	assert_int_equal(found(&x, &v, 5), NR);
	stop(&x);
}

/* ---- without ----------------------------------------------------------------------------------------- */

static void options_and_absence_are_told(void **state)
{
	struct kvshm_service_options o = { .sz = sizeof(o) - 1 };
	struct kvshm_service *s = NULL;
	struct live *l = *state;
	struct kvshm *k = open_live(l, 0);

	assert_int_equal(kvshm_service_open(k, &o, &s), -EINVAL);
	o.sz = sizeof(o);
	o.resv = 1;
	assert_int_equal(kvshm_service_open(k, &o, &s), -EINVAL);
	o.resv = 0;
	assert_int_equal(kvshm_service_open(k, &o, &s), -ENOENT);
	assert_null(s);
	assert_int_equal(kvshm_service_close(NULL), 0);
	kvshm_close(k);
}

#define T(name) cmocka_unit_test_setup_teardown(name, live_setup, live_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(untrusted_client_gets_its_blocks_onto_the_device),
		T(buffers_are_offered_once_and_withdrawn),
		T(copies_that_cannot_be_are_told),
		T(worker_that_ends_is_found_again),
		T(untrusted_client_saves_from_the_device),
		T(saves_go_on_where_a_chain_ends),
		T(two_saves_of_a_chain_need_no_wait_between_them),
		T(saves_that_cannot_be_are_told),
		T(saves_that_make_no_sense_are_refused_at_once),
		T(a_short_block_is_saved_with_its_tokens),
		T(saves_under_a_device_that_hangs_are_told_and_come_again),
		T(options_and_absence_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
