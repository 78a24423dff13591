/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_copy.c - get and put of large blocks, against the best plain copy of the same run
 *
 * The floor copies the same bytes between the same kinds of memory: for get out of other blocks of the
 * arena into a private buffer, for put from the private buffer into granted blocks; memcpy() and the
 * non-temporal copy, whichever is faster.  Pairs alternate, the ratio is that of the medians.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/ntcopy.h"
#include "utils/bench.h"
#include "utils/commands.h"

#define PAIRS 1000u			/* of which a 99.9th percentile means something; */
#define PAIRS_LEAST 40u			/* fewer where they take too long */
#define PAIRS_NS 30000000000ull
#define WARM_UP 6u
#define TIMEOUT_US 5000000u

struct copy_run {
	const struct bench_options *o;
	struct bench_target *t;
	char *buf;			/* private memory, nr blocks */
	unsigned nr;			/* blocks copied at once */
	uint64_t next_chain;		/* put: keys never used before */
	int daemon_pid;
	uint64_t start_ns, cpu_ns, daemon_cpu_ns;	/* when it began to measure */
};

static char *buffer(size_t len)
{
	char *p = aligned_alloc(2ul << 20, round_up(len, 2ul << 20));

	if (p)
		memset(p, 1, len);	/* faulted in */
	return p;
}

/* ---- get ------------------------------------------------------------------------------------------- */

static int pin_chain(struct copy_run *r, uint64_t chain, struct kvshm_pin *pin, struct kvshm_block *b)
{
	struct kvshm_key keys[64];

	for (unsigned i = 0; i < r->nr; i++)
		keys[i] = bench_key(chain, i);
	if (kvshm_acquire(r->t->k, r->t->ns, keys, r->nr, pin) != (int)r->nr)
		return -ENOENT;
	return kvshm_resolve(r->t->k, pin, keys, b) == (int)r->nr ? 0 : -ENOENT;
}

static int get_once(struct copy_run *r, uint64_t chain, uint64_t *ret_ns)
{
	struct kvshm_block b[64];
	struct kvshm_pin pin;
	void *dst[64];
	uint64_t start;
	int ret;

	pmu_start(r->o->pmu);
	start = clock_ns();
	ret = pin_chain(r, chain, &pin, b);
	for (unsigned i = 0; i < r->nr; i++)
		dst[i] = r->buf + i * r->o->bytes;
	if (!ret)
		ret = kvshm_get(r->t->k, b, r->nr, dst, 0);
	kvshm_release(r->t->k, &pin);
	*ret_ns = clock_ns() - start;
	pmu_stop(r->o->pmu);
	return ret;
}

static int get_floor(struct copy_run *r, uint64_t chain, uint64_t *ret_ns)
{
	struct kvshm_block b[64];
	struct kvshm_pin pin;
	uint64_t start;
	int ret = pin_chain(r, chain, &pin, b);

	if (ret)
		return ret;
	start = clock_ns();
	for (unsigned i = 0; i < r->nr; i++)
		memcpy(r->buf + i * r->o->bytes, b[i].ptr, r->o->bytes);
	*ret_ns = clock_ns() - start;
	kvshm_release(r->t->k, &pin);
	return 0;
}

static double gb_per_s(const struct copy_run *r, double ns)
{
	return (double)(r->nr * r->o->bytes) / ns;
}

static void begin(struct copy_run *r)
{
	r->start_ns = clock_ns();
	r->cpu_ns = bench_process_cpu_ns(getpid());
	r->daemon_cpu_ns = bench_process_cpu_ns(r->daemon_pid);
}

static bool goes_on(const struct copy_run *r, unsigned i)
{
	return i < WARM_UP + PAIRS_LEAST || (i < WARM_UP + PAIRS && clock_ns() - r->start_ns < PAIRS_NS);
}

static void report(struct copy_run *r, struct samples *own, struct samples *plain, struct jdoc *j)
{
	double wall = (double)(clock_ns() - r->start_ns) / 100;

	jdoc_int(j, "pairs", (int64_t)own->nr);
	jdoc_real(j, "ratio", samples_quantile(plain, 0.5) / samples_quantile(own, 0.5));
	jdoc_real(j, "gb_per_s", gb_per_s(r, samples_quantile(own, 0.5)));
	jdoc_real(j, "plain_gb_per_s", gb_per_s(r, samples_quantile(plain, 0.5)));
	jdoc_real(j, "p99_us_per_block", samples_quantile(own, 0.99) / 1000 / r->nr);
	samples_p999(own, 1000.0 * r->nr, j, "p999_us_per_block");
	pmu_report(r->o->pmu, j, WARM_UP + (double)own->nr);
	if (r->daemon_pid)
		jdoc_real(j, "daemon_cpu_percent", (double)(bench_process_cpu_ns(r->daemon_pid) - r->daemon_cpu_ns) / wall);
	jdoc_real(j, "client_cpu_percent", (double)(bench_process_cpu_ns(getpid()) - r->cpu_ns) / wall);
}

static int measure_get(struct copy_run *r, struct jdoc *j)
{
	struct samples own = { 0 }, plain = { 0 };
	int ret = 0;

	begin(r);
	for (unsigned i = 0; goes_on(r, i) && !ret; i++) {
		uint64_t a, b, chain = 2 * i % r->t->nr_chains;

		ret = get_once(r, chain, &a);
		if (!ret)
			ret = get_floor(r, (chain + 1) % r->t->nr_chains, &b);
		if (!ret && i >= WARM_UP) {
			samples_add(&own, (double)a);
			samples_add(&plain, (double)b);
		}
	}
	if (!ret)
		report(r, &own, &plain, j);
	samples_fini(&own);
	samples_fini(&plain);
	return ret;
}

