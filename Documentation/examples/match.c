/* SPDX-License-Identifier: Apache-2.0 */
/* match FILE - how much of a file is in the cache, and how long the look-up takes */
#include "chain.h"

#include <time.h>

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int match(struct kvshm *k, uint32_t ns, const struct chain *c)
{
	struct kvshm_pin pin = { 0 };
	double start = now_us();
	int n = kvshm_acquire(k, ns, c->keys, c->nr, &pin);
	double end = now_us();

	if (n < 0)
		return fail("kvshm_acquire", n);
	kvshm_release(k, &pin);		/* a miss has nothing to release, and that is fine */
	printf("cached %d of %u blocks\n", n, c->nr);
	fprintf(stderr, "matched and pinned in %.1f us\n", end - start);
	return 0;
}

int main(int argc, char **argv)
{
	struct chain c = { 0 };
	struct kvshm *k;
	uint32_t ns;
	int ret;

	if (argc != 2) {
		fprintf(stderr, "usage: match FILE\n");
		return 2;
	}
	if (chain_open(&k, &ns))
		return 1;
	ret = chain_read(&c, argv[1]) || match(k, ns, &c);
	chain_free(&c);
	kvshm_close(k);
	return ret;
}
