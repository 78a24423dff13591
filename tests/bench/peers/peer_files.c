/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_files.c - a file a key on a tmpfs
 *
 * A look-up is a binary search, as chains allow: a system call a step.  A value appears whole or not at all, by
 * rename.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/peers/peer.h"

struct store {
	int dir;
};

static void *open_store(const char *where)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->dir = open(where, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->dir < 0) {
		fprintf(stderr, "files: %s: %s\n", where, strerror(errno));
		free(s);
		return NULL;
	}
	return s;
}

static int lookup(void *p, const struct kvshm_key *keys, unsigned nr)
{
	struct store *s = p;
	unsigned lo = 0, hi = nr, mid;
	char name[KEY_HEX];

	while (lo < hi) {
		mid = (lo + hi + 1) / 2;
		if (faccessat(s->dir, key_text(&keys[mid - 1], name), F_OK, 0) == 0)
			lo = mid;
		else
			hi = mid - 1;
	}
	return (int)lo;
}

static int get(void *p, const struct kvshm_key *key, void *dst, size_t len)
{
	struct store *s = p;
	int fd = openat(s->dir, key_text(key, (char[KEY_HEX]){ 0 }), O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	ssize_t n = 1;

	if (fd < 0)
		return -1;
	for (; have < len && n > 0; have += n > 0 ? (size_t)n : 0)
		n = read(fd, (char *)dst + have, len - have);
	close(fd);
	return have == len ? 0 : -1;
}

static int put(void *p, const struct kvshm_key *parent, const struct kvshm_key *key,
	       const void *src, size_t len)
{
	struct store *s = p;
	int fd = openat(s->dir, ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = write(fd, src, len);
	close(fd);
	if (n != (ssize_t)len ||
	    renameat(s->dir, ".new", s->dir, key_text(key, (char[KEY_HEX]){ 0 })) < 0) {
		fprintf(stderr, "files: %s\n", strerror(errno));
		return -1;
	}
	return 0;
}

static void trim(void *p, const struct kvshm_key *key)
{
	struct store *s = p;

	unlinkat(s->dir, key_text(key, (char[KEY_HEX]){ 0 }), 0);
}

static void close_store(void *p)
{
	struct store *s = p;

	close(s->dir);
	free(s);
}

const struct peer peer_files = { "files", open_store, lookup, get, put, trim, close_store };
