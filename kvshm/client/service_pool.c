/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service_pool.c - kvshm-gpud's staging pool: mapped here, blocks in it held and let go
 *
 * What is asked for is remembered by a number that its answer bears, for other requests may be answered in between.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gpu/shared.h"
#include "ipc/sock.h"
#include "kvshm/base/clock.h"
#include "kvshm/client/client.h"
#include "kvshm/client/service.h"

struct asked {
	uint64_t name;			/* 0: free; number of the request, never used again */
	uint64_t user_data;
	uint64_t *addrs;		/* the caller's */
	uint32_t nr;
};

struct kvshm_service_pool {
	struct kvshm_service *s;
	struct gpu_ctx other;		/* of the device that reads it, if that is not kvshm-gpud's */
	struct gpu_shared mem;
	uint64_t next;			/* name of the next request */
	struct asked asked[GPUMSG_HOLDS];
	struct kvshm_service_held done[GPUMSG_HOLDS];	/* ring: a place for each that was asked */
	uint32_t head, tail, nr_open;
};

/* ---- open, close ----------------------------------------------------------------------------------- */

/* Return: 0; -EXDEV there is no path from that device to the pool's. */
static int open_other(struct kvshm_service_pool *p, int ordinal)
{
	struct gpu_device all[GPU_MAX_DEVICES];
	int nr = gpu_device_list(&p->s->cuda, "/sys", all, GPU_MAX_DEVICES), i = 0;

	while (i < nr && all[i].ordinal != ordinal)
		i++;
	if (i >= nr)
		return nr < 0 ? nr : -ENODEV;
	if (!memcmp(&all[i].uuid, &p->s->ctx.device.uuid, sizeof(all[i].uuid)))
		return 0;
	if (gpu_device_peer(&p->s->cuda, &all[i], &p->s->ctx.device) <= 0)
		return -EXDEV;
	return gpu_ctx_open(&p->s->cuda, &all[i], &p->other);
}

/* Return: 0 with the piece in s->msg and its descriptor; -errno, also what kvshm-gpud says. */
static int ask_for_it(struct kvshm_service *s, int *ret_fd)
{
	int fd = -1, ret = service_ask(s, gpumsg_begin(&s->msg, GPUMSG_POOL_OPEN, 0), NULL, 0, GPUMSG_POOL, &fd);

	if (!ret)
		ret = s->msg.pool.error;
	if (!ret && (fd < 0 || memcmp(s->msg.pool.piece.uuid, &s->ctx.device.uuid, sizeof(s->msg.pool.piece.uuid))))
		ret = -EBADMSG;
	if (ret < 0 && fd >= 0)
		close(fd);
	*ret_fd = fd;
	return ret;
}

/* We have unmapped it, or never did. */
static int say_closed(struct kvshm_service *s)
{
	int ret = service_ask(s, gpumsg_begin(&s->msg, GPUMSG_POOL_CLOSE, 0), NULL, 0, GPUMSG_POOL_CLOSED, NULL);

	return ret == -ECONNRESET ? 0 : ret;
}

static int map(struct kvshm_service_pool *p)
{
	struct kvshm_service *s = p->s;
	struct gpu_piece piece;
	int fd, ret = ask_for_it(s, &fd);

	if (ret < 0)
		return ret;
	memcpy(&piece, &s->msg.pool.piece, sizeof(piece));
	ret = gpu_shared_open(p->other.ctx ? &p->other : &s->ctx, &piece, fd, &p->mem);
	close(fd);
	if (ret < 0)
		say_closed(s);
	return ret == -EOPNOTSUPP && p->other.ctx ? -EXDEV : ret;
}

static int check_options(const struct kvshm_service_pool_options *o)
{
	return o->sz < sizeof(*o) || o->flags & ~KVSHM_SERVICE_POOL_DEVICE ? -EINVAL : 0;
}

__public int kvshm_service_pool_open(struct kvshm_service *s, const struct kvshm_service_pool_options *opts,
				     struct kvshm_service_pool **ret_p)
{
	const struct kvshm_service_pool_options none = { .sz = sizeof(none) };
	struct kvshm_service_pool *p;
	int ret;

	if (client_is_forked(s->k))
		return -EOWNERDEAD;
	opts = opts ? opts : &none;
	ret = s->pool ? -EEXIST : check_options(opts);
	if (ret < 0)
		return ret;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->s = s;
	p->next = 1;
	if (opts->flags & KVSHM_SERVICE_POOL_DEVICE)
		ret = open_other(p, opts->device);
	if (!ret)
		ret = map(p);
	if (ret < 0) {
		gpu_ctx_close(&p->other);
		free(p);
		return ret;
	}
	s->pool = p;
	*ret_p = p;
	return 0;
}

__public int kvshm_service_pool_close(struct kvshm_service_pool *p)
{
	struct kvshm_service *s;
	int ret = 0;

	if (!p)
		return 0;
	s = p->s;
	/* answers that come now have nowhere to go */
	memset(p->asked, 0, sizeof(p->asked));
	if (!client_is_forked(s->k)) {
		gpu_shared_destroy(&p->mem);
		gpu_ctx_close(&p->other);
		ret = say_closed(s);
	}
	s->pool = NULL;
	free(p);
	return ret;
}

