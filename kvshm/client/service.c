/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service.c - buffers offered to kvshm-gpud, copies asked for through the handle's queue
 *
 * Offers and withdrawals go over a socket of their own and are answered one by one (the staging pool is in
 * service_pool.c); copies are entries like any other, so their completions come with those of the puts.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gpu/export.h"
#include "ipc/sock.h"
#include "kvshm/base/clock.h"
#include "kvshm/client/client.h"
#include "kvshm/client/service.h"

#define TIMEOUT_MS 5000u
#define COPIES_MAX 4096u

_Static_assert(sizeof(struct kvshm_service_copy) + 8 == sizeof(struct kvshm_stage_rec), "a copy is a record");
_Static_assert(sizeof(struct gpumsg_piece) == sizeof(struct gpu_piece), "a piece travels as it is");

/* ---- messages -------------------------------------------------------------------------------------- */

int service_recv(struct kvshm_service *s, int *ret_fd)
{
	unsigned nr_fds = 0;
	int n, fd;

	n = sock_recv_long(s->sock, &s->msg, sizeof(s->msg), ret_fd ? &fd : NULL, !!ret_fd, &nr_fds);
	if (n <= 0)
		return n == -EAGAIN ? 0 : n ? n : -ECONNRESET;
	n = gpumsg_check(&s->msg, (size_t)n);
	if (nr_fds && n != GPUMSG_POOL) {
		close(fd);
		return -EBADMSG;
	}
	if (nr_fds)
		*ret_fd = fd;
	if (n == GPUMSG_HELD)
		service_pool_told(s->pool, &s->msg.held);
	return n;
}

int service_ask(struct kvshm_service *s, size_t len, const int *fds, unsigned nr_fds, enum gpumsg_type answer, int *ret_fd)
{
	const uint64_t deadline = clock_ns() + s->timeout_ns;
	int type, ret = sock_send_long(s->sock, &s->msg, len, fds, nr_fds);

	while (!ret) {
		ret = sock_wait(s->sock, deadline);
		if (ret <= 0)
			return ret ? ret : -ETIMEDOUT;
		type = service_recv(s, ret_fd);
		if (type < 0 || type == (int)answer)
			return type < 0 ? type : 0;
		ret = type && type != GPUMSG_HELD ? -EBADMSG : 0;
	}
	return ret == -EPIPE ? -ECONNRESET : ret;
}

static int say_hello(struct kvshm_service *s)
{
	size_t len = gpumsg_begin(&s->msg, GPUMSG_HELLO, 0);
	int ret;

	s->msg.hello.abi = KVSHM_ABI;
	s->msg.hello.pid = getpid();
	ret = service_ask(s, len, NULL, 0, GPUMSG_WELCOME, NULL);
	if (!ret && s->msg.welcome.pid == getpid())
		ret = -EADDRINUSE;
	return ret;
}

/* ---- open, close ----------------------------------------------------------------------------------- */

static int connect_to(struct kvshm_service *s)
{
	char path[sizeof(s->k->path)];
	int ret = gpumsg_path(s->k->path, GPUMSG_SOCKET, path, sizeof(path));

	if (ret < 0)
		return ret;
	s->sock = sock_connect(path, (unsigned)(s->timeout_ns / 1000000u));
	return s->sock < 0 ? s->sock : say_hello(s);
}

/* Its device, by the name that it has in every process. */
static int open_device(struct kvshm_service *s, const char *libcuda)
{
	struct gpu_device d;
	CUuuid uuid;
	int ret;

	memcpy(&uuid, s->msg.welcome.uuid, sizeof(uuid));
	ret = cuda_load(libcuda, &s->cuda);
	if (!ret)
		ret = gpu_device_find(&s->cuda, &uuid, &d);
	return ret ? ret : gpu_ctx_open(&s->cuda, &d, &s->ctx);
}

static void service_free(struct kvshm_service *s)
{
	struct offered *o;

	while ((o = s->offered)) {
		s->offered = o->next;
		free(o);
	}
	gpu_ctx_close(&s->ctx);
	cuda_unload(&s->cuda);
	if (s->sock >= 0)
		close(s->sock);
	free(s);
}

__public int kvshm_service_open(struct kvshm *k, const struct kvshm_service_options *opts, struct kvshm_service **ret_s)
{
	const struct kvshm_service_options none = { .sz = sizeof(none) };
	struct kvshm_service *s;
	int ret;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	if (!opts)
		opts = &none;
	if (opts->sz < sizeof(*opts) || opts->resv)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->k = k;
	s->timeout_ns = (opts->timeout_ms ? opts->timeout_ms : TIMEOUT_MS) * 1000000ull;
	ret = connect_to(s);
	if (!ret)
		ret = open_device(s, opts->libcuda);
	if (ret < 0) {
		service_free(s);
		return ret;
	}
	*ret_s = s;
	return 0;
}

__public int kvshm_service_close(struct kvshm_service *s)
{
	int ret = 0, err;

	if (!s)
		return 0;
	ret = kvshm_service_pool_close(s->pool);
	while (s->offered && ret != -ETIMEDOUT && ret != -ECONNRESET) {
		err = kvshm_service_withdraw(s, s->offered->addr);
		ret = err < 0 ? err : ret;
	}
	service_free(s);
	return ret == -ETIMEDOUT ? ret : 0;
}

/* ---- buffers --------------------------------------------------------------------------------------- */

static void close_all(const int *fds, unsigned nr)
{
	while (nr)
		close(fds[--nr]);
}

