/* SPDX-License-Identifier: Apache-2.0 */
/* The link to kvshm-gpud: jobs go out, results come back. */
#include "kvshm/daemon/gpulink.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/sock.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/log.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/save.h"
#include "kvshm/daemon/server.h"
#include "kvshm/daemon/writer.h"

#define BACKLOG 4
#define LOOK_NS 10000u /* while jobs are out and the writer is busy with others */
#define DONES_A_LOOK 64u

/* ---- main ---------------------------------------------------------------------------------------- */

int gpulink_listen(struct daemon *d)
{
	char path[PATH_MAX];
	int ret = gpumsg_path(d->inst.socket, GPUMSG_LINK_SOCKET, path, sizeof(path));

	if (ret == 0)
		ret = sock_listen(path, 0600, BACKLOG);
	d->link_fd = ret;
	return ret < 0 ? ret : 0;
}

void gpulink_unlisten(struct daemon *d)
{
	char path[PATH_MAX];

	if (d->link_fd >= 0 && !gpumsg_path(d->inst.socket, GPUMSG_LINK_SOCKET, path, sizeof(path)))
		unlink(path);
}

void gpulink_accept(struct daemon *d)
{
	struct peer p;
	int fd;

	while ((fd = accept4(d->link_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (peer_read(fd, &p) < 0) {
			close(fd);
			continue;
		}
		if (p.pidfd >= 0)
			close(p.pidfd);
		if (p.uid != geteuid() && p.uid != 0) {
			log_limited(LOG_LEVEL_WARN, "uid %u is not kvshm-gpud, connection closed", (unsigned)p.uid);
			close(fd);
			continue;
		}
		mailbox_send(&d->to_writer, LANE_MAIN, MAIL_LINK, NULL, (uint32_t)fd);
	}
}

/* ---- jobs ---------------------------------------------------------------------------------------- */

void gpulink_init(struct gpulink *l)
{
	memset(l, 0, sizeof(*l));
	l->fd = -1;
	l->next = 1;
}

void gpulink_fini(struct gpulink *l)
{
	if (l->fd >= 0)
		close(l->fd);
	for (unsigned i = 0; i < GPULINK_JOBS; i++)
		if (!l->job[i].s)
			save_free(l->job[i].save);
}

static void count_end(struct gpulink *l, const struct gpujob *j, int res)
{
	if (res < 0) {
		l->nr_failed++;
		return;
	}
	l->nr_done++;
	*(j->save ? &l->saved_bytes : &l->loaded_bytes) += j->bytes;
}

/* @is_held: what was under way may still land. */
static void end_job(struct writer *w, struct gpujob *job, int res, bool is_held)
{
	const struct gpujob j = *job;
	const struct kvshm_cqe cqe = { .user_data = j.user_data, .op = j.op, .res = res };

	*job = (struct gpujob){ 0 };
	w->link.nr_jobs--;
	count_end(&w->link, &j, res);
	if (j.s)
		j.s->q.nr_gpujobs--;
	if (j.save) {
		save_over(w, j.save, res, is_held);
	} else if (j.s) {
		j.s->q.owed--;
		writer_complete(w, j.s, &cqe, writer_since(w, j.stamp_ns));
	}
}

static void hang_up(struct writer *w, const char *why)
{
	struct gpulink *l = &w->link;

	if (l->fd < 0)
		return;
	log_warn("kvshm-gpud %s, %u copies failed; host memory is served as before", why, l->nr_jobs);
	epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, l->fd, NULL);
	close(l->fd);
	l->fd = -1;
	l->owner = NULL;
	l->pool.bytes = l->pool.used_bytes = l->pool.held_bytes = l->pool.clients = 0;
	w->is_busy = true;
	for (unsigned i = 0; i < GPULINK_JOBS; i++)
		if (l->job[i].number)
			end_job(w, &l->job[i], -ECONNRESET, true);
}

void gpulink_take(struct writer *w, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP };
	struct gpulink *l = &w->link;

	hang_up(w, "was replaced by another");
	if (epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		log_warn("kvshm-gpud is not listened to: %m");
		close(fd);
		return;
	}
	l->fd = fd;
	l->nr_links++;
	w->is_busy = true;
	log_info("kvshm-gpud is here");
}

/* Jobs are numbered on and on; the table is entered by the number. */
static struct gpujob *free_job(struct gpulink *l)
{
	for (unsigned i = 0; i < GPULINK_JOBS; i++, l->next++)
		if (!l->job[l->next % GPULINK_JOBS].number)
			return &l->job[l->next % GPULINK_JOBS];
	return NULL;
}

int gpulink_owner(const struct gpulink *l, struct session **ret_s)
{
	if (l->fd < 0)
		return -ENOTCONN;
	if (!l->owner)
		return -EROFS;
	*ret_s = l->owner;
	return 0;
}

