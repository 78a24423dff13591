/* SPDX-License-Identifier: Apache-2.0 */
/* attack_socket.h - messages, descriptors, floods, half-open sessions, deaths */
#ifndef TESTS_HOSTILE_ATTACK_SOCKET_H
#define TESTS_HOSTILE_ATTACK_SOCKET_H

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include "tests/hostile/attack_memory.h"
#include "tests/hostile/attack_staging.h"
#include "tests/hostile/raw.h"

/* ---- messages (H9) ---------------------------------------------------------------------------------- */

static void hello_refused(const void *msg, size_t len, int error)
{
	struct kvshm_msg_refused m;
	int s = raw_connect();
	ssize_t n;

	raw_send(s, msg, len);
	n = recv(s, &m, sizeof(m), 0);
	if (error) {
		must(n == (ssize_t)sizeof(m) && m.hdr.type == KVSHM_MSG_REFUSED && m.error == error);
		must(m.abi == KVSHM_ABI && memchr(m.text, 0, sizeof(m.text)) && m.text[0]);
		n = recv(s, &m, sizeof(m), 0);
	}
	must(n == 0 || (n < 0 && errno == ECONNRESET));
	close(s);
}

static void hello_malformed(void)
{
	struct kvshm_msg_hello good = hello_of("hostile", 0), h;
	char big[4096] = "";

	h = good, h.hdr.magic ^= 1, hello_refused(&h, sizeof(h), 0);
	h = good, h.hdr.len--, hello_refused(&h, sizeof(h), 0);
	h = good, h.hdr.type = 0, hello_refused(&h, sizeof(h), 0);
	h = good, h.hdr.type = 0xffff, hello_refused(&h, sizeof(h), 0);
	h = good, h.flags = 0x80000000u, hello_refused(&h, sizeof(h), 0);
	h = good, h.resv[1] = 1, hello_refused(&h, sizeof(h), 0);
	h = good, memset(h.label, 'x', sizeof(h.label)), hello_refused(&h, sizeof(h), 0);
	h = good, hello_refused(&h, sizeof(h) - 1, 0);
	h = good, hello_refused(&h, 1, 0);
	memcpy(big, &good, sizeof(good));
	hello_refused(big, sizeof(big), 0);
	((struct kvshm_msg_hdr *)(void *)big)->len = sizeof(big);
	hello_refused(big, sizeof(big), 0);
}

static void hello_of_another_abi(void)
{
	struct kvshm_msg_hello h = hello_of("hostile", 0);

	h.abi = KVSHM_ABI + 1;
	hello_refused(&h, sizeof(h), -EPROTONOSUPPORT);
	h.abi = 0;
	hello_refused(&h, sizeof(h), -EPROTONOSUPPORT);
}

static void hello_with_rubbish_fields(void)
{
	struct kvshm_msg_hello h = hello_of("\033[2J\n<0>kernel: panic", 0);
	int s;

	h.pin_words = 0xffffffffu;
	hello_refused(&h, sizeof(h), -EINVAL);
	h.pin_words = 0;
	h.old_slot = 0xffffffffu;
	h.instance = 0x1234;
	s = raw_connect();
	raw_send(s, &h, sizeof(h));
	must(raw_next(s) == KVSHM_MSG_WELCOME);
}

static void hello_twice(void)
{
	struct kvshm_msg_hello h = hello_of("hostile", 0);
	struct raw r;

	raw_open(&r, 0);
	raw_send(r.sock, &h, sizeof(h));
	must_hang_up(r.sock);
	raw_welcome(&r, 0);
	raw_send(r.sock, &h, sizeof(h));
	must_hang_up(r.sock);
}

static void order_of_messages(void)
{
	static const int types[] = { KVSHM_MSG_MAPPED, KVSHM_MSG_READY, KVSHM_MSG_EXTENTS, KVSHM_MSG_STAGING,
				     KVSHM_MSG_STAGING_FD, KVSHM_MSG_WAKE, KVSHM_MSG_EXTENT_FDS };
	struct raw r;
	int s;

	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		s = raw_connect();
		raw_plain(s, types[i], 0, 0);
		must_hang_up(s);
		close(s);
		if (types[i] == KVSHM_MSG_EXTENTS || types[i] == KVSHM_MSG_STAGING)
			continue;
		raw_open(&r, 0);
		raw_plain(r.sock, types[i], 0, 0);
		must_hang_up(r.sock);
		raw_close(&r);
	}
}

static void extents_out_of_range(void)
{
	static const uint32_t first[] = { 1000, 0x7fffffffu, 0xffffffffu };
	char buf[KVSHM_MSG_MAX];
	int fds[KVSHM_MSG_MAX_FDS];
	struct raw r;
	unsigned nr;

	raw_open(&r, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(first); i++) {
		raw_plain(r.sock, KVSHM_MSG_EXTENTS, first[i], 0);
		must(raw_recv(r.sock, buf, sizeof(buf), fds, KVSHM_MSG_MAX_FDS, &nr) == KVSHM_MSG_EXTENT_FDS);
		must(nr == 0);
	}
}

