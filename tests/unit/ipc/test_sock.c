/* SPDX-License-Identifier: Apache-2.0 */
/* test_sock.c - frames, descriptors that nobody asked for, sockets in the file system */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "ipc/sock.h"
#include "kvshm/base/clock.h"

static int sk[2];
static char dir[64], path[128];

static int set_up(void **state)
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sk);
}

static int tear_down(void **state)
{
	close(sk[0]);
	close(sk[1]);
	return 0;
}

static int set_up_dir(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/kvshm-sock-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/kvshm.sock", dir);
	return 0;
}

static int tear_down_dir(void **state)
{
	unlink(path);
	return rmdir(dir);		/* fails if a temporary name was left behind */
}

static unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned nr = 0;

	assert_non_null(d);
	while (readdir(d))
		nr++;
	closedir(d);
	return nr;
}

static struct kvshm_msg_plain message(void)
{
	return (struct kvshm_msg_plain){ .hdr = { KVSHM_MSG_MAGIC, KVSHM_MSG_WAKE,
						  sizeof(struct kvshm_msg_plain) } };
}

static int receive(int *fds, unsigned max, unsigned *nr)
{
	char buf[KVSHM_MSG_MAX];

	return sock_recv(sk[1], buf, fds, max, nr);
}

/* ---- frames ------------------------------------------------------------------------------------- */

static void a_message_arrives_with_its_descriptors(void **state)
{
	struct kvshm_msg_plain m = message();
	int out[3] = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO }, in[3], i;
	unsigned nr = 0;

	assert_int_equal(sock_send(sk[0], &m, sizeof(m), out, 3), 0);
	assert_int_equal(receive(in, 3, &nr), sizeof(m));
	assert_int_equal(nr, 3);
	for (i = 0; i < 3; i++) {
		assert_true(fcntl(in[i], F_GETFD) & FD_CLOEXEC);
		close(in[i]);
	}
}

static void the_most_descriptors_fit_one_message(void **state)
{
	struct kvshm_msg_plain m = message();
	int fds[KVSHM_MSG_MAX_FDS + 1];
	unsigned nr = 0, i, before = open_fds();

	for (i = 0; i < KVSHM_MSG_MAX_FDS + 1; i++)
		fds[i] = STDIN_FILENO;
	assert_int_equal(sock_send(sk[0], &m, sizeof(m), fds, KVSHM_MSG_MAX_FDS + 1), -EMSGSIZE);
	assert_int_equal(sock_send(sk[0], &m, sizeof(m), fds, KVSHM_MSG_MAX_FDS), 0);
	assert_int_equal(receive(fds, KVSHM_MSG_MAX_FDS, &nr), sizeof(m));
	assert_int_equal(nr, KVSHM_MSG_MAX_FDS);
	while (nr > 0)
		close(fds[--nr]);
	assert_int_equal(open_fds(), before);
}

static void recv_never_blocks(void **state)
{
	assert_int_equal(receive(NULL, 0, NULL), -EAGAIN);
}

static void send_never_blocks(void **state)
{
	struct kvshm_msg_plain m = message();
	int ret, i = 0;

	do {
		ret = sock_send(sk[0], &m, sizeof(m), NULL, 0);
	} while (ret == 0 && ++i < 100000);
	assert_int_equal(ret, -EAGAIN);
}

static void a_hang_up_is_length_zero(void **state)
{
	close(sk[0]);
	sk[0] = -1;
	assert_int_equal(receive(NULL, 0, NULL), 0);
}

static void send_to_a_closed_peer_is_an_error_and_no_signal(void **state)
{
	struct kvshm_msg_plain m = message();

	close(sk[1]);
	sk[1] = -1;
	assert_int_equal(sock_send(sk[0], &m, sizeof(m), NULL, 0), -EPIPE);
}

static void last_words_are_read_though_ours_were_not(void **state)
{
	struct kvshm_msg_plain m = message();

	assert_int_equal(sock_send(sk[1], &m, sizeof(m), NULL, 0), 0);	/* never read */
	assert_int_equal(sock_send(sk[0], &m, sizeof(m), NULL, 0), 0);
	close(sk[0]);
	sk[0] = -1;
	assert_int_equal(receive(NULL, 0, NULL), sizeof(m));
	assert_int_equal(receive(NULL, 0, NULL), 0);
}

/* ---- refusals ----------------------------------------------------------------------------------- */

