/* SPDX-License-Identifier: Apache-2.0 */
/* test_peer.c - credentials by the word of the kernel, and a pidfd that fires at death */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "ipc/sock.h"

static void a_peer_is_who_connected(void **state)
{
	struct peer p;
	int sk[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sk), 0);
	assert_int_equal(peer_read(sk[0], &p), 0);
	assert_int_equal(p.pid, getpid());
	assert_int_equal(p.uid, geteuid());
	assert_int_equal(p.gid, getegid());
	if (p.pidfd >= 0)
		close(p.pidfd);
	close(sk[0]);
	close(sk[1]);
}

static void no_socket_has_no_peer(void **state)
{
	struct peer p = { .pid = -7 };

	assert_int_equal(peer_read(STDIN_FILENO, &p), -ENOTSOCK);
	assert_int_equal(p.pid, -7);
}

static void the_pidfd_fires_when_the_peer_dies(void **state)
{
	char dir[] = "/tmp/kvshm-peer-XXXXXX", path[64], c;
	struct pollfd pfd = { .events = POLLIN };
	struct peer p;
	int l, s, hold[2];
	pid_t pid;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	l = sock_listen(path, 0600, 1);
	assert_true(l >= 0);
	assert_int_equal(pipe(hold), 0);
	pid = fork();
	if (pid == 0) {
		close(hold[1]);
		if (sock_connect(path, 2000) < 0)
			_exit(1);
		_exit(read(hold[0], &c, 1) != 0);	/* lives until it is let go */
	}
	close(hold[0]);
	assert_int_equal(sock_wait(l, UINT64_MAX), 1);
	s = accept(l, NULL, NULL);
	assert_int_equal(peer_read(s, &p), 0);
	assert_int_equal(p.pid, pid);
	pfd.fd = p.pidfd;
	if (p.pidfd >= 0)
		assert_int_equal(poll(&pfd, 1, 0), 0);
	close(hold[1]);
	if (p.pidfd >= 0)
		assert_int_equal(poll(&pfd, 1, 10000), 1);
	waitpid(pid, NULL, 0);
	close(p.pidfd);
	close(s);
	close(l);
	unlink(path);
	rmdir(dir);
	if (p.pidfd < 0)
		skip();			/* a kernel without pidfds */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_peer_is_who_connected),
		cmocka_unit_test(no_socket_has_no_peer),
		cmocka_unit_test(the_pidfd_fires_when_the_peer_dies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
