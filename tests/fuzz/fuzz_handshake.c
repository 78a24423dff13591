/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_handshake.c - F3: control messages with descriptors, and a daemon that answers HELLO with them
 *
 * Whatever comes, no descriptor that a message brought is left open but those that were handed out.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/handshake.h"
#include "kvshm/base/clock.h"
#include "tests/fuzz/fuzz.h"

/* The three lowest numbers that are free, as one number: two are the sockets', a leak is the third. */
static uint64_t free_fds(void)
{
	int a = dup(STDERR_FILENO), b = dup(STDERR_FILENO), c = dup(STDERR_FILENO);

	close(a);
	close(b);
	close(c);
	return (uint64_t)a << 42 | (uint64_t)b << 21 | (uint64_t)c;
}

/* One message of the input, with descriptors. */
static void send_one(int sock, struct input *in)
{
	uint8_t shape = take8(in);
	struct kvshm_msg_hdr hdr = { .magic = KVSHM_MSG_MAGIC, .type = take8(in) % 12 };
	union handshake_msg m;
	int fds[8] = { 2, 2, 2, 2, 2, 2, 2, 2 };
	size_t len = take8(in) % sizeof(m) + 1;

	if (shape & 8)
		len = hdr.type == KVSHM_MSG_HELLO ? sizeof(m.hello) : hdr.type == KVSHM_MSG_WELCOME ? sizeof(m.welcome) :
		      hdr.type == KVSHM_MSG_REFUSED ? sizeof(m.refused) : sizeof(m.plain);
	take(in, &m, len);
	hdr.len = (uint16_t)len;
	if (shape & 16)
		m.hdr = hdr;
	(void)sock_send(sock, &m, len, fds, shape % 8);
}

static void receive_all(int sock)
{
	union handshake_msg m;
	int fds[KVSHM_MSG_MAX_FDS];
	unsigned nr, i, rounds;

	for (rounds = 0; rounds < 8; rounds++) {
		int n = sock_recv(sock, &m, rounds % 2 ? NULL : fds, rounds % 2 ? 0 : 4, rounds % 2 ? NULL : &nr);

		if (n <= 0)
			break;
		MUST((size_t)n <= sizeof(m));
		handshake_check(&m, (size_t)n);
		for (i = 0; rounds % 2 == 0 && i < nr; i++)
			close(fds[i]);
	}
}

static void greet(int sock, uint8_t what)
{
	const struct kvshm_msg_hello hello = { .abi = KVSHM_ABI, .label = "fuzz" };
	const uint64_t deadline = clock_ns() + 1000000;
	int fds[KVSHM_MSG_MAX_FDS], i, nr = 0;
	struct kvshm_msg_welcome w;

	switch (what % 3) {
	case 0:
		if (handshake_hello(sock, &hello, deadline, &w, fds) == 0)
			nr = HANDSHAKE_NR_FDS;
		break;
	case 1:
		nr = handshake_extents(sock, 0, deadline, fds);
		MUST(nr <= (int)KVSHM_MSG_MAX_FDS);
		break;
	default:
		nr = handshake_staging(sock, deadline);
		fds[0] = nr;
		nr = nr >= 0;
	}
	for (i = 0; i < nr; i++)
		close(fds[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct input in = { data, len };
	const uint64_t free_before = free_fds();
	int s[2];
	uint8_t what = take8(&in), nr = 0;
	union handshake_msg m;

	memset(&m, 0, sizeof(m));
	memcpy(&m, in.p, in.left < sizeof(m) ? in.left : sizeof(m));
	handshake_check(&m, in.left < sizeof(m) ? in.left : sizeof(m));
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, s) == 0);
	while (in.left && nr++ < 4)
		send_one(s[1], &in);
	/* The client's half ends at once when the peer is gone. */
	shutdown(s[1], SHUT_WR);
	if (what & 0x80)
		receive_all(s[0]);
	else
		greet(s[0], what);
	close(s[0]);
	close(s[1]);
	MUST(free_fds() == free_before);
	return 0;
}