static void recv_closes_unexpected_descriptors(void **state)
{
	struct kvshm_msg_plain m = message();
	int out[4] = { 0, 0, 0, 0 };
	unsigned before = open_fds();

	assert_int_equal(sock_send(sk[0], &m, sizeof(m), out, 4), 0);
	assert_int_equal(receive(NULL, 0, NULL), -EBADMSG);
	assert_int_equal(open_fds(), before);
}

static void recv_closes_all_when_there_is_one_too_many(void **state)
{
	struct kvshm_msg_plain m = message();
	int out[4] = { 0, 0, 0, 0 }, in[3];
	unsigned nr = 99, before = open_fds();

	assert_int_equal(sock_send(sk[0], &m, sizeof(m), out, 4), 0);
	assert_int_equal(receive(in, 3, &nr), -EBADMSG);
	assert_int_equal(open_fds(), before);
	assert_int_equal(nr, 99);
}

static void recv_refuses_a_message_that_is_too_long(void **state)
{
	char big[KVSHM_MSG_MAX + 1] = { 0 };
	struct kvshm_msg_hdr h = { KVSHM_MSG_MAGIC, KVSHM_MSG_WAKE, KVSHM_MSG_MAX };

	memcpy(big, &h, sizeof(h));		/* valid but for its tail */
	assert_int_equal(send(sk[0], big, sizeof(big), 0), sizeof(big));
	assert_int_equal(receive(NULL, 0, NULL), -EBADMSG);
	assert_int_equal(sock_send(sk[0], big, sizeof(big), NULL, 0), -EMSGSIZE);
}

static void long_messages_pass_where_both_ends_know_of_them(void **state)
{
	static char out[SOCK_MSG_MAX + 1], in[SOCK_MSG_MAX];
	struct kvshm_msg_hdr h = { KVSHM_MSG_MAGIC, KVSHM_MSG_WAKE, SOCK_MSG_MAX };

	memcpy(out, &h, sizeof(h));
	out[SOCK_MSG_MAX - 1] = 7;
	assert_int_equal(sock_send_long(sk[0], out, SOCK_MSG_MAX, NULL, 0), 0);
	assert_int_equal(sock_recv_long(sk[1], in, sizeof(in), NULL, 0, NULL), SOCK_MSG_MAX);
	assert_int_equal(in[SOCK_MSG_MAX - 1], 7);
	assert_int_equal(sock_send_long(sk[0], out, SOCK_MSG_MAX, NULL, 0), 0);
	assert_int_equal(sock_recv_long(sk[1], in, 4096, NULL, 0, NULL), -EBADMSG);
	assert_int_equal(sock_send_long(sk[0], out, SOCK_MSG_MAX + 1, NULL, 0), -EMSGSIZE);
}

static void recv_refuses_a_wrong_magic_and_closes(void **state)
{
	struct kvshm_msg_plain m = message();
	int out[1] = { 0 }, in[1];
	unsigned nr, before = open_fds();

	m.hdr.magic++;
	assert_int_equal(sock_send(sk[0], &m, sizeof(m), out, 1), 0);
	assert_int_equal(receive(in, 1, &nr), -EBADMSG);
	assert_int_equal(open_fds(), before);
}

static void recv_refuses_a_length_other_than_its_own(void **state)
{
	struct kvshm_msg_plain m = message();

	m.hdr.len--;
	assert_int_equal(sock_send(sk[0], &m, sizeof(m), NULL, 0), 0);
	assert_int_equal(receive(NULL, 0, NULL), -EBADMSG);
}

static void recv_refuses_less_than_a_header(void **state)
{
	assert_int_equal(send(sk[0], "\x4b\x56\x53", 3, 0), 3);
	assert_int_equal(receive(NULL, 0, NULL), -EBADMSG);
}

static void recv_closes_what_an_empty_message_brought(void **state)
{
	int out[1] = { 0 }, in[1];
	unsigned nr, before = open_fds();

	assert_int_equal(sock_send(sk[0], "", 0, out, 1), 0);
	assert_int_equal(receive(in, 1, &nr), 0);	/* taken as a hang-up */
	assert_int_equal(open_fds(), before);
}

/* ---- waiting ------------------------------------------------------------------------------------ */

static void wait_ends_at_its_deadline(void **state)
{
	uint64_t t = clock_ns();

	assert_int_equal(sock_wait(sk[1], t + 20000000), 0);
	assert_true(clock_ns() - t >= 20000000);
	assert_int_equal(sock_wait(sk[1], 0), 0);
}

