/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer.h - what is asked of each store that is compared
 *
 * Each answers in the way that is fastest for it: of several ways that its users know, the best one. All
 * leave the bytes in the caller's memory, as kvshm does here, though an engine of kvshm could read
 * them where they lie.
 */
#ifndef TESTS_BENCH_PEERS_PEER_H
#define TESTS_BENCH_PEERS_PEER_H

#include <stddef.h>
#include <stdint.h>

#include <kvshm/key.h>

/**
 * struct peer - a store under test; functions return -1 and say why on standard error
 * @open: connect to @where, a socket or a folder
 * @lookup: number of leading keys of a chain that are there
 * @get: the whole value of @len bytes into @dst
 * @put: a value under a key that is new; @parent: the key before it in its chain, or NULL
 * @trim: keep memory bounded where the store does not do it itself; not timed; may be NULL
 */
struct peer {
	const char *name;
	void *(*open)(const char *where);
	int (*lookup)(void *p, const struct kvshm_key *keys, unsigned nr);
	int (*get)(void *p, const struct kvshm_key *key, void *dst, size_t len);
	int (*put)(void *p, const struct kvshm_key *parent, const struct kvshm_key *key,
		   const void *src, size_t len);
	void (*trim)(void *p, const struct kvshm_key *key);
	void (*close)(void *p);
};

extern const struct peer peer_kvshm, peer_redis, peer_memcached, peer_files;

#define KEY_HEX (2 * KVSHM_KEY_LEN + 1)

/* A key as text, for stores that take no bytes. */
static inline const char *key_text(const struct kvshm_key *key, char *buf)
{
	static const char digits[] = "0123456789abcdef";
	unsigned i;

	for (i = 0; i < KVSHM_KEY_LEN; i++) {
		buf[2 * i] = digits[key->bytes[i] >> 4];
		buf[2 * i + 1] = digits[key->bytes[i] & 15];
	}
	buf[2 * KVSHM_KEY_LEN] = '\0';
	return buf;
}

#endif
