/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c - the staging pool: its memory, who may map it, what the daemon's statistics say */
#include "gpu/gpud/pool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/sock.h"
#include "kvshm/base/log.h"

_Static_assert(sizeof(struct gpumsg_piece) == sizeof(struct gpu_piece), "a piece travels as it is");

/* ---- the memory ------------------------------------------------------------------------------------ */

static int make_memory(struct gpud *g, struct pool *p)
{
	const struct gpud_options *o = g->opts;
	int ret = gpu_shared_create(&g->ctx, o->pool_len, &p->mem);

	if (ret < 0)
		return ret;
	ret = gpu_export_piece(&g->ctx, p->mem.addr, p->mem.len, &p->piece, &p->fd);
	if (ret < 0)
		goto err_mem;
	ret = pool_table_create(p->mem.len, o->pool_quota ? o->pool_quota : p->mem.len / 2, &p->table);
	if (ret < 0)
		goto err_fd;
	ret = gpu_stream_open(&g->ctx, true, &p->stream);
	if (ret < 0)
		goto err_table;
	return 0;
err_table:
	pool_table_destroy(p->table);
	p->table = NULL;
err_fd:
	close(p->fd);
err_mem:
	gpu_shared_destroy(&p->mem);
	return ret;
}

void pool_open(struct gpud *g)
{
	struct pool *p;

	if (!g->opts->pool_len)
		return;
	p = calloc(1, sizeof(*p));
	if (!p)
		return;
	p->end = &p->first;
	p->error = make_memory(g, p);
	g->pool = p;
	if (p->error < 0)
		log_err("no staging pool of %" PRIu64 " MiB: %s", g->opts->pool_len >> 20,
			p->error == -EOPNOTSUPP ? "the device does not share memory by descriptor" : strerror(-p->error));
	else
		log_info("staging pool of %" PRIu64 " MiB", p->mem.len >> 20);
}

/* Nothing is under way. */
void pool_close(struct gpud *g)
{
	struct pool *p = g->pool;

	if (!p)
		return;
	g->pool = NULL;
	if (!p->error) {
		for (unsigned i = 0; i < GPUD_CLIENTS; i++)
			pool_table_forget(p->table, &g->client[i].pool_user);
		gpu_stream_close(&p->stream);
		pool_table_destroy(p->table);
		close(p->fd);
		gpu_shared_destroy(&p->mem);
	}
	free(p);
}

/* ---- who maps it ----------------------------------------------------------------------------------- */

/* Nothing keeps a client from mapping it writable: it is for those that may write to the arena. */
static bool may_map(const struct gpud_options *o, int fd)
{
	struct peer peer;

	if (peer_read(fd, &peer) < 0)
		return false;
	if (peer.pidfd >= 0)
		close(peer.pidfd);
	if (peer.uid == geteuid() || peer.uid == 0)
		return true;
	for (unsigned i = 0; i < o->nr_pool_uids; i++)
		if (o->pool_uid[i] == peer.uid)
			return true;
	return false;
}

static int on_open(struct gpud *g, struct gpud_client *c)
{
	struct pool *p = g->pool;
	int error = !p ? -ENOENT : p->error;

	if (c->has_pool)
		return -EBADMSG;
	if (!error && !may_map(g->opts, c->fd)) {
		log_limited(LOG_LEVEL_WARN, "client %d may not map the staging pool: neither our user nor in --pool-uids",
			    (int)c->pid);
		error = -EACCES;
	}
	memset(&g->msg.pool, 0, sizeof(g->msg.pool));
	g->msg.pool.error = error;
	if (!error) {
		memcpy(&g->msg.pool.piece, &p->piece, sizeof(p->piece));
		c->has_pool = true;
		p->nr_clients++;
	}
	clients_say(g, c, gpumsg_begin(&g->msg, GPUMSG_POOL, 0), p ? &p->fd : NULL, !error);
	return 0;
}

void pool_forget(struct gpud *g, struct gpud_client *c)
{
	if (!c->has_pool)
		return;
	pool_hold_forget(g->pool, c);
	pool_table_forget(g->pool->table, &c->pool_user);
	c->has_pool = false;
	g->pool->nr_clients--;
}

static int on_release(struct gpud *g, struct gpud_client *c)
{
	const struct gpumsg_refs *m = &g->msg.refs;
	struct gpumsg_released answer = { 0 };

	while (answer.nr < m->nr && !answer.error) {
		answer.error = pool_table_release(g->pool->table, &c->pool_user, m->ref[answer.nr]);
		answer.nr += !answer.error;
	}
	g->msg.released = answer;
	clients_say(g, c, gpumsg_begin(&g->msg, GPUMSG_RELEASED, 0), NULL, 0);
	return 0;
}

static int on_close(struct gpud *g, struct gpud_client *c)
{
	pool_forget(g, c);
	clients_say(g, c, gpumsg_begin(&g->msg, GPUMSG_POOL_CLOSED, 0), NULL, 0);
	return 0;
}

int pool_serve(struct gpud *g, struct gpud_client *c, int type)
{
	if (type == GPUMSG_POOL_OPEN)
		return on_open(g, c);
	if (!c->has_pool)
		return -EBADMSG;
	switch (type) {
	case GPUMSG_HOLD:
		return pool_hold_serve(g, c);
	case GPUMSG_RELEASE:
		return on_release(g, c);
	default:
		return on_close(g, c);
	}
}

/* ---- statistics ------------------------------------------------------------------------------------ */

static void count(const struct pool *p, struct gpumsg_pool_stats *m)
{
	struct pool_counts n;

	pool_table_counts(p->table, &n);
	m->bytes = n.bytes;
	m->used_bytes = n.used_bytes;
	m->held_bytes = n.held_bytes;
	m->clients = p->nr_clients;
	m->staged_blocks = n.staged_blocks;
	m->staged_bytes = n.staged_bytes;
	m->shared_blocks = n.shared_blocks;
	m->evicted_blocks = n.evicted_blocks;
	m->refused = p->nr_refused;
}

void pool_tell(struct gpud *g)
{
	struct pool *p = g->pool;
	struct gpumsg_pool_stats now;
	union gpumsg m = { 0 };
	size_t len;

	if (!p || p->error)
		return;
	now = p->told;
	count(p, &now);
	if (!memcmp(&now, &p->told, sizeof(now)))
		return;
	m.pool_stats = now;
	m.pool_stats.staged_blocks -= p->told.staged_blocks;
	m.pool_stats.staged_bytes -= p->told.staged_bytes;
	m.pool_stats.shared_blocks -= p->told.shared_blocks;
	m.pool_stats.evicted_blocks -= p->told.evicted_blocks;
	m.pool_stats.refused -= p->told.refused;
	len = gpumsg_begin(&m, GPUMSG_POOL_STATS, 0);
	/* a daemon that does not read now is told the next time */
	if (!sock_send(g->link_fd, &m, len, NULL, 0))
		p->told = now;
}
