/* SPDX-License-Identifier: Apache-2.0 */
/* From HELLO to WELCOME with each allocation failing once: refused by name, and nothing stays behind. */
#include "tests/unit/kvshm/daemon/fixture.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "ipc/handshake.h"
#include "ipc/sock.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/daemon/server.h"
#include "tests/lib/fault.h"

static struct wfix x;
static struct session *s;
static int client; /* its end of the socket */
static uid_t user; /* whose process it is */

static int setup(void **state)
{
	wfix_open(&x, 64, 4, 4096);
	x.d->conf.max = 8;
	x.d->inst.pins_fd = x.d->rofd.fd = x.f.dirfd;
	x.d->epoll_fd = -1;
	x.d->store.owners_fd = pinowner_open(x.f.dirfd);
	assert_true(x.d->store.owners_fd >= 0);
	close(openat(x.f.dirfd, "directory", O_CREAT | O_RDWR | O_CLOEXEC, 0600));
	pin_set_remove(x.f.pins, FIX_OWNER + 3); /* room for one */
	s = &x.d->session[2];
	session_init(s, 2);
	user = geteuid();
	return 0;
}

static int teardown(void **state)
{
	close(x.d->store.owners_fd);
	unlinkat(x.f.dirfd, "sessions", 0);
	unlinkat(x.f.dirfd, "directory", 0);
	wfix_close(&x);
	return 0;
}

/* Main and writer answer each other until neither has anything to say. */
static void let_them_talk(void)
{
	struct mail m;
	bool did;

	do {
		did = writer_round(x.w);
		while (mailbox_take(&x.d->to_main, &m)) {
			server_on_mail(x.d, &m);
			did = true;
		}
	} while (did);
}

