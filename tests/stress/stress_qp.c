/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stress_qp.c - queue pair, client and daemon in two threads
 *
 * Each entry has arguments in plain memory, as a COMMIT has: the client fills them before the push
 * (QP-1), the daemon writes its answer there before the completion (QP-3), the client uses the place
 * again afterwards.  Entries are plain too under TSan (ipc/ring.h), so it sees an index that does not
 * order what it gives away: QP-2, QP-4.  The rings are small, so that they are full and empty often,
 * and crossings are counted: a run in which the two never met has tested nothing.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "ipc/doorbell.h"
#include "ipc/qp.h"
#include "ipc/sock.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "tests/stress/two_cores.h"

#define SQ_ENTRIES 8
#define CQ_ENTRIES 4
#define IN_FLIGHT 16			/* argument places */
#define LULL 128				/* after so many the client lets all drain */
#define NR_ITEMS 200000
#define NR_SLEEPS 20000
#define LONG_EVERY 8
#define TOO_LONG_MS 2000		/* a wake-up that takes longer was lost */

struct args {
	uint64_t number, answer;
};

static struct shared {
	struct kvshm_segment seg;
	struct kvshm_sqe sqe[SQ_ENTRIES];
	struct kvshm_cqe cqe[CQ_ENTRIES];
	struct args args[IN_FLIGHT];
	uint32_t writer_asleep;
} sh;

struct side {
	struct qp_end sq, cq;
	uint64_t nr_full, nr_empty;	/* crossings */
	uint64_t nr_slept;
	const char *error;
};

static void side_init(struct side *s)
{
	memset(s, 0, sizeof(*s));
	qp_end_init(&s->sq, &sh.seg.sq, sh.sqe, SQ_ENTRIES);
	qp_end_init(&s->cq, &sh.seg.cq, sh.cqe, CQ_ENTRIES);
}

static uint64_t answer_to(uint64_t n)
{
	return n * 0x9e3779b97f4a7c15ull + 1;
}

/* ---- both awake ---------------------------------------------------------------------------------- */

static const char *serve_one(struct side *d, uint64_t want)
{
	struct kvshm_sqe sqe;
	struct kvshm_cqe cqe = { .op = KVSHM_OP_COMMIT };
	struct args *a;
	int ret;

	while ((ret = sq_pop(&d->sq, &sqe)) == 0) {
		d->nr_empty++;
		sched_yield();
	}
	if (ret < 0)
		return "sq_pop failed";
	if (sqe.user_data != want || sqe.stamp_ns != ~want || sqe.nr != (uint32_t)want)
		return "an entry was torn, lost or seen twice";
	a = &sh.args[want % IN_FLIGHT];
	if (a->number != want)
		return "arguments were not there with their entry";
	a->answer = answer_to(want);
	cqe.user_data = want;
	cqe.run[KVSHM_CQE_RUNS - 1].nr = ~(uint32_t)want;
	while ((ret = cq_push(&d->cq, &cqe)) == -EAGAIN) {
		d->nr_full++;
		sched_yield();
	}
	return ret < 0 ? "cq_push failed" : NULL;
}

static void *serve(void *arg)
{
	struct side *d = arg;
	uint64_t n;

	run_on_core(1);
	for (n = 0; n < NR_ITEMS && !d->error; n++)
		d->error = serve_one(d, n);
	return NULL;
}

static bool submit(struct side *c, uint64_t n)
{
	struct kvshm_sqe sqe = { .op = KVSHM_OP_COMMIT, .nr = (uint32_t)n, .user_data = n,
				 .stamp_ns = ~n };

	sh.args[n % IN_FLIGHT] = (struct args){ .number = n };
	if (sq_push(&c->sq, &sqe) == 0)
		return true;
	c->nr_full++;
	return false;
}

/* Mostly ahead of the daemon; now and then its SQ runs empty. */
static bool may_submit(uint64_t sent, uint64_t done)
{
	return sent < NR_ITEMS && sent - done < IN_FLIGHT && (sent % LULL || sent == done);
}

static bool collect(struct side *c, uint64_t want)
{
	struct kvshm_cqe cqe;

	if (cq_pop(&c->cq, &cqe) != 1) {
		c->nr_empty++;
		return false;
	}
	if (cqe.user_data != want || cqe.run[KVSHM_CQE_RUNS - 1].nr != ~(uint32_t)want)
		c->error = "a completion was torn, lost or seen twice";
	if (sh.args[want % IN_FLIGHT].answer != answer_to(want))
		c->error = "the answer was not there with its completion";
	return true;
}

static void entries_and_arguments_arrive_together(void **state)
{
	struct side client, server;
	uint64_t sent = 0, done = 0, deadline = clock_ns() + 100000000000ull;
	pthread_t th;
	bool moved;

	run_on_core(0);
	memset(&sh, 0, sizeof(sh));
	side_init(&client);
	side_init(&server);
	assert_int_equal(pthread_create(&th, NULL, serve, &server), 0);
	while (done < NR_ITEMS && !client.error && clock_ns() < deadline) {
		moved = false;
		if (may_submit(sent, done) && submit(&client, sent)) {
			sent++;
			moved = true;
		}
		if (collect(&client, done)) {
			done++;
			moved = true;
		}
		if (!moved)
			sched_yield();
	}
	if (client.error || done < NR_ITEMS)	/* the server may wait for ever */
		fail_msg("%s after %lu", client.error ? client.error : "stuck", (unsigned long)done);
	pthread_join(th, NULL);
	if (server.error)
		fail_msg("%s", server.error);
	print_message("crossings: sq full %lu empty %lu, cq full %lu empty %lu\n",
		      (unsigned long)client.nr_full, (unsigned long)server.nr_empty,
		      (unsigned long)server.nr_full, (unsigned long)client.nr_empty);
	assert_true(client.nr_full > 100 && server.nr_empty > 100 && client.nr_empty > 100);
}

