/* SPDX-License-Identifier: Apache-2.0 */
/* Copies by a real kvshm-gpud over the fake driver, asked for through the library by an untrusted client. */
#include "live.h"

#include <sys/prctl.h>

#include <kvshm/service.h>

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

static void start_gpud(struct served *x, const char *script)
{
	const char *build = getenv("KVSHM_BUILD");
	char bin[512], log[200];

	snprintf(bin, sizeof(bin), "%.480s/kvshm-gpud", build ? build : "build");
	snprintf(log, sizeof(log), "%s/gpud.log", x->l->dir);
	x->gpud = fork();
	if (x->gpud == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

		/* a test that fails leaves none behind */
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		dup2(fd, 1);
		dup2(fd, 2);
		setenv("FAKE_CUDA_SCRIPT", script, 1);
		execl(bin, "kvshm-gpud", "--socket", x->l->socket, "--libcuda", x->libcuda, "--deadline", "500", NULL);
		_exit(127);
	}
}

static int open_service(struct served *x)
{
	const struct kvshm_service_options o = { .sz = sizeof(o), .libcuda = x->libcuda, .timeout_ms = 4000 };

	return kvshm_service_open(x->k, &o, &x->s);
}

/* A worker may be about to start. */
static void open_service_soon(struct served *x)
{
	uint64_t end = clock_ns() + 10000000000u;
	int ret;

	while ((ret = open_service(x)) < 0) {
		assert_true(ret == -ENOENT || ret == -ECONNREFUSED || ret == -ECONNRESET || ret == -ETIMEDOUT);
		assert_true(clock_ns() < end);
		poll(NULL, 0, 10);
	}
}

static void start(struct served *x, void **state, const char *script)
{
	memset(x, 0, sizeof(*x));
	x->l = *state;
	fake_cuda_path(x->libcuda, sizeof(x->libcuda));
	start_gpud(x, script);
	fake_cuda_start(&x->f, NULL);
	assert_int_equal(gpu_ctx_enter(&x->f.ctx), 0);
	assert_int_equal(x->f.cu.MemAlloc(&x->dev, NR * FAKE_LEN), 0);
	gpu_ctx_leave(&x->f.ctx);
	memset((void *)(uintptr_t)x->dev, 0, NR * FAKE_LEN);
	x->k = open_live(x->l, KVSHM_OPEN_UNTRUSTED);
	x->ns = fake_attach_ns(x->k);
	open_service_soon(x);
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
	kill(x->gpud, SIGTERM);
	assert_int_equal(waitpid(x->gpud, NULL, 0), x->gpud);
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
	open_service_soon(&x);
	assert_int_equal(kvshm_service_offer(x.s, x.dev, NR * FAKE_LEN, &x.buffer), 0);
	stop(&x);
}

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
		T(options_and_absence_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
