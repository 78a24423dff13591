/* SPDX-License-Identifier: Apache-2.0 */
/* test_handshake.c - well-formed messages, each refusal, and the client's half against a script */
#include <dirent.h>
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

#include "ipc/handshake.h"
#include "kvshm/base/clock.h"

static union handshake_msg m;

static void fill_header(enum kvshm_msg_type type, size_t len)
{
	memset(&m, 0, sizeof(m));
	m.hdr = (struct kvshm_msg_hdr){ KVSHM_MSG_MAGIC, (uint16_t)type, (uint16_t)len };
}

static size_t fill_hello(void)
{
	fill_header(KVSHM_MSG_HELLO, sizeof(m.hello));
	m.hello.abi = KVSHM_ABI;
	m.hello.flags = KVSHM_HELLO_F_KNOWN;
	memset(m.hello.label, 'x', sizeof(m.hello.label) - 1);
	return sizeof(m.hello);
}

static size_t fill_welcome(void)
{
	fill_header(KVSHM_MSG_WELCOME, sizeof(m.welcome));
	m.welcome.abi = KVSHM_ABI;
	m.welcome.flags = KVSHM_WELCOME_F_TRUSTED;
	m.welcome.slot = 3;
	return sizeof(m.welcome);
}

static size_t fill_refused(void)
{
	handshake_refused(&m.refused, -EAGAIN, "no session slot free");
	return sizeof(m.refused);
}

static size_t fill_plain(enum kvshm_msg_type type, uint32_t arg, uint32_t nr)
{
	handshake_plain(&m.plain, type, arg, nr);
	return sizeof(m.plain);
}

static void check_accepts_each_type(void **state)
{
	assert_int_equal(handshake_check(&m, fill_hello()), KVSHM_MSG_HELLO);
	assert_int_equal(handshake_check(&m, fill_welcome()), KVSHM_MSG_WELCOME);
	assert_int_equal(handshake_check(&m, fill_refused()), KVSHM_MSG_REFUSED);
	assert_int_equal(handshake_check(&m, fill_plain(KVSHM_MSG_MAPPED, 0, 0)), KVSHM_MSG_MAPPED);
	assert_int_equal(handshake_check(&m, fill_plain(KVSHM_MSG_READY, 0, 0)), KVSHM_MSG_READY);
	assert_int_equal(handshake_check(&m, fill_plain(KVSHM_MSG_EXTENTS, 7, 0)), KVSHM_MSG_EXTENTS);
	assert_int_equal(handshake_check(&m, fill_plain(KVSHM_MSG_EXTENT_FDS, 7, 64)), KVSHM_MSG_EXTENT_FDS);
	assert_int_equal(handshake_check(&m, fill_plain(KVSHM_MSG_STAGING, 0, 0)), KVSHM_MSG_STAGING);
	assert_int_equal(handshake_check(&m, fill_plain(KVSHM_MSG_STAGING_FD, 0, 1)), KVSHM_MSG_STAGING_FD);
	assert_int_equal(handshake_check(&m, fill_plain(KVSHM_MSG_WAKE, 0, 0)), KVSHM_MSG_WAKE);
}

/* ---- refusals: one thing is wrong, all else is valid --------------------------------------------- */

static void refuses(size_t len)
{
	assert_int_equal(handshake_check(&m, len), -EBADMSG);
}

static void check_refuses_a_wrong_magic(void **state)
{
	size_t len = fill_hello();

	m.hdr.magic ^= 1;
	refuses(len);
}

static void check_refuses_an_unknown_type(void **state)
{
	size_t len = fill_plain(KVSHM_MSG_WAKE, 0, 0);

	m.hdr.type = 0;
	refuses(len);
	m.hdr.type = KVSHM_MSG_REFUSED + 1;
	refuses(len);
	m.hdr.type = UINT16_MAX;
	refuses(len);
}

static void check_refuses_a_length_of_another_type(void **state)
{
	size_t len = fill_hello();

	m.hdr.len = (uint16_t)(len - 8);
	refuses(len - 8);
	m.hdr.len = (uint16_t)(len + 8);
	refuses(len + 8);
}

