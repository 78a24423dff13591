/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake.h - a daemon in a thread: handshake, queue pair, staging, over anonymous files
 *
 * One session at a time, no eviction; blocks of FAKE_LEN bytes, id n at the n-th place.  What the
 * tests script: a slow or deaf daemon (.is_deaf), a small credit, a refusal, extents served late,
 * death and a warm or cold start.
 */
#ifndef TESTS_UNIT_CLIENT_FAKE_H
#define TESTS_UNIT_CLIENT_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <kvshm/kvshm.h>

#include "ipc/doorbell.h"
#include "ipc/handshake.h"
#include "ipc/qp.h"
#include "ipc/segment.h"
#include "ipc/sock.h"
#include "kvshm/arena/arena.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/index/index.h"
#include "kvshm/pin/pin.h"

#define FAKE_LEN 65536u
#define FAKE_BLOCKS 1024u
#define FAKE_EXTENT (32u << 20)
#define FAKE_SOON_NS 5000000000ull	/* a deadline, never reached when all is well */

struct fake {
	char path[96];
	int listen, conn;
	int dir_fd, extent_fd[2];
	struct directory dir;
	struct arena arena;
	uint32_t start_count;
	pthread_t thread;
	/* script, read by the thread */
	uint32_t is_deaf;		/* entries stay in the queue */
	uint32_t is_quitting;
	uint32_t is_untrusted, pin_words, credit_blocks;
	uint64_t credit_bytes, quota_bytes;
	int32_t refusal;
	uint32_t is_blocked;		/* staging is not consumed */
	int32_t staged_refusal;
	uint64_t junk;			/* user_data of a completion that nobody asked for */
	/* the session, the thread's */
	uint32_t slot;
	int pin_fd, bell, seg_fd, staging_fd;
	struct segment seg;
	struct qp_end sq, cq;
	char *staging;
	uint32_t next_id;
	uint32_t nr_hello, old_slot, nr_granted, nr_returned, nr_detach;
};

/* ---- content ---------------------------------------------------------------------------------- */

