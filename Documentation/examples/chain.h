/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chain.h - a file as a chain of blocks, for the examples
 *
 * The file stands for a prompt and for its keys and values at once: block i holds bytes, and its key
 * covers bytes 0 to the end of block i, as an engine's key covers tokens.  An engine uses a
 * cryptographic digest; the sum here serves to keep the example short.
 */
#ifndef EXAMPLES_CHAIN_H
#define EXAMPLES_CHAIN_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kvshm/kvshm.h>

#define BLOCK_LEN 65536u

struct chain {
	unsigned nr;
	char *bytes;
	struct kvshm_key *keys;
	const void **src;
	uint32_t *lengths;
};

static int fail(const char *what, int ret)
{
	fprintf(stderr, "%s: %s\n", what, strerror(-ret));
	return 1;
}

/* key(i) = sums of {number of the sum, key(i - 1), bytes of block i}. */
static void chain_key(struct kvshm_key *key, const struct kvshm_key *prev, const char *p, uint32_t len)
{
	struct { uint32_t number, sum; struct kvshm_key prev; } in = { .sum = kvshm_checksum(p, len) };
	uint32_t sum, i;

	if (prev)
		in.prev = *prev;
	for (i = 0; i < KVSHM_KEY_LEN / sizeof(sum); i++) {
		in.number = i;
		sum = kvshm_checksum(&in, sizeof(in));
		memcpy(key->bytes + i * sizeof(sum), &sum, sizeof(sum));
	}
}

static int chain_read(struct chain *c, const char *path)
{
	FILE *f = fopen(path, "rb");
	size_t max = 64u << 20, len;
	unsigned i;

	if (!f) {
		perror(path);
		return 1;
	}
	c->bytes = malloc(max);
	len = c->bytes ? fread(c->bytes, 1, max, f) : 0;
	fclose(f);
	c->nr = (unsigned)((len + BLOCK_LEN - 1) / BLOCK_LEN);
	c->keys = calloc(c->nr + 1, sizeof(*c->keys));
	c->src = calloc(c->nr + 1, sizeof(*c->src));
	c->lengths = calloc(c->nr + 1, sizeof(*c->lengths));
	if (!len || !c->keys || !c->src || !c->lengths) {
		fprintf(stderr, "%s: empty, or no memory\n", path);
		return 1;
	}
	for (i = 0; i < c->nr; i++) {
		c->src[i] = c->bytes + (size_t)i * BLOCK_LEN;
		c->lengths[i] = i + 1 < c->nr ? BLOCK_LEN : (uint32_t)(len - (size_t)i * BLOCK_LEN);
		chain_key(&c->keys[i], i ? &c->keys[i - 1] : NULL, c->src[i], c->lengths[i]);
	}
	return 0;
}

static void chain_free(struct chain *c)
{
	free(c->bytes);
	free(c->keys);
	free(c->src);
	free(c->lengths);
}

/* Open the daemon's instance and the examples' namespace. */
static int chain_open(struct kvshm **ret_k, uint32_t *ret_ns)
{
	struct kvshm_ns_desc desc = {
		.fingerprint = "kvshm examples",
		.layout = "bytes",
		.block_len = BLOCK_LEN,
		.block_tokens = 16,
		.label = "examples",
	};
	int ret = kvshm_open(NULL, ret_k);

	if (ret < 0)
		return fail("kvshm_open", ret);
	ret = kvshm_attach_ns(*ret_k, &desc, ret_ns);
	if (ret < 0) {
		kvshm_close(*ret_k);
		return fail("kvshm_attach_ns", ret);
	}
	return 0;
}

#endif
