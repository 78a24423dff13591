/* SPDX-License-Identifier: Apache-2.0 */
/* open.c - a handle: found, attached, closed */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ipc/instance.h"
#include "ipc/sock.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/sized.h"
#include "kvshm/client/gpu.h"

#define GOODBYE_NS 100000000ull		/* bound of a close with nothing to lose */

/* A word that reads 0 in a forked child: a page of its own. */
static int alive_map(const uint32_t **ret_alive)
{
	long len = sysconf(_SC_PAGESIZE);
	uint32_t *p;

	p = mmap(NULL, (size_t)len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	if (madvise(p, (size_t)len, MADV_WIPEONFORK) < 0) {
		munmap(p, (size_t)len);
		return -EOPNOTSUPP;
	}
	*p = 1;
	*ret_alive = p;
	return 0;
}

static void alive_unmap(const uint32_t *alive)
{
	munmap((void *)(uintptr_t)alive, (size_t)sysconf(_SC_PAGESIZE));
}

static int options_take(struct kvshm *k, const struct kvshm_options *opts)
{
	struct kvshm_options o = { 0 };
	int ret = opts ? sized_take(opts, offsetof(struct kvshm_options, socket), &o, sizeof(o)) : 0;

	if (ret < 0)
		return ret;
	if (o.flags & ~KVSHM_OPEN_UNTRUSTED)
		return -EINVAL;
	k->hello_flags = o.flags & KVSHM_OPEN_UNTRUSTED ? KVSHM_HELLO_F_UNTRUSTED : 0;
	k->timeout_ms = o.timeout_ms ? o.timeout_ms : CLIENT_TIMEOUT_MS;
	if (!o.label)
		o.label = program_invocation_short_name;
	memcpy(k->label, o.label, strnlen(o.label, sizeof(k->label) - 1));
	return instance_socket(o.socket, o.instance, k->path, sizeof(k->path));
}

static int handle_create(const struct kvshm_options *opts, struct kvshm **ret_k)
{
	struct kvshm *k = calloc(1, sizeof(*k));
	int ret;

	if (!k)
		return -ENOMEM;
	k->cc = k->counter;
	k->near = -1;
	k->next_epoch = k->next_serial = 1;
	wait_init(&k->wait);
	wait_init(&k->staging_wait);
	ret = options_take(k, opts);
	if (ret < 0)
		goto err_free;
	ret = -ENOMEM;
	k->ids = malloc(KVSHM_CHAIN_MAX * sizeof(*k->ids));
	if (!k->ids)
		goto err_free;
	ret = flight_create(&k->flight);
	if (ret < 0)
		goto err_ids;
	ret = alive_map(&k->alive);
	if (ret < 0)
		goto err_flight;
	*ret_k = k;
	return 0;
err_flight:
	flight_destroy(k->flight);
err_ids:
	free(k->ids);
err_free:
	free(k);
	return ret;
}

static void handle_free(struct kvshm *k)
{
	alive_unmap(k->alive);
	credit_free(k);
	flight_destroy(k->flight);
	free(k->ns);
	free(k->ids);
	free(k);
}

static int attach_wait(struct kvshm *k)
{
	uint64_t deadline = clock_ns() + (uint64_t)k->timeout_ms * 1000000u;
	int ret;

	ret = attach_begin(k, k->timeout_ms, deadline);
	if (ret < 0)
		return ret == -EAGAIN ? -ETIMEDOUT : ret;
	while ((ret = attach_step(k)) == 0)
		sock_wait(k->attempt.a->sock, deadline);
	return ret < 0 ? ret : 0;
}

__public int kvshm_open(const struct kvshm_options *opts, struct kvshm **ret_k)
{
	struct kvshm *k = NULL;
	int ret;

	ret = handle_create(opts, &k);
	if (ret < 0)
		return ret;
	ret = attach_wait(k);
	if (ret < 0) {
		handle_free(k);
		return ret;
	}
	*ret_k = k;
	return 0;
}

/*
 * Say goodbye: grants back, session over.  The daemon needs none of it, death says the same; but puts
 * that are still in flight would be lost, so their completions are waited for.
 */
static void detach(struct kvshm *k)
{
	struct kvshm_sqe sqe = { 0 };
	uint64_t deadline;
	struct op *op;

	if (client_enter(k) < 0)
		return;
	deadline = clock_ns() + (k->flight->nr_free_group < CLIENT_OPS ?
				 (uint64_t)k->timeout_ms * 1000000u : GOODBYE_NS);
	credit_return_idle(k, NULL);
	if (submit_reserve(k, OP_RETURN, KVSHM_OP_DETACH, 0, &op, NULL) == 0)
		submit_push(k, op, &sqe, 0);
	while (k->flight->nr_free_op < CLIENT_OPS && poll_wait(k, deadline) > 0)
		poll_drain(k);
}

__public struct kvshm *kvshm_close(struct kvshm *k)
{
	bool is_owner;
	struct attachment *a;

	if (!k)
		return NULL;
	is_owner = !client_is_forked(k);
	if (is_owner) {
		gpu_close_all(k);
		detach(k);
	}
	k->cc = k->counter;
	attachment_free(k->attempt.a, is_owner);
	attachment_free(k->cur, is_owner);
	while ((a = k->old)) {
		k->old = a->next;
		attachment_free(a, is_owner);
	}
	handle_free(k);
	return NULL;
}
