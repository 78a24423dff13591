/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fixture.h - the writer with a session or two, in one thread: each round is asked for
 *
 * No socket, no other thread: main's mailbox and the copier's are read by the test, which also is the
 * client at the other end of the queue pair.
 */
#ifndef TESTS_UNIT_KVSHM_DAEMON_FIXTURE_H
#define TESTS_UNIT_KVSHM_DAEMON_FIXTURE_H

#include "ipc/doorbell.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/eal.h"
#include "kvshm/daemon/opdef.h"
#include "kvshm/daemon/writer.h"
#include "tests/unit/kvshm/cache/fixture.h"

#define WFIX_MAIL 64u

struct wfix {
	struct fix f;
	struct daemon *d;
	struct writer *w;
	struct session *s;
	struct qp_end sq, cq; /* the client's ends */
	uint16_t ns;
};

/* Once a program: EAL starts only once. */
__fix int wfix_group_setup(void **state)
{
	return eal_start("test-writer", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", 1);
}

__fix int wfix_group_teardown(void **state)
{
	eal_stop();
	return 0;
}

__fix void wfix_round(struct wfix *x)
{
	writer_round(x->w);
}

/* A session with a queue and a staging window, served from here on; the client's ends are the caller's. */
__fix struct session *wfix_serve(struct wfix *x, unsigned index, struct qp_end *sq,
				 struct qp_end *cq)
{
	struct session *s = &x->d->session[index];
	struct segment *seg = &s->q.seg;

	session_init(s, index);
	s->slot = FIX_OWNER + index;
	s->is_trusted = true;
	s->state = SESSION_SERVING;
	assert_int_equal(segment_create(seg, &s->segment_fd), 0);
	assert_int_equal(staging_create(&s->q.staging, &s->staging_fd), 0);
	s->q.has_staging = true;
	s->doorbell_fd = doorbell_create();
	assert_true(s->doorbell_fd >= 0);
	qp_end_init(sq, &seg->hdr->sq, seg->sq, seg->sq_entries);
	qp_end_init(cq, &seg->hdr->cq, seg->cq, seg->cq_entries);
	x->w->known[index] = s;
	mailbox_send(&x->d->to_writer, LANE_MAIN, MAIL_SERVE, s, 0);
	wfix_round(x);
	return s;
}

/* Blocks of @block_len, @units of 2 MiB. */
__fix void wfix_open(struct wfix *x, uint32_t max_blocks, unsigned units, uint32_t block_len)
{
	struct daemon *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	*x = (struct wfix){ .d = d };
	fix_open(&x->f, max_blocks, units, NULL);
	x->ns = fix_ns(&x->f, 1, block_len);
	d->conf.credit_blocks = max_blocks;
	d->store.credit_bytes = UINT64_MAX;
	d->store.dir = x->f.dir;
	d->store.arena = x->f.arena;
	d->store.pins = x->f.pins;
	d->store.cache = x->f.c;
	d->nr_copiers = 1;
	assert_int_equal(statpage_create(x->f.dirfd, "stats", "1", &d->stats), 0);
	assert_int_equal(mailbox_init(&d->to_writer, "to-writer", LANE_COPIER + 1, WFIX_MAIL), 0);
	assert_int_equal(mailbox_init(&d->to_main, "to-main", 1, WFIX_MAIL), 0);
	assert_int_equal(copier_init(&d->copier[0], 0, &d->to_writer, d->stats), 0);
	assert_int_equal(writer_create(d, &x->w), 0);
	x->s = wfix_serve(x, 0, &x->sq, &x->cq);
}

__fix void wfix_close(struct wfix *x)
{
	struct daemon *d = x->d;

	fix_verify(&x->f);
	writer_destroy(x->w);
	session_release(x->s);
	copier_fini(&d->copier[0]);
	mailbox_fini(&d->to_main);
	mailbox_fini(&d->to_writer);
	statpage_destroy(d->stats);
	unlinkat(x->f.dirfd, "stats", 0);
	free(d);
	fix_close(&x->f);
}

__fix void wfix_submit(struct wfix *x, struct kvshm_sqe e)
{
	assert_int_equal(sq_push(&x->sq, &e), 0);
}

/* Return: is there a completion? */
__fix bool wfix_completion(struct wfix *x, struct kvshm_cqe *ret)
{
	return cq_pop(&x->cq, ret) == 1;
}

/* The next message to main of this type, others before it are thrown away.  Return: was there one? */
__fix bool wfix_told_main(struct wfix *x, enum mail_type type)
{
	struct mail m;

	while (mailbox_take(&x->d->to_main, &m))
		if (m.type == type)
			return true;
	return false;
}

/* Blocks in @state. */
__fix unsigned wfix_count(const struct wfix *x, enum kvshm_block_state state)
{
	unsigned nr = 0;

	for (uint32_t id = 1; id <= x->f.dir.max_blocks; id++)
		nr += state_of(x->f.dir.desc[id].state) == state;
	return nr;
}

/* Main says so, and the writer has its turn. */
__fix void wfix_tell(struct wfix *x, enum mail_type type)
{
	mailbox_send(&x->d->to_writer, LANE_MAIN, type, x->s, 0);
	wfix_round(x);
}

#endif