static void connect_and_send(const void *hello, size_t len)
{
	int sock[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sock), 0);
	client = sock[1];
	s->sock = sock[0];
	s->state = SESSION_HELLO;
	s->peer.pid = getpid();
	s->peer.uid = user;
	assert_int_equal(send(client, hello, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Return: 0 welcome; the error of a refusal; -ENODATA: neither was said. */
static int answer(void)
{
	union handshake_msg m;
	int fds[KVSHM_MSG_MAX_FDS], len, ret = -ENODATA;
	unsigned nr = 0;

	len = sock_recv(client, &m, fds, KVSHM_MSG_MAX_FDS, &nr);
	if (len > 0 && handshake_check(&m, (size_t)len) == KVSHM_MSG_WELCOME &&
	    nr == HANDSHAKE_NR_FDS)
		ret = 0;
	else if (len > 0 && handshake_check(&m, (size_t)len) == KVSHM_MSG_REFUSED && nr == 0)
		ret = m.refused.error;
	while (nr > 0)
		close(fds[--nr]);
	return ret;
}

static int make_welcome(void)
{
	const struct kvshm_msg_hello m = {
		.hdr = { KVSHM_MSG_MAGIC, KVSHM_MSG_HELLO, sizeof(m) },
		.abi = KVSHM_ABI,
	};
	int ret;

	connect_and_send(&m, sizeof(m));
	server_on_socket(x.d, s);
	let_them_talk();
	ret = answer();
	if (ret < 0)
		close(client);
	return ret;
}

static void unmake_welcome(void)
{
	close(client);
	reaper_notice(x.d, s, DEATH_HUP, clock_ns());
	let_them_talk();
	assert_int_equal(s->state, SESSION_FREE);
}

static unsigned count_pin_files(void)
{
	char path[80];
	unsigned nr = 0;

	for (unsigned i = 1; i < 1000; i++) {
		snprintf(path, sizeof(path), "%s/pins.%u", x.f.path, i);
		nr += access(path, F_OK) == 0;
	}
	return nr;
}

static void a_hello_is_welcomed_or_refused_by_name_whichever_allocation_fails(void **state)
{
	unsigned before = count_pin_files();

	assert_true(fault_each(make_welcome, unmake_welcome) >= 8);
	fault_descriptors(ENFILE);
	assert_true(fault_each(make_welcome, unmake_welcome) >= 8);
	fault_descriptors(EMFILE);
	assert_int_equal(s->state, SESSION_FREE);
	assert_int_equal(count_pin_files(), before);
}

/* The next HELLO is from this user, who has so many sessions and orphans.  Return: the answer. */
static int hello_of(uid_t uid, unsigned nr, unsigned orphans)
{
	int ret;

	for (unsigned i = 0; i < nr + orphans; i++) {
		x.d->session[10 + i].state = SESSION_DETACHED;
		x.d->session[10 + i].peer.uid = uid;
		x.d->session[10 + i].is_orphan = i >= nr;
	}
	user = uid;
	ret = make_welcome();
	if (ret == 0)
		unmake_welcome();
	let_them_talk();
	for (unsigned i = 0; i < nr + orphans; i++)
		session_init(&x.d->session[10 + i], 10 + i);
	user = geteuid();
	return ret;
}

static void a_stranger_leaves_half_of_the_sessions_to_the_others(void **state)
{
	const uid_t stranger = geteuid() + 1, own = geteuid();

	assert_int_equal(hello_of(stranger, 3, 0), 0);
	assert_int_equal(hello_of(stranger, 4, 0), -EAGAIN);
	assert_int_equal(hello_of(own, 6, 0), 0);
	/* after a restart each client has a second entry for a while, but no third */
	assert_int_equal(hello_of(stranger, 3, 4), 0);
	assert_int_equal(hello_of(stranger, 3, 5), -EAGAIN);
	x.d->conf.trusted.uid[x.d->conf.trusted.nr++] = stranger;
	assert_int_equal(hello_of(stranger, 6, 0), 0);
	x.d->conf.max_per_uid = 2;
	assert_int_equal(hello_of(stranger, 2, 0), -EAGAIN);
	assert_int_equal(hello_of(own, 2, 0), -EAGAIN);
}

static void what_a_client_counts_after_ready_is_counted_and_what_it_brought_is_not(void **state)
{
	uint64_t *counter;

	assert_int_equal(make_welcome(), 0);
	counter = s->q.seg.hdr->counter;
	WRITE_ONCE(counter[KVSHM_CC_LOOKUPS], 5);
	assert_int_equal(welcome_mapped(x.d, s), 0);
	/* The client has heard READY, the writer has not come to its mail yet. */
	WRITE_ONCE(counter[KVSHM_CC_LOOKUPS], 8);
	let_them_talk();
	metrics_take_client(x.w, s);
	assert_int_equal(x.w->counts.client[KVSHM_CC_LOOKUPS], 3);
	assert_int_equal(s->q.added[KVSHM_CC_LOOKUPS], 3);
	unmake_welcome();
}

/* A client that was served is gone: this told, and then that. */
static void die(enum death_via first, enum death_via then)
{
	assert_int_equal(make_welcome(), 0);
	assert_int_equal(welcome_mapped(x.d, s), 0);
	let_them_talk();
	/* As long as its process lives, it is not gone, whatever is told. */
	s->peer.pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	assert_true(s->peer.pidfd >= 0);
	reaper_notice(x.d, s, first, clock_ns());
	let_them_talk();
	assert_int_not_equal(s->state, SESSION_FREE);
	close(s->peer.pidfd);
	s->peer.pidfd = -1;
	reaper_notice(x.d, s, then, clock_ns());
	let_them_talk();
	assert_int_equal(s->state, SESSION_FREE);
	close(client);
}

static void a_death_is_counted_by_what_told_first(void **state)
{
	die(DEATH_HUP, DEATH_PIDFD);
	die(DEATH_PIDFD, DEATH_HUP);
	die(DEATH_PIDFD, DEATH_TICK);
	assert_int_equal(x.d->counts.deaths[DEATH_HUP], 1);
	assert_int_equal(x.d->counts.deaths[DEATH_PIDFD], 2);
	assert_int_equal(x.d->counts.deaths[DEATH_TICK], 0);
}

static void connect_to(const char *path)
{
	client = sock_connect(path, 1000);
	assert_true(client >= 0);
}

static void a_connection_waits_for_its_descriptor(void **state)
{
	static const int errs[] = { EMFILE, ENFILE };
	char path[80];

	snprintf(path, sizeof(path), "%s/socket", x.f.path);
	x.d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	x.d->listen_fd = sock_listen(path, 0600, 8);
	assert_true(x.d->epoll_fd >= 0 && x.d->listen_fd >= 0);
	for (unsigned i = 0; i < ARRAY_SIZE(errs); i++) {
		connect_to(path);
		fault_descriptors(errs[i]);
		fault_arm(1);
		server_accept(x.d);
		assert_true(fault_disarm());
		assert_true(x.d->is_accept_paused);
		server_resume_accept(x.d);
		server_accept(x.d);
		assert_int_equal(x.d->session[1].state, SESSION_HELLO);
		close(client);
		server_on_socket(x.d, &x.d->session[1]);
		assert_int_equal(x.d->session[1].state, SESSION_FREE);
	}
	fault_descriptors(EMFILE);
	close(x.d->listen_fd);
	close(x.d->epoll_fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_hello_is_welcomed_or_refused_by_name_whichever_allocation_fails, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			a_stranger_leaves_half_of_the_sessions_to_the_others, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_a_client_counts_after_ready_is_counted_and_what_it_brought_is_not, setup, teardown),
		cmocka_unit_test_setup_teardown(a_death_is_counted_by_what_told_first, setup, teardown),
		cmocka_unit_test_setup_teardown(a_connection_waits_for_its_descriptor, setup,
						teardown),
	};

	if (FAULT_MISSING) {
		printf("a sanitizer's build has its own malloc()\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, wfix_group_setup, wfix_group_teardown);
}
