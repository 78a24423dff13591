/* SPDX-License-Identifier: Apache-2.0 */
/* peer_kvshm.c - two namespaces: small blocks for look-ups, blocks of 2 MiB for bytes */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kvshm/kvshm.h>

#include "tests/bench/peers/peer.h"

#define WAIT_US 5000000u
#define SMALL 4096u
#define LARGE (2u << 20)

struct store {
	struct kvshm *k;
	uint32_t small, large;
};

static int attach(struct kvshm *k, const char *name, uint32_t len, uint32_t *ret_ns)
{
	struct kvshm_ns_desc d = { .block_len = len, .block_tokens = 16 };

	memcpy(d.fingerprint, name, strlen(name));
	return kvshm_attach_ns(k, &d, ret_ns);
}

static void *open_store(const char *where)
{
	struct kvshm_options o = { .sz = sizeof(o), .socket = where, .label = "peers" };
	struct store *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return NULL;
	ret = kvshm_open(&o, &s->k);
	if (!ret)
		ret = attach(s->k, "peers small", SMALL, &s->small);
	if (!ret)
		ret = attach(s->k, "peers large", LARGE, &s->large);
	if (ret < 0) {
		fprintf(stderr, "kvshm: %s\n", strerror(-ret));
		free(s);
		return NULL;
	}
	return s;
}

static int lookup(void *p, const struct kvshm_key *keys, unsigned nr)
{
	struct store *s = p;
	struct kvshm_pin pin;
	int ret = kvshm_acquire(s->k, s->small, keys, nr, &pin);

	if (ret > 0)
		kvshm_release(s->k, &pin);
	return ret;
}

static int get(void *p, const struct kvshm_key *key, void *dst, size_t len)
{
	struct store *s = p;
	struct kvshm_block b;
	struct kvshm_pin pin;
	int ret = -1;

	if (kvshm_acquire(s->k, s->large, key, 1, &pin) != 1)
		return -1;
	if (kvshm_resolve(s->k, &pin, key, &b) == 1 && b.length == len) {
		memcpy(dst, b.ptr, len);
		ret = 0;
	}
	kvshm_release(s->k, &pin);
	return ret;
}

static int put(void *p, const struct kvshm_key *parent, const struct kvshm_key *key,
	       const void *src, size_t len)
{
	struct store *s = p;
	uint32_t length = (uint32_t)len, ns = len > SMALL ? s->large : s->small;
	struct kvshm_completion done;
	int ret = kvshm_put(s->k, ns, parent, key, &src, &length, 1, 0, 0, WAIT_US);

	if (ret < 0 || kvshm_poll(s->k, &done, 1, WAIT_US) != 1 || done.res != 1) {
		fprintf(stderr, "kvshm: a put was not published: %s\n",
			strerror(ret < 0 ? -ret : 0));
		return -1;
	}
	return 0;
}

static void close_store(void *p)
{
	struct store *s = p;

	kvshm_close(s->k);
	free(s);
}

const struct peer peer_kvshm = { "kvshm", open_store, lookup, get, put, NULL, close_store };
