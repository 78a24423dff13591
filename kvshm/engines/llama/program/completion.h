/* SPDX-License-Identifier: Apache-2.0 */
/*
 * completion.h - one prompt being answered, token by token
 *
 * restore -> prefill -> a token at a time -> save.  One at a time a session.  Text is handed out as soon as
 * it is certain: whole characters only, and nothing that may be the beginning of a stop text.
 */
#ifndef KVSHM_ENGINES_LLAMA_PROGRAM_COMPLETION_H
#define KVSHM_ENGINES_LLAMA_PROGRAM_COMPLETION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvshm/llama.h>

#include "kvshm/engines/llama/program/prompt.h"
#include "kvshm/engines/llama/program/session.h"

#define COMPLETION_STOPS 4u

/**
 * struct completion_options - how tokens are chosen, and when it ends
 * @max_tokens: at least 1
 * @temperature: 0: the likeliest token
 * @top_p: of the likeliest tokens only those that make up this share, 0 to 1
 * @seed: of the choice
 * @stop: texts that end the answer and are not part of it; owned by the caller, live as long as it does
 * @go_on: asked with @go_on_arg during the prefill, see session_prefill(); may be NULL
 */
struct completion_options {
	unsigned max_tokens;
	float temperature, top_p;
	uint32_t seed;
	const char *stop[COMPLETION_STOPS];
	unsigned nr_stop;
	session_go_on_fn *go_on;
	void *go_on_arg;
};

/**
 * struct completion - what there is so far; read only for the caller
 * @tokens: the prompt's, then @nr_answer of the answer's
 * @text: of the answer, without a stop text
 * @finish: NULL while there is more to come; "stop" or "length"
 */
struct completion {
	struct session *s;
	struct prompt p;
	struct completion_options o;
	int32_t *tokens;
	unsigned nr_answer;
	char *text;
	size_t text_len, text_room, taken_len;
	const char *finish;
	struct llama_token_data *candidates;
	struct kvshm_llama_hit hit;
	unsigned cached_tokens;
	double start_ms, restore_ms, prefill_ms, ttft_ms, generate_ms, save_ms;
	struct kvshm_llama_saved saved;
};

/**
 * completion_begin() - restore, prefill, and the first token
 * @p: taken over in any case
 * @start_ms: when the question was asked, as of completion_now_ms()
 * Return: 0, -EIO, -ENOMEM, -ECANCELED: @o->go_on said so.
 */
int completion_begin(struct session *s, struct prompt *p, const struct completion_options *o,
		     double start_ms, struct completion **ret_c);

/**
 * completion_next() - one more token
 * Return: 1: and there may be more; 0: finished; -EIO, -ENOMEM.
 */
int completion_next(struct completion *c);

/**
 * completion_take() - text that is certain and was not taken yet
 * @ret_len: bytes of it
 * Return: into c->text, good until the next call about @c.
 */
const char *completion_take(struct completion *c, size_t *ret_len);

/**
 * completion_save() - publish what was decoded: the shared prefix of an exact prompt, else all of it
 */
void completion_save(struct completion *c);

/**
 * completion_end() - free
 * @c: may be NULL
 * Return: NULL.
 */
struct completion *completion_end(struct completion *c);

/**
 * completion_now_ms() - CLOCK_MONOTONIC
 */
double completion_now_ms(void);

#endif
