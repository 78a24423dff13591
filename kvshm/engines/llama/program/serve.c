/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve.c - one request for an answer
 *
 * The blocks are saved and the turn is given back when the reply has been sent, so that nobody waits for a
 * save: libmicrohttpd calls answer_end() then, and also when the client went away in the middle.  Whoever
 * went away is not computed for: turn_is_lost() is asked after each batch and each token.  Not from inside a
 * graph, by llama_set_abort_callback(): a thread of ggml that still leaves the barrier of one node may take
 * the abort of the next for its own and go, and the others wait at the next barrier for ever.
 */
#include "kvshm/engines/llama/program/serve.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <llama.h>

#include "kvshm/engines/llama/program/openai.h"
#include "kvshm/engines/llama/program/server.h"
#include "kvshm/engines/llama/program/session.h"

#define STREAM_PART 4096

/**
 * struct answer - one on its way to its client
 * @out: event under way, from @out_at to @out_len
 * @is_open: the stream's first event was made
 * @is_over: its last event was made
 */
struct answer {
	struct server *sv;
	struct request q;
	struct reply r;
	struct completion *c;
	char *out;
	size_t out_len, out_at;
	bool is_open, is_over;
};

/* ---- replies ------------------------------------------------------------------------------------- */

static int queue(struct MHD_Connection *conn, unsigned status, struct MHD_Response *response,
		 const char *type)
{
	int ret;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (status == MHD_HTTP_SERVICE_UNAVAILABLE)
		MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "1");
	ret = MHD_queue_response(conn, status, response);
	MHD_destroy_response(response);
	return ret;
}

int serve_json(struct MHD_Connection *conn, unsigned status, char *text)
{
	if (!text)
		return MHD_NO;
	return queue(conn, status,
		     MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE),
		     "application/json");
}

int serve_error(struct MHD_Connection *conn, unsigned status, const char *message)
{
	return serve_json(conn, status,
			  reply_error(status < 500 ? "invalid_request_error" : "server_error",
				      message));
}

/* ---- the end of an answer ------------------------------------------------------------------------ */

static void log_answer(const struct answer *a)
{
	const struct completion *c = a->c;

	fprintf(stderr,
		"kvshm-llama: %s prompt %u tokens, %u from the cache, first after %.0f ms; answer %u, %s;"
		" saved %u blocks\n",
		a->r.id, c->p.nr, c->cached_tokens, c->ttft_ms, c->nr_answer,
		c->finish ? c->finish : "cut short", c->saved.nr_published);
}

/* Sent, or the client is gone: what was decoded is good for others all the same. */
static void answer_end(void *answer)
{
	struct answer *a = answer;

	if (a->c) {
		completion_save(a->c);
		log_answer(a);
		completion_end(a->c);
	}
	turn_give(&a->sv->turn);
	request_fini(&a->q);
	free(a->out);
	free(a);
}

/* ---- streams ------------------------------------------------------------------------------------- */

/* Put an event, and with @is_last the end of all, behind what there is. */
static void add_event(struct answer *a, char *json, bool is_last)
{
	static const char end[] = "data: [DONE]\n\n";
	size_t room = a->out_len + (json ? strlen(json) : 0) + sizeof("data: \n\n") + sizeof(end);
	char *out = realloc(a->out, room);

	if (!json || !out) {
		a->is_over = true;
	} else {
		a->out = out;
		a->out_len += (size_t)snprintf(out + a->out_len, room - a->out_len,
					       "data: %s\n\n%s", json, is_last ? end : "");
	}
	free(json);
}

/* The next event or two of a stream. */
static void make_events(struct answer *a)
{
	const char *text;
	size_t len;

	a->out_len = a->out_at = 0;
	if (!a->is_open && a->q.is_chat)
		add_event(a, reply_chunk(&a->r, NULL, 0, NULL), false);
	else if (a->is_open && !a->c->finish &&
		 (turn_is_lost(&a->sv->turn) || completion_next(a->c) < 0))
		a->is_over = true;
	a->is_open = true;
	if (a->is_over)
		return;
	text = completion_take(a->c, &len);
	if (len)
		add_event(a, reply_chunk(&a->r, text, len, NULL), false);
	if (!a->c->finish)
		return;
	add_event(a, reply_chunk(&a->r, "", 0, a->c->finish), !a->q.has_usage);
	if (a->q.has_usage)
		add_event(a, reply_usage(&a->r, a->c), true);
	a->is_over = true;
}