static void check_refuses_a_length_other_than_received(void **state)
{
	size_t len = fill_hello();

	refuses(len - 1);
	refuses(len + 1);
	refuses(0);
	refuses(sizeof(m.hdr) - 1);
}

static void check_refuses_unknown_hello_flags(void **state)
{
	size_t len = fill_hello();

	m.hello.flags |= KVSHM_HELLO_F_KNOWN + 1;
	refuses(len);
}

static void check_refuses_a_label_without_end(void **state)
{
	size_t len = fill_hello();

	m.hello.label[sizeof(m.hello.label) - 1] = 'x';
	refuses(len);
}

static void check_refuses_reserved_bytes_in_use(void **state)
{
	size_t len = fill_hello();

	m.hello.resv[1] = 1ull << 63;
	refuses(len);
	len = fill_welcome();
	m.welcome.resv[0] = 1;
	refuses(len);
}

static void check_refuses_unknown_welcome_flags(void **state)
{
	size_t len = fill_welcome();

	m.welcome.flags |= 2;
	refuses(len);
}

static void check_refuses_arguments_where_there_are_none(void **state)
{
	refuses(fill_plain(KVSHM_MSG_MAPPED, 1, 0));
	refuses(fill_plain(KVSHM_MSG_MAPPED, 0, 1));
	refuses(fill_plain(KVSHM_MSG_EXTENTS, 0, 1));
	refuses(fill_plain(KVSHM_MSG_STAGING, 1, 0));
	refuses(fill_plain(KVSHM_MSG_STAGING_FD, 0, 2));
	refuses(fill_plain(KVSHM_MSG_EXTENT_FDS, 0, KVSHM_MSG_MAX_FDS + 1));
}

static void check_refuses_a_refusal_that_is_none(void **state)
{
	size_t len = fill_refused();

	m.refused.error = 0;
	refuses(len);
	m.refused.error = 5;
	refuses(len);
	m.refused.error = INT32_MIN;
	refuses(len);
}

static void check_refuses_a_text_without_end(void **state)
{
	size_t len = fill_refused();

	memset(m.refused.text, 'x', sizeof(m.refused.text));
	refuses(len);
}

static void a_long_reason_is_cut(void **state)
{
	char text[300];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	handshake_refused(&m.refused, -EACCES, text);
	assert_int_equal(handshake_check(&m, sizeof(m.refused)), KVSHM_MSG_REFUSED);
	assert_int_equal(strlen(m.refused.text), sizeof(m.refused.text) - 1);
}

static uint64_t rand_next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* What was accepted must have what its type promises, whatever the bytes are. */
static void random_messages_are_refused_or_hold_their_promises(void **state)
{
	uint64_t s = 0x9e3779b97f4a7c15ull, words[KVSHM_MSG_MAX / 8];
	unsigned i, j, accepted = 0;
	size_t len;
	int type;

	for (i = 0; i < 2000000; i++) {
		len = rand_next(&s) % (KVSHM_MSG_MAX + 1);
		for (j = 0; j < KVSHM_MSG_MAX / 8; j++)
			words[j] = rand_next(&s) & rand_next(&s) ? rand_next(&s) >> (s & 63) : 0;
		memcpy(&m, words, sizeof(m));
		if (i % 4) {			/* let most get past the header */
			m.hdr.magic = KVSHM_MSG_MAGIC;
			m.hdr.type = (uint16_t)(s % 12);
			len = (size_t[]){ 88, 88, 80, 16, 128, 72 }[(s >> 8) % 6];
			m.hdr.len = (uint16_t)len;
		}
		if (i % 8 == 1)
			memset(m.bytes + 8, 0, len - 8);
		if (i % 8 == 1 && m.hdr.type == KVSHM_MSG_REFUSED)
			m.refused.error = -1;
		type = handshake_check(&m, len);
		if (type < 0) {
			assert_int_equal(type, -EBADMSG);
			continue;
		}
		accepted++;
		assert_in_range(type, KVSHM_MSG_HELLO, KVSHM_MSG_REFUSED);
		if (type == KVSHM_MSG_HELLO)
			assert_true(strlen(m.hello.label) < sizeof(m.hello.label));
		if (type == KVSHM_MSG_REFUSED)
			assert_true(m.refused.error < 0 && strlen(m.refused.text) < sizeof(m.refused.text));
		if (type == KVSHM_MSG_EXTENT_FDS)
			assert_true(m.plain.nr <= KVSHM_MSG_MAX_FDS);
	}
	assert_true(accepted > 1000);		/* or the loop has tested nothing */
}

