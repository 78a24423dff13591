/* SPDX-License-Identifier: Apache-2.0 */
/* serve.h - one request for an answer, whole or as a stream of server-sent events */
#ifndef KVSHM_ENGINES_LLAMA_PROGRAM_SERVE_H
#define KVSHM_ENGINES_LLAMA_PROGRAM_SERVE_H

#include <stdbool.h>
#include <stddef.h>

struct MHD_Connection;
struct server;

/**
 * serve_json() - queue a reply
 * @text: owned from here on; NULL: out of memory, the connection ends
 * Return: MHD_YES or MHD_NO.
 */
int serve_json(struct MHD_Connection *conn, unsigned status, char *text);

/**
 * serve_error() - queue an error in OpenAI's form
 * Return: as serve_json().
 */
int serve_error(struct MHD_Connection *conn, unsigned status, const char *message);

/**
 * serve_completion() - wait for a turn, answer, save
 * Return: as serve_json().
 */
int serve_completion(struct server *sv, struct MHD_Connection *conn, bool is_chat, const char *body,
		     size_t len);

#endif