static ssize_t read_stream(void *answer, uint64_t pos, char *buf, size_t max)
{
	struct answer *a = answer;
	size_t len;

	while (a->out_at == a->out_len) {
		if (a->is_over)
			return a->c->finish ? MHD_CONTENT_READER_END_OF_STREAM
					    : MHD_CONTENT_READER_END_WITH_ERROR;
		make_events(a);
	}
	len = a->out_len - a->out_at < max ? a->out_len - a->out_at : max;
	memcpy(buf, a->out + a->out_at, len);
	a->out_at += len;
	return (ssize_t)len;
}

/* ---- one request --------------------------------------------------------------------------------- */

static int reply_stream(struct MHD_Connection *conn, struct answer *a)
{
	struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_PART,
								   read_stream, a, answer_end);

	if (!r)
		answer_end(a);
	return queue(conn, MHD_HTTP_OK, r, "text/event-stream");
}

static int reply_at_once(struct MHD_Connection *conn, struct answer *a)
{
	struct MHD_Response *r = NULL;
	int ret;

	do
		ret = completion_next(a->c);
	while (ret > 0 && !turn_is_lost(&a->sv->turn));
	if (a->c->finish)
		a->out = reply_whole(&a->r, a->c);
	if (a->out)
		r = MHD_create_response_from_buffer_with_free_callback_cls(strlen(a->out), a->out,
									   answer_end, a);
	if (!r)
		answer_end(a);
	return queue(conn, MHD_HTTP_OK, r, "application/json");
}

static void name_answer(struct answer *a)
{
	struct server *sv = a->sv;

	a->r = (struct reply){ .is_chat = a->q.is_chat,
			       .model = sv->model,
			       .created = (long)time(NULL) };
	snprintf(a->r.id, sizeof(a->r.id), "%s-%d-%u", a->q.is_chat ? "chatcmpl" : "cmpl",
		 (int)getpid(), ++sv->nr_answers);
}

static int fd_of(struct MHD_Connection *conn)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);

	return info ? info->connect_fd : -1;
}

static bool is_wanted(void *turn, unsigned done, unsigned total)
{
	return !turn_is_lost(turn);
}

/* With the turn in hand. */
static int answer_begin(struct MHD_Connection *conn, struct answer *a, double start_ms)
{
	int ret;

	name_answer(a);
	a->q.o.go_on = is_wanted;
	a->q.o.go_on_arg = &a->sv->turn;
	ret = completion_begin(a->sv->s, &a->q.p, &a->q.o, start_ms, &a->c);

	if (ret < 0) {
		answer_end(a);
		return serve_error(conn, MHD_HTTP_INTERNAL_SERVER_ERROR,
				   ret == -ENOMEM      ? "out of memory"
				   : ret == -ECANCELED ? "the server ends"
						       : "the model stopped");
	}
	return a->q.is_stream ? reply_stream(conn, a) : reply_at_once(conn, a);
}

int serve_completion(struct server *sv, struct MHD_Connection *conn, bool is_chat, const char *body,
		     size_t len)
{
	struct answer *a = calloc(1, sizeof(*a));
	double start_ms = completion_now_ms();
	char why[256];
	int ret;

	if (!a)
		return MHD_NO;
	a->sv = sv;
	ret = request_parse(sv->s, is_chat, body, len, sv->default_max, &a->q, why, sizeof(why));
	if (ret < 0) {
		free(a);
		return ret == -EINVAL ? serve_error(conn, MHD_HTTP_BAD_REQUEST, why) : MHD_NO;
	}
	ret = turn_take(&sv->turn, fd_of(conn));
	if (ret < 0) {
		request_fini(&a->q);
		free(a);
		return ret == -EBUSY ? serve_error(conn, MHD_HTTP_SERVICE_UNAVAILABLE,
						   "too many requests wait")
				     : MHD_NO;
	}
	return answer_begin(conn, a, start_ms);
}
