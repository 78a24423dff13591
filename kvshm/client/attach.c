/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach.c - HELLO to READY as a small state machine that never blocks
 *
 * kvshm_open() drives it with a deadline; after a daemon's death acquire and the put side push it on
 * one step a call, and go on hitting through the old maps meanwhile.  A welcome that names the
 * content that is mapped already (warm restart) gives a new session only; else the directory is
 * mapped anew and extents are asked for before the attachment is taken into use.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ipc/sock.h"
#include "kvshm/base/clock.h"
#include "kvshm/client/client.h"

/* Waits only for a full backlog, else a connect is answered at once. */
#define RETRY_CONNECT_MS 1

static int hello_send(struct kvshm *k, int sock)
{
	struct kvshm_msg_hello m = {
		.hdr = { .magic = KVSHM_MSG_MAGIC, .type = KVSHM_MSG_HELLO, .len = sizeof(m) },
		.abi = KVSHM_ABI,
		.flags = k->hello_flags,
	};
	int ret;

	if (k->cur) {
		m.old_slot = k->cur->slot;
		m.instance = k->cur->content->dir.instance;
	}
	memcpy(m.label, k->label, sizeof(m.label));
	k->messages++;
	ret = sock_send(sock, &m, sizeof(m), NULL, 0);
	/* A daemon that refuses without reading has hung up, but its answer can be read. */
	return ret == -EPIPE || ret == -ECONNRESET ? 0 : ret;
}

static int plain_send(struct kvshm *k, enum kvshm_msg_type type, uint32_t arg)
{
	struct kvshm_msg_plain m;

	handshake_plain(&m, type, arg, 0);
	k->messages++;
	return sock_send(k->attempt.a->sock, &m, sizeof(m), NULL, 0);
}

/* Room for what WELCOME brings; the kernel would cut it off without saying why. */
static int fds_are_free(int sock)
{
	int fd[HANDSHAKE_NR_FDS], i, ret = 0;

	for (i = 0; i < HANDSHAKE_NR_FDS && ret == 0; i++) {
		fd[i] = fcntl(sock, F_DUPFD_CLOEXEC, 0);
		if (fd[i] < 0)
			ret = -errno;
	}
	while (i-- > 0)
		if (fd[i] >= 0)
			close(fd[i]);
	return ret;
}

int attach_begin(struct kvshm *k, unsigned connect_ms, uint64_t deadline_ns)
{
	struct attachment *a = calloc(1, sizeof(*a));
	int ret;

	if (!a)
		return -ENOMEM;
	a->pin_fd = a->doorbell = a->near = -1;
	a->sock = sock_connect(k->path, connect_ms);
	if (a->sock < 0) {
		ret = a->sock;
		goto err_free;
	}
	ret = fds_are_free(a->sock);
	if (ret == 0)
		ret = hello_send(k, a->sock);
	if (ret < 0)
		goto err_sock;
	k->attempt.a = a;
	k->attempt.phase = ATTEMPT_WELCOME;
	k->attempt.deadline_ns = deadline_ns;
	return 0;
err_sock:
	close(a->sock);
err_free:
	free(a);
	return ret;
}

void attach_abort(struct kvshm *k)
{
	k->attempt.a = attachment_free(k->attempt.a, true);
	k->attempt.phase = ATTEMPT_NONE;
}

static int content_get(struct kvshm *k, struct attachment *a, uint64_t instance, int fd)
{
	struct content *c = k->cur ? k->cur->content : NULL;
	int ret;

	if (c && c->dir.instance == instance && c->arena.writable == a->is_trusted) {
		c->refs++;
		a->content = c;
		return 0;
	}
	ret = content_open(fd, a->is_trusted, k->next_serial, &a->content);
	if (ret < 0)
		return ret;
	if (++k->next_serial == 0)
		k->next_serial = 1;
	return a->content->dir.instance == instance ? 0 : -EBADMSG;
}

static int segment_take(const struct kvshm *k, struct attachment *a, int fd)
{
	int ret = segment_map(fd, &a->seg);

	if (ret < 0)
		return ret;
	madvise(a->seg.hdr, a->seg.len, MADV_DONTFORK);
	if (a->seg.cq_entries < CLIENT_OPS)
		return -EBADMSG;
	/* Carried over before MAPPED: what the daemon finds there first was counted by its forerunner. */
	client_counters_copy(k, a->seg.hdr->counter);
	qp_end_init(&a->sq, &a->seg.hdr->sq, a->seg.sq, a->seg.sq_entries);
	qp_end_init(&a->cq, &a->seg.hdr->cq, a->seg.cq, a->seg.cq_entries);
	qp_end_init(&a->touch, &a->seg.hdr->touch, a->seg.touch, a->seg.touch_entries);
	return 0;
}