/* ---- both asleep: no wake-up is lost -------------------------------------------------------------- */

struct sleepers {
	struct side server;
	int bell, sock;
};

/* The daemon's way to sleep: announce, look once more, sleep until rung. */
static bool server_sleeps(struct sleepers *s)
{
	struct pollfd p = { .fd = s->bell, .events = POLLIN };
	uint64_t count;
	int ret = 1;

	doorbell_arm(&sh.writer_asleep);
	if (!qp_pending(&s->server.sq)) {
		s->server.nr_slept++;
		ret = poll(&p, 1, TOO_LONG_MS);
	} else {
		s->server.nr_empty++;
	}
	doorbell_disarm(&sh.writer_asleep);
	while (read(s->bell, &count, sizeof(count)) > 0)
		;
	return ret > 0;
}

/*
 * Puts a push before, into and after the other side's going to sleep.  Mostly short: about what the
 * news of an entry needs to cross.
 */
static void pause_a_little(uint64_t n)
{
	uint64_t spins = (n * 2654435761u >> 7) % (n % LONG_EVERY ? 24 : 4000);

	while (spins--)
		cpu_relax();
}

/*
 * In the first half the client mostly stays awake and pushes as the server looks at its SQ for the last
 * time, in the second half the server completes as the client looks at its CQ for the last time.
 */
static void stay_awake(struct qp_end *e, uint64_t n, bool is_client)
{
	unsigned spins = n % LONG_EVERY && (n < NR_SLEEPS / 2) == is_client ? 20000 : 0;

	while (spins-- && !qp_pending(e))
		cpu_relax();
}

static void *serve_asleep(void *arg)
{
	struct sleepers *s = arg;
	struct kvshm_cqe cqe = { 0 };
	struct kvshm_sqe sqe;
	uint64_t n;
	int ret;

	run_on_core(1);
	for (n = 0; n < NR_SLEEPS; n++) {
		stay_awake(&s->server.sq, n, false);
		while ((ret = sq_pop(&s->server.sq, &sqe)) == 0) {
			if (!server_sleeps(s)) {
				s->server.error = "the server's wake-up was lost";
				return NULL;
			}
		}
		cqe.user_data = sqe.user_data;
		pause_a_little(n);
		if (ret < 0 || cq_push(&s->server.cq, &cqe) < 0 ||
		    doorbell_wake_client(s->sock, &sh.seg) < 0) {
			s->server.error = "the queue is bad";
			return NULL;
		}
		pause_a_little(2 * n + 1);
	}
	return NULL;
}

static bool client_sleeps(struct side *c, int sock)
{
	char buf[KVSHM_MSG_MAX];
	int ret = 1;

	doorbell_client_arm(&sh.seg);
	if (!qp_pending(&c->cq)) {
		c->nr_slept++;
		ret = sock_wait(sock, clock_ns() + TOO_LONG_MS * 1000000ull);
	} else {
		c->nr_empty++;
	}
	doorbell_client_disarm(&sh.seg);
	while (sock_recv(sock, buf, NULL, 0, NULL) > 0)
		;
	return ret > 0;
}

static void no_wake_up_is_lost(void **state)
{
	struct sleepers s;
	struct side client;
	struct kvshm_sqe sqe = { 0 };
	struct kvshm_cqe cqe;
	const char *error = NULL;
	pthread_t th;
	uint64_t n;
	int sk[2];

	run_on_core(0);
	memset(&sh, 0, sizeof(sh));
	side_init(&client);
	side_init(&s.server);
	s.bell = doorbell_create();
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sk), 0);
	s.sock = sk[0];
	assert_int_equal(pthread_create(&th, NULL, serve_asleep, &s), 0);
	for (n = 0; n < NR_SLEEPS && !error; n++) {
		sqe.user_data = n;
		pause_a_little(n);
		if (sq_push(&client.sq, &sqe) < 0 || doorbell_ring(s.bell, &sh.writer_asleep) < 0)
			error = "the queue is bad";
		pause_a_little(2 * n + 1);
		stay_awake(&client.cq, n, true);
		while (!error && cq_pop(&client.cq, &cqe) == 0)
			if (!client_sleeps(&client, sk[1]))
				error = "the client's wake-up was lost";
		if (!error && cqe.user_data != n)
			error = "another completion";
	}
	pthread_join(th, NULL);			/* ends by itself: its waits are bounded */
	close(s.bell);
	close(sk[0]);
	close(sk[1]);
	if (error || s.server.error)
		fail_msg("%s after %lu", error ? error : s.server.error, (unsigned long)n);
	print_message("slept, saw more at the second look: server %lu, %lu, client %lu, %lu\n",
		      (unsigned long)s.server.nr_slept, (unsigned long)s.server.nr_empty,
		      (unsigned long)client.nr_slept, (unsigned long)client.nr_empty);
	assert_true(s.server.nr_slept > NR_SLEEPS / 20 && client.nr_slept > NR_SLEEPS / 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_and_arguments_arrive_together),
		cmocka_unit_test(no_wake_up_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