/* Into s->msg.  Return: 0 with @fds, -errno. */
static int export_all(struct kvshm_service *s, uint64_t addr, uint64_t len, int *fds, unsigned *ret_nr_fds, uint32_t *ret_nr)
{
	unsigned nr_fds = 0;
	uint32_t nr = 0;
	int fd, ret = 0;

	while (len && !ret) {
		struct gpu_piece p;

		ret = nr < GPUMSG_PIECES_MAX ? gpu_export_piece(&s->ctx, addr, len, &p, &fd) : -E2BIG;
		if (ret < 0)
			break;
		memcpy(&s->msg.reg.piece[nr++], &p, sizeof(p));
		if (fd >= 0)
			fds[nr_fds++] = fd;
		addr += p.len;
		len -= p.len;
	}
	if (ret < 0)
		close_all(fds, nr_fds);
	*ret_nr_fds = nr_fds;
	*ret_nr = nr;
	return ret;
}

/* Return: 0 with @ret_buffer, -errno, also what kvshm-gpud says. */
static int offer(struct kvshm_service *s, uint64_t addr, uint64_t len, uint64_t *ret_buffer)
{
	int fds[GPUMSG_PIECES_MAX], ret;
	unsigned nr_fds;
	uint32_t nr;

	ret = export_all(s, addr, len, fds, &nr_fds, &nr);
	if (ret < 0)
		return ret;
	s->msg.reg.addr = addr;
	s->msg.reg.nr = nr;
	s->msg.reg.resv = 0;
	ret = service_ask(s, gpumsg_begin(&s->msg, GPUMSG_REGISTER, nr), fds, nr_fds, GPUMSG_BUFFER, NULL);
	close_all(fds, nr_fds);
	if (ret < 0)
		return ret;
	if (s->msg.buffer.addr != addr)
		return -EBADMSG;
	if (s->msg.buffer.error < 0)
		return s->msg.buffer.error;
	*ret_buffer = s->msg.buffer.token;
	return 0;
}

__public int kvshm_service_offer(struct kvshm_service *s, uint64_t addr, uint64_t len, uint64_t *ret_buffer)
{
	struct offered *o;
	int ret;

	if (client_is_forked(s->k))
		return -EOWNERDEAD;
	if (!len || addr + len < addr)
		return -EINVAL;
	o = malloc(sizeof(*o));
	if (!o)
		return -ENOMEM;
	ret = offer(s, addr, len, ret_buffer);
	if (ret < 0) {
		free(o);
		return ret;
	}
	*o = (struct offered){ .next = s->offered, .addr = addr };
	s->offered = o;
	return 0;
}

__public int kvshm_service_withdraw(struct kvshm_service *s, uint64_t addr)
{
	struct offered **at = &s->offered, *o;
	size_t len;
	int ret;

	if (client_is_forked(s->k))
		return -EOWNERDEAD;
	while (*at && (*at)->addr != addr)
		at = &(*at)->next;
	if (!*at)
		return -ENOENT;
	memset(&s->msg.buffer, 0, sizeof(s->msg.buffer));
	len = gpumsg_begin(&s->msg, GPUMSG_DETACH, 0);
	s->msg.buffer.addr = addr;
	ret = service_ask(s, len, NULL, 0, GPUMSG_DETACHED, NULL);
	if (!ret && s->msg.buffer.addr != addr)
		ret = -EBADMSG;
	if (ret == -ETIMEDOUT)
		return ret;
	o = *at;
	*at = o->next;
	free(o);
	return ret;
}

/* ---- copies ---------------------------------------------------------------------------------------- */

/* One entry.  Return: 0, -errno. */
static int send_some(struct kvshm *k, uint16_t wire, const struct kvshm_service_copy *c, unsigned nr, uint32_t group)
{
	struct kvshm_sqe sqe = { .ns = wire, .nr = nr };
	uint32_t len = nr * (uint32_t)sizeof(struct kvshm_stage_rec);
	struct kvshm_stage_rec *rec;
	struct op *op;
	void *args;
	int ret = submit_reserve(k, OP_STAGE, KVSHM_OP_STAGE_IN, len, &op, &args);

	if (ret < 0)
		return ret;
	rec = args;
	for (unsigned i = 0; i < nr; i++)
		rec[i] = (struct kvshm_stage_rec){
			.block = { c[i].id, c[i].generation }, .off = c[i].off, .len = c[i].len, .buffer = c[i].buffer,
			.buffer_off = c[i].buffer_off,
		};
	op->nr = nr;
	op->group = group;
	group_hold(k, group);
	return submit_push(k, op, &sqe, len);
}

__public int kvshm_service_load(struct kvshm_service *s, uint32_t ns, const struct kvshm_service_copy *copies, unsigned nr,
				uint64_t user_data)
{
	struct kvshm *k = s->k;
	unsigned sent = 0, n;
	uint32_t group;
	uint16_t wire;
	int ret;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	if (!nr || nr > COPIES_MAX)
		return -EINVAL;
	ret = client_enter(k);
	if (!ret)
		ret = ns_wire(k, ns, &wire);
	if (!ret)
		ret = group_open(k, user_data, &group);
	if (ret < 0)
		return ret == -ENODATA ? -ECONNRESET : ret;
	while (sent < nr && !ret) {
		n = min_of(nr - sent, KVSHM_STAGE_MAX);
		ret = send_some(k, wire, copies + sent, n, group);
		sent += ret ? 0 : n;
	}
	/* after a hang-up the group is gone already */
	if (ret == -ECONNRESET)
		return ret;
	if (!sent) {
		group_cancel(k, group);
		return ret;
	}
	k->flight->group[group].nr_dropped += nr - sent;
	group_drop(k, group);
	return 0;
}
