/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs.c - copies: from the daemon's link, pinned, onto the client's stream, and back when they have landed
 *
 *   take      check against buffer and block; what is read is pinned in our own pin file, what is written was granted
 *             to us: all or none
 *   submit    on the client's stream; one that fails stops the job, and what is on the stream lands first
 *   landed    pins end, the daemon is told; only then may anybody believe the bytes, or evict the source
 *
 * A copy past its deadline is not waited for, for the driver may hang for ever: everybody is told, and the
 * process ends.  Its pins and grants end with it, when the kernel has taken the device from it.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "gpu/gpud/gpud.h"
#include "ipc/sock.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/log.h"

#define CONNECT_MS 1000
#define LINK_NS 5000000000ull
#define EXTENTS_NS 2000000000ull

/* The daemon knows us: who is let in by us from now on may send it entries. */
static int hear_link(struct gpud *g)
{
	int ret = sock_wait(g->link_fd, clock_ns() + LINK_NS);

	if (ret <= 0)
		return ret ? ret : -ETIMEDOUT;
	ret = sock_recv_long(g->link_fd, &g->msg, sizeof(g->msg), NULL, 0, NULL);
	if (ret <= 0)
		return ret ? ret : -ECONNRESET;
	if (gpumsg_check(&g->msg, (size_t)ret) != GPUMSG_LINK)
		return -EBADMSG;
	if (!g->msg.link.slot)
		log_warn("the daemon lets us not write to the arena: no copies out of buffers");
	return 0;
}

int jobs_link(struct gpud *g)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP, .data.ptr = &g->link_fd };
	union gpumsg m = { 0 };
	size_t len;
	int ret;

	g->link_fd = sock_connect(g->opts->link_socket, CONNECT_MS);
	if (g->link_fd < 0)
		return g->link_fd;
	len = gpumsg_begin(&m, GPUMSG_LINK, 0);
	m.link.abi = KVSHM_ABI;
	m.link.slot = g->attach.is_trusted ? g->attach.slot : 0;
	ret = sock_send(g->link_fd, &m, len, NULL, 0);
	if (!ret)
		ret = hear_link(g);
	if (!ret && epoll_ctl(g->epoll_fd, EPOLL_CTL_ADD, g->link_fd, &ev) < 0)
		ret = -errno;
	return ret;
}

/* ---- the end of a job ------------------------------------------------------------------------------- */

#define LOST "the device's context is lost"

static void say_done(struct gpud *g, uint64_t number, int32_t res, uint32_t flags)
{
	union gpumsg m = { 0 };
	size_t len = gpumsg_begin(&m, GPUMSG_DONE, 0);
	int ret;

	m.done.job = number;
	m.done.res = res;
	m.done.flags = flags;
	ret = sock_send(g->link_fd, &m, len, NULL, 0);
	/* a daemon that reads nothing for so long hangs or is dead: its successor knows nothing of the job */
	if (ret < 0)
		gpud_end(g, 0);
}

/* Nothing of it is under way. */
static void finish(struct gpud *g, struct gpud_job *j)
{
	for (uint32_t i = 0; i < j->nr; i++)
		j->buffer[i]->nr_jobs--;
	attach_unpin(&g->attach, j->pin, j->nr_pins);
	say_done(g, j->number, j->res, 0);
	j->number = 0;
	g->nr_jobs--;
	j->client->nr_jobs--;
	clients_landed(g, j->client);
}

/* ---- taking one ------------------------------------------------------------------------------------- */

static int find_buffers(struct gpud *g, struct gpud_job *j, const struct gpumsg_job *m)
{
	uint64_t end;

	for (uint32_t i = 0; i < m->nr; i++) {
		struct gpud_buffer *b = clients_find(g, m->rec[i].buffer);

		if (!b || (j->client && b->client != j->client))
			return -ENOENT;
		if (__builtin_add_overflow(m->rec[i].buffer_off, m->rec[i].len, &end) || end > gpu_import_len(b->import))
			return -ERANGE;
		j->buffer[i] = b;
		j->client = b->client;
	}
	return 0;
}

static bool is_out(const struct gpumsg_job *m)
{
	return m->op == KVSHM_OP_STAGE_OUT;
}

/* All or none: what is read is pinned, what is written was granted to us. */
static int find_blocks(struct gpud *g, struct gpud_job *j, const struct gpumsg_job *m)
{
	const uint64_t deadline = clock_ns() + EXTENTS_NS;
	int ret;

	j->nr_pins = 0;
	if (is_out(m))
		ret = attach_granted(&g->attach, m->ns, m->rec, m->nr, deadline, g->block);
	else
		ret = attach_pin(&g->attach, m->ns, m->rec, m->nr, deadline, g->block, j->pin, &j->nr_pins);
	if (ret < 0)
		return ret;
	for (uint32_t i = 0; i < m->nr && !ret; i++)
		ret = (uint64_t)m->rec[i].off + m->rec[i].len > g->block[i].length ? -ERANGE : 0;
	if (ret < 0)
		attach_unpin(&g->attach, j->pin, j->nr_pins);
	return ret;
}