/* One that is gone is hung up on when its end is read: not here, where others' jobs are being begun. */
static int send_job(struct gpulink *l, const struct gpujob *what, uint16_t ns, const struct kvshm_stage_rec *rec,
		    uint32_t nr)
{
	size_t len = gpumsg_begin(&l->msg, GPUMSG_JOB, nr);
	int ret;

	l->msg.job.job = l->next;
	l->msg.job.op = what->op;
	l->msg.job.ns = ns;
	l->msg.job.nr = nr;
	memcpy(l->msg.job.rec, rec, nr * sizeof(*rec));
	ret = sock_send_long(l->fd, &l->msg, len, NULL, 0);
	return ret == -EPIPE ? -ENOTCONN : ret;
}

int gpulink_submit(struct writer *w, const struct gpujob *what, uint16_t ns, const struct kvshm_stage_rec *rec,
		   uint32_t nr)
{
	struct gpulink *l = &w->link;
	struct queue *q = &what->s->q;
	struct gpujob *j;
	int ret;

	if (l->fd < 0)
		return -ENOTCONN;
	j = q->nr_gpujobs < GPULINK_JOBS_A_SESSION ? free_job(l) : NULL;
	if (!j)
		return -EBUSY;
	ret = send_job(l, what, ns, rec, nr);
	if (ret < 0)
		return ret;
	*j = *what;
	j->number = l->next++;
	j->since_ns = w->now_ns;
	for (uint32_t i = 0; i < nr; i++)
		j->bytes += rec[i].len;
	l->nr_jobs++;
	q->nr_gpujobs++;
	return 0;
}

/* ---- what comes back ----------------------------------------------------------------------------- */

/* It says which session is its own, and hears whether it may write in that one's name. */
static int take_link(struct writer *w)
{
	struct gpulink *l = &w->link;
	struct session *s = writer_known(w, l->msg.link.slot);
	int ret;

	l->owner = l->msg.link.slot && s && s->q.is_serving && s->is_trusted ? s : NULL;
	l->msg.link.slot = l->owner ? l->owner->slot : 0;
	ret = sock_send(l->fd, &l->msg, gpumsg_len(GPUMSG_LINK, 0), NULL, 0);
	return ret < 0 ? ret : 1;
}

static void take_pool(struct gpulink_pool *p, const struct gpumsg_pool_stats *m)
{
	p->bytes = m->bytes;
	p->used_bytes = m->used_bytes;
	p->held_bytes = m->held_bytes;
	p->clients = m->clients;
	p->staged_blocks += m->staged_blocks;
	p->staged_bytes += m->staged_bytes;
	p->shared_blocks += m->shared_blocks;
	p->evicted_blocks += m->evicted_blocks;
	p->refused += m->refused;
}

/* Return: 1, 0 nothing there, -errno. */
static int take_one(struct writer *w)
{
	struct gpulink *l = &w->link;
	struct gpujob *j;
	int len = sock_recv_long(l->fd, &l->msg, sizeof(l->msg), NULL, 0, NULL);

	if (len == -EAGAIN)
		return 0;
	if (len <= 0)
		return len ? len : -ECONNRESET;
	switch (gpumsg_check(&l->msg, (size_t)len)) {
	case GPUMSG_LINK:
		return take_link(w);
	case GPUMSG_DONE:
		j = &l->job[l->msg.done.job % GPULINK_JOBS];
		if (!l->msg.done.job || j->number != l->msg.done.job)
			return -EBADMSG;
		end_job(w, j, l->msg.done.res, l->msg.done.flags & GPUMSG_DONE_F_HELD);
		return 1;
	case GPUMSG_POOL_STATS:
		take_pool(&l->pool, &l->msg.pool_stats);
		return 1;
	default:
		return -EBADMSG;
	}
}

/* At most @max.  Return: how many. */
static unsigned take_some(struct writer *w, unsigned max)
{
	unsigned nr = 0;
	int ret = 1;

	while (nr < max && (ret = take_one(w)) > 0)
		nr++;
	if (ret < 0)
		hang_up(w, ret == -EBADMSG ? "speaks another language" : "has gone");
	w->is_busy |= nr > 0;
	return nr;
}

bool gpulink_poll(struct writer *w)
{
	struct gpulink *l = &w->link;

	if (l->fd < 0 || w->now_ns - l->look_ns < LOOK_NS)
		return false;
	l->look_ns = w->now_ns;
	return take_some(w, DONES_A_LOOK) > 0;
}

/* What a worker said before it died counts. */
void gpulink_forget(struct writer *w, const struct session *s)
{
	struct gpulink *l = &w->link;

	for (unsigned i = 0; i < GPULINK_JOBS && l->nr_jobs; i++)
		if (l->job[i].s == s)
			l->job[i].s = NULL;
	if (l->owner != s)
		return;
	take_some(w, GPULINK_JOBS);
	hang_up(w, "has lost its session");
}

void gpulink_tick(struct writer *w)
{
	struct gpulink *l = &w->link;

	for (unsigned i = 0; i < GPULINK_JOBS && l->nr_jobs; i++)
		if (l->job[i].number && w->now_ns - l->job[i].since_ns > GPULINK_ANSWER_NS) {
			hang_up(w, "does not answer");
			return;
		}
}