static int run_copy(const struct bench_options *o, struct jdoc *j, unsigned flags,
		    unsigned nr_chains, int (*measure)(struct copy_run *r, struct jdoc *j))
{
	unsigned nr = (unsigned)max_of(min_of((32ul << 20) / o->bytes, 16ul), 1ul);
	struct copy_run r = { .o = o, .nr = nr, .next_chain = 1ull << 40 };
	struct bench_target t;
	int ret = bench_open(o, j, (unsigned long)nr * (nr_chains + 8), (uint32_t)o->bytes, flags, &t);

	if (ret)
		return ret;
	r.t = &t;
	r.daemon_pid = t.daemon ? private_daemon_pid(t.daemon) : 0;
	r.buf = buffer(nr * o->bytes);
	ret = r.buf ? 0 : EXIT_DEAD;
	if (!ret && nr_chains)
		ret = bench_fill(&t, (unsigned long)nr * nr_chains, nr, nr, false);
	if (!ret) {
		jdoc_int(j, "bytes", (int64_t)o->bytes);
		jdoc_int(j, "blocks_a_call", nr);
		ret = measure(&r, j);
		if (ret < 0) {
			fprintf(stderr, "kvshm bench: %s\n", strerror(-ret));
			ret = EXIT_DEAD;
		}
	}
	free(r.buf);
	bench_close(&t);
	return ret;
}

static int run_get(const struct bench_options *o, struct jdoc *j)
{
	return run_copy(o, j, 0, 16, measure_get);
}

/* ---- put ------------------------------------------------------------------------------------------- */

static int put_once(struct copy_run *r, uint64_t *ret_ns)
{
	uint64_t chain = r->next_chain++, start;
	struct kvshm_completion done;
	struct kvshm_key keys[64];
	const void *src[64];
	int ret;

	for (unsigned i = 0; i < r->nr; i++) {
		keys[i] = bench_key(chain, i);
		src[i] = r->buf + i * r->o->bytes;
	}
	pmu_start(r->o->pmu);
	start = clock_ns();
	ret = kvshm_put(r->t->k, r->t->ns, NULL, keys, src, NULL, r->nr, 0, chain, TIMEOUT_US);
	pmu_stop(r->o->pmu);
	if (ret < 0)
		return ret;
	/* Trusted: the bytes are there when the call returns.  Staged: when it completes. */
	if (!r->o->is_staged)
		*ret_ns = clock_ns() - start;
	ret = kvshm_poll(r->t->k, &done, 1, TIMEOUT_US);
	if (r->o->is_staged)
		*ret_ns = clock_ns() - start;
	if (ret != 1)
		return ret < 0 ? ret : -ETIMEDOUT;
	return done.res == (int)r->nr ? 0 : done.res < 0 ? done.res : -ENOSPC;
}

/* Plain copies need a writable arena: a trusted handle of their own. */
static int put_floor(struct copy_run *r, struct kvshm *k, uint32_t ns, double *ret_ns)
{
	struct kvshm_block b[64];
	uint64_t start, plain, nt;
	/* In hand before the clock starts: the library tops them up in the background. */
	int ret = bench_grant(k, ns, b, r->nr);

	if (ret < 0)
		return ret;
	start = clock_ns();
	for (unsigned i = 0; i < r->nr; i++)
		memcpy(b[i].ptr, r->buf + i * r->o->bytes, r->o->bytes);
	plain = clock_ns() - start;
	start = clock_ns();
	for (unsigned i = 0; i < r->nr; i++)
		ntcopy(b[i].ptr, r->buf + i * r->o->bytes, r->o->bytes);
	nt = clock_ns() - start;
	kvshm_return(k, b, r->nr);
	*ret_ns = (double)min_of(plain, nt);
	return 0;
}

static int measure_put(struct copy_run *r, struct jdoc *j)
{
	struct samples own = { 0 }, plain = { 0 };
	struct kvshm *k;
	uint32_t ns;
	int ret = bench_attach_to(r->t->daemon ? private_daemon_socket(r->t->daemon) : r->o->socket,
				  (uint32_t)r->o->bytes, 0, &k, &ns);

	if (ret < 0)
		return ret;
	begin(r);
	for (unsigned i = 0; goes_on(r, i) && !ret; i++) {
		uint64_t a = 0;
		double b = 0;

		ret = put_once(r, &a);
		if (!ret)
			ret = put_floor(r, k, ns, &b);
		if (!ret && i >= WARM_UP) {
			samples_add(&own, (double)a);
			samples_add(&plain, b);
		}
	}
	if (!ret) {
		jdoc_bool(j, "is_staged", r->o->is_staged);
		report(r, &own, &plain, j);
	}
	kvshm_close(k);
	samples_fini(&own);
	samples_fini(&plain);
	return ret;
}

static int run_put(const struct bench_options *o, struct jdoc *j)
{
	/* Two handles fill; what they put is evicted as the arena runs full, as in service. */
	return run_copy(o, j, o->is_staged ? KVSHM_OPEN_UNTRUSTED : 0, 0, measure_put);
}

const struct bench bench_get = {
	"get", run_get, "copy pinned blocks out, against a plain copy",
};

const struct bench bench_put = {
	"put", run_put, "copy blocks in; with --staged as an untrusted client",
};
