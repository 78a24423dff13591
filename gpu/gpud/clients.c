/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clients.c - who registered which buffers
 *
 * A buffer ends in two steps: no new copies from the DETACH on, closed and DETACHED when those under way have
 * landed.  A client that dies goes the same way by itself: its memory lives as long as it is imported.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gpu/gpud/gpud.h"
#include "ipc/sock.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/log.h"

#define MESSAGES_A_TURN 16u		/* of one client, before the others and the copies have theirs */
#define HELLO_NS 2000000000ull

_Static_assert(sizeof(struct gpumsg_piece) == sizeof(struct gpu_piece), "a piece travels as it is");

void clients_init(struct gpud *g)
{
	for (unsigned i = 0; i < GPUD_CLIENTS; i++)
		g->client[i].fd = -1;
	g->next_peer = 1;
}

struct gpud_buffer *clients_find(struct gpud *g, uint64_t token)
{
	for (unsigned i = 0; i < GPUD_CLIENTS; i++)
		for (struct gpud_buffer *b = g->client[i].buffers; b; b = b->next)
			if (b->token == token && !b->is_detaching)
				return b;
	return NULL;
}

static struct gpud_buffer *buffer_of(struct gpud_client *c, uint64_t addr_there)
{
	struct gpud_buffer *b = c->buffers;

	while (b && b->addr_there != addr_there)
		b = b->next;
	return b;
}

/* ---- the end of buffers and clients ---------------------------------------------------------------- */

void clients_say(struct gpud *g, struct gpud_client *c, size_t len, const int *fds, unsigned nr_fds)
{
	if (!c->is_gone && sock_send_long(c->fd, &g->msg, len, fds, nr_fds) < 0)
		shutdown(c->fd, SHUT_RDWR);
}

static void say_buffer(struct gpud *g, struct gpud_client *c, enum gpumsg_type type, const struct gpumsg_buffer *what)
{
	g->msg.buffer = *what;
	clients_say(g, c, gpumsg_begin(&g->msg, type, 0), NULL, 0);
}

static void buffer_close(struct gpud *g, struct gpud_buffer *b)
{
	struct gpud_client *c = b->client;
	struct gpud_buffer **at = &c->buffers;

	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	c->nr_buffers--;
	gpu_import_close(b->import);
	say_buffer(g, c, GPUMSG_DETACHED, &(struct gpumsg_buffer){ .addr = b->addr_there });
	free(b);
}

static void client_end(struct gpud *g, struct gpud_client *c)
{
	while (c->buffers)
		buffer_close(g, c->buffers);
	gpu_stream_close(&c->stream);
	gpu_stream_close(&c->out);
	if (c->has_said_hello)
		log_info("client %d has left", (int)c->pid);
	*c = (struct gpud_client){ .fd = -1 };
}

void clients_landed(struct gpud *g, struct gpud_client *c)
{
	struct gpud_buffer *b = c->buffers, *next;

	for (; b; b = next) {
		next = b->next;
		if (b->is_detaching && !b->nr_jobs)
			buffer_close(g, b);
	}
	if (c->is_gone && !c->nr_jobs)
		client_end(g, c);
}

