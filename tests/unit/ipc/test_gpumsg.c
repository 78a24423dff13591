/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/gpumsg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kvshm/base/rand.h"

/* Where it says how many records it has, NULL: it has none. */
static uint32_t *nr_of(union gpumsg *m, enum gpumsg_type type)
{
	switch (type) {
	case GPUMSG_REGISTER:
		return &m->reg.nr;
	case GPUMSG_JOB:
		return &m->job.nr;
	case GPUMSG_HOLD:
	case GPUMSG_RELEASE:
		return &m->refs.nr;
	case GPUMSG_HELD:
		return &m->held.nr;
	default:
		return NULL;
	}
}

static size_t make(union gpumsg *m, enum gpumsg_type type, uint32_t nr)
{
	size_t len;

	memset(m, 0, sizeof(*m));
	len = gpumsg_begin(m, type, nr);
	switch (type) {
	case GPUMSG_HELLO:
		m->hello.abi = KVSHM_ABI;
		break;
	case GPUMSG_WELCOME:
		m->welcome.abi = KVSHM_ABI;
		break;
	case GPUMSG_LINK:
		m->link.abi = KVSHM_ABI;
		break;
	default:
		break;
	}
	if (nr)
		*nr_of(m, type) = nr;
	return len;
}

static uint32_t records(enum gpumsg_type type, uint32_t wanted)
{
	union gpumsg m;

	return nr_of(&m, type) ? wanted : 0;
}

static void every_type_of_its_length_is_taken(void **state)
{
	union gpumsg m;

	for (enum gpumsg_type t = GPUMSG_HELLO; t < GPUMSG_LAST; t++) {
		size_t len = make(&m, t, records(t, 3));

		assert_int_equal(gpumsg_check(&m, len), t);
	}
	assert_int_equal(gpumsg_check(&m, make(&m, GPUMSG_JOB, KVSHM_STAGE_MAX)), GPUMSG_JOB);
	assert_int_equal(gpumsg_check(&m, make(&m, GPUMSG_REGISTER, GPUMSG_PIECES_MAX)), GPUMSG_REGISTER);
	assert_int_equal(gpumsg_check(&m, make(&m, GPUMSG_HOLD, GPUMSG_HOLD_MAX)), GPUMSG_HOLD);
	assert_int_equal(gpumsg_check(&m, make(&m, GPUMSG_HELD, GPUMSG_HOLD_MAX)), GPUMSG_HELD);
}

static void another_length_is_refused(void **state)
{
	union gpumsg m;

	for (enum gpumsg_type t = GPUMSG_HELLO; t < GPUMSG_LAST; t++) {
		size_t len = make(&m, t, records(t, 3));

		for (int by = -1; by <= 1; by += 2) {
			m.hdr.len = (uint16_t)(len + (size_t)by);
			assert_int_equal(gpumsg_check(&m, len + (size_t)by), -EBADMSG);
		}
		m.hdr.len = (uint16_t)len;
		assert_int_equal(gpumsg_check(&m, len - 1), -EBADMSG);
		assert_int_equal(gpumsg_check(&m, 4), -EBADMSG);
	}
}

static void too_many_records_or_none_are_refused(void **state)
{
	union gpumsg m;
	size_t len;

	len = make(&m, GPUMSG_JOB, 0);
	assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
	len = make(&m, GPUMSG_JOB, 2);
	m.job.nr = KVSHM_STAGE_MAX + 1;
	assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
	len = make(&m, GPUMSG_REGISTER, 2);
	m.reg.nr = UINT32_MAX;
	assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
	for (enum gpumsg_type t = GPUMSG_HOLD; t <= GPUMSG_RELEASE; t++) {
		assert_int_equal(gpumsg_check(&m, make(&m, t, 0)), -EBADMSG);
		len = make(&m, t, 2);
		*nr_of(&m, t) = 3;
		assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
		len = make(&m, t, GPUMSG_HOLD_MAX);
		m.hdr.len = (uint16_t)gpumsg_len(t, ++*nr_of(&m, t));
		assert_int_equal(gpumsg_check(&m, m.hdr.len), -EBADMSG);
	}
}

static void another_type_or_magic_is_refused(void **state)
{
	union gpumsg m;
	size_t len = make(&m, GPUMSG_DONE, 0);

	m.hdr.type = GPUMSG_HELLO - 1;
	assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
	m.hdr.type = GPUMSG_LAST;
	assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
	m.hdr.type = GPUMSG_DONE;
	m.hdr.magic ^= 1;
	assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
}

