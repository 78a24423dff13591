/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c - attachments come and go, hits go on
 *
 * hang-up:  the socket is closed, what was in flight is lost; maps, pins and touches stay as they are
 * switch:   a new session is taken into use; the old one stays only while the user holds pins or
 *           granted blocks of it: its pin file keeps them safe for as long
 * abandon:  the daemon started cold and said so (DEAD): nothing can be found any more
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/sock.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/ntcopy.h"
#include "kvshm/client/client.h"

#define REACH_NS 100000000ull		/* bound of asking for more extents */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

struct attachment *attachment_find(struct kvshm *k, uint32_t epoch)
{
	struct attachment *a = k->cur;

	if (likely(a && a->epoch == epoch))
		return a;
	for (a = k->old; a; a = a->next)
		if (a->epoch == epoch)
			return a;
	return NULL;
}

/* All pins end, and the file says that no more will come. */
static void pins_close(struct attachment *a)
{
	uint32_t i;

	for (i = 1; i < a->pins.nr; i++)
		pin_drop(&a->pins, i);
	/* NT-1: streamed bytes before their blocks return with the file; pairs with index_find() (BK-1). */
	ntcopy_fence();
	/* PN-2: reads under the last pin are done before the file says so; pairs with pin_set_scan(). */
	store_release(&a->pins.word[0], (uint64_t)KVSHM_PINFILE_CLOSED);
	pinfile_unmap(&a->pins);
}

static void attachment_unmap(struct attachment *a)
{
	if (a->pins.word)
		pins_close(a);
	if (a->seg.hdr)
		segment_unmap(&a->seg);
	if (a->staging)
		staging_unmap(a->staging);
}

struct attachment *attachment_free(struct attachment *a, bool is_owner)
{
	if (!a)
		return NULL;
	/* Pin file, its lock and all maps stay: the death of this process ends them. */
	if (a->is_left) {
		close_fd(&a->doorbell);
		close_fd(&a->sock);
		return NULL;
	}
	/* A forked child has none of the maps: it closes its copies of the descriptors and no more. */
	if (is_owner)
		attachment_unmap(a);
	content_put(a->content, is_owner);
	pin_table_fini(&a->pins);
	close_fd(&a->doorbell);
	close_fd(&a->sock);
	close_fd(&a->pin_fd);
	free(a);
	return NULL;
}

void client_hangup(struct kvshm *k)
{
	if (!client_is_attached(k))
		return;
	flight_lose(k);
	credit_forget(k);
	close_fd(&k->cur->sock);
	close_fd(&k->cur->doorbell);
	k->session++;
}

void client_counters_copy(const struct kvshm *k, uint64_t *to)
{
	unsigned i;

	for (i = 0; i < KVSHM_CC_WORDS; i++)
		WRITE_ONCE(to[i], k->cc[i]);
}

static void counters_move(struct kvshm *k, uint64_t *to)
{
	client_counters_copy(k, to);
	k->cc = to;
}

static bool is_held(const struct attachment *a)
{
	return a->nr_pins || a->nr_out;
}

static void retire(struct kvshm *k)
{
	struct attachment *a = k->cur;

	client_hangup(k);
	k->cur = NULL;
	if (!is_held(a)) {
		attachment_free(a, true);
		return;
	}
	a->next = k->old;
	k->old = a;
}

void client_switch(struct kvshm *k, struct attachment *a)
{
	a->epoch = k->next_epoch;
	if (++k->next_epoch == 0)
		k->next_epoch = 1;
	if (k->session)
		client_count(k, KVSHM_CC_REATTACHES, 1);
	counters_move(k, a->seg.hdr->counter);
	if (k->cur)
		retire(k);
	k->cur = a;
	k->session++;
	flight_reset_args(k->flight, a->seg.args_len);
}

void client_abandon(struct kvshm *k)
{
	counters_move(k, k->counter);
	retire(k);
	k->session++;
}

void client_reap_old(struct kvshm *k)
{
	struct attachment **p = &k->old;

	while (*p) {
		struct attachment *a = *p;

		if (is_held(a)) {
			p = &a->next;
			continue;
		}
		*p = a->next;
		attachment_free(a, true);
	}
}

bool client_look(struct kvshm *k, bool force)
{
	uint64_t now;

	if (!client_is_attached(k))
		return true;
	if (!force) {
		now = clock_coarse_ns();
		if (now < k->next_look_ns)
			return false;
		k->next_look_ns = now + CLIENT_LOOK_NS;
	}
	if (!sock_is_hung_up(k->cur->sock))
		return false;
	poll_drain(k);			/* what it finished before it died counts */
	client_hangup(k);
	return true;
}

static bool is_there(struct kvshm *k)
{
	if (!client_is_attached(k))
		return false;
	poll_drain(k);
	return !client_look(k, false);
}

int client_enter(struct kvshm *k)
{
	if (!is_there(k) && !attach_try(k))
		return -ECONNRESET;
	if (unlikely(k->cur->near != k->near))
		hint_near(k);
	return 0;
}

bool client_reach(struct kvshm *k, struct content *c, uint64_t offset, uint64_t len)
{
	int fds[KVSHM_MSG_MAX_FDS];
	uint64_t now;
	int nr;

	while (!arena_contains(&c->arena, offset, len)) {
		now = clock_ns();
		if (!client_is_attached(k) || k->cur->content != c || !arena_is_behind(&c->arena, &c->dir) ||
		    now < c->retry_ns)
			return false;
		k->messages++;
		nr = handshake_extents(k->cur->sock, c->arena.nr_extents, now + REACH_NS, fds);
		if (nr <= 0 || arena_add_extents(&c->arena, &c->dir, fds, (unsigned)nr) < 0) {
			c->retry_ns = clock_ns() + CLIENT_RETRY_NS;
			return false;
		}
	}
	return true;
}
