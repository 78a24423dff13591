/* SPDX-License-Identifier: Apache-2.0 */
/* http.c - http.h on libmicrohttpd; no other file of the tool knows the library */
#include "utils/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "kvshm/base/compiler.h"

#define CONNECTIONS_MAX 16u
#define SILENCE_MAX_S 10u
#define BACKLOG 16

struct http_server {
	struct MHD_Daemon *daemon;
	http_handler fn;
	void *arg;
};

/* ---- listening --------------------------------------------------------------------------------------- */

static int bound(int type, const struct sockaddr *addr, socklen_t len)
{
	int fd = socket(type, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, ret;

	if (fd < 0)
		return -errno;
	if (type != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, addr, len) < 0 || (type != AF_UNIX && listen(fd, BACKLOG) < 0)) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

static bool is_served(const struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool yes = fd >= 0 && !connect(fd, (const struct sockaddr *)a, sizeof(*a));

	if (fd >= 0)
		close(fd);
	return yes;
}

static int listen_unix(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct stat st;
	int fd;

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	memcpy(a.sun_path, path, strlen(path));
	if (!lstat(path, &st) && S_ISSOCK(st.st_mode)) {
		if (is_served(&a))
			return -EADDRINUSE;
		unlink(path);		/* left by one that was killed */
	}
	fd = bound(AF_UNIX, (struct sockaddr *)&a, sizeof(a));
	if (fd < 0)
		return fd;
	/* The mode before anybody can come in. */
	if (chmod(path, 0660) < 0 || listen(fd, BACKLOG) < 0) {
		int ret = -errno;

		close(fd);
		unlink(path);
		return ret;
	}
	return fd;
}

static int parse_port(const char *text, in_port_t *ret_port)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || v > 65535)
		return -EINVAL;
	*ret_port = htons((uint16_t)v);
	return 0;
}

static int listen_tcp(const char *where)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in a4 = { .sin_family = AF_INET };
	const char *colon = strrchr(where, ':'), *port = colon ? colon + 1 : where;
	char host[64] = "127.0.0.1";
	bool is_6 = colon && *where == '[';

	if (colon && (size_t)(colon - where) >= sizeof(host))
		return -EINVAL;
	if (is_6 && (colon == where || colon[-1] != ']'))
		return -EINVAL;
	if (is_6)
		snprintf(host, sizeof(host), "%.*s", (int)(colon - where - 2), where + 1);
	else if (colon)
		snprintf(host, sizeof(host), "%.*s", (int)(colon - where), where);
	if (inet_pton(is_6 ? AF_INET6 : AF_INET, host, is_6 ? (void *)&a6.sin6_addr : (void *)&a4.sin_addr) != 1 ||
	    parse_port(port, is_6 ? &a6.sin6_port : &a4.sin_port) < 0)
		return -EINVAL;
	return is_6 ? bound(AF_INET6, (struct sockaddr *)&a6, sizeof(a6)) :
		      bound(AF_INET, (struct sockaddr *)&a4, sizeof(a4));
}

int http_listen(const char *where)
{
	return *where == '/' ? listen_unix(where) : listen_tcp(where);
}

void http_name(int fd, char *buf, size_t len)
{
	union {
		struct sockaddr any;
		struct sockaddr_un un;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} a = { 0 };
	socklen_t a_len = sizeof(a);
	char host[INET6_ADDRSTRLEN] = "?";

	getsockname(fd, &a.any, &a_len);
	if (a.any.sa_family == AF_UNIX)
		snprintf(buf, len, "%.*s", (int)sizeof(a.un.sun_path), a.un.sun_path);
	else if (a.any.sa_family == AF_INET && inet_ntop(AF_INET, &a.in.sin_addr, host, sizeof(host)))
		snprintf(buf, len, "%s:%u", host, ntohs(a.in.sin_port));
	else if (inet_ntop(AF_INET6, &a.in6.sin6_addr, host, sizeof(host)))
		snprintf(buf, len, "[%s]:%u", host, ntohs(a.in6.sin6_port));
}

/* ---- serving ------------------------------------------------------------------------------------------ */

static enum MHD_Result queue(struct MHD_Connection *c, struct http_reply *r)
{
	static char oom[] = "out of memory\n";
	struct MHD_Response *resp = r->body ?
		MHD_create_response_from_buffer(r->len, r->body, MHD_RESPMEM_MUST_FREE) :
		MHD_create_response_from_buffer(sizeof(oom) - 1, oom, MHD_RESPMEM_PERSISTENT);
	enum MHD_Result ret;

	if (!resp) {
		free(r->body);
		return MHD_NO;
	}
	MHD_add_response_header(resp, "Content-Type", r->body ? r->type : "text/plain");
	MHD_add_response_header(resp, "Cache-Control", "no-store");
	MHD_add_response_header(resp, "X-Content-Type-Options", "nosniff");
	/* The page needs its own style sheet and nothing else. */
	MHD_add_response_header(resp, "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
	if (r->status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(resp, "Allow", "GET, HEAD");
	ret = MHD_queue_response(c, r->body ? r->status : MHD_HTTP_INTERNAL_SERVER_ERROR, resp);
	MHD_destroy_response(resp);
	return ret;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url, const char *method,
				  const char *version, const char *upload, size_t *upload_len, void **state)
{
	static const char refused[] = "only GET and HEAD\n";
	const char *accept = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Accept");
	struct http_reply r = { .status = MHD_HTTP_METHOD_NOT_ALLOWED, .type = "text/plain", .len = sizeof(refused) - 1 };
	struct http_server *s = cls;

	(void)version;
	(void)upload;
	if (!*state) {
		*state = s;		/* the headers are here; the answer goes with the next call */
		return MHD_YES;
	}
	if (*upload_len) {
		*upload_len = 0;	/* a body is read and dropped */
		return MHD_YES;
	}
	if (strcmp(method, "GET") && strcmp(method, "HEAD"))
		r.body = strdup(refused);
	else
		s->fn(s->arg, url, accept ? accept : "", &r);
	return queue(c, &r);
}

int http_start(int fd, http_handler fn, void *arg, struct http_server **ret_s)
{
	struct http_server *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->fn = fn;
	s->arg = arg;
	s->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, s,
				     MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
				     MHD_OPTION_CONNECTION_TIMEOUT, SILENCE_MAX_S, MHD_OPTION_END);
	if (!s->daemon) {
		free(s);
		return -EIO;
	}
	*ret_s = s;
	return 0;
}

int http_run(struct http_server *s, int timeout_ms)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	struct pollfd p = { .fd = info ? info->epoll_fd : -1, .events = POLLIN };
	MHD_UNSIGNED_LONG_LONG library_ms;
	struct timespec ts;
	sigset_t none;

	if (!info)
		return -EIO;
	if (MHD_get_timeout(s->daemon, &library_ms) == MHD_YES)
		timeout_ms = (int)min_of((MHD_UNSIGNED_LONG_LONG)timeout_ms, library_ms);
	ts = (struct timespec){ timeout_ms / 1000, timeout_ms % 1000 * 1000000l };
	sigemptyset(&none);
	/* Not the library's own wait: a signal must end it, and not come before it. */
	if (ppoll(&p, 1, &ts, &none) < 0)
		return errno == EINTR ? -EINTR : -EIO;
	return MHD_run(s->daemon) == MHD_YES ? 0 : -EIO;
}

struct http_server *http_stop(struct http_server *s)
{
	if (s) {
		MHD_stop_daemon(s->daemon);
		free(s);
	}
	return NULL;
}
