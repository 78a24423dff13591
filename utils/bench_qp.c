/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_qp.c - round trip of an empty entry through the daemon, beside a bare ring
 *
 * The bare ring is the same queue pair between this process and a child that does nothing but echo.
 * Both sides awake, rounds in turn.  With more sessions one is active and the others idle.  Then what a
 * wake-up costs after the daemon has gone to sleep, and what the idle daemon burns.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ipc/doorbell.h"
#include "ipc/handshake.h"
#include "ipc/qp.h"
#include "ipc/segment.h"
#include "kvshm/arena/directory.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/wait.h"
#include "kvshm/pin/pin.h"
#include "utils/bench.h"
#include "utils/commands.h"

#define TRIPS 500			/* of one batch */
#define BATCHES 60
#define WARM_UP 10
#define TAIL_TRIPS 50000u
#define WAKEUPS 60
#define TIMEOUT_NS 2000000000ull

/* A session without the library: only the queue pair is measured. */
struct raw_session {
	int sock, fds[HANDSHAKE_NR_FDS];
	struct segment seg;
	struct directory dir;
	struct qp_end sq, cq;
};

static int raw_open(const char *path, struct raw_session *s)
{
	struct kvshm_msg_hello hello = {
		.hdr = { KVSHM_MSG_MAGIC, KVSHM_MSG_HELLO, sizeof(hello) }, .abi = KVSHM_ABI, .label = "bench qp",
	};
	uint64_t end = clock_ns() + TIMEOUT_NS;
	struct kvshm_msg_welcome w;
	int ret;

	s->sock = sock_connect(path, 2000);
	if (s->sock < 0)
		return s->sock;
	ret = handshake_hello(s->sock, &hello, end, &w, s->fds);
	if (ret < 0)
		return ret;
	ret = pinfile_lock(s->fds[HANDSHAKE_FD_PINS]);
	if (!ret)
		ret = segment_map(s->fds[HANDSHAKE_FD_SEGMENT], &s->seg);
	if (!ret)
		ret = directory_attach(s->fds[HANDSHAKE_FD_DIRECTORY], false, &s->dir);
	if (!ret)
		ret = handshake_mapped(s->sock, end);
	if (ret < 0)
		return ret;
	qp_end_init(&s->sq, &s->seg.hdr->sq, s->seg.sq, s->seg.sq_entries);
	qp_end_init(&s->cq, &s->seg.hdr->cq, s->seg.cq, s->seg.cq_entries);
	return 0;
}

static void raw_close(struct raw_session *s)
{
	segment_unmap(&s->seg);
	directory_detach(&s->dir);
	for (unsigned i = 0; i < HANDSHAKE_NR_FDS; i++)
		close(s->fds[i]);
	close(s->sock);
}

/* One trip; spins and yields, so that it also works where both sides share a core. */
static int trip(struct raw_session *s, struct wait *w)
{
	struct kvshm_sqe sqe = { .op = KVSHM_OP_NOP, .user_data = 7 };
	uint64_t end = clock_ns() + TIMEOUT_NS;
	struct kvshm_cqe cqe;
	int ret = sq_push(&s->sq, &sqe);

	if (ret < 0)
		return ret;
	if (s->fds[HANDSHAKE_FD_DOORBELL] >= 0)
		doorbell_ring(s->fds[HANDSHAKE_FD_DOORBELL], &s->dir.sb->writer_asleep);
	wait_begin(w);
	while (!(ret = cq_pop(&s->cq, &cqe)))
		if (!wait_step(w) && clock_ns() > end)
			return -ETIMEDOUT;
	wait_end(w, true);
	return ret < 0 ? ret : cqe.user_data == 7 ? 0 : -EBADMSG;
}

/* ---- the bare ring --------------------------------------------------------------------------------- */

static void echo(struct segment *seg)
{
	struct kvshm_sqe sqe;
	struct qp_end sq, cq;
	struct wait w;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	qp_end_init(&sq, &seg->hdr->sq, seg->sq, seg->sq_entries);
	qp_end_init(&cq, &seg->hdr->cq, seg->cq, seg->cq_entries);
	wait_init(&w);
	for (;;) {
		wait_begin(&w);
		while (sq_pop(&sq, &sqe) != 1)
			wait_step(&w);
		wait_end(&w, true);
		struct kvshm_cqe cqe = { .user_data = sqe.user_data, .op = sqe.op };

		cq_push(&cq, &cqe);
	}
}

static int bare_open(struct raw_session *s, pid_t *ret_pid)
{
	int fd, ret = segment_create(&s->seg, &fd);

	if (ret < 0)
		return ret;
	close(fd);
	s->fds[HANDSHAKE_FD_DOORBELL] = -1;
	qp_end_init(&s->sq, &s->seg.hdr->sq, s->seg.sq, s->seg.sq_entries);
	qp_end_init(&s->cq, &s->seg.hdr->cq, s->seg.cq, s->seg.cq_entries);
	*ret_pid = fork();
	if (!*ret_pid)
		echo(&s->seg);
	return *ret_pid < 0 ? -errno : 0;
}

static int batch(struct raw_session *s, struct wait *w, double *ret_ns)
{
	uint64_t start = clock_ns();

	for (unsigned i = 0; i < TRIPS; i++) {
		int ret = trip(s, w);

		if (ret < 0)
			return ret;
	}
	*ret_ns = (double)(clock_ns() - start) / TRIPS;
	return 0;
}

