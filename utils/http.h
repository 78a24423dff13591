/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.h - a small HTTP server: GET and HEAD, one thread; hides the library
 *
 * Connections are few and short: at most 16 at once, each ended after 10 s of silence.
 */
#ifndef UTILS_HTTP_H
#define UTILS_HTTP_H

#include <stddef.h>

struct http_server;

struct http_reply {
	unsigned status;		/* 200, 404, ... */
	const char *type;		/* of the body, static */
	char *body;			/* from malloc(), freed by the server; NULL: out of memory, 500 */
	size_t len;
};

/* Answer a GET of @path (without its query); @accept: what the client takes, may be "".  One call at a time. */
typedef void (*http_handler)(void *arg, const char *path, const char *accept, struct http_reply *ret_r);

/**
 * http_listen() - a listening socket
 * @where: "/path" of a Unix socket (mode 0660, an old socket that nobody listens on is replaced), or
 *	"PORT" on 127.0.0.1, "ADDRESS:PORT", "[ADDRESS]:PORT", addresses in numbers
 * Return: descriptor, the caller's; -EINVAL not understood, -EADDRINUSE, -errno.
 */
int http_listen(const char *where);

/* Where that socket listens, as http_listen() takes it, with the port that was found for 0. */
void http_name(int fd, char *buf, size_t len);

/**
 * http_start() - serve what comes in at @fd
 * @fd: from http_listen(), the server's from now on
 * Return: 0, -ENOMEM, -EIO.
 */
int http_start(int fd, http_handler fn, void *arg, struct http_server **ret_s);

/**
 * http_run() - serve for up to @timeout_ms, all of it in this thread
 * All signals are let in while it waits: who blocks them otherwise misses none.
 * Return: 0, -EINTR a signal came, -EIO.
 */
int http_run(struct http_server *s, int timeout_ms);

struct http_server *http_stop(struct http_server *s);

#endif
