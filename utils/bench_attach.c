/* SPDX-License-Identifier: Apache-2.0 */
/* bench_attach.c - kvshm_open() until the queue pair is served, with a filled directory */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kvshm/base/clock.h"
#include "utils/bench.h"
#include "utils/commands.h"

#define DEFAULT_BLOCKS 100000ul
#define ATTACHES 1000
#define WARM_UP 5

static int attach_once(const char *socket, uint64_t *ret_ns)
{
	struct kvshm_options o = { .sz = sizeof(o), .socket = socket, .label = "bench attach" };
	uint64_t start = clock_ns();
	struct kvshm *k;
	int ret = kvshm_open(&o, &k);

	*ret_ns = clock_ns() - start;
	if (!ret)
		kvshm_close(k);
	return ret;
}

static int measure(const char *socket, struct jdoc *j)
{
	struct samples s = { 0 };
	int ret = 0;

	for (unsigned i = 0; i < WARM_UP + ATTACHES && !ret; i++) {
		uint64_t ns;

		ret = attach_once(socket, &ns);
		if (!ret && i >= WARM_UP)
			samples_add(&s, (double)ns / 1e6);
	}
	if (!ret) {
		jdoc_real(j, "p50_ms", samples_quantile(&s, 0.5));
		jdoc_real(j, "p99_ms", samples_quantile(&s, 0.99));
		samples_p999(&s, 1, j, "p999_ms");
	}
	samples_fini(&s);
	return ret;
}

static int run(const struct bench_options *o, struct jdoc *j)
{
	unsigned long blocks = o->blocks ? o->blocks : DEFAULT_BLOCKS;
	struct bench_target t;
	int ret = bench_open(o, j, blocks, 4096, 0, &t);

	if (ret)
		return ret;
	ret = bench_fill(&t, blocks, 2048, 2048, false);
	if (!ret)
		ret = measure(t.daemon ? private_daemon_socket(t.daemon) : o->socket, j);
	if (ret < 0) {
		fprintf(stderr, "kvshm bench attach: %s\n", strerror(-ret));
		ret = EXIT_DEAD;
	}
	bench_close(&t);
	return ret;
}

const struct bench bench_attach = {
	"attach", run, "connect and map until served",
};