static void staging_twice(void)
{
	struct raw r;

	staging_open(&r);
	raw_plain(r.sock, KVSHM_MSG_STAGING, 0, 0);
	must_hang_up(r.sock);
}

static void send_fds(int s, const void *msg, size_t len, unsigned nr)
{
	union { struct cmsghdr align; char b[CMSG_SPACE(250 * sizeof(int))]; } ctl = { 0 };
	struct iovec iov = { (void *)(uintptr_t)msg, len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &ctl,
			     .msg_controllen = CMSG_SPACE(nr * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&mh);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(nr * sizeof(int));
	for (unsigned i = 0; i < nr; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &s, sizeof(int));
	sendmsg(s, &mh, MSG_NOSIGNAL);
}

static void descriptors_sent(void)
{
	struct kvshm_msg_hello h = hello_of("hostile", 0);
	struct kvshm_msg_plain m = { { KVSHM_MSG_MAGIC, KVSHM_MSG_EXTENTS, sizeof(m) }, 0, 0 };
	struct raw r;
	int s;

	for (unsigned nr = 1; nr <= 250; nr += 83) {
		s = raw_connect();
		send_fds(s, &h, sizeof(h), nr);
		must_hang_up(s);
		close(s);
		raw_open(&r, 0);
		send_fds(r.sock, &m, sizeof(m), nr);
		must_hang_up(r.sock);
		raw_close(&r);
	}
}

/* ---- floods (H10, H11) --------------------------------------------------------------------------------- */

static void messages_flood(void)
{
	struct raw r;
	unsigned n;

	raw_open(&r, 0);
	for (n = 0; n < 5000; n++)
		if (!raw_plain(r.sock, KVSHM_MSG_EXTENTS, 1000, 0) || raw_next(r.sock) <= 0)
			break;
	must(n < 5000);
}

static void socket_never_read(void)
{
	struct raw r;

	raw_open(&r, 0);
	for (unsigned n = 0; n < 2000; n++)
		if (!raw_plain(r.sock, KVSHM_MSG_EXTENTS, 0, 0))
			break;
	nap(50000);
}

/* Asks for a wake-up at each completion and never reads one. */
static void wakes_never_read(void)
{
	struct raw r;

	raw_open(&r, 0);
	store_release(&r.seg->client_asleep, 1u);
	for (unsigned n = 0; n < 3000; n++)
		must(raw_nop(&r) == 0);
}

static void doorbell_full(void)
{
	const uint64_t most = 0xfffffffffffffffeull;
	struct raw r;

	raw_open(&r, 0);
	fcntl(r.fd[FD_BELL], F_SETFL, O_NONBLOCK);
	for (unsigned n = 0; n < 100; n++)
		if (write(r.fd[FD_BELL], &most, sizeof(most)) < 0)
			must(errno == EAGAIN);
	must(raw_nop(&r) == 0);
}

static void doorbell_stolen(void)
{
	struct kvshm_sqe nop = { .op = KVSHM_OP_NOP };
	struct kvshm_cqe c;
	struct raw r;
	uint64_t n;

	raw_open(&r, 0);
	for (unsigned i = 0; i < 10; i++) {
		raw_put(&r, &nop);
		raw_ring(&r);
		if (read(r.fd[FD_BELL], &n, sizeof(n)) < 0)
			must(errno == EAGAIN);
		must(raw_pop(&r, &c, RAW_WAIT_NS));
	}
}

static void bells_without_entries(void)
{
	uint64_t end = clock_ns() + FLIP_NS;
	struct raw r;

	raw_open(&r, 0);
	while (clock_ns() < end)
		raw_ring(&r);
	must(raw_nop(&r) == 0);
}

static void connect_storm(void)
{
	for (unsigned n = 0; n < 2000; n++) {
		int s = raw_try_connect();

		if (s >= 0)
			close(s);
	}
}

/* More connections than there are sessions, none of which ever says a word. */
static void half_open(void)
{
	struct kvshm_msg_hello h = hello_of("hostile", 0);
	int s[300], nr = 0;

	for (unsigned n = 0; n < 300; n++) {
		s[nr] = raw_try_connect();
		if (s[nr] >= 0 && n % 2)
			raw_send(s[nr], &h, sizeof(h));
		nr += s[nr] >= 0;
	}
	must(nr > 0);
	nap(100000);
}

/* Silence after HELLO ends by itself. */
static void half_open_expires(void)
{
	int s = raw_connect();

	must_hang_up(s);
	struct raw r;

	raw_welcome(&r, 0);
	must_hang_up(r.sock);
}

static void attach_storm(void)
{
	struct raw r;

	for (unsigned n = 0; n < 300; n++) {
		raw_welcome(&r, 0);
		raw_mapped(&r);
		if (n % 2)
			WRITE_ONCE(r.pins[0], KVSHM_PINFILE_CLOSED);
		raw_close(&r);
	}
}

/* An offender that comes again while it lives: each time a session more that counts until its death. */
static void offend_and_come_again(void)
{
	struct raw r;

	for (unsigned n = 0; n < 30; n++) {
		raw_open(&r, 0);
		store_release(&r.seg->sq.tail, 0x7fffffffu);
		must_be_thrown_out(&r);
	}
}

static void detach_and_go_on(void)
{
	struct kvshm_cqe c;
	struct raw r;

	raw_open(&r, 0);
	must(raw_call(&r, (struct kvshm_sqe){ .op = KVSHM_OP_DETACH }).res == 0);
	for (unsigned n = 0; n < 50; n++) {
		struct kvshm_sqe e = { .op = KVSHM_OP_GRANT, .ns = r.ns, .nr = 1 };

		raw_put(&r, &e);
		raw_ring(&r);
	}
	must(!raw_pop(&r, &c, 100000000));
}

static void namespaces_without_end(void)
{
	char name[32];
	struct raw r;
	unsigned n;
	int res = 0;

	raw_open(&r, 0);
	for (n = 0; n < 200 && res >= 0; n++) {
		struct kvshm_ns_args a = { .block_len = RAW_BLOCK, .block_tokens = 16 };

		snprintf(name, sizeof(name), "flood-%u", n);
		put_text(a.fingerprint, name, sizeof(a.fingerprint));
		put_text(a.label, "\033]0;\"\n\\", sizeof(a.label));
		memcpy(raw_args(&r), &a, sizeof(a));
		res = raw_call(&r, (struct kvshm_sqe){ .op = KVSHM_OP_ATTACH_NS, .nr = 1, .len = sizeof(a) }).res;
	}
	must(res == -ENOSPC && n <= 65);
}

/* ---- deaths --------------------------------------------------------------------------------------------- */

/* SIGKILL by ourselves, in a child, after @prepare. */
static void dies_after(void (*prepare)(struct raw *r))
{
	struct raw r;
	pid_t pid = fork();

	if (pid == 0) {
		prepare(&r);
		kill(getpid(), SIGKILL);
	}
	must(waitpid(pid, NULL, 0) == pid);
}

static void prepare_grants(struct raw *r)
{
	raw_open(r, 0);
	for (unsigned n = 0; n < 50; n++)
		raw_grant(r);
}

static void prepare_pins(struct raw *r)
{
	uint32_t last = 0;

	raw_open(r, 0);
	publish_chain(r, 8, &last);
	WRITE_ONCE(r->pins[1], (uint64_t)raw_ref(r, last).generation << 32 | last);
}

static void prepare_put(struct raw *r)
{
	staging_open(r);
	staged_put(r, 7000, 100, RAW_BLOCK);
	store_release(&r->seg->staging.tail, KVSHM_STAGING_SLICES);
	raw_ring(r);
}

static void prepare_welcome(struct raw *r)
{
	raw_welcome(r, 0);
}

static void prepare_half_ring(struct raw *r)
{
	struct kvshm_sqe e = { .op = KVSHM_OP_NOP };

	raw_open(r, 0);
	for (unsigned n = 0; n < KVSHM_SQ_ENTRIES; n++)
		raw_put(r, &e);
}

static void dies_with_grants(void) { dies_after(prepare_grants); }
static void dies_with_pins(void) { dies_after(prepare_pins); }
static void dies_in_a_put(void) { dies_after(prepare_put); }
static void dies_in_the_handshake(void) { dies_after(prepare_welcome); }
static void dies_with_a_full_queue(void) { dies_after(prepare_half_ring); }

/* Its descriptors live on in a child that does nothing: the lock does not. */
static void leaves_a_child_behind(void)
{
	pid_t pid = fork();
	uint32_t last = 0;
	struct raw r, b;

	if (pid == 0) {
		raw_open(&r, 0);
		publish_chain(&r, 4, &last);
		WRITE_ONCE(r.pins[1], (uint64_t)raw_ref(&r, last).generation << 32 | last);
		if (fork() == 0) {
			nap(500000);
			_exit(0);
		}
		kill(getpid(), SIGKILL);
	}
	must(waitpid(pid, NULL, 0) == pid);
	nap(200000);
	raw_open(&b, 0);
	drop_all(&b);
	nap(150000);
	must(raw_find(&b, KVSHM_BLOCK_QUARANTINED, 0xffff) == 0);
}

/* Stopped is not dead. */
static void stopped_with_pins(void)
{
	pid_t pid = fork();
	uint32_t last = 0;
	struct raw b;
	int status;

	if (pid == 0) {
		struct raw r;

		prepare_pins(&r);
		kill(getpid(), SIGSTOP);
		_exit(0);
	}
	must(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	raw_open(&b, 0);
	drop_all(&b);
	nap(300000);
	last = raw_find(&b, KVSHM_BLOCK_QUARANTINED, 0xffff);
	kill(pid, SIGKILL);
	must(waitpid(pid, NULL, 0) == pid);
	must(last != 0);
	nap(300000);
	must(raw_find(&b, KVSHM_BLOCK_QUARANTINED, 0xffff) == 0);
}

#endif