static void client_gone(struct gpud *g, struct gpud_client *c)
{
	epoll_ctl(g->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
	close(c->fd);
	c->fd = -1;
	c->is_gone = true;
	for (struct gpud_buffer *b = c->buffers; b; b = b->next)
		b->is_detaching = true;
	pool_forget(g, c);
	if (c->nr_jobs)
		log_info("client %d is gone, %u copies of it land first", (int)c->pid, c->nr_jobs);
	clients_landed(g, c);
}

/* ---- messages -------------------------------------------------------------------------------------- */

static int say_welcome(struct gpud *g, struct gpud_client *c)
{
	size_t len = gpumsg_begin(&g->msg, GPUMSG_WELCOME, 0);
	struct gpumsg_welcome *w = &g->msg.welcome;

	w->abi = KVSHM_ABI;
	w->pid = getpid();
	w->life = g->life;
	memcpy(w->uuid, &g->ctx.device.uuid, sizeof(w->uuid));
	return sock_send(c->fd, w, len, NULL, 0);
}

static int on_hello(struct gpud *g, struct gpud_client *c)
{
	int ret;

	if (c->has_said_hello)
		return -EBADMSG;
	c->pid = g->msg.hello.pid;
	ret = gpu_stream_open(&g->ctx, true, &c->stream);
	if (!ret)
		ret = gpu_stream_open(&g->ctx, false, &c->out);
	if (ret < 0)
		return ret;
	c->has_said_hello = true;
	return say_welcome(g, c);
}

/* Tokens are guessed by nobody and never 0. */
static uint64_t new_token(void)
{
	uint64_t t = 0;

	while (!t)
		if (getrandom(&t, sizeof(t), 0) != (ssize_t)sizeof(t))
			t = 0;
	return t;
}

static int buffer_open(struct gpud *g, struct gpud_client *c, const int *fds, unsigned nr_fds, struct gpud_buffer **ret_b)
{
	const struct gpumsg_register *m = &g->msg.reg;
	struct gpu_piece piece[GPUMSG_PIECES_MAX];
	int fd[GPUMSG_PIECES_MAX];
	struct gpud_buffer *b;
	unsigned used = 0;
	int ret;

	memcpy(piece, m->piece, m->nr * sizeof(*piece));
	for (uint32_t i = 0; i < m->nr; i++)
		fd[i] = piece[i].kind == GPU_MEM_VMM && used < nr_fds ? fds[used++] : -1;
	if (used != nr_fds)
		return -EBADMSG;
	if (c->nr_buffers == GPUD_BUFFERS_A_CLIENT)
		return -ENOSPC;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	ret = gpu_import_open(g->imports, c->peer, c->pid, m->addr, piece, fd, m->nr, &b->import);
	if (ret < 0) {
		free(b);
		return ret;
	}
	b->client = c;
	b->addr_there = m->addr;
	b->token = new_token();
	b->next = c->buffers;
	c->buffers = b;
	c->nr_buffers++;
	*ret_b = b;
	return 0;
}

static const char *why_refused(int error)
{
	switch (error) {
	case -EADDRINUSE:
		return "both processes see themselves as the same PID, which the driver cannot tell apart: share a PID "
		       "namespace, or give one of them another PID";
	case -EEXIST:
		return "it has this buffer already";
	case -EOPNOTSUPP:
		return "the driver cannot open such memory here";
	case -ENODEV:
		return "it lies on another device";
	default:
		return strerror(-error);
	}
}

static int on_register(struct gpud *g, struct gpud_client *c, const int *fds, unsigned nr_fds)
{
	struct gpumsg_buffer answer = { .addr = g->msg.reg.addr };
	struct gpud_buffer *b = NULL;
	int ret;

	if (!c->has_said_hello)
		return -EBADMSG;
	ret = buffer_open(g, c, fds, nr_fds, &b);
	if (ret == -EBADMSG)
		return ret;
	if (ret < 0) {
		log_limited(LOG_LEVEL_WARN, "buffer of client %d refused: %s", (int)c->pid, why_refused(ret));
		answer.error = ret;
	} else {
		answer.token = b->token;
		answer.len = gpu_import_len(b->import);
	}
	say_buffer(g, c, GPUMSG_BUFFER, &answer);
	if (ret == -ENOTRECOVERABLE)
		gpud_end(g, 70);
	return 0;
}

static int on_detach(struct gpud *g, struct gpud_client *c)
{
	struct gpud_buffer *b = buffer_of(c, g->msg.buffer.addr);

	if (!b) {
		say_buffer(g, c, GPUMSG_DETACHED, &(struct gpumsg_buffer){ .addr = g->msg.buffer.addr, .error = -ENOENT });
		return 0;
	}
	b->is_detaching = true;
	clients_landed(g, c);
	return 0;
}

static int on_message(struct gpud *g, struct gpud_client *c, size_t len, const int *fds, unsigned nr_fds)
{
	int type = gpumsg_check(&g->msg, len);

	if (nr_fds && type != GPUMSG_REGISTER)
		return -EBADMSG;
	switch (type) {
	case GPUMSG_HELLO:
		return on_hello(g, c);
	case GPUMSG_REGISTER:
		return on_register(g, c, fds, nr_fds);
	case GPUMSG_DETACH:
		return on_detach(g, c);
	case GPUMSG_POOL_OPEN:
	case GPUMSG_HOLD:
	case GPUMSG_RELEASE:
	case GPUMSG_POOL_CLOSE:
		return c->has_said_hello ? pool_serve(g, c, type) : -EBADMSG;
	default:
		return type < 0 ? type : -EBADMSG;
	}
}

void clients_serve(struct gpud *g, struct gpud_client *c)
{
	int fds[KVSHM_MSG_MAX_FDS], len, ret = 0;
	unsigned nr = 0;

	for (unsigned i = 0; i < MESSAGES_A_TURN && c->fd >= 0 && ret >= 0; i++) {
		nr = 0;
		len = sock_recv_long(c->fd, &g->msg, sizeof(g->msg), fds, KVSHM_MSG_MAX_FDS, &nr);
		if (len == -EAGAIN)
			return;
		ret = len <= 0 ? -EPIPE : on_message(g, c, (size_t)len, fds, nr);
		while (nr)
			close(fds[--nr]);
	}
	if (c->fd < 0 || ret >= 0)
		return;
	if (ret != -EPIPE)
		log_limited(LOG_LEVEL_WARN, "client %d is hung up on: %s", (int)c->pid, strerror(-ret));
	client_gone(g, c);
}

/* ---- connections ----------------------------------------------------------------------------------- */

static struct gpud_client *free_client(struct gpud *g)
{
	for (unsigned i = 0; i < GPUD_CLIENTS; i++)
		if (g->client[i].fd < 0 && !g->client[i].is_gone)
			return &g->client[i];
	return NULL;
}

void clients_accept(struct gpud *g)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP };
	struct gpud_client *c;
	int fd;

	while ((fd = accept4(g->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		c = free_client(g);
		ev.data.ptr = c;
		if (!c || epoll_ctl(g->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
			close(fd);
			continue;
		}
		*c = (struct gpud_client){ .fd = fd, .peer = g->next_peer++, .since_ns = clock_ns() };
	}
}

void clients_tick(struct gpud *g)
{
	uint64_t now = clock_ns();

	for (unsigned i = 0; i < GPUD_CLIENTS; i++)
		if (g->client[i].fd >= 0 && !g->client[i].has_said_hello && now - g->client[i].since_ns > HELLO_NS)
			client_gone(g, &g->client[i]);
}
