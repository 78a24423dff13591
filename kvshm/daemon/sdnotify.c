/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/sdnotify.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_PASSED_FD 3

void sd_tell(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;
	int fd;

	if ((path && path[0] != '/' && path[0] != '@') || len < 2 || len >= sizeof(addr.sun_path))
		return;
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&addr,
	       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	close(fd);
}

static uint64_t env_number(const char *name)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 10) : 0;
}

uint64_t sd_watchdog_ns(void)
{
	uint64_t pid = env_number("WATCHDOG_PID");

	if (pid && pid != (uint64_t)getpid())
		return 0;
	return env_number("WATCHDOG_USEC") * 1000 / 2;
}

int sd_listen_fd(void)
{
	if (env_number("LISTEN_PID") != (uint64_t)getpid() || env_number("LISTEN_FDS") != 1)
		return -1;
	if (fcntl(FIRST_PASSED_FD, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(FIRST_PASSED_FD, F_SETFL, O_NONBLOCK) < 0)
		return -1;
	return FIRST_PASSED_FD;
}