/* ---- the client's half: the daemon's answers are sent before the question ------------------------ */

static int sk[2];			/* [0] client, [1] daemon */
static unsigned fds_before;

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

static int set_up(void **state)
{
	int ret = socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sk);

	fds_before = open_fds();
	return ret;
}

static int tear_down(void **state)
{
	close(sk[0]);
	if (sk[1] >= 0)
		close(sk[1]);
	return 0;
}

static void answer(size_t len, unsigned nr_fds)
{
	int fds[KVSHM_MSG_MAX_FDS] = { 0 };

	assert_int_equal(sock_send(sk[1], &m, len, fds, nr_fds), 0);
}

static uint64_t soon(void)
{
	return clock_ns() + 20000000;
}

static int say_hello(void)
{
	struct kvshm_msg_hello hello = { .abi = KVSHM_ABI, .label = "test" };
	struct kvshm_msg_welcome w;
	int fds[HANDSHAKE_NR_FDS], ret, i;

	ret = handshake_hello(sk[0], &hello, soon(), &w, fds);
	if (ret == 0) {
		assert_int_equal(w.slot, 3);
		for (i = 0; i < HANDSHAKE_NR_FDS; i++)
			assert_int_equal(close(fds[i]), 0);
	}
	assert_int_equal(open_fds(), fds_before - (sk[1] < 0));
	return ret;
}

static void hello_takes_a_welcome_and_its_descriptors(void **state)
{
	union handshake_msg got;

	answer(fill_welcome(), HANDSHAKE_NR_FDS);
	assert_int_equal(say_hello(), 0);
	assert_int_equal(handshake_check(&got, (size_t)sock_recv(sk[1], &got, NULL, 0, NULL)),
			 KVSHM_MSG_HELLO);
	assert_string_equal(got.hello.label, "test");
}

static void hello_skips_wake_messages(void **state)
{
	answer(fill_plain(KVSHM_MSG_WAKE, 0, 0), 0);
	answer(fill_plain(KVSHM_MSG_WAKE, 0, 0), 0);
	answer(fill_welcome(), HANDSHAKE_NR_FDS);
	assert_int_equal(say_hello(), 0);
}

static void hello_gives_the_daemons_refusal(void **state)
{
	answer(fill_refused(), 0);
	assert_int_equal(say_hello(), -EAGAIN);
}

static void hello_reads_a_refusal_of_a_daemon_that_has_hung_up(void **state)
{
	answer(fill_refused(), 0);
	close(sk[1]);
	sk[1] = -1;
	assert_int_equal(say_hello(), -EAGAIN);
}

static void hello_tells_a_hang_up(void **state)
{
	close(sk[1]);
	sk[1] = -1;
	assert_int_equal(say_hello(), -ECONNRESET);
}

static void hello_is_bounded(void **state)
{
	assert_int_equal(say_hello(), -ETIMEDOUT);
	answer(fill_plain(KVSHM_MSG_WAKE, 0, 0), 0);
	assert_int_equal(say_hello(), -ETIMEDOUT);
}

static void hello_refuses_a_welcome_with_too_few_descriptors(void **state)
{
	answer(fill_welcome(), HANDSHAKE_NR_FDS - 1);
	assert_int_equal(say_hello(), -EBADMSG);
}

static void hello_refuses_a_welcome_with_too_many_descriptors(void **state)
{
	answer(fill_welcome(), HANDSHAKE_NR_FDS + 1);
	assert_int_equal(say_hello(), -EBADMSG);
}

