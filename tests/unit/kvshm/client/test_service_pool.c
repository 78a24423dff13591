/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks in the staging pool of a real kvshm-gpud over the fake driver, held through the library. */
#include "live_gpud.h"

#include "tests/lib/fake_cuda.h"

#define NR 8u				/* blocks of a chain */
#define POOL "1M"			/* 16 blocks */

struct pooled {
	struct live *l;
	pid_t gpud;
	char libcuda[512];
	struct fake_cuda f;
	struct kvshm *k;
	uint32_t ns;
	struct kvshm_service *s;
	struct kvshm_service_pool *p;
	struct kvshm_key keys[NR];
	struct kvshm_block b[NR];
	struct kvshm_pin pin;
	uint64_t addr[NR];
};

/* Blocks of chain @chain, pinned. */
static void get_blocks(struct pooled *x, uint32_t chain)
{
	fake_keys(x->keys, NR, chain);
	assert_int_equal(kvshm_acquire(x->k, x->ns, x->keys, NR, &x->pin), NR);
	assert_int_equal(kvshm_resolve(x->k, &x->pin, x->keys, x->b), NR);
}

static void open_all(struct pooled *x)
{
	fake_cuda_start(&x->f, NULL);
	x->k = open_live(x->l, 0);
	x->ns = fake_attach_ns(x->k);
	x->s = live_service(x->k, x->libcuda);
}

static void close_all(struct pooled *x)
{
	kvshm_release(x->k, &x->pin);
	/* takes the pool along */
	assert_int_equal(kvshm_service_close(x->s), 0);
	kvshm_close(x->k);
	fake_cuda_stop(&x->f);
}

static void start_with(struct pooled *x, void **state, const char *script, const char *pool)
{
	memset(x, 0, sizeof(*x));
	x->l = *state;
	fake_cuda_path(x->libcuda, sizeof(x->libcuda));
	x->gpud = live_gpud_start(x->l, x->libcuda, script, "5000", pool);
	open_all(x);
	assert_int_equal(fake_put(x->k, x->ns, 1, NR).res, NR);
	get_blocks(x, 1);
}

static void start(struct pooled *x, void **state, const char *script)
{
	start_with(x, state, script, POOL);
	assert_int_equal(kvshm_service_pool_open(x->s, NULL, &x->p), 0);
}

static void stop(struct pooled *x)
{
	close_all(x);
	live_gpud_end(x->gpud);
}

static struct kvshm_service_held told(struct pooled *x)
{
	struct kvshm_service_held h = { 0 };

	assert_int_equal(kvshm_service_pool_poll(x->p, &h, 1, 10000000), 1);
	return h;
}

/* Hold them all.  Return: .res. */
static int hold(struct pooled *x, unsigned nr)
{
	struct kvshm_service_held h;

	assert_int_equal(kvshm_service_pool_hold(x->p, x->ns, x->b, nr, x->addr, 42), 0);
	h = told(x);
	assert_int_equal(h.user_data, 42);
	return h.res;
}

static bool is_there(const struct pooled *x, uint32_t chain, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		if (!fake_is_filled((const void *)(uintptr_t)x->addr[i], chain, i, FAKE_LEN))
			return false;
	return true;
}

static void blocks_are_held_read_and_released(void **state)
{
	struct kvshm_service_pool_facts i = { .sz = sizeof(i) - 1 };
	struct pooled x;

	start(&x, state, "");
	assert_int_equal(kvshm_service_pool_info(x.p, &i), -EINVAL);
	i.sz = sizeof(i);
	assert_int_equal(kvshm_service_pool_info(x.p, &i), 0);
	assert_int_equal(i.len, 2u << 20);
	assert_int_equal(i.is_readonly, 1);
	assert_int_equal(i.is_peer, 0);
	assert_int_equal(kvshm_service_pool_poll(x.p, &(struct kvshm_service_held){ 0 }, 1, 1000000), 0);
	assert_int_equal(hold(&x, NR), NR);
	for (unsigned n = 0; n < NR; n++)
		assert_true(x.addr[n] >= i.addr && x.addr[n] + FAKE_LEN <= i.addr + i.len);
	assert_true(is_there(&x, 1, NR));
	assert_int_equal(kvshm_service_pool_release(x.p, x.b, NR), 0);
	assert_int_equal(kvshm_service_pool_release(x.p, x.b, NR), -ENOENT);
	stop(&x);
}

