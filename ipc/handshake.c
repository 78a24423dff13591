/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake.c - what a well-formed message looks like; the client's half of the conversation
 */
#include "ipc/handshake.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "kvshm/base/compiler.h"

#define ERRNO_MAX 4095

/* A text field of fixed size that ends inside itself. */
static bool has_nul(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool words_are_zero(const uint64_t *w, size_t nr)
{
	uint64_t all = 0;
	size_t i;

	for (i = 0; i < nr; i++)
		all |= w[i];
	return !all;
}

static bool hello_is_valid(const union handshake_msg *m)
{
	const struct kvshm_msg_hello *h = &m->hello;

	return !(h->flags & ~KVSHM_HELLO_F_KNOWN) && has_nul(h->label, sizeof(h->label)) &&
	       words_are_zero(h->resv, ARRAY_SIZE(h->resv));
}

static bool welcome_is_valid(const union handshake_msg *m)
{
	const struct kvshm_msg_welcome *w = &m->welcome;

	return !(w->flags & ~KVSHM_WELCOME_F_TRUSTED) && words_are_zero(w->resv, ARRAY_SIZE(w->resv));
}

static bool refused_is_valid(const union handshake_msg *m)
{
	const struct kvshm_msg_refused *r = &m->refused;

	return r->error < 0 && r->error >= -ERRNO_MAX && has_nul(r->text, sizeof(r->text));
}

/* Nothing but the type. */
static bool bare_is_valid(const union handshake_msg *m)
{
	return m->plain.arg == 0 && m->plain.nr == 0;
}

static bool extents_is_valid(const union handshake_msg *m)
{
	return m->plain.nr == 0;
}

static bool fds_is_valid(const union handshake_msg *m)
{
	return m->plain.nr <= KVSHM_MSG_MAX_FDS;
}

static bool staging_fd_is_valid(const union handshake_msg *m)
{
	return m->plain.arg == 0 && m->plain.nr == 1;
}

static const struct {
	uint16_t len;
	bool (*is_valid)(const union handshake_msg *m);
} msg_defs[] = {
	[KVSHM_MSG_HELLO] = { sizeof(struct kvshm_msg_hello), hello_is_valid },
	[KVSHM_MSG_WELCOME] = { sizeof(struct kvshm_msg_welcome), welcome_is_valid },
	[KVSHM_MSG_MAPPED] = { sizeof(struct kvshm_msg_plain), bare_is_valid },
	[KVSHM_MSG_READY] = { sizeof(struct kvshm_msg_plain), bare_is_valid },
	[KVSHM_MSG_EXTENTS] = { sizeof(struct kvshm_msg_plain), extents_is_valid },
	[KVSHM_MSG_EXTENT_FDS] = { sizeof(struct kvshm_msg_plain), fds_is_valid },
	[KVSHM_MSG_STAGING] = { sizeof(struct kvshm_msg_plain), bare_is_valid },
	[KVSHM_MSG_STAGING_FD] = { sizeof(struct kvshm_msg_plain), staging_fd_is_valid },
	[KVSHM_MSG_WAKE] = { sizeof(struct kvshm_msg_plain), bare_is_valid },
	[KVSHM_MSG_REFUSED] = { sizeof(struct kvshm_msg_refused), refused_is_valid },
};

int handshake_check(const union handshake_msg *m, size_t len)
{
	unsigned type;

	if (len < sizeof(m->hdr) || m->hdr.magic != KVSHM_MSG_MAGIC || m->hdr.len != len)
		return -EBADMSG;
	type = m->hdr.type;
	if (type >= ARRAY_SIZE(msg_defs) || !msg_defs[type].is_valid || msg_defs[type].len != len)
		return -EBADMSG;
	return msg_defs[type].is_valid(m) ? (int)type : -EBADMSG;
}

static void header_fill(struct kvshm_msg_hdr *h, enum kvshm_msg_type type)
{
	h->magic = KVSHM_MSG_MAGIC;
	h->type = (uint16_t)type;
	h->len = msg_defs[type].len;
}

void handshake_plain(struct kvshm_msg_plain *m, enum kvshm_msg_type type, uint32_t arg, uint32_t nr)
{
	header_fill(&m->hdr, type);
	m->arg = arg;
	m->nr = nr;
}

void handshake_refused(struct kvshm_msg_refused *m, int error, const char *text)
{
	memset(m, 0, sizeof(*m));
	header_fill(&m->hdr, KVSHM_MSG_REFUSED);
	m->error = error;
	m->abi = KVSHM_ABI;
	memcpy(m->text, text, strnlen(text, sizeof(m->text) - 1));
}

static void close_all(const int *fds, unsigned nr)
{
	while (nr > 0)
		close(fds[--nr]);
}

/*
 * Wait for one message of @type with its descriptors.  WAKEs in between are skipped, a refusal is
 * the daemon's error.
 */
static int expect(int sock, enum kvshm_msg_type type, uint64_t deadline_ns, union handshake_msg *ret_m,
		  int *fds, unsigned max_fds, unsigned *ret_nr)
{
	unsigned nr = 0;
	int ret, got;

	for (;;) {
		ret = sock_wait(sock, deadline_ns);
		if (ret < 0)
			return ret;
		if (ret == 0)
			return -ETIMEDOUT;
		ret = sock_recv(sock, ret_m, fds, max_fds, &nr);
		if (ret == -EAGAIN)
			continue;
		if (ret <= 0)
			return ret ? ret : -ECONNRESET;
		got = handshake_check(ret_m, (size_t)ret);
		if (got == (int)type)
			break;
		close_all(fds, nr);
		if (got == KVSHM_MSG_REFUSED && nr == 0)
			return ret_m->refused.error;
		if (got != KVSHM_MSG_WAKE || nr > 0)
			return -EBADMSG;
	}
	*ret_nr = nr;
	return 0;
}

/* A daemon that refuses without reading has hung up, but its answer can still be read. */
static int ask(int sock, const void *msg, size_t len)
{
	int ret = sock_send(sock, msg, len, NULL, 0);

	if (ret == -EPIPE)
		return 0;
	return ret == -EAGAIN ? -ETIMEDOUT : ret;
}

static int ask_plain(int sock, enum kvshm_msg_type type, uint32_t arg)
{
	struct kvshm_msg_plain m;

	handshake_plain(&m, type, arg, 0);
	return ask(sock, &m, sizeof(m));
}

int handshake_hello(int sock, const struct kvshm_msg_hello *hello, uint64_t deadline_ns,
		    struct kvshm_msg_welcome *ret_welcome, int *fds)
{
	struct kvshm_msg_hello h = *hello;
	int got[HANDSHAKE_NR_FDS];
	union handshake_msg m;
	unsigned nr;
	int ret;

	header_fill(&h.hdr, KVSHM_MSG_HELLO);
	ret = ask(sock, &h, sizeof(h));
	if (ret < 0)
		return ret;
	ret = expect(sock, KVSHM_MSG_WELCOME, deadline_ns, &m, got, HANDSHAKE_NR_FDS, &nr);
	if (ret < 0)
		return ret;
	if (nr != HANDSHAKE_NR_FDS) {
		close_all(got, nr);
		return -EBADMSG;
	}
	memcpy(fds, got, sizeof(got));
	*ret_welcome = m.welcome;
	return 0;
}

int handshake_mapped(int sock, uint64_t deadline_ns)
{
	union handshake_msg m;
	unsigned nr;
	int ret = ask_plain(sock, KVSHM_MSG_MAPPED, 0);

	if (ret < 0)
		return ret;
	return expect(sock, KVSHM_MSG_READY, deadline_ns, &m, NULL, 0, &nr);
}

int handshake_extents(int sock, uint32_t first, uint64_t deadline_ns, int *fds)
{
	union handshake_msg m;
	unsigned nr;
	int ret = ask_plain(sock, KVSHM_MSG_EXTENTS, first);

	if (ret < 0)
		return ret;
	ret = expect(sock, KVSHM_MSG_EXTENT_FDS, deadline_ns, &m, fds, KVSHM_MSG_MAX_FDS, &nr);
	if (ret < 0)
		return ret;
	if (m.plain.arg != first || m.plain.nr != nr) {
		close_all(fds, nr);
		return -EBADMSG;
	}
	return (int)nr;
}

int handshake_staging(int sock, uint64_t deadline_ns)
{
	union handshake_msg m;
	unsigned nr;
	int fd, ret = ask_plain(sock, KVSHM_MSG_STAGING, 0);

	if (ret < 0)
		return ret;
	ret = expect(sock, KVSHM_MSG_STAGING_FD, deadline_ns, &m, &fd, 1, &nr);
	if (ret < 0)
		return ret;
	return nr == 1 ? fd : -EBADMSG;
}