static inline int fake_memfd(size_t len)
{
	int fd = memfd_create("fake", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	return fd;
}

static inline void fake_serve_extent(struct fake *f, uint32_t n)
{
	struct kvshm_extent_entry e = { .base = (uint64_t)n * FAKE_EXTENT, .len = FAKE_EXTENT, .number = n };

	f->dir.extent[n] = e;
	/* XT-1: the entry before the count; pairs with arena_is_behind(). */
	store_release(&f->dir.sb->nr_extents, n + 1);
}

static inline void fake_content(struct fake *f)
{
	struct directory_geometry g = { .max_blocks = FAKE_BLOCKS, .max_ns = 8, .max_extents = 4,
					.hash_seed = 1 };
	size_t len = directory_size(&g);
	uint32_t n;

	f->dir_fd = fake_memfd(len);
	assert_int_equal(directory_create(f->dir_fd, &g, &f->dir), 0);
	assert_int_equal(arena_reserve(&f->arena, 2 * FAKE_EXTENT, true), 0);
	for (n = 0; n < 2; n++) {
		struct kvshm_extent_entry e = { .base = (uint64_t)n * FAKE_EXTENT, .len = FAKE_EXTENT };

		f->extent_fd[n] = fake_memfd(FAKE_EXTENT);
		assert_int_equal(arena_map_extent(&f->arena, &e, f->extent_fd[n]), 0);
	}
	fake_serve_extent(f, 0);
	f->next_id = 1;
}

static inline void fake_content_end(struct fake *f)
{
	close(f->dir_fd);
	close(f->extent_fd[0]);
	close(f->extent_fd[1]);
	directory_detach(&f->dir);
	arena_unmap(&f->arena);
}

/* ---- entries -------------------------------------------------------------------------------------- */

static inline int32_t fake_ns(struct fake *f, const struct kvshm_ns_args *a)
{
	uint32_t n;

	for (n = 1; n < f->dir.max_ns; n++) {
		struct kvshm_ns_entry *e = &f->dir.ns[n];

		if (e->state && !memcmp(e->fingerprint, a->fingerprint, 32))
			return e->block_len == a->block_len ? (int32_t)n : -EMEDIUMTYPE;
		if (e->state)
			continue;
		memcpy(e->fingerprint, a->fingerprint, 32);
		memcpy(e->layout, a->layout, 32);
		e->block_len = a->block_len;
		e->block_tokens = a->block_tokens;
		/* NS-1: the entry before its state; pairs with ns_entry(). */
		store_release(&e->state, 1);
		return (int32_t)n;
	}
	return -ENOSPC;
}

static inline uint32_t fake_new_block(struct fake *f, uint16_t ns, uint32_t len, uint32_t owner)
{
	uint32_t id = READ_ONCE(f->next_id);

	if (id > FAKE_BLOCKS)
		return 0;
	WRITE_ONCE(f->next_id, id + 1);
	block_grant(&f->dir.desc[id], (id - 1) * (FAKE_LEN / KVSHM_PAGE), len, ns, owner);
	return id;
}

static inline void fake_grant(struct fake *f, const struct kvshm_sqe *sqe, struct kvshm_cqe *cqe)
{
	uint32_t i, id;

	for (i = 0; i < sqe->nr; i++) {
		id = fake_new_block(f, sqe->ns, sqe->len, f->slot);
		if (!id)
			break;
		if (!i)
			cqe->run[0].first = id;
	}
	cqe->run[0].nr = i;
	cqe->nr_runs = i > 0;
	cqe->res = (int32_t)i;
	WRITE_ONCE(f->nr_granted, f->nr_granted + i);
}

/* Return: 1 published, 0 duplicate, -1 dropped. */
static inline int fake_publish_one(struct fake *f, const struct kvshm_sqe *sqe,
			    const struct kvshm_commit_rec *r, uint32_t id, uint32_t *parent)
{
	struct kvshm_desc *d = &f->dir.desc[id];
	bool is_loose = sqe->flags & KVSHM_SQE_F_LOOSE;
	struct index_hit hit;
	struct block_info info = { .key = r->key, .length = r->length, .ns = sqe->ns, .tokens = r->tokens,
				   .checksum = r->checksum };

	if (!id || state_of(d->state) != KVSHM_BLOCK_GRANTED)
		return -1;
	if (index_find(&f->dir, sqe->ns, &r->key, &hit)) {
		block_free(d);
		*parent = hit.id;
		return 0;
	}
	info.parent = is_loose ? 0 : *parent;
	info.depth = info.parent ? f->dir.desc[info.parent].depth + 1 : 0;
	info.flags = (info.parent ? 0 : KVSHM_FLAG_NOPARENT) | (r->checksum ? KVSHM_FLAG_CHECKSUM : 0);
	block_publish(d, &info);
	*parent = id;
	return index_insert(&f->dir, sqe->ns, &r->key, id) == 0 ? 1 : -1;
}

/* Take one staged payload; return the block it lies in. */
static inline uint32_t fake_staged(struct fake *f, const struct kvshm_sqe *sqe, const struct kvshm_commit_rec *r)
{
	struct kvshm_ring_ctl *ctl = &f->seg.hdr->staging;
	uint32_t id = fake_new_block(f, sqe->ns, r->length, 0), done = 0, head = ctl->head, n;
	char *to = arena_ptr(&f->arena, (uint64_t)f->dir.desc[id].page * KVSHM_PAGE);

	while (done < r->length) {
		/* SG-1: the tail before the slice; pairs with staging_fill(). */
		while (load_acquire(&ctl->tail) == head || READ_ONCE(f->is_blocked))
			if (READ_ONCE(f->is_quitting))
				return 0;
		n = min_of(r->length - done, KVSHM_STAGING_SLICE);
		memcpy(to + done, f->staging + (size_t)(head % KVSHM_STAGING_SLICES) * KVSHM_STAGING_SLICE, n);
		done += n;
		/* SG-2: the slice is read before it is given back; pairs with staging_room(). */
		store_release(&ctl->head, ++head);
	}
	return id;
}

static inline void fake_commit(struct fake *f, const struct kvshm_sqe *sqe, struct kvshm_cqe *cqe)
{
	const struct kvshm_commit_rec *r = (const void *)(f->seg.args + sqe->off);
	struct index_hit hit = { 0 };
	uint32_t i, parent, id;
	bool has_parent = true;

	if (sqe->flags & KVSHM_SQE_F_STAGED && READ_ONCE(f->staged_refusal)) {
		cqe->res = READ_ONCE(f->staged_refusal);
		cqe->nr_dropped = sqe->nr;
		return;
	}
	if (!(sqe->flags & (KVSHM_SQE_F_NOPARENT | KVSHM_SQE_F_LOOSE)))
		has_parent = index_find(&f->dir, sqe->ns, &sqe->key, &hit);
	parent = hit.id;
	for (i = 0; i < sqe->nr; i++) {
		id = sqe->flags & KVSHM_SQE_F_STAGED ? fake_staged(f, sqe, &r[i]) : r[i].block.id;
		switch (has_parent ? fake_publish_one(f, sqe, &r[i], id, &parent) : -1) {
		case 1:
			cqe->res++;
			break;
		case 0:
			cqe->nr_duplicate++;
			break;
		default:
			cqe->nr_dropped++;
		}
	}
	if (!has_parent)
		cqe->res = -ENOENT;
}

static inline void fake_return(struct fake *f, const struct kvshm_sqe *sqe)
{
	const struct kvshm_block_ref *ref = (const void *)(f->seg.args + sqe->off);
	uint32_t i;

	for (i = 0; i < sqe->nr; i++)
		block_free(&f->dir.desc[ref[i].id]);
	__atomic_fetch_add(&f->nr_returned, sqe->nr, __ATOMIC_SEQ_CST);
}

static inline void fake_entry(struct fake *f, const struct kvshm_sqe *sqe)
{
	struct kvshm_cqe cqe = { .user_data = sqe->user_data, .op = sqe->op };
	struct kvshm_cqe junk = { .user_data = READ_ONCE(f->junk), .op = sqe->op, .res = 1 };

	if (junk.user_data)
		cq_push(&f->cq, &junk);
	if (sqe->op == KVSHM_OP_ATTACH_NS)
		cqe.res = fake_ns(f, (const void *)(f->seg.args + sqe->off));
	else if (sqe->op == KVSHM_OP_GRANT)
		fake_grant(f, sqe, &cqe);
	else if (sqe->op == KVSHM_OP_RETURN)
		fake_return(f, sqe);
	else if (sqe->op == KVSHM_OP_COMMIT)
		fake_commit(f, sqe, &cqe);
	else if (sqe->op == KVSHM_OP_DROP)
		cqe.res = 7;
	else if (sqe->op == KVSHM_OP_DETACH)
		__atomic_fetch_add(&f->nr_detach, 1, __ATOMIC_SEQ_CST);
	if (READ_ONCE(f->is_quitting))
		return;			/* died over it */
	cq_push(&f->cq, &cqe);
	doorbell_wake_client(f->conn, f->seg.hdr);
}

/* ---- messages --------------------------------------------------------------------------------------- */

static inline void fake_hang_up(struct fake *f)
{
	if (f->conn < 0)
		return;
	close(f->conn);
	close(f->pin_fd);
	close(f->bell);
	close(f->seg_fd);
	segment_unmap(&f->seg);
	if (f->staging) {
		staging_unmap(f->staging);
		close(f->staging_fd);
		f->staging = NULL;
	}
	f->conn = -1;
}

static inline void fake_plain(struct fake *f, enum kvshm_msg_type type, uint32_t arg, uint32_t nr, const int *fds)
{
	struct kvshm_msg_plain m;

	handshake_plain(&m, type, arg, nr);
	sock_send(f->conn, &m, sizeof(m), fds, nr);
}

static inline void fake_welcome(struct fake *f, const struct kvshm_msg_hello *h)
{
	struct kvshm_msg_welcome w = {
		.hdr = { KVSHM_MSG_MAGIC, KVSHM_MSG_WELCOME, sizeof(w) },
		.abi = KVSHM_ABI,
		.flags = f->is_untrusted || h->flags ? 0 : KVSHM_WELCOME_F_TRUSTED,
		.slot = ++f->slot,
		.pin_words = f->pin_words,
		.nr_extents = f->dir.sb->nr_extents,
		.credit_blocks = f->credit_blocks,
		.credit_bytes = f->credit_bytes,
		.pin_quota_bytes = f->quota_bytes,
		.instance = f->dir.instance,
	};
	int fds[HANDSHAKE_NR_FDS];

	WRITE_ONCE(f->nr_hello, f->nr_hello + 1);
	WRITE_ONCE(f->old_slot, h->old_slot);
	f->pin_fd = fake_memfd(f->pin_words * sizeof(uint64_t));
	f->bell = doorbell_create();
	segment_create(&f->seg, &f->seg_fd);
	qp_end_init(&f->sq, &f->seg.hdr->sq, f->seg.sq, f->seg.sq_entries);
	qp_end_init(&f->cq, &f->seg.hdr->cq, f->seg.cq, f->seg.cq_entries);
	fds[HANDSHAKE_FD_DIRECTORY] = f->dir_fd;
	fds[HANDSHAKE_FD_PINS] = f->pin_fd;
	fds[HANDSHAKE_FD_SEGMENT] = f->seg_fd;
	fds[HANDSHAKE_FD_DOORBELL] = f->bell;
	sock_send(f->conn, &w, sizeof(w), fds, HANDSHAKE_NR_FDS);
}

static inline void fake_message(struct fake *f)
{
	union handshake_msg m;
	struct kvshm_msg_refused r;
	uint32_t nr;
	int len = sock_recv(f->conn, &m, NULL, 0, NULL);

	if (len == -EAGAIN)
		return;
	if (len <= 0) {
		fake_hang_up(f);
		return;
	}
	switch (handshake_check(&m, (size_t)len)) {
	case KVSHM_MSG_HELLO:
		if (!READ_ONCE(f->refusal)) {
			fake_welcome(f, &m.hello);
			break;
		}
		handshake_refused(&r, f->refusal, "scripted");
		sock_send(f->conn, &r, sizeof(r), NULL, 0);
		break;
	case KVSHM_MSG_MAPPED:
		fake_plain(f, KVSHM_MSG_READY, 0, 0, NULL);
		break;
	case KVSHM_MSG_EXTENTS:
		nr = f->dir.sb->nr_extents - m.plain.arg;
		fake_plain(f, KVSHM_MSG_EXTENT_FDS, m.plain.arg, nr, f->extent_fd + m.plain.arg);
		break;
	case KVSHM_MSG_STAGING:
		staging_create(&f->staging, &f->staging_fd);
		fake_plain(f, KVSHM_MSG_STAGING_FD, 0, 1, &f->staging_fd);
		break;
	}
}

static inline void *fake_main(void *arg)
{
	struct fake *f = arg;
	struct kvshm_sqe sqe;
	struct pollfd p[2];
	int fd;

	while (!READ_ONCE(f->is_quitting)) {
		p[0] = (struct pollfd){ .fd = f->listen, .events = POLLIN };
		p[1] = (struct pollfd){ .fd = f->conn, .events = POLLIN };
		poll(p, 2, f->conn < 0 ? 20 : 0);
		if (p[0].revents & POLLIN) {
			fd = accept4(f->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
			fake_hang_up(f);
			f->conn = fd;
			f->pin_fd = f->bell = f->seg_fd = -1;
		} else if (p[1].revents) {
			fake_message(f);
		}
		while (f->conn >= 0 && f->seg.hdr && !READ_ONCE(f->is_deaf) && sq_pop(&f->sq, &sqe) == 1)
			fake_entry(f, &sqe);
		sched_yield();
	}
	fake_hang_up(f);
	return NULL;
}

/* ---- for tests --------------------------------------------------------------------------------------- */

static inline void fake_start(struct fake *f)
{
	WRITE_ONCE(f->is_quitting, 0);
	f->listen = sock_listen(f->path, 0600, 16);
	assert_true(f->listen >= 0);
	f->conn = -1;
	directory_set_state(&f->dir, KVSHM_SB_LIVE, ++f->start_count);
	assert_int_equal(pthread_create(&f->thread, NULL, fake_main, f), 0);
}

/* As SIGKILL: sockets are gone, memory stays. */
static inline void fake_die(struct fake *f)
{
	WRITE_ONCE(f->is_quitting, 1);
	pthread_join(f->thread, NULL);
	close(f->listen);
}

static inline int fake_setup(void **state)
{
	static unsigned number;
	const char *tmp = getenv("TMPDIR");
	struct fake *f = calloc(1, sizeof(*f));

	snprintf(f->path, sizeof(f->path), "%s/fake-%d-%u", tmp && strlen(tmp) < 60 ? tmp : "/tmp", getpid(),
		 number++);
	f->pin_words = 64;
	f->credit_blocks = 16;
	f->credit_bytes = 64u << 20;
	f->slot = 10;
	fake_content(f);
	fake_start(f);
	*state = f;
	return 0;
}

static inline int fake_teardown(void **state)
{
	struct fake *f = *state;

	fake_die(f);
	unlink(f->path);
	fake_content_end(f);
	free(f);
	return 0;
}

static inline struct kvshm *fake_open(struct fake *f, unsigned flags)
{
	struct kvshm_options o = { .sz = sizeof(o), .socket = f->path, .label = "test", .flags = flags,
				   .timeout_ms = 5000 };
	struct kvshm *k = NULL;

	assert_int_equal(kvshm_open(&o, &k), 0);
	return k;
}

static inline struct kvshm_ns_desc fake_desc(uint8_t n)
{
	struct kvshm_ns_desc d = { .fingerprint = { n, 1 }, .layout = { 2 }, .block_len = FAKE_LEN,
				   .block_tokens = 16, .label = "test" };

	return d;
}

static inline uint32_t fake_attach_ns(struct kvshm *k)
{
	struct kvshm_ns_desc d = fake_desc(1);
	uint32_t ns = 0;

	assert_int_equal(kvshm_attach_ns(k, &d, &ns), 0);
	return ns;
}

static inline struct kvshm_key fake_key_of(uint32_t chain, uint32_t i)
{
	struct kvshm_key k = { { 0 } };

	memcpy(k.bytes, &chain, sizeof(chain));
	memcpy(k.bytes + 8, &i, sizeof(i));
	k.bytes[31] = 1;
	return k;
}

static inline void fake_keys(struct kvshm_key *keys, unsigned nr, uint32_t chain)
{
	unsigned i;

	for (i = 0; i < nr; i++)
		keys[i] = fake_key_of(chain, i);
}

/* Bytes that tell which block they belong to. */
static inline void fake_fill(void *p, uint32_t chain, uint32_t i, uint32_t len)
{
	uint32_t *w = p, n;

	for (n = 0; n < len / 4; n++)
		w[n] = chain * 1000003u + i * 4099u + n;
}

static inline bool fake_is_filled(const void *p, uint32_t chain, uint32_t i, uint32_t len)
{
	const uint32_t *w = p;
	uint32_t n;

	for (n = 0; n < len / 4; n++)
		if (w[n] != chain * 1000003u + i * 4099u + n)
			return false;
	return true;
}

/* Put @nr blocks of a chain and wait for the completion. */
static inline struct kvshm_completion fake_put(struct kvshm *k, uint32_t ns, uint32_t chain, unsigned nr)
{
	struct kvshm_key *keys = calloc(nr, sizeof(*keys));
	const void **src = calloc(nr, sizeof(*src));
	struct kvshm_completion c = { 0 };
	unsigned i;

	fake_keys(keys, nr, chain);
	for (i = 0; i < nr; i++) {
		char *p = malloc(FAKE_LEN);

		fake_fill(p, chain, i, FAKE_LEN);
		src[i] = p;
	}
	assert_int_equal(kvshm_put(k, ns, NULL, keys, src, NULL, nr, 0, chain, 5000000), 0);
	assert_int_equal(kvshm_poll(k, &c, 1, 5000000), 1);
	assert_int_equal(c.user_data, chain);
	for (i = 0; i < nr; i++)
		free((void *)(uintptr_t)src[i]);
	free(src);
	free(keys);
	return c;
}

#endif