/* The echo child must not spin while the daemon is measured: it is stopped for that time. */
static int measure_trips(struct raw_session *s, struct samples *own, struct samples *bare)
{
	struct raw_session b = { .sock = -1 };
	struct wait w;
	pid_t pid;
	int ret = bare_open(&b, &pid);

	if (ret < 0)
		return ret;
	wait_init(&w);
	for (unsigned i = 0; i < WARM_UP + BATCHES && !ret; i++) {
		double x = 0, y = 0;

		kill(pid, SIGCONT);
		ret = batch(&b, &w, &y);
		kill(pid, SIGSTOP);
		if (!ret)
			ret = batch(s, &w, &x);
		if (!ret && i >= WARM_UP) {
			samples_add(own, x);
			samples_add(bare, y);
		}
		bench_progress("round trips, batches", i, WARM_UP + BATCHES);
	}
	bench_progress("", 0, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	segment_unmap(&b.seg);
	return ret;
}

/* Trips one by one, with the clock read around each: batches have no tail of theirs. */
static int measure_tail(struct raw_session *s, int daemon_pid, struct jdoc *j)
{
	uint64_t own_ns = bench_process_cpu_ns(getpid()), daemon_ns = bench_process_cpu_ns(daemon_pid);
	struct samples one = { 0 };
	struct wait w;
	int ret = 0;

	wait_init(&w);
	for (unsigned i = 0; i < TAIL_TRIPS && !ret; i++) {
		uint64_t start = clock_ns();

		ret = trip(s, &w);
		samples_add(&one, (double)(clock_ns() - start));
	}
	if (!ret) {
		jdoc_real(j, "trip_p50_ns", samples_quantile(&one, 0.5));
		jdoc_real(j, "trip_p99_ns", samples_quantile(&one, 0.99));
		samples_p999(&one, 1, j, "trip_p999_ns");
		jdoc_real(j, "client_cpu_ns_per_trip", (double)(bench_process_cpu_ns(getpid()) - own_ns) / TAIL_TRIPS);
		if (daemon_pid)
			jdoc_real(j, "daemon_cpu_ns_per_trip",
				  (double)(bench_process_cpu_ns(daemon_pid) - daemon_ns) / TAIL_TRIPS);
	}
	samples_fini(&one);
	return ret;
}

/* The daemon sleeps after some idle milliseconds; then one trip. */
static int measure_wakeup(struct raw_session *s, struct samples *wake)
{
	struct wait w;

	wait_init(&w);
	for (unsigned i = 0; i < WAKEUPS; i++) {
		uint64_t start;
		int ret;

		nanosleep(&(struct timespec){ .tv_nsec = 20000000 + (long)(i % 7) * 1000000 }, NULL);
		start = clock_ns();
		ret = trip(s, &w);
		if (ret < 0)
			return ret;
		samples_add(wake, (double)(clock_ns() - start) / 1000);
	}
	return 0;
}

static double idle_percent(int pid)
{
	uint64_t cpu = bench_process_cpu_ns(pid), start = clock_ns();

	nanosleep(&(struct timespec){ .tv_sec = 4 }, NULL);
	return 100.0 * (double)(bench_process_cpu_ns(pid) - cpu) / (double)(clock_ns() - start);
}

static int measure(const struct bench_options *o, const struct bench_target *t, struct jdoc *j)
{
	const char *path = t->daemon ? private_daemon_socket(t->daemon) : o->socket;
	struct raw_session *s = calloc(o->sessions, sizeof(*s));
	struct samples own = { 0 }, bare = { 0 }, wake = { 0 };
	unsigned nr = 0;
	int ret = s ? 0 : -ENOMEM;

	while (!ret && nr < o->sessions)
		ret = raw_open(path, &s[nr++]);
	if (!ret)
		ret = measure_trips(&s[0], &own, &bare);
	if (!ret)
		ret = measure_wakeup(&s[0], &wake);
	if (!ret) {
		jdoc_int(j, "sessions", o->sessions);
		jdoc_real(j, "p50_ns", samples_quantile(&own, 0.5));
		jdoc_real(j, "p99_ns", samples_quantile(&own, 0.99));
		jdoc_real(j, "bare_p50_ns", samples_quantile(&bare, 0.5));
		jdoc_real(j, "ratio", samples_quantile(&own, 0.5) / samples_quantile(&bare, 0.5));
		ret = measure_tail(&s[0], t->daemon ? private_daemon_pid(t->daemon) : 0, j);
	}
	if (!ret) {
		jdoc_real(j, "wakeup_us", samples_quantile(&wake, 0.5));
		jdoc_real(j, "wakeup_p99_us", samples_quantile(&wake, 0.99));
		if (t->daemon)
			jdoc_real(j, "idle_cpu_percent", idle_percent(private_daemon_pid(t->daemon)));
	}
	while (nr)
		raw_close(&s[--nr]);
	free(s);
	samples_fini(&own);
	samples_fini(&bare);
	samples_fini(&wake);
	return ret;
}

static int run(const struct bench_options *o, struct jdoc *j)
{
	struct bench_target t;
	int ret = bench_open(o, j, 16384, 4096, 0, &t);

	if (ret)
		return ret;
	ret = measure(o, &t, j);
	if (ret < 0)
		fprintf(stderr, "kvshm bench qp: %s\n", strerror(-ret));
	bench_close(&t);
	return ret < 0 ? EXIT_DEAD : EXIT_FINE;
}

const struct bench bench_qp = {
	"qp", run, "round trip through the queue pair, wake-up, idle cost",
};
