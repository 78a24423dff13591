/* SPDX-License-Identifier: Apache-2.0 */
/*
 * staging.c - the window through which an untrusted client hands bytes over
 *
 * A byte stream in slices; the tail counts filled slices, the head those that a copy lcore has taken.
 * Nothing tells that the head has moved, so a wait for room looks again by itself; it sleeps on the
 * socket in between, where a dead daemon hangs up.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ipc/doorbell.h"
#include "ipc/sock.h"
#include "kvshm/base/clock.h"
#include "kvshm/client/client.h"

#define NAP_NS 100000ull		/* about the time of one slice on a busy machine */

int staging_ready(struct kvshm *k, uint64_t deadline_ns)
{
	struct attachment *a = k->cur;
	int fd, ret;

	if (a->staging)
		return 0;
	k->messages += 2;
	fd = handshake_staging(a->sock, deadline_ns);
	if (fd < 0)
		return fd;
	ret = staging_map(fd, &a->staging);
	close(fd);
	if (ret < 0)
		return ret;
	madvise(a->staging, (size_t)KVSHM_STAGING_SLICE * KVSHM_STAGING_SLICES, MADV_DONTFORK);
	ret = handshake_mapped(a->sock, deadline_ns);
	if (ret < 0) {
		staging_unmap(a->staging);
		a->staging = NULL;
	}
	return ret;
}

uint32_t staging_room(struct kvshm *k)
{
	struct attachment *a = k->cur;
	uint32_t used;

	/* SG-2: the head before its slices are written again; pairs with staging_take(). */
	used = a->staging_tail - load_acquire(&a->seg.hdr->staging.head);
	return used > KVSHM_STAGING_SLICES ? 0 : KVSHM_STAGING_SLICES - used;
}

int staging_wait_room(struct kvshm *k, uint32_t slices, uint64_t deadline_ns)
{
	bool spun = true;
	uint64_t now;

	wait_begin(&k->staging_wait);
	while (staging_room(k) < slices) {
		if (spun && wait_step(&k->staging_wait))
			continue;
		spun = false;
		now = clock_ns();
		if (now >= deadline_ns)
			return -ETIMEDOUT;
		if (sock_wait(k->cur->sock, min_of(deadline_ns, now + NAP_NS)) > 0 &&
		    client_look(k, true))
			return -ECONNRESET;
	}
	wait_end(&k->staging_wait, spun);
	return 0;
}

int staging_fill(struct kvshm *k, const void *src, uint32_t len, uint64_t deadline_ns)
{
	struct attachment *a = k->cur;
	const char *from = src;
	uint32_t n;
	int ret;

	for (; len; from += n, len -= n) {
		ret = staging_wait_room(k, 1, deadline_ns);
		if (ret < 0)
			return ret;
		n = min_of(len, KVSHM_STAGING_SLICE);
		memcpy(a->staging + (size_t)(a->staging_tail % KVSHM_STAGING_SLICES) * KVSHM_STAGING_SLICE,
		       from, n);
		a->staging_tail++;
		/* SG-1: the slice before the tail; pairs with staging_take(). */
		store_release(&a->seg.hdr->staging.tail, a->staging_tail);
		doorbell_ring(a->doorbell, &a->content->dir.sb->writer_asleep);
	}
	return 0;
}
