/* SPDX-License-Identifier: Apache-2.0 */
/* test_doorbell.c - who is rung and who is not; nobody blocks */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "ipc/doorbell.h"
#include "ipc/handshake.h"
#include "kvshm/base/atomic.h"

static uint64_t rings(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void a_writer_that_is_awake_is_not_rung(void **state)
{
	int fd = doorbell_create();
	uint32_t asleep = 0;

	assert_true(fd >= 0);
	assert_int_equal(doorbell_ring(fd, &asleep), 0);
	assert_int_equal(rings(fd), 0);
	close(fd);
}

static void a_sleeping_writer_is_rung(void **state)
{
	int fd = doorbell_create();
	uint32_t asleep = 0;

	doorbell_arm(&asleep);
	assert_int_equal(doorbell_ring(fd, &asleep), 1);
	assert_int_equal(rings(fd), 1);
	doorbell_disarm(&asleep);
	assert_int_equal(doorbell_ring(fd, &asleep), 0);
	close(fd);
}

static void a_doorbell_is_not_inherited_and_never_blocks(void **state)
{
	const uint64_t most = UINT64_MAX - 1;
	int fd = doorbell_create();
	uint32_t asleep = 1;

	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
	assert_int_equal(doorbell_ring(fd, &asleep), 1);	/* full, so rung */
	close(fd);
}

static void a_ring_at_a_closed_descriptor_is_told(void **state)
{
	uint32_t asleep = 1;

	assert_int_equal(doorbell_ring(-1, &asleep), -EBADF);
}

static void a_sleeping_client_gets_one_wake_message(void **state)
{
	struct kvshm_segment seg;
	union handshake_msg m;
	int sk[2];

	memset(&seg, 0, sizeof(seg));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sk), 0);
	assert_int_equal(doorbell_wake_client(sk[0], &seg), 0);
	assert_int_equal(sock_recv(sk[1], &m, NULL, 0, NULL), -EAGAIN);

	doorbell_client_arm(&seg);
	assert_int_equal(doorbell_wake_client(sk[0], &seg), 1);
	assert_int_equal(handshake_check(&m, (size_t)sock_recv(sk[1], &m, NULL, 0, NULL)), KVSHM_MSG_WAKE);
	assert_int_equal(sock_recv(sk[1], &m, NULL, 0, NULL), -EAGAIN);

	doorbell_client_disarm(&seg);
	assert_int_equal(doorbell_wake_client(sk[0], &seg), 0);
	close(sk[0]);
	close(sk[1]);
}

static void a_client_that_never_reads_does_not_block_the_daemon(void **state)
{
	struct kvshm_segment seg;
	int sk[2], i;

	memset(&seg, 0, sizeof(seg));
	seg.client_asleep = 1;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sk), 0);	/* blocking */
	for (i = 0; i < 20000; i++)
		assert_int_equal(doorbell_wake_client(sk[0], &seg), 1);
	close(sk[1]);
	assert_int_equal(doorbell_wake_client(sk[0], &seg), -EPIPE);		/* and no SIGPIPE */
	close(sk[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_writer_that_is_awake_is_not_rung),
		cmocka_unit_test(a_sleeping_writer_is_rung),
		cmocka_unit_test(a_doorbell_is_not_inherited_and_never_blocks),
		cmocka_unit_test(a_ring_at_a_closed_descriptor_is_told),
		cmocka_unit_test(a_sleeping_client_gets_one_wake_message),
		cmocka_unit_test(a_client_that_never_reads_does_not_block_the_daemon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
