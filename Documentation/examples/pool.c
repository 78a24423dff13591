/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool FILE - a prompt whose keys and values several processes read on one GPU, from the staging pool of kvshm-gpud
 *
 * Run it in as many processes as you like, as prefill and decode are: who comes first has the blocks copied to the GPU,
 * the others hold the same copies.  The file is put into the cache before, with put; see chain.h.
 */
#include <kvshm/service.h>

#include "chain.h"
#include "engine.h"

#define WAIT_US 5000000u
#define HOLD_MAX 256u			/* blocks of one request */

/* All of them, in as many requests as it takes.  Return: 0; -errno, and what was held before is held. */
static int hold(struct kvshm_service_pool *p, uint32_t ns, const struct kvshm_block *blocks, unsigned nr, uint64_t *addrs)
{
	struct kvshm_service_held h;
	unsigned done = 0, n;
	int ret = 0;

	for (; done < nr && ret >= 0; done += n) {
		n = nr - done < HOLD_MAX ? nr - done : HOLD_MAX;
		ret = kvshm_service_pool_hold(p, ns, blocks + done, n, addrs + done, done);
		/* an engine computes something else meanwhile, and polls now and then */
		if (ret == 0)
			ret = kvshm_service_pool_poll(p, &h, 1, WAIT_US);
		if (ret >= 0)
			ret = ret ? h.res : -ETIMEDOUT;
	}
	return ret < 0 ? ret : 0;
}

/* What kernels of this process would read there.  Return: blocks that are as in the file. */
static unsigned check(struct engine *e, const struct chain *c, const uint64_t *addrs, unsigned nr)
{
	static char kv[BLOCK_LEN];
	unsigned good = 0;

	for (unsigned i = 0; i < nr; i++)
		good += !engine_read_at(e, addrs[i], kv, c->lengths[i]) && !memcmp(kv, c->src[i], c->lengths[i]);
	return good;
}

static int run(struct kvshm *k, struct kvshm_service_pool *p, struct engine *e, uint32_t ns, const struct chain *c)
{
	struct kvshm_block *blocks = calloc(c->nr, sizeof(*blocks));
	uint64_t *addrs = calloc(c->nr, sizeof(*addrs));
	unsigned nr = 0, good = 0;
	struct kvshm_pin pin;
	int ret = blocks && addrs ? kvshm_acquire(k, ns, c->keys, c->nr, &pin) : -ENOMEM;

	if (ret > 0) {
		ret = kvshm_resolve(k, &pin, c->keys, blocks);
		nr = ret > 0 ? (unsigned)ret : 0;
		ret = ret < 0 ? ret : hold(p, ns, blocks, nr, addrs);
		/* what lies on the GPU needs the copy in the cache no more */
		kvshm_release(k, &pin);
	}
	if (ret == 0) {
		good = check(e, c, addrs, nr);
		ret = kvshm_service_pool_release(p, blocks, nr);
	}
	free(blocks);
	free(addrs);
	if (ret < 0)
		return fail("hold", ret);
	printf("%u of %u blocks in the pool, %u right\n", nr, c->nr, good);
	return good != nr;
}

int main(int argc, char **argv)
{
	struct kvshm_service *s = NULL;
	struct kvshm_service_pool *p;
	struct engine e = { 0 };
	struct chain c = { 0 };
	struct kvshm *k;
	uint32_t ns;
	int ret;

	if (argc != 2) {
		fprintf(stderr, "usage: pool FILE\n");
		return 2;
	}
	if (engine_open(&e) || chain_read(&c, argv[1]) || chain_open(&k, &ns))
		return 1;
	ret = kvshm_service_open(k, NULL, &s);
	if (ret == 0)
		ret = kvshm_service_pool_open(s, NULL, &p);
	ret = ret < 0 ? fail("kvshm_service_pool_open", ret) : run(k, p, &e, ns, &c);
	/* closes the pool, too */
	kvshm_service_close(s);
	kvshm_close(k);
	chain_free(&c);
	return ret;
}
