/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prompt.h - texts as tokens
 *
 * The marks of a chat's turns are parsed as such only where they are ours: nothing that a user wrote can end
 * its turn or begin another's.
 */
#ifndef KVSHM_ENGINES_LLAMA_PROGRAM_PROMPT_H
#define KVSHM_ENGINES_LLAMA_PROGRAM_PROMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct session;

/**
 * struct prompt - tokens to be answered
 * @tokens: owned, ended by prompt_fini()
 * @nr_document: of them in the document, and in all of what stands before it
 * @nr_prefix: P, the leading tokens that are restored and shared, in whole blocks
 * @is_exact: a restore ends at a batch's cut, so that the tokens that come out are those of a run without
 *	a cache; else it takes whatever there is
 */
struct prompt {
	int32_t *tokens;
	unsigned nr, nr_document, nr_prefix;
	bool is_exact;
};

/**
 * prompt_of_document() - document and question, tokenised apart
 * A chat model gets both inside the marks of a turn.
 * Return: 0, -E2BIG more than the context holds with @nr_predict tokens to come, -ENOMEM.
 */
int prompt_of_document(const struct session *s, const char *document, const char *question,
		       unsigned nr_predict, struct prompt *ret_p);

/**
 * prompt_of_text() - a text as it stands, no marks
 * Return: as prompt_of_document(), -EINVAL no tokens.
 */
int prompt_of_text(const struct session *s, const char *text, unsigned nr_predict,
		   struct prompt *ret_p);

/**
 * struct message - one turn of a chat
 * @role: system, user, assistant or tool: written as it is
 */
struct message {
	const char *role, *content;
};

/**
 * prompt_of_chat() - a chat's turns, and the beginning of the assistant's next
 * A longer chat that begins with the same turns has the same leading tokens.
 * Return: as prompt_of_document(), -ENOTSUP the model has no chat template that is known here.
 */
int prompt_of_chat(const struct session *s, const struct message *messages, size_t nr_messages,
		   unsigned nr_predict, struct prompt *ret_p);

/**
 * prompt_fini() - free the tokens
 */
void prompt_fini(struct prompt *p);

#endif