/*
 * Return: 0 with the event behind it all; -ENOTRECOVERABLE some of it is on the stream for good; else -errno: some of
 * it may be there, with the event behind.
 */
static int submit(struct gpud *g, struct gpud_job *j, const struct gpumsg_job *m)
{
	struct gpu_stream *s = is_out(m) ? &j->client->out : &j->client->stream;
	CUdeviceptr *host = is_out(m) ? g->dst : g->src, *device = is_out(m) ? g->src : g->dst;
	enum gpu_dir dir = is_out(m) ? GPU_D2H : GPU_H2D;
	int ret, err;

	for (uint32_t i = 0; i < m->nr; i++) {
		device[i] = gpu_import_addr(j->buffer[i]->import) + m->rec[i].buffer_off;
		host[i] = (uintptr_t)g->block[i].ptr + m->rec[i].off;
		g->len[i] = m->rec[i].len;
	}
	ret = gpu_stream_copy_many(s, dir, g->dst, g->src, g->len, m->nr);
	err = gpu_event_record(&j->landed, s);
	/* without the mark nobody learns when it has landed */
	return err ? -ENOTRECOVERABLE : ret;
}

static struct gpud_job *free_job(struct gpud *g)
{
	for (unsigned i = 0; i < GPUD_JOBS; i++)
		if (!g->job[i].number)
			return &g->job[i];
	return NULL;
}

/* Return: 0 under way; -errno: nothing of it is. */
static int begin(struct gpud *g, struct gpud_job *j, const struct gpumsg_job *m)
{
	int ret = m->op == KVSHM_OP_STAGE_IN || is_out(m) ? 0 : -EOPNOTSUPP;

	if (!ret)
		ret = find_buffers(g, j, m);
	if (!ret && !j->landed.ctx)
		ret = gpu_event_open(&g->ctx, GPU_EVENT_PLAIN, &j->landed);
	return ret ? ret : find_blocks(g, j, m);
}

void jobs_give_up(struct gpud *g, int status, int32_t res, const char *why)
{
	log_err("%s, %u entries given up; the worker ends", why, g->nr_jobs);
	for (unsigned i = 0; i < GPUD_JOBS; i++)
		if (g->job[i].number)
			say_done(g, g->job[i].number, res, GPUMSG_DONE_F_HELD);
	gpud_end(g, status);
}

static void run(struct gpud *g, const struct gpumsg_job *m)
{
	struct gpud_job *j = free_job(g);
	int ret;

	if (!j || g->end >= 0) {
		say_done(g, m->job, j ? -EIO : -EBUSY, 0);
		return;
	}
	j->client = NULL;
	ret = begin(g, j, m);
	if (ret < 0) {
		say_done(g, m->job, ret == -ENOTRECOVERABLE ? -EIO : ret, 0);
		if (ret == -ENOTRECOVERABLE)
			jobs_give_up(g, 70, -EIO, LOST);
		return;
	}
	j->number = m->job;
	j->nr = m->nr;
	j->deadline_ns = clock_ns() + g->opts->deadline_ns;
	g->nr_jobs++;
	j->client->nr_jobs++;
	for (uint32_t i = 0; i < m->nr; i++)
		j->buffer[i]->nr_jobs++;
	ret = submit(g, j, m);
	j->res = ret ? ret : (int32_t)m->nr;
	if (ret == -ENOTRECOVERABLE)
		jobs_give_up(g, 70, -EIO, LOST);
}

int jobs_take(struct gpud *g)
{
	int nr = 0, len;

	for (;;) {
		len = sock_recv_long(g->link_fd, &g->msg, sizeof(g->msg), NULL, 0, NULL);
		if (len == -EAGAIN)
			return nr;
		if (len <= 0)
			return len ? len : -ECONNRESET;
		if (gpumsg_check(&g->msg, (size_t)len) != GPUMSG_JOB)
			return -EBADMSG;
		run(g, &g->msg.job);
		nr++;
	}
}

/* ---- landing ---------------------------------------------------------------------------------------- */

unsigned jobs_poll(struct gpud *g)
{
	uint64_t now = clock_ns();
	unsigned nr = 0;
	int ret;

	for (unsigned i = 0; i < GPUD_JOBS && g->nr_jobs && g->end < 0; i++) {
		struct gpud_job *j = &g->job[i];

		if (!j->number)
			continue;
		ret = gpu_event_poll(&j->landed);
		if (ret < 0) {
			jobs_give_up(g, 70, -EIO, ret == -ENOTRECOVERABLE ? LOST : strerror(-ret));
		} else if (ret > 0) {
			finish(g, j);
			nr++;
		} else if (now >= j->deadline_ns) {
			jobs_give_up(g, 75, -ETIMEDOUT, "a copy hangs");
		}
	}
	return nr;
}

void jobs_fini(struct gpud *g)
{
	for (unsigned i = 0; i < GPUD_JOBS; i++)
		if (g->job[i].landed.ctx)
			gpu_event_close(&g->job[i].landed);
	if (g->link_fd >= 0)
		close(g->link_fd);
}
