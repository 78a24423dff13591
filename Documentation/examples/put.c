/* SPDX-License-Identifier: Apache-2.0 */
/* put FILE - put a file into the cache as a chain of blocks, and say what became of it */
#include "chain.h"

static int put(struct kvshm *k, uint32_t ns, const struct chain *c)
{
	unsigned published = 0, duplicate = 0, dropped = 0, done = 0, n;
	struct kvshm_completion end;
	int ret;

	/* At most 4,096 blocks a call; each call names the block that it goes on from. */
	for (; done < c->nr; done += n) {
		n = c->nr - done < 4096 ? c->nr - done : 4096;
		ret = kvshm_put(k, ns, done ? &c->keys[done - 1] : NULL, c->keys + done, c->src + done,
				c->lengths + done, n, 0, done, 2000000);
		if (ret < 0)
			return fail("kvshm_put", ret);
		ret = kvshm_poll(k, &end, 1, 2000000);
		if (ret != 1 || end.res < 0)
			return fail("kvshm_poll", ret < 0 ? ret : ret == 1 ? end.res : -ETIMEDOUT);
		published += (unsigned)end.res;
		duplicate += end.nr_duplicate;
		dropped += end.nr_dropped;
	}
	printf("published %u duplicate %u dropped %u\n", published, duplicate, dropped);
	return dropped != 0;
}

int main(int argc, char **argv)
{
	struct chain c = { 0 };
	struct kvshm *k;
	uint32_t ns;
	int ret;

	if (argc != 2) {
		fprintf(stderr, "usage: put FILE\n");
		return 2;
	}
	if (chain_open(&k, &ns))
		return 1;
	ret = chain_read(&c, argv[1]) || put(k, ns, &c);
	chain_free(&c);
	kvshm_close(k);
	return ret;
}
