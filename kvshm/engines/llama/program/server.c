/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/engines/llama/program/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kvshm/engines/llama/program/listen.h"
#include "kvshm/engines/llama/program/openai.h"
#include "kvshm/engines/llama/program/options.h"
#include "kvshm/engines/llama/program/serve.h"

#define BODY_MAX (16u << 20)
#define CONNECTIONS_MAX 128u
#define IDLE_S 60u

/* A body as it arrives. */
struct upload {
	char *text;
	size_t len;
	bool is_refused;
};

/* ---- routes -------------------------------------------------------------------------------------- */

typedef int (*route_fn)(struct server *sv, struct MHD_Connection *conn, const struct upload *u);

static int post_chat(struct server *sv, struct MHD_Connection *conn, const struct upload *u)
{
	return serve_completion(sv, conn, true, u->text ? u->text : "", u->len);
}

static int post_text(struct server *sv, struct MHD_Connection *conn, const struct upload *u)
{
	return serve_completion(sv, conn, false, u->text ? u->text : "", u->len);
}

static int get_models(struct server *sv, struct MHD_Connection *conn, const struct upload *u)
{
	struct reply r = { .model = sv->model, .created = (long)time(NULL) };

	return serve_json(conn, MHD_HTTP_OK, reply_models(&r));
}

static int get_health(struct server *sv, struct MHD_Connection *conn, const struct upload *u)
{
	return serve_json(conn, MHD_HTTP_OK, strdup("{\"status\":\"ok\"}"));
}

static const struct route {
	const char *method, *path;
	route_fn run;
} routes[] = {
	{ "POST", "/v1/chat/completions", post_chat },
	{ "POST", "/v1/completions", post_text },
	{ "GET", "/v1/models", get_models },
	{ "GET", "/health", get_health },
};

static int route(struct server *sv, struct MHD_Connection *conn, const char *method,
		 const char *path, const struct upload *u)
{
	bool is_known = false;
	unsigned i;

	for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (strcmp(path, routes[i].path))
			continue;
		is_known = true;
		if (!strcmp(method, routes[i].method))
			return routes[i].run(sv, conn, u);
	}
	return is_known ? serve_error(conn, MHD_HTTP_METHOD_NOT_ALLOWED,
				      "this path has another method")
			: serve_error(conn, MHD_HTTP_NOT_FOUND,
				      "no such path; there are /v1/chat/completions,"
				      " /v1/completions, /v1/models and /health");
}

/* ---- requests ------------------------------------------------------------------------------------ */

static void upload_add(struct upload *u, const char *data, size_t len)
{
	char *text = NULL;

	if (!u->is_refused && u->len + len <= BODY_MAX)
		text = realloc(u->text, u->len + len);
	if (!text) {
		u->is_refused = true;
		return;
	}
	memcpy(text + u->len, data, len);
	u->text = text;
	u->len += len;
}

/* Called when the headers are there, for each part of the body, and when all has arrived. */
static enum MHD_Result on_request(void *server, struct MHD_Connection *conn, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *len, void **upload)
{
	struct upload *u = *upload;

	if (!u) {
		*upload = calloc(1, sizeof(*u));
		return *upload ? MHD_YES : MHD_NO;
	}
	if (*len) {
		upload_add(u, data, *len);
		*len = 0;
		return MHD_YES;
	}
	if (u->is_refused)
		return (enum MHD_Result)serve_error(conn, MHD_HTTP_CONTENT_TOO_LARGE,
						    "the body is too large");
	return (enum MHD_Result)route(server, conn, method, url, u);
}

static void on_end(void *server, struct MHD_Connection *conn, void **upload,
		   enum MHD_RequestTerminationCode code)
{
	struct upload *u = *upload;

	if (u)
		free(u->text);
	free(u);
	*upload = NULL;
}

/* ---- the server ---------------------------------------------------------------------------------- */

static void stop_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
}

void server_block_signals(void)
{
	sigset_t set;

	stop_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int serve_until_told(struct server *sv, const struct listener *l)
{
	struct MHD_Daemon *d;
	sigset_t set;
	int sig;

	d = MHD_start_daemon(
		MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, 0,
		NULL, NULL, on_request, sv, MHD_OPTION_LISTEN_SOCKET, l->fd,
		MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S,
		MHD_OPTION_NOTIFY_COMPLETED, on_end, NULL, MHD_OPTION_END);
	if (!d) {
		fprintf(stderr, "kvshm-llama: the HTTP server does not start\n");
		return 1;
	}
	if (l->is_open)
		fprintf(stderr,
			"kvshm-llama: anybody who reaches %s may ask: there is no authentication\n",
			l->name);
	fprintf(stderr, "kvshm-llama: listening at %s\n", l->name);
	stop_signals(&set);
	sigwait(&set, &sig);
	turn_end(&sv->turn);
	MHD_stop_daemon(d);
	return 0;
}

static const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

int server_run(struct session *s, const struct options *o)
{
	struct server sv = { .s = s, .model = file_name(o->model), .default_max = o->nr_predict };
	struct listener l;
	int ret = listener_open(o->serve, &l);

	if (ret < 0) {
		fprintf(stderr, "kvshm-llama: --serve %s: %s\n", o->serve,
			ret == -EINVAL ? "not PORT, HOST:PORT or unix:PATH" : strerror(-ret));
		return ret == -EINVAL ? 2 : 1;
	}
	turn_init(&sv.turn);
	ret = serve_until_told(&sv, &l);
	turn_fini(&sv.turn);
	listener_close(&l);
	return ret;
}