/* ---- two processes ----------------------------------------------------------------------------------- */

#define MUST(x) do { if (!(x)) _exit(100 + __LINE__ % 100); } while (0)

/* Decode: holds what prefill has brought, says where it lies, reads it after prefill has let go. */
static void decode(struct live *l, int go, int say)
{
	struct kvshm_service_pool_facts i = { .sz = sizeof(i) };
	struct pooled x = { .l = l };
	char c;

	MUST(read(go, &c, 1) == 1);
	fake_cuda_path(x.libcuda, sizeof(x.libcuda));
	open_all(&x);
	get_blocks(&x, 1);
	MUST(!kvshm_service_pool_open(x.s, NULL, &x.p));
	MUST(!kvshm_service_pool_info(x.p, &i));
	MUST(hold(&x, NR) == NR);
	for (unsigned n = 0; n < NR; n++)
		x.addr[n] -= i.addr;
	MUST(write(say, x.addr, sizeof(x.addr)) == sizeof(x.addr));
	for (unsigned n = 0; n < NR; n++)
		x.addr[n] += i.addr;
	MUST(read(go, &c, 1) == 1);
	MUST(is_there(&x, 1, NR));
	MUST(!kvshm_service_pool_release(x.p, x.b, NR));
	close_all(&x);
	_exit(0);
}