static void hello_refuses_another_answer(void **state)
{
	answer(fill_plain(KVSHM_MSG_READY, 0, 0), 2);
	assert_int_equal(say_hello(), -EBADMSG);
}

static void mapped_waits_for_ready(void **state)
{
	answer(fill_plain(KVSHM_MSG_READY, 0, 0), 0);
	assert_int_equal(handshake_mapped(sk[0], soon()), 0);
	answer(fill_plain(KVSHM_MSG_READY, 0, 0), 1);	/* ready needs no descriptor */
	assert_int_equal(handshake_mapped(sk[0], soon()), -EBADMSG);
	assert_int_equal(handshake_mapped(sk[0], soon()), -ETIMEDOUT);
}

static void extents_come_with_as_many_descriptors_as_said(void **state)
{
	int fds[KVSHM_MSG_MAX_FDS], i;

	answer(fill_plain(KVSHM_MSG_EXTENT_FDS, 5, 3), 3);
	assert_int_equal(handshake_extents(sk[0], 5, soon(), fds), 3);
	for (i = 0; i < 3; i++)
		close(fds[i]);
	answer(fill_plain(KVSHM_MSG_EXTENT_FDS, 5, 0), 0);
	assert_int_equal(handshake_extents(sk[0], 5, soon(), fds), 0);

	answer(fill_plain(KVSHM_MSG_EXTENT_FDS, 5, 2), 3);
	assert_int_equal(handshake_extents(sk[0], 5, soon(), fds), -EBADMSG);
	answer(fill_plain(KVSHM_MSG_EXTENT_FDS, 4, 3), 3);	/* not what was asked for */
	assert_int_equal(handshake_extents(sk[0], 5, soon(), fds), -EBADMSG);
	assert_int_equal(open_fds(), fds_before);
}

static void staging_comes_with_one_descriptor(void **state)
{
	int fd;

	answer(fill_plain(KVSHM_MSG_STAGING_FD, 0, 1), 1);
	fd = handshake_staging(sk[0], soon());
	assert_true(fd >= 0);
	close(fd);
	answer(fill_plain(KVSHM_MSG_STAGING_FD, 0, 1), 0);
	assert_int_equal(handshake_staging(sk[0], soon()), -EBADMSG);
	answer(fill_plain(KVSHM_MSG_STAGING_FD, 0, 1), 2);
	assert_int_equal(handshake_staging(sk[0], soon()), -EBADMSG);
	assert_int_equal(open_fds(), fds_before);
}

#define S(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_accepts_each_type),
		cmocka_unit_test(check_refuses_a_wrong_magic),
		cmocka_unit_test(check_refuses_an_unknown_type),
		cmocka_unit_test(check_refuses_a_length_of_another_type),
		cmocka_unit_test(check_refuses_a_length_other_than_received),
		cmocka_unit_test(check_refuses_unknown_hello_flags),
		cmocka_unit_test(check_refuses_a_label_without_end),
		cmocka_unit_test(check_refuses_reserved_bytes_in_use),
		cmocka_unit_test(check_refuses_unknown_welcome_flags),
		cmocka_unit_test(check_refuses_arguments_where_there_are_none),
		cmocka_unit_test(check_refuses_a_refusal_that_is_none),
		cmocka_unit_test(check_refuses_a_text_without_end),
		cmocka_unit_test(a_long_reason_is_cut),
		cmocka_unit_test(random_messages_are_refused_or_hold_their_promises),
		S(hello_takes_a_welcome_and_its_descriptors),
		S(hello_skips_wake_messages),
		S(hello_gives_the_daemons_refusal),
		S(hello_reads_a_refusal_of_a_daemon_that_has_hung_up),
		S(hello_tells_a_hang_up),
		S(hello_is_bounded),
		S(hello_refuses_a_welcome_with_too_few_descriptors),
		S(hello_refuses_a_welcome_with_too_many_descriptors),
		S(hello_refuses_another_answer),
		S(mapped_waits_for_ready),
		S(extents_come_with_as_many_descriptors_as_said),
		S(staging_comes_with_one_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
