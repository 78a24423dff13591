/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_redis.c - by hiredis over a Unix socket
 *
 * A look-up is one EXISTS of all keys: its count is the prefix length, as long as nothing was evicted from the
 * middle of a chain, which Redis does not promise; nothing is faster.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "tests/bench/peers/peer.h"

#define KEYS_MAX 4096u

struct store {
	redisContext *c;
	const char *argv[KEYS_MAX + 1];
	size_t len[KEYS_MAX + 1];
};

static void *open_store(const char *where)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->c = redisConnectUnix(where);
	if (!s->c || s->c->err) {
		fprintf(stderr, "redis: %s\n", s->c ? s->c->errstr : "out of memory");
		redisFree(s->c);
		free(s);
		return NULL;
	}
	return s;
}

static void arg(struct store *s, unsigned i, const void *data, size_t len)
{
	s->argv[i] = data;
	s->len[i] = len;
}

/* Return: a reply of @type, or NULL. */
static redisReply *call(struct store *s, unsigned argc, int type)
{
	redisReply *r = redisCommandArgv(s->c, (int)argc, s->argv, s->len);

	if (r && r->type == type)
		return r;
	if (!r || r->type == REDIS_REPLY_ERROR)
		fprintf(stderr, "redis: %s\n", r ? r->str : s->c->errstr);
	freeReplyObject(r);
	return NULL;
}

static int lookup(void *p, const struct kvshm_key *keys, unsigned nr)
{
	struct store *s = p;
	redisReply *r;
	unsigned i;
	int ret;

	arg(s, 0, "EXISTS", 6);
	for (i = 0; i < nr; i++)
		arg(s, i + 1, keys[i].bytes, KVSHM_KEY_LEN);
	r = call(s, nr + 1, REDIS_REPLY_INTEGER);
	ret = r ? (int)r->integer : -1;
	freeReplyObject(r);
	return ret;
}

static int get(void *p, const struct kvshm_key *key, void *dst, size_t len)
{
	struct store *s = p;
	redisReply *r;
	int ret = -1;

	arg(s, 0, "GET", 3);
	arg(s, 1, key->bytes, KVSHM_KEY_LEN);
	r = call(s, 2, REDIS_REPLY_STRING);
	if (r && r->len == len) {
		memcpy(dst, r->str, len);
		ret = 0;
	}
	freeReplyObject(r);
	return ret;
}

static int put(void *p, const struct kvshm_key *parent, const struct kvshm_key *key,
	       const void *src, size_t len)
{
	struct store *s = p;
	redisReply *r;

	arg(s, 0, "SET", 3);
	arg(s, 1, key->bytes, KVSHM_KEY_LEN);
	arg(s, 2, src, len);
	r = call(s, 3, REDIS_REPLY_STATUS);
	freeReplyObject(r);
	return r ? 0 : -1;
}

static void close_store(void *p)
{
	struct store *s = p;

	redisFree(s->c);
	free(s);
}

const struct peer peer_redis = { "redis", open_store, lookup, get, put, NULL, close_store };