static void wait_sees_a_message_and_a_hang_up(void **state)
{
	struct kvshm_msg_plain m = message();

	assert_int_equal(sock_send(sk[0], &m, sizeof(m), NULL, 0), 0);
	assert_int_equal(sock_wait(sk[1], UINT64_MAX), 1);
	assert_false(sock_is_hung_up(sk[1]));
	close(sk[0]);
	sk[0] = -1;
	assert_int_equal(sock_wait(sk[1], UINT64_MAX), 1);
	assert_true(sock_is_hung_up(sk[1]));
	assert_int_equal(receive(NULL, 0, NULL), sizeof(m));	/* a look took nothing */
	assert_int_equal(sock_wait(-1, 0), 0);
}

/* ---- in the file system ------------------------------------------------------------------------- */

static void connect_reaches_listen(void **state)
{
	int l = sock_listen(path, 0600, 4), c, s;
	struct stat st;

	assert_true(l >= 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	c = sock_connect(path, 1000);
	assert_true(c >= 0);
	assert_true(fcntl(c, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(c, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(l, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(l, F_GETFD) & FD_CLOEXEC);
	s = accept(l, NULL, NULL);
	assert_true(s >= 0);
	close(s);
	close(c);
	close(l);
}

static void listen_replaces_a_stale_socket(void **state)
{
	int dead = sock_listen(path, 0600, 4), l, c;

	close(dead);
	assert_int_equal(sock_connect(path, 1000), -ECONNREFUSED);
	l = sock_listen(path, 0666, 4);
	assert_true(l >= 0);
	c = sock_connect(path, 1000);
	assert_true(c >= 0);
	close(c);
	close(l);
}

static void listen_leaves_nothing_behind_when_it_fails(void **state)
{
	char busy[140];

	assert_int_equal(mkdir(path, 0700), 0);		/* cannot be renamed over */
	snprintf(busy, sizeof(busy), "%s/x", path);
	assert_int_equal(mkdir(busy, 0700), 0);
	assert_true(sock_listen(path, 0600, 4) < 0);
	assert_int_equal(rmdir(busy), 0);
	assert_int_equal(rmdir(path), 0);
}

static void no_daemon_is_told_from_a_dead_one(void **state)
{
	assert_int_equal(sock_connect(path, 1000), -ENOENT);
}

static void a_path_that_does_not_fit_is_refused(void **state)
{
	char longest[109];

	memset(longest, 'x', 108);
	longest[108] = '\0';
	assert_int_equal(sock_listen(longest, 0600, 4), -ENAMETOOLONG);
	assert_int_equal(sock_connect(longest, 1000), -ENAMETOOLONG);
	assert_int_equal(sock_connect("", 1000), -EINVAL);
	longest[107] = '\0';
	assert_int_equal(sock_connect(longest, 1000), -ENOENT);
}

static void connect_is_bounded_when_nobody_accepts(void **state)
{
	int l = sock_listen(path, 0600, 0), c[8], i, ret = 0;
	uint64_t t;

	for (i = 0; i < 8; i++) {
		t = clock_ns();
		c[i] = ret = sock_connect(path, 30);
		if (ret < 0)
			break;
	}
	assert_int_equal(ret, -ETIMEDOUT);
	assert_true(clock_ns() - t >= 30000000 - 5000000);
	while (i-- > 0)
		close(c[i]);
	close(l);
}

#define S(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define D(f) cmocka_unit_test_setup_teardown(f, set_up_dir, tear_down_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		S(a_message_arrives_with_its_descriptors),
		S(the_most_descriptors_fit_one_message),
		S(recv_never_blocks),
		S(send_never_blocks),
		S(a_hang_up_is_length_zero),
		S(send_to_a_closed_peer_is_an_error_and_no_signal),
		S(last_words_are_read_though_ours_were_not),
		S(recv_closes_unexpected_descriptors),
		S(recv_closes_all_when_there_is_one_too_many),
		S(recv_refuses_a_message_that_is_too_long),
		S(long_messages_pass_where_both_ends_know_of_them),
		S(recv_refuses_a_wrong_magic_and_closes),
		S(recv_refuses_a_length_other_than_its_own),
		S(recv_refuses_less_than_a_header),
		S(recv_closes_what_an_empty_message_brought),
		S(wait_ends_at_its_deadline),
		S(wait_sees_a_message_and_a_hang_up),
		D(connect_reaches_listen),
		D(listen_replaces_a_stale_socket),
		D(listen_leaves_nothing_behind_when_it_fails),
		D(no_daemon_is_told_from_a_dead_one),
		D(a_path_that_does_not_fit_is_refused),
		D(connect_is_bounded_when_nobody_accepts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
