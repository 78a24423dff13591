/* SPDX-License-Identifier: Apache-2.0 */
/* get FILE - write to standard output what the cache has of a file, straight from the arena */
#include "chain.h"

/* The pin keeps all of the prefix in place; its pointers are good until the release. */
static int write_out(struct kvshm *k, const struct kvshm_pin *pin, const struct chain *c)
{
	struct kvshm_block *b = calloc(pin->nr, sizeof(*b));
	int n = b ? kvshm_resolve(k, pin, c->keys, b) : -ENOMEM, i;

	for (i = 0; i < n; i++)
		if (fwrite(b[i].ptr, 1, b[i].length, stdout) != b[i].length)
			break;
	free(b);
	if (n < 0)
		return fail("kvshm_resolve", n);
	return i < n || fflush(stdout);
}

static int get(struct kvshm *k, uint32_t ns, const struct chain *c)
{
	struct kvshm_pin pin = { 0 };
	int ret, n = kvshm_acquire(k, ns, c->keys, c->nr, &pin);

	if (n < 0)
		return fail("kvshm_acquire", n);
	ret = n ? write_out(k, &pin, c) : 0;
	kvshm_release(k, &pin);
	return ret;
}

int main(int argc, char **argv)
{
	struct chain c = { 0 };
	struct kvshm *k;
	uint32_t ns;
	int ret;

	if (argc != 2) {
		fprintf(stderr, "usage: get FILE\n");
		return 2;
	}
	if (chain_open(&k, &ns))
		return 1;
	ret = chain_read(&c, argv[1]) || get(k, ns, &c);
	chain_free(&c);
	kvshm_close(k);
	return ret;
}
