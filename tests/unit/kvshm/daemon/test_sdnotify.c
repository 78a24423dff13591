/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/daemon/sdnotify.h"

static void a_state_reaches_the_notify_socket(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char buf[32] = "";
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "/tmp/kvshm-notify.%d", (int)getpid());
	unlink(addr.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	setenv("NOTIFY_SOCKET", addr.sun_path, 1);
	sd_tell("READY=1");
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), 7);
	assert_memory_equal(buf, "READY=1", 7);
	close(fd);
	unlink(addr.sun_path);
}

static void an_abstract_notify_socket_works(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char buf[32], name[64];
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	size_t len = (size_t)snprintf(name, sizeof(name), "@kvshm-notify-%d", (int)getpid());

	memcpy(addr.sun_path + 1, name + 1, len - 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
			 0);
	setenv("NOTIFY_SOCKET", name, 1);
	sd_tell("STOPPING=1");
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), 10);
	close(fd);
}

static void without_systemd_nothing_happens(void **state)
{
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("LISTEN_PID");
	sd_tell("READY=1");
	assert_int_equal(sd_watchdog_ns(), 0);
	assert_int_equal(sd_listen_fd(), -1);
}

static void the_watchdog_is_fed_at_half_its_interval_and_by_its_process_only(void **state)
{
	char pid[16];

	setenv("WATCHDOG_USEC", "10000000", 1);
	assert_int_equal(sd_watchdog_ns(), 5000000000);
	snprintf(pid, sizeof(pid), "%d", (int)getpid() + 1);
	setenv("WATCHDOG_PID", pid, 1);
	assert_int_equal(sd_watchdog_ns(), 0);
	unsetenv("WATCHDOG_PID");
	unsetenv("WATCHDOG_USEC");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_state_reaches_the_notify_socket),
		cmocka_unit_test(an_abstract_notify_socket_works),
		cmocka_unit_test(without_systemd_nothing_happens),
		cmocka_unit_test(the_watchdog_is_fed_at_half_its_interval_and_by_its_process_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