__public int kvshm_service_pool_info(struct kvshm_service_pool *p, struct kvshm_service_pool_facts *info)
{
	if (client_is_forked(p->s->k))
		return -EOWNERDEAD;
	if (info->sz != sizeof(*info))
		return -EINVAL;
	info->addr = p->mem.addr;
	info->len = p->mem.len;
	info->is_readonly = p->mem.is_readonly;
	info->is_peer = p->other.ctx != NULL;
	return 0;
}

/* ---- asking ---------------------------------------------------------------------------------------- */

static struct asked *free_place(struct kvshm_service_pool *p)
{
	for (unsigned i = 0; i < GPUMSG_HOLDS; i++)
		if (!p->asked[i].name)
			return &p->asked[i];
	return NULL;
}

static size_t put_refs(struct kvshm_service *s, enum gpumsg_type type, const struct kvshm_block *blocks, unsigned nr)
{
	struct gpumsg_refs *m = &s->msg.refs;

	m->request = 0;
	m->nr = nr;
	m->ns = m->resv = 0;
	for (unsigned i = 0; i < nr; i++)
		m->ref[i] = (struct kvshm_block_ref){ blocks[i].id, blocks[i].generation };
	return gpumsg_begin(&s->msg, type, nr);
}

/* All that was asked for and not told yet counts, for its answer needs a place. */
static int check_hold(struct kvshm_service_pool *p, uint32_t ns, unsigned nr, uint16_t *ret_wire)
{
	struct kvshm *k = p->s->k;
	int ret;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	if (!nr || nr > GPUMSG_HOLD_MAX)
		return -EINVAL;
	if (p->nr_open == GPUMSG_HOLDS)
		return -EBUSY;
	ret = client_enter(k);
	if (!ret)
		ret = ns_wire(k, ns, ret_wire);
	return ret == -ENODATA ? -ECONNRESET : ret;
}

__public int kvshm_service_pool_hold(struct kvshm_service_pool *p, uint32_t ns, const struct kvshm_block *blocks, unsigned nr,
				     uint64_t *addrs, uint64_t user_data)
{
	struct kvshm_service *s = p->s;
	uint16_t wire;
	size_t len;
	int ret = check_hold(p, ns, nr, &wire);

	if (ret < 0)
		return ret;
	len = put_refs(s, GPUMSG_HOLD, blocks, nr);
	s->msg.refs.request = p->next;
	s->msg.refs.ns = wire;
	ret = sock_send_long(s->sock, &s->msg, len, NULL, 0);
	if (ret < 0)
		return ret == -EPIPE ? -ECONNRESET : ret == -EAGAIN ? -EBUSY : ret;
	*free_place(p) = (struct asked){ .name = p->next++, .user_data = user_data, .addrs = addrs, .nr = nr };
	p->nr_open++;
	return 0;
}

__public int kvshm_service_pool_release(struct kvshm_service_pool *p, const struct kvshm_block *blocks, unsigned nr)
{
	struct kvshm_service *s = p->s;
	unsigned n;
	int ret = 0;

	if (client_is_forked(s->k))
		return -EOWNERDEAD;
	for (; nr && !ret; blocks += n, nr -= n) {
		n = min_of(nr, GPUMSG_HOLD_MAX);
		ret = service_ask(s, put_refs(s, GPUMSG_RELEASE, blocks, n), NULL, 0, GPUMSG_RELEASED, NULL);
		if (!ret)
			ret = s->msg.released.error;
	}
	return ret;
}

/* ---- answers --------------------------------------------------------------------------------------- */

void service_pool_told(struct kvshm_service_pool *p, const struct gpumsg_held *m)
{
	struct asked *a = NULL;

	for (unsigned i = 0; p && i < GPUMSG_HOLDS; i++)
		if (p->asked[i].name && p->asked[i].name == m->request)
			a = &p->asked[i];
	if (!a || m->nr != a->nr)
		return;
	for (uint32_t i = 0; i < m->nr && !m->error; i++)
		a->addrs[i] = p->mem.addr + m->off[i];
	p->done[p->tail++ % GPUMSG_HOLDS] =
		(struct kvshm_service_held){ .user_data = a->user_data, .res = m->error ? m->error : (int32_t)m->nr };
	a->name = 0;
}

static unsigned take_done(struct kvshm_service_pool *p, struct kvshm_service_held *ret, unsigned max)
{
	unsigned n = 0;

	while (n < max && p->head != p->tail)
		ret[n++] = p->done[p->head++ % GPUMSG_HOLDS];
	p->nr_open -= n;
	return n;
}

__public int kvshm_service_pool_poll(struct kvshm_service_pool *p, struct kvshm_service_held *ret, unsigned max,
				     unsigned timeout_us)
{
	const uint64_t deadline = timeout_us ? clock_ns() + timeout_us * 1000ull : 0;
	struct kvshm_service *s = p->s;
	int type, n;

	if (client_is_forked(s->k))
		return -EOWNERDEAD;
	for (;;) {
		while ((type = service_recv(s, NULL)) == GPUMSG_HELD)
			;
		n = (int)take_done(p, ret, max);
		if (n || !max)
			return n;
		if (type)
			return type < 0 ? type : -EBADMSG;
		if (!p->nr_open || !deadline)
			return 0;
		n = sock_wait(s->sock, deadline);
		if (n <= 0)
			return n;
	}
}
