/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_memcached.c - the meta and text protocols over a Unix socket
 *
 * A look-up is a pipeline of mg without flags, an answer of two letters a key: nothing is copied that is not
 * asked for.  Bytes are read straight into the caller's memory.  Source: memcached's protocol.txt.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/bench/peers/peer.h"

#define KEYS_MAX 4096u
#define LINE_MAX_LEN 512

struct store {
	int fd;
	char in[1 << 16]; /* what was read and not yet looked at */
	size_t at, end;
	char out[KEYS_MAX * (KEY_HEX + 8)];
};

static void *open_store(const char *where)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", where);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		fprintf(stderr, "memcached: %s\n", strerror(errno));
		close(s->fd);
		free(s);
		return NULL;
	}
	return s;
}

static int send_all(struct store *s, struct iovec *v, int nr)
{
	while (nr) {
		ssize_t n = writev(s->fd, v, nr);

		if (n < 0)
			return -1;
		for (; nr && (size_t)n >= v->iov_len; v++, nr--)
			n -= (ssize_t)v->iov_len;
		if (nr) {
			v->iov_base = (char *)v->iov_base + n;
			v->iov_len -= (size_t)n;
		}
	}
	return 0;
}

static int more(struct store *s)
{
	ssize_t n;

	if (s->at == s->end)
		s->at = s->end = 0;
	n = read(s->fd, s->in + s->end, sizeof(s->in) - s->end);
	if (n <= 0)
		return -1;
	s->end += (size_t)n;
	return 0;
}

/* The next line without its end, good until the next read.  Return: NULL: the connection ended. */
static char *line(struct store *s)
{
	char *nl, *from;

	for (;;) {
		from = s->in + s->at;
		nl = memchr(from, '\n', s->end - s->at);
		if (nl)
			break;
		if (s->at && sizeof(s->in) - s->end < LINE_MAX_LEN) {
			memmove(s->in, from, s->end - s->at);
			s->end -= s->at;
			s->at = 0;
		}
		if (more(s) < 0)
			return NULL;
	}
	s->at += (size_t)(nl - from) + 1;
	nl[nl > from && nl[-1] == '\r' ? -1 : 0] = '\0';
	return from;
}

static int lookup(void *p, const struct kvshm_key *keys, unsigned nr)
{
	struct store *s = p;
	size_t len = 0;
	unsigned i, found = 0;
	char *l;

	for (i = 0; i < nr; i++) {
		memcpy(s->out + len, "mg ", 3);
		key_text(&keys[i], s->out + len + 3);
		len += 3 + KEY_HEX - 1;
		memcpy(s->out + len, "\r\n", 2);
		len += 2;
	}
	memcpy(s->out + len, "mn\r\n", 4);
	if (send_all(s, &(struct iovec){ s->out, len + 4 }, 1) < 0)
		return -1;
	for (i = 0; (l = line(s)) && strcmp(l, "MN"); i++)
		found += found == i && !strcmp(l, "HD");
	return l && i == nr ? (int)found : -1;
}

static int read_value(struct store *s, char *dst, size_t len)
{
	size_t have = s->end - s->at < len ? s->end - s->at : len;
	ssize_t n;

	memcpy(dst, s->in + s->at, have);
	s->at += have;
	for (; have < len; have += (size_t)n) {
		n = read(s->fd, dst + have, len - have);
		if (n <= 0)
			return -1;
	}
	return 0;
}

static int get(void *p, const struct kvshm_key *key, void *dst, size_t len)
{
	struct store *s = p;
	size_t n = (size_t)snprintf(s->out, sizeof(s->out), "get %s\r\n",
				    key_text(key, (char[KEY_HEX]){ 0 }));
	size_t got = 0;
	char *l;

	if (send_all(s, &(struct iovec){ s->out, n }, 1) < 0)
		return -1;
	l = line(s);
	if (!l || sscanf(l, "VALUE %*s %*u %zu", &got) != 1 || got != len)
		return -1;
	if (read_value(s, dst, len) < 0 || !line(s))
		return -1;
	l = line(s);
	return l && !strcmp(l, "END") ? 0 : -1;
}

static int put(void *p, const struct kvshm_key *parent, const struct kvshm_key *key,
	       const void *src, size_t len)
{
	struct store *s = p;
	int n = snprintf(s->out, sizeof(s->out), "set %s 0 0 %zu\r\n",
			 key_text(key, (char[KEY_HEX]){ 0 }), len);
	struct iovec v[] = { { s->out, (size_t)n },
			     { (void *)(uintptr_t)src, len },
			     { (void *)(uintptr_t) "\r\n", 2 } };
	char *l;

	if (send_all(s, v, 3) < 0)
		return -1;
	l = line(s);
	if (l && !strcmp(l, "STORED"))
		return 0;
	fprintf(stderr, "memcached: a set is answered by %s\n", l ? l : "nothing");
	return -1;
}

static void close_store(void *p)
{
	struct store *s = p;

	close(s->fd);
	free(s);
}

const struct peer peer_memcached = { "memcached", open_store, lookup, get, put, NULL, close_store };
