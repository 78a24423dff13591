/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch FILE [TIMES] - how much of a file is cached, ten times a second, one line a change
 *
 * Kill the daemon while it runs: hits go on.  Start it again: the library attaches by itself.
 */
#include "chain.h"

#include <time.h>

static int watch(struct kvshm *k, uint32_t ns, const struct chain *c, unsigned long times)
{
	const struct timespec tenth = { .tv_nsec = 100000000 };
	struct kvshm_client_stats s = { .sz = sizeof(s) };
	int n, last = -1;
	uint32_t was_attached = 2;

	for (; times; times--) {
		struct kvshm_pin pin = { 0 };

		n = kvshm_acquire(k, ns, c->keys, c->nr, &pin);
		if (n < 0)
			return fail("kvshm_acquire", n);
		kvshm_release(k, &pin);
		kvshm_poll(k, NULL, 0, 0);	/* looks whether the daemon lives; attaches again */
		kvshm_stats(k, &s);
		if (n != last || s.is_attached != was_attached)
			printf("cached %d of %u, daemon %s\n", n, c->nr, s.is_attached ? "alive" : "dead");
		fflush(stdout);
		last = n;
		was_attached = s.is_attached;
		nanosleep(&tenth, NULL);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct chain c = { 0 };
	struct kvshm *k;
	uint32_t ns;
	int ret;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: watch FILE [TIMES]\n");
		return 2;
	}
	if (chain_open(&k, &ns))
		return 1;
	ret = chain_read(&c, argv[1]) || watch(k, ns, &c, argc > 2 ? strtoul(argv[2], NULL, 10) : -1ul);
	chain_free(&c);
	kvshm_close(k);
	return ret;
}