static void prefill_and_decode_share_one_copy(void **state)
{
	struct kvshm_service_pool_facts i = { .sz = sizeof(i) };
	struct live *l = *state;
	uint64_t off[NR];
	int go[2], say[2], status;
	struct pooled x;
	pid_t pid;

	assert_int_equal(pipe(go), 0);
	assert_int_equal(pipe(say), 0);
	pid = fork();
	if (!pid)
		decode(l, go[0], say[1]);
	start(&x, state, "");
	assert_int_equal(kvshm_service_pool_info(x.p, &i), 0);
	assert_int_equal(hold(&x, NR), NR);
	assert_int_equal(write(go[1], "", 1), 1);
	assert_int_equal(read(say[0], off, sizeof(off)), sizeof(off));
	for (unsigned n = 0; n < NR; n++)
		assert_int_equal(off[n], x.addr[n] - i.addr);
	assert_int_equal(live_metric(l, METRIC_GPUD_POOL_SHARED, NR), NR);
	assert_int_equal(live_metric(l, METRIC_GPUD_POOL_STAGED, NR), NR);
	assert_int_equal(live_metric(l, METRIC_GPUD_POOL_STAGED_BYTES, 1), NR * FAKE_LEN);
	assert_int_equal(live_metric(l, METRIC_GPUD_POOL_HELD, 1), NR * FAKE_LEN);
	/* the hand-over is complete: prefill lets go of all it has */
	assert_int_equal(kvshm_service_pool_release(x.p, x.b, NR), 0);
	assert_int_equal(kvshm_service_pool_close(x.p), 0);
	x.p = NULL;
	assert_int_equal(write(go[1], "", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(live_metric_gone(l, METRIC_GPUD_POOL_HELD), 0);
	assert_int_equal(live_metric(l, METRIC_GPUD_POOL_STAGED, NR), NR);
	for (unsigned n = 0; n < 2; n++) {
		close(go[n]);
		close(say[n]);
	}
	stop(&x);
}

/* ---- what cannot be ----------------------------------------------------------------------------------- */

static void all_or_none_and_the_reason_is_told(void **state)
{
	struct kvshm_block b[NR];
	struct pooled x;

	start(&x, state, "");
	memcpy(b, x.b, sizeof(b));
	x.b[NR - 1].generation++;
	assert_int_equal(hold(&x, NR), -ESTALE);
	memcpy(x.b, b, sizeof(b));
	assert_int_equal(kvshm_service_pool_release(x.p, x.b, 1), -ENOENT);
	assert_int_equal(kvshm_service_pool_hold(x.p, x.ns, x.b, 0, x.addr, 1), -EINVAL);
	assert_int_equal(kvshm_service_pool_hold(x.p, x.ns, x.b, 257, x.addr, 1), -EINVAL);
	assert_int_equal(kvshm_service_pool_hold(x.p, x.ns + 1, x.b, 1, x.addr, 1), -EINVAL);
	assert_int_equal(kvshm_service_pool_release(x.p, x.b, 0), 0);
	assert_int_equal(hold(&x, 1), 1);
	assert_true(is_there(&x, 1, 1));
	stop(&x);
}

static void full_pool_is_told(void **state)
{
	struct kvshm_service_pool *p;
	struct kvshm_service *s;
	struct pooled x;

	/* 2 MiB: 32 blocks, of which one client holds half */
	start(&x, state, "");
	for (uint32_t chain = 1; chain <= 2; chain++) {
		kvshm_release(x.k, &x.pin);
		fake_put(x.k, x.ns, chain, NR);
		get_blocks(&x, chain);
		assert_int_equal(hold(&x, NR), NR);
	}
	kvshm_release(x.k, &x.pin);
	fake_put(x.k, x.ns, 3, NR);
	get_blocks(&x, 3);
	assert_int_equal(hold(&x, 1), -EDQUOT);
	s = x.s;
	p = x.p;
	x.s = live_service(x.k, x.libcuda);
	assert_int_equal(kvshm_service_pool_open(x.s, NULL, &x.p), 0);
	for (uint32_t chain = 3; chain <= 4; chain++) {
		kvshm_release(x.k, &x.pin);
		fake_put(x.k, x.ns, chain, NR);
		get_blocks(&x, chain);
		assert_int_equal(hold(&x, NR), NR);
	}
	assert_int_equal(kvshm_service_close(x.s), 0);
	x.s = live_service(x.k, x.libcuda);
	assert_int_equal(kvshm_service_pool_open(x.s, NULL, &x.p), 0);
	/* what the second one held is idle now: its places are used again */
	kvshm_release(x.k, &x.pin);
	fake_put(x.k, x.ns, 5, NR);
	get_blocks(&x, 5);
	assert_int_equal(hold(&x, NR), NR);
	assert_true(is_there(&x, 5, NR));
	assert_true(live_metric(x.l, METRIC_GPUD_POOL_EVICTED, NR) >= NR);
	assert_int_equal(live_metric(x.l, METRIC_GPUD_POOL_REFUSED, 1), 1);
	assert_int_equal(kvshm_service_pool_close(p), 0);
	assert_int_equal(kvshm_service_close(s), 0);
	stop(&x);
}

static void pool_is_opened_once_and_by_known_options(void **state)
{
	struct kvshm_service_pool_options o = { .sz = sizeof(o) - 1 };
	struct kvshm_service_pool *p = NULL;
	struct pooled x;

	start_with(&x, state, "", POOL);
	assert_int_equal(kvshm_service_pool_open(x.s, &o, &p), -EINVAL);
	o.sz = sizeof(o);
	o.flags = ~KVSHM_SERVICE_POOL_DEVICE;
	assert_int_equal(kvshm_service_pool_open(x.s, &o, &p), -EINVAL);
	assert_null(p);
	o.flags = 0;
	assert_int_equal(kvshm_service_pool_open(x.s, &o, &x.p), 0);
	assert_int_equal(kvshm_service_pool_open(x.s, &o, &p), -EEXIST);
	assert_int_equal(kvshm_service_pool_close(x.p), 0);
	assert_int_equal(kvshm_service_pool_open(x.s, &o, &x.p), 0);
	assert_null(p);
	assert_int_equal(kvshm_service_pool_close(NULL), 0);
	stop(&x);
}

static void service_without_a_pool_says_so(void **state)
{
	struct kvshm_service_pool *p = NULL;
	struct pooled x;

	start_with(&x, state, "", NULL);
	assert_int_equal(kvshm_service_pool_open(x.s, NULL, &p), -ENOENT);
	assert_null(p);
	stop(&x);
}

static void mapping_that_fails_leaves_nothing_open(void **state)
{
	struct kvshm_service_pool *p = NULL;
	struct pooled x;

	start_with(&x, state, "", POOL);
	assert_int_equal(x.f.fake->script("fail=cuMemMap:1:2"), 0);
	assert_int_equal(kvshm_service_pool_open(x.s, NULL, &p), -ENOMEM);
	assert_null(p);
	assert_int_equal(fake_cuda_counters(&x.f).imports, 0);
	assert_int_equal(x.f.fake->script("fail=cuMemSetAccess:1:801"), 0);
	assert_int_equal(kvshm_service_pool_open(x.s, NULL, &x.p), 0);
	{
		struct kvshm_service_pool_facts i = { .sz = sizeof(i) };

		assert_int_equal(kvshm_service_pool_info(x.p, &i), 0);
		assert_int_equal(i.is_readonly, 0);
	}
	assert_int_equal(hold(&x, NR), NR);
	assert_true(is_there(&x, 1, NR));
	stop(&x);
}

static void another_device_reads_it_over_the_path_between_them(void **state)
{
	struct kvshm_service_pool_options o = { .sz = sizeof(o), .flags = KVSHM_SERVICE_POOL_DEVICE, .device = 1 };
	struct kvshm_service_pool_facts i = { .sz = sizeof(i) };
	struct kvshm_service_pool *p = NULL;
	struct pooled x;

	start_with(&x, state, "", POOL);
	assert_int_equal(kvshm_service_pool_open(x.s, &o, &x.p), 0);
	assert_int_equal(kvshm_service_pool_info(x.p, &i), 0);
	assert_int_equal(i.is_peer, 1);
	assert_int_equal(i.is_readonly, 1);
	assert_int_equal(hold(&x, NR), NR);
	assert_true(is_there(&x, 1, NR));
	assert_int_equal(kvshm_service_pool_close(x.p), 0);
	assert_int_equal(x.f.fake->script("peer=0"), 0);
	assert_int_equal(kvshm_service_pool_open(x.s, &o, &p), -EXDEV);
	o.device = 7;
	assert_int_equal(kvshm_service_pool_open(x.s, &o, &p), -ENODEV);
	assert_null(p);
	/* its own by number */
	o.device = 0;
	assert_int_equal(kvshm_service_pool_open(x.s, &o, &x.p), 0);
	assert_int_equal(kvshm_service_pool_info(x.p, &i), 0);
	assert_int_equal(i.is_peer, 0);
	assert_int_equal(x.f.fake->script("peer=1"), 0);
	stop(&x);
}

/* ---- in between -------------------------------------------------------------------------------------- */

static void answers_come_while_others_are_waited_for(void **state)
{
	struct kvshm_service_held h[4];
	uint64_t buffer, addr[4];
	CUdeviceptr dev;
	struct pooled x;
	unsigned n = 0;
	int ret;

	/* a block takes 60 ms */
	start(&x, state, "h2d=1e6");
	assert_int_equal(gpu_ctx_enter(&x.f.ctx), 0);
	assert_int_equal(x.f.cu.MemAlloc(&dev, FAKE_LEN), 0);
	gpu_ctx_leave(&x.f.ctx);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(kvshm_service_pool_hold(x.p, x.ns, &x.b[i], 1, &addr[i], i), 0);
	/* meanwhile */
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(kvshm_service_offer(x.s, dev, FAKE_LEN, &buffer), 0);
		assert_int_equal(kvshm_service_withdraw(x.s, dev), 0);
		poll(NULL, 0, 5);
	}
	while (n < 4) {
		ret = kvshm_service_pool_poll(x.p, &h[n], 4 - n, 5000000);
		assert_true(ret > 0);
		n += (unsigned)ret;
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(h[i].user_data, i);
		assert_int_equal(h[i].res, 1);
		assert_true(fake_is_filled((const void *)(uintptr_t)addr[i], 1, i, FAKE_LEN));
	}
	assert_int_equal(gpu_ctx_enter(&x.f.ctx), 0);
	assert_int_equal(x.f.cu.MemFree(dev), 0);
	gpu_ctx_leave(&x.f.ctx);
	stop(&x);
}

static void no_more_are_under_way_than_there_are_places(void **state)
{
	struct kvshm_service_held h[40];
	uint64_t addr[33];
	struct pooled x;
	unsigned n = 0;
	int ret;

	start(&x, state, "");
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(kvshm_service_pool_hold(x.p, x.ns, x.b, 1, &addr[i], i), 0);
	assert_int_equal(kvshm_service_pool_hold(x.p, x.ns, x.b, 1, &addr[32], 32), -EBUSY);
	while (n < 32) {
		ret = kvshm_service_pool_poll(x.p, h + n, 40 - n, 5000000);
		assert_true(ret > 0);
		n += (unsigned)ret;
	}
	for (unsigned i = 0; i < 32; i++) {
		assert_int_equal(h[i].user_data, i);
		assert_int_equal(h[i].res, 1);
		assert_int_equal(kvshm_service_pool_release(x.p, x.b, 1), 0);
	}
	assert_int_equal(kvshm_service_pool_release(x.p, x.b, 1), -ENOENT);
	assert_int_equal(hold(&x, NR), NR);
	stop(&x);
}

static void closing_forgets_what_is_under_way(void **state)
{
	struct pooled x;

	start(&x, state, "h2d=1e6");
	memset(x.addr, 0xee, sizeof(x.addr));
	assert_int_equal(kvshm_service_pool_hold(x.p, x.ns, x.b, NR, x.addr, 1), 0);
	assert_int_equal(kvshm_service_pool_close(x.p), 0);
	assert_int_equal(live_metric(x.l, METRIC_GPUD_POOL_STAGED, NR), NR);
	assert_int_equal(kvshm_service_pool_open(x.s, NULL, &x.p), 0);
	assert_int_equal(kvshm_service_pool_poll(x.p, &(struct kvshm_service_held){ 0 }, 1, 1000), 0);
	assert_int_equal(x.addr[0], 0xeeeeeeeeeeeeeeeeull);
	assert_int_equal(kvshm_service_pool_release(x.p, x.b, 1), -ENOENT);
	assert_int_equal(hold(&x, NR), NR);
	assert_int_equal(live_metric(x.l, METRIC_GPUD_POOL_STAGED, NR), NR);
	/* an answer that is there already, and nobody has looked at */
	memset(x.addr, 0xee, sizeof(x.addr));
	assert_int_equal(kvshm_service_pool_hold(x.p, x.ns, x.b, NR, x.addr, 2), 0);
	assert_int_equal(live_metric(x.l, METRIC_GPUD_POOL_SHARED, 2 * NR), 2 * NR);
	assert_int_equal(kvshm_service_pool_close(x.p), 0);
	assert_int_equal(x.addr[0], 0xeeeeeeeeeeeeeeeeull);
	stop(&x);
}

static void kvshm_gpud_that_ends_is_told_to_all(void **state)
{
	struct kvshm_service_held h;
	struct pooled x;

	start(&x, state, "h2d=1e5");
	assert_int_equal(hold(&x, 1), 1);
	assert_int_equal(kvshm_service_pool_hold(x.p, x.ns, x.b + 1, 1, x.addr + 1, 1), 0);
	kill(x.gpud, SIGKILL);
	assert_int_equal(waitpid(x.gpud, NULL, 0), x.gpud);
	assert_int_equal(kvshm_service_pool_poll(x.p, &h, 1, 10000000), -ECONNRESET);
	assert_int_equal(kvshm_service_pool_hold(x.p, x.ns, x.b, 1, x.addr, 1), -ECONNRESET);
	assert_int_equal(kvshm_service_pool_release(x.p, x.b, 1), -ECONNRESET);
	/* kernels that still read it do not fault */
	assert_true(is_there(&x, 1, 1));
	assert_int_equal(kvshm_service_pool_close(x.p), 0);
	assert_int_equal(kvshm_service_close(x.s), 0);
	assert_int_equal(fake_cuda_counters(&x.f).imports, 0);
	x.gpud = live_gpud_start(x.l, x.libcuda, "", "5000", POOL);
	x.s = live_service(x.k, x.libcuda);
	assert_int_equal(kvshm_service_pool_open(x.s, NULL, &x.p), 0);
	assert_int_equal(hold(&x, NR), NR);
	assert_true(is_there(&x, 1, NR));
	stop(&x);
}

#define T(name) cmocka_unit_test_setup_teardown(name, live_setup, live_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(blocks_are_held_read_and_released),
		T(prefill_and_decode_share_one_copy),
		T(all_or_none_and_the_reason_is_told),
		T(full_pool_is_told),
		T(pool_is_opened_once_and_by_known_options),
		T(service_without_a_pool_says_so),
		T(mapping_that_fails_leaves_nothing_open),
		T(another_device_reads_it_over_the_path_between_them),
		T(answers_come_while_others_are_waited_for),
		T(no_more_are_under_way_than_there_are_places),
		T(closing_forgets_what_is_under_way),
		T(kvshm_gpud_that_ends_is_told_to_all),
	};

	setenv("FAKE_CUDA_SCRIPT", "devices=2", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
