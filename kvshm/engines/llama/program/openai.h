/* SPDX-License-Identifier: Apache-2.0 */
/*
 * openai.h - the bodies of OpenAI's /v1/completions and /v1/chat/completions
 *
 * What changes an answer and is not known here (n > 1, tools, logprobs, ...) is refused by name; what does
 * not is ignored.  Source: OpenAI API reference, completions and chat completions.
 */
#ifndef KVSHM_ENGINES_LLAMA_PROGRAM_OPENAI_H
#define KVSHM_ENGINES_LLAMA_PROGRAM_OPENAI_H

#include <stdbool.h>
#include <stddef.h>

#include "kvshm/engines/llama/program/completion.h"

struct json_t;
struct session;

/**
 * struct request - what a body asks for
 * @has_usage: a stream ends with a chunk of usage
 * @body: keeps the strings of @o alive
 */
struct request {
	bool is_chat, is_stream, has_usage;
	struct prompt p;
	struct completion_options o;
	struct json_t *body;
};

/**
 * request_parse() - read a body
 * @default_max: tokens of an answer when the body does not say
 * @why: of @why_size bytes; set on failure, for the one who asked
 * Return: 0; -EINVAL what it says cannot be served, -ENOMEM.
 */
int request_parse(const struct session *s, bool is_chat, const char *text, size_t len,
		  unsigned default_max, struct request *ret_r, char *why, size_t why_size);

/**
 * request_fini() - free
 */
void request_fini(struct request *r);

/**
 * struct reply - names that all bodies of an answer repeat
 */
struct reply {
	bool is_chat;
	char id[48];
	const char *model;
	long created;
};

/**
 * reply_whole() - a finished answer
 * Return: JSON text, memory of the caller's, or NULL.
 */
char *reply_whole(const struct reply *r, const struct completion *c);

/**
 * reply_chunk() - a part of a stream
 * @text: of @len bytes, NULL for the one that only opens the answer
 * @finish: NULL but in the last one
 * Return: as reply_whole().
 */
char *reply_chunk(const struct reply *r, const char *text, size_t len, const char *finish);

/**
 * reply_usage() - the chunk of usage behind the last
 * Return: as reply_whole().
 */
char *reply_usage(const struct reply *r, const struct completion *c);

/**
 * reply_error() - in the form that OpenAI's clients read
 * Return: as reply_whole().
 */
char *reply_error(const char *type, const char *message);

/**
 * reply_models() - the one model there is
 * Return: as reply_whole().
 */
char *reply_models(const struct reply *r);

#endif
