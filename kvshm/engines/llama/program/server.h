/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - an OpenAI-compatible HTTP server over one session
 *
 * A thread a connection (libmicrohttpd), one answer at a time (turn.h).  Several servers of a node share what
 * they compute through kvshm.
 *
 *	POST /v1/chat/completions  POST /v1/completions  GET /v1/models  GET /health
 */
#ifndef KVSHM_ENGINES_LLAMA_PROGRAM_SERVER_H
#define KVSHM_ENGINES_LLAMA_PROGRAM_SERVER_H

#include "kvshm/engines/llama/program/turn.h"

struct options;
struct session;

/**
 * struct server - shared by the threads of all connections
 * @turn: @s and @nr_answers are its holder's
 */
struct server {
	struct session *s;
	const char *model;
	unsigned default_max, nr_answers;
	struct turn turn;
};

/**
 * server_block_signals() - SIGINT and SIGTERM wait for server_run(); before any thread is made
 */
void server_block_signals(void);

/**
 * server_run() - serve until SIGINT or SIGTERM
 * Return: the exit status.
 */
int server_run(struct session *s, const struct options *o);

#endif