static void padding_that_is_not_zero_is_refused(void **state)
{
	union gpumsg m;
	size_t len;

	len = make(&m, GPUMSG_REGISTER, 1);
	m.reg.resv = 1;
	assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
	len = make(&m, GPUMSG_DETACH, 0);
	m.buffer.token = 1;
	assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
	len = make(&m, GPUMSG_DETACHED, 0);
	m.buffer.error = 1;
	assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
	len = make(&m, GPUMSG_DONE, 0);
	m.done.flags = GPUMSG_DONE_F_HELD;
	assert_int_equal(gpumsg_check(&m, len), GPUMSG_DONE);
	m.done.flags = GPUMSG_DONE_F_KNOWN + 1;
	assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
	len = make(&m, GPUMSG_POOL, 0);
	m.pool.resv = 1;
	assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
	len = make(&m, GPUMSG_HOLD, 1);
	m.refs.resv = 1;
	assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
	len = make(&m, GPUMSG_RELEASE, 1);
	m.refs.ns = 1;
	assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
	len = make(&m, GPUMSG_RELEASE, 1);
	m.refs.request = 1;
	assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
}

static void errors_are_negative_and_numbers_possible(void **state)
{
	union gpumsg m;
	size_t len;

	len = make(&m, GPUMSG_POOL, 0);
	m.pool.error = 1;
	assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
	len = make(&m, GPUMSG_HELD, 1);
	m.held.error = 1;
	assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
	len = make(&m, GPUMSG_RELEASED, 0);
	m.released.error = 1;
	assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
	len = make(&m, GPUMSG_RELEASED, 0);
	m.released.nr = GPUMSG_HOLD_MAX + 1;
	assert_int_equal(gpumsg_check(&m, len), -EBADMSG);
}

static void another_abi_is_told_apart(void **state)
{
	union gpumsg m;
	size_t len = make(&m, GPUMSG_HELLO, 0);

	m.hello.abi++;
	assert_int_equal(gpumsg_check(&m, len), -EPROTONOSUPPORT);
	len = make(&m, GPUMSG_LINK, 0);
	m.link.abi++;
	assert_int_equal(gpumsg_check(&m, len), -EPROTONOSUPPORT);
}

/* Whatever is taken has as many records as it says, all within its bytes. */
static void random_messages_never_reach_beyond_their_bytes(void **state)
{
	static union gpumsg m;
	unsigned nr_taken = 0;
	uint64_t words[8];
	uint32_t *nr;
	struct rand s;

	rand_init(&s, 7);
	for (unsigned i = 0; i < 200000; i++) {
		size_t len = rand_below(&s, 512);
		int type;

		for (unsigned j = 0; j < 8; j++)
			words[j] = rand_u64(&s);
		memcpy(&m, words, sizeof(words));
		m.hdr.magic = KVSHM_MSG_MAGIC;
		m.hdr.type = (uint16_t)(GPUMSG_HELLO + words[0] % (GPUMSG_LAST - GPUMSG_HELLO));
		m.hdr.len = (uint16_t)len;
		nr = nr_of(&m, (enum gpumsg_type)m.hdr.type);
		if (nr)
			*nr %= 16;
		type = gpumsg_check(&m, len);
		if (type > 0)
			assert_int_equal(len, gpumsg_len((enum gpumsg_type)type, nr ? *nr : 0));
		nr_taken += type > 0;
	}
	assert_true(nr_taken > 100);
}

static void sockets_lie_beside_the_daemons(void **state)
{
	char path[32];

	assert_int_equal(gpumsg_path("/run/kvshm/main/kvshm.sock", GPUMSG_SOCKET, path, sizeof(path)), 0);
	assert_string_equal(path, "/run/kvshm/main/gpud.sock");
	assert_int_equal(gpumsg_path("kvshm.sock", GPUMSG_SOCKET, path, sizeof(path)), 0);
	assert_string_equal(path, "gpud.sock");
	assert_int_equal(gpumsg_path("/run/kvshm/main/kvshm.sock", GPUMSG_SOCKET, path, 25), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_of_its_length_is_taken),
		cmocka_unit_test(another_length_is_refused),
		cmocka_unit_test(too_many_records_or_none_are_refused),
		cmocka_unit_test(another_type_or_magic_is_refused),
		cmocka_unit_test(padding_that_is_not_zero_is_refused),
		cmocka_unit_test(errors_are_negative_and_numbers_possible),
		cmocka_unit_test(another_abi_is_told_apart),
		cmocka_unit_test(random_messages_never_reach_beyond_their_bytes),
		cmocka_unit_test(sockets_lie_beside_the_daemons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
