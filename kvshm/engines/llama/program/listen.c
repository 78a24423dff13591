/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/engines/llama/program/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128

static int bind_listen(int fd, const void *address, socklen_t len)
{
	return bind(fd, address, len) < 0 || listen(fd, BACKLOG) < 0 ? -errno : 0;
}

/* ---- Unix ---------------------------------------------------------------------------------------- */

/* A file that a dead server left behind. */
static void remove_stale(const struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) < 0 && errno == ECONNREFUSED)
		unlink(a->sun_path);
	close(fd);
}

static int open_unix(const char *path, struct listener *l)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	mode_t mask;
	int ret;

	if (!*path || strlen(path) >= sizeof(a.sun_path))
		return -EINVAL;
	memcpy(a.sun_path, path, strlen(path) + 1);
	remove_stale(&a);
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return -errno;
	mask = umask(0177);
	ret = bind_listen(l->fd, &a, sizeof(a));
	umask(mask);
	if (ret < 0) {
		close(l->fd);
		return ret;
	}
	memcpy(l->path, a.sun_path, sizeof(l->path));
	snprintf(l->name, sizeof(l->name), "unix:%s", path);
	return 0;
}

/* ---- TCP ----------------------------------------------------------------------------------------- */

static bool is_loopback(const struct sockaddr *a)
{
	const struct sockaddr_in6 *six = (const void *)a;
	const struct sockaddr_in *four = (const void *)a;

	if (a->sa_family == AF_INET)
		return ntohl(four->sin_addr.s_addr) >> 24 == 127;
	return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
}

static void tell_name(struct listener *l)
{
	char host[INET6_ADDRSTRLEN + 16] = "?", port[16] = "?";
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);

	if (getsockname(l->fd, (struct sockaddr *)&a, &len) < 0)
		return;
	getnameinfo((struct sockaddr *)&a, len, host, sizeof(host), port, sizeof(port),
		    NI_NUMERICHOST | NI_NUMERICSERV);
	l->is_open = !is_loopback((struct sockaddr *)&a);
	snprintf(l->name, sizeof(l->name), strchr(host, ':') ? "http://[%s]:%s" : "http://%s:%s",
		 host, port);
}

static int try_address(const struct addrinfo *a, struct listener *l)
{
	int one = 1, ret;

	l->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return -errno;
	setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	ret = bind_listen(l->fd, a->ai_addr, a->ai_addrlen);
	if (ret < 0)
		close(l->fd);
	return ret;
}

/* [HOST:]PORT, an IPv6 address in brackets. */
static int split(const char *address, char *host, size_t host_size, const char **ret_port)
{
	const char *colon = strrchr(address, ':'), *end = colon;
	size_t len;

	*ret_port = colon ? colon + 1 : address;
	if (!**ret_port || strspn(*ret_port, "0123456789") != strlen(*ret_port))
		return -EINVAL;
	if (!colon) {
		snprintf(host, host_size, "127.0.0.1");
		return 0;
	}
	if (*address == '[') {
		address++;
		end--;
		if (end < address || *end != ']')
			return -EINVAL;
	}
	len = (size_t)(end - address);
	if (!len || len >= host_size)
		return -EINVAL;
	memcpy(host, address, len);
	host[len] = '\0';
	return 0;
}

static int open_tcp(const char *address, struct listener *l)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *all, *a;
	const char *port;
	char host[256];
	int ret = split(address, host, sizeof(host), &port);

	if (ret < 0)
		return ret;
	if (getaddrinfo(host, port, &hints, &all))
		return -EINVAL;
	ret = -EINVAL;
	for (a = all; a; a = a->ai_next) {
		ret = try_address(a, l);
		if (!ret)
			break;
	}
	freeaddrinfo(all);
	if (!ret)
		tell_name(l);
	return ret;
}

int listener_open(const char *address, struct listener *ret_l)
{
	struct listener l = { .fd = -1 };
	int ret = strncmp(address, "unix:", 5) ? open_tcp(address, &l) : open_unix(address + 5, &l);

	if (!ret)
		*ret_l = l;
	return ret;
}

void listener_close(struct listener *l)
{
	if (*l->path)
		unlink(l->path);
	close(l->fd);
}