/* Consumes the descriptors. */
static int welcome_take(struct kvshm *k, const struct kvshm_msg_welcome *w, int *fds)
{
	struct attachment *a = k->attempt.a;
	int ret;

	a->is_trusted = w->flags & KVSHM_WELCOME_F_TRUSTED;
	a->slot = w->slot;
	a->credit_blocks = w->credit_blocks;
	a->credit_bytes = w->credit_bytes;
	a->pin_fd = fds[HANDSHAKE_FD_PINS];
	a->doorbell = fds[HANDSHAKE_FD_DOORBELL];
	ret = w->abi == KVSHM_ABI ? 0 : -EPROTONOSUPPORT;
	if (!ret)
		ret = content_get(k, a, w->instance, fds[HANDSHAKE_FD_DIRECTORY]);
	if (!ret)
		ret = segment_take(k, a, fds[HANDSHAKE_FD_SEGMENT]);
	close(fds[HANDSHAKE_FD_DIRECTORY]);
	close(fds[HANDSHAKE_FD_SEGMENT]);
	if (!ret)
		ret = pinfile_map(a->pin_fd, w->pin_words, w->pin_quota_bytes, &a->pins);
	if (ret)
		return ret;
	/* Before READY: a start that comes later is seen as a change of the word (SB-1). */
	a->state_seen = directory_state(&a->content->dir);
	if (!directory_is_live(a->state_seen))
		return -EAGAIN;
	k->attempt.phase = ATTEMPT_READY;
	return plain_send(k, KVSHM_MSG_MAPPED, 0);
}

static int attached(struct kvshm *k)
{
	struct attachment *a = k->attempt.a;

	k->attempt.a = NULL;
	k->attempt.phase = ATTEMPT_NONE;
	client_switch(k, a);
	return 1;
}

/* All extents that are served now, 64 a message; later ones are asked for when needed. */
static int extents_next(struct kvshm *k)
{
	const struct content *c = k->attempt.a->content;

	if (!arena_is_behind(&c->arena, &c->dir))
		return attached(k);
	k->attempt.phase = ATTEMPT_EXTENTS;
	return plain_send(k, KVSHM_MSG_EXTENTS, c->arena.nr_extents);
}

static void close_all(const int *fds, unsigned nr)
{
	while (nr)
		close(fds[--nr]);
}

static int extents_take(struct kvshm *k, const struct kvshm_msg_plain *m, int *fds, unsigned nr)
{
	struct content *c = k->attempt.a->content;
	int ret;

	if (m->nr != nr || m->arg != c->arena.nr_extents) {
		close_all(fds, nr);
		return -EBADMSG;
	}
	ret = arena_add_extents(&c->arena, &c->dir, fds, nr);
	if (ret < 0)
		return ret;
	return nr ? extents_next(k) : attached(k);
}

static int refused(const struct kvshm_msg_refused *m)
{
	return m->error < 0 && m->error > -4096 ? m->error : -EPROTO;
}

/* Return: 1 attached, 0 go on, -errno. */
static int message(struct kvshm *k, const union handshake_msg *m, int type, int *fds, unsigned nr)
{
	enum attempt_phase phase = k->attempt.phase;

	if (type == KVSHM_MSG_WELCOME && phase == ATTEMPT_WELCOME && nr == HANDSHAKE_NR_FDS)
		return welcome_take(k, &m->welcome, fds);
	if (type == KVSHM_MSG_EXTENT_FDS && phase == ATTEMPT_EXTENTS) {
		return extents_take(k, &m->plain, fds, nr);
	}
	close_all(fds, nr);
	if (type == KVSHM_MSG_REFUSED)
		return refused(&m->refused);
	if (type == KVSHM_MSG_READY && phase == ATTEMPT_READY && !nr)
		return extents_next(k);
	return type == KVSHM_MSG_WAKE && !nr ? 0 : -EBADMSG;
}

/* One message.  Return: 1 attached, 0 go on, -errno; @ret_is_empty: nothing there. */
static int receive(struct kvshm *k, bool *ret_is_empty)
{
	union handshake_msg m;
	int fds[KVSHM_MSG_MAX_FDS];
	unsigned nr = 0;
	int len, type;

	len = sock_recv(k->attempt.a->sock, &m, fds, KVSHM_MSG_MAX_FDS, &nr);
	*ret_is_empty = len == -EAGAIN;
	if (len <= 0)
		return len == 0 ? -ECONNRESET : len;
	type = handshake_check(&m, (size_t)len);
	if (type < 0) {
		close_all(fds, nr);
		return -EBADMSG;
	}
	return message(k, &m, type, fds, nr);
}

int attach_step(struct kvshm *k)
{
	bool is_empty;
	int ret;

	do {
		ret = receive(k, &is_empty);
	} while (ret == 0);
	if (ret > 0)
		return 1;
	if (is_empty) {
		if (clock_ns() < k->attempt.deadline_ns)
			return 0;
		ret = -ETIMEDOUT;
	}
	attach_abort(k);
	return ret;
}

bool attach_try(struct kvshm *k)
{
	uint64_t now = clock_ns();

	if (k->attempt.phase != ATTEMPT_NONE)
		return attach_step(k) == 1;
	if (now < k->attempt.next_ns)
		return false;
	k->attempt.next_ns = now + CLIENT_RETRY_NS;
	if (attach_begin(k, RETRY_CONNECT_MS, now + (uint64_t)k->timeout_ms * 1000000u) < 0)
		return false;
	return attach_step(k) == 1;
}
