/* SPDX-License-Identifier: Apache-2.0 */
#include "utils/kv_lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "utils/http.h"

#define DUE_MAX (64u << 20)		/* bytes that wait for one listener, besides his greeting */

struct listener {
	int fd;
	char *due;			/* [len], of which @sent are gone */
	size_t len, sent, limit;
};

struct kv_lines {
	int fd;
	const char *where;
	struct listener one[KV_LINES_MAX];
	unsigned nr;
};

int kv_lines_open(const char *where, struct kv_lines **ret_l)
{
	struct kv_lines *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->where = where;
	l->fd = http_listen(where);
	if (l->fd < 0) {
		int ret = l->fd;

		free(l);
		return ret;
	}
	*ret_l = l;
	return 0;
}

static void part(struct kv_lines *l, unsigned i)
{
	close(l->one[i].fd);
	free(l->one[i].due);
	l->one[i] = l->one[--l->nr];
}

struct kv_lines *kv_lines_close(struct kv_lines *l)
{
	if (!l)
		return NULL;
	while (l->nr)
		part(l, 0);
	close(l->fd);
	if (*l->where == '/')
		unlink(l->where);
	free(l);
	return NULL;
}

/* Return: false, he has gone. */
static bool flush(struct listener *to)
{
	while (to->sent < to->len) {
		ssize_t n = send(to->fd, to->due + to->sent, to->len - to->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		to->sent += (size_t)n;
	}
	free(to->due);
	to->due = NULL;
	to->len = to->sent = 0;
	return true;
}

/* Return: false, he has gone, takes too little, or there is no memory. */
static bool give(struct listener *to, const char *text, size_t len)
{
	size_t left = to->len - to->sent;
	char *grown;

	if (left + len > to->limit)
		return false;
	if (to->sent)
		memmove(to->due, to->due + to->sent, left);
	grown = realloc(to->due, left + len);
	if (!grown)
		return false;
	memcpy(grown + left, text, len);
	to->due = grown;
	to->len = left + len;
	to->sent = 0;
	return flush(to);
}

static bool has_gone(const struct listener *to)
{
	char said[256];
	ssize_t n = recv(to->fd, said, sizeof(said), MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

static void let_in(struct kv_lines *l, int fd, kv_lines_greet_fn greet, void *arg)
{
	struct listener *to = &l->one[l->nr++];
	size_t len = 0;
	char *text = greet(arg, &len);

	*to = (struct listener){ .fd = fd, .limit = DUE_MAX + len };
	if (text && !give(to, text, len))
		part(l, l->nr - 1);
	free(text);
}

void kv_lines_serve(struct kv_lines *l, kv_lines_greet_fn greet, void *arg)
{
	int fd;

	for (unsigned i = l->nr; i-- > 0;)
		if (has_gone(&l->one[i]) || !flush(&l->one[i]))
			part(l, i);
	while (l->nr < KV_LINES_MAX && (fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
		let_in(l, fd, greet, arg);
}

bool kv_lines_has_listeners(const struct kv_lines *l)
{
	return l->nr;
}

void kv_lines_send(struct kv_lines *l, const char *text, size_t len)
{
	for (unsigned i = l->nr; i-- > 0;)
		if (!give(&l->one[i], text, len))
			part(l, i);
}
