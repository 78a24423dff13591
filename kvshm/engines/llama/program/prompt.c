/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/engines/llama/program/prompt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <llama.h>

#include "kvshm/engines/llama/program/session.h"

#define MARKS_MAX 64u /* tokens of the marks around a turn, at most */

/* A prompt in the making. */
struct builder {
	const struct session *s;
	struct prompt p;
	size_t room;
};

/* A token is a byte of text at least. */
static int builder_init(struct builder *b, const struct session *s, size_t text_len,
			size_t nr_turns)
{
	*b = (struct builder){ .s = s, .room = text_len + (nr_turns + 1) * MARKS_MAX };
	if (b->room > INT32_MAX)
		return -E2BIG;
	b->p.tokens = calloc(b->room, sizeof(*b->p.tokens));
	return b->p.tokens ? 0 : -ENOMEM;
}

static void add(struct builder *b, const char *text, bool has_marks)
{
	int32_t n = llama_tokenize(b->s->model, text, (int32_t)strlen(text), b->p.tokens + b->p.nr,
				   (int32_t)(b->room - b->p.nr), !b->p.nr, has_marks);

	if (n > 0)
		b->p.nr += (unsigned)n;
}

/* What the prompt needs in the context is there, or it is freed. */
static int finish(struct builder *b, unsigned nr_predict, struct prompt *ret_p)
{
	int ret = 0;

	if (!b->p.nr)
		ret = -EINVAL;
	else if (b->p.nr + nr_predict > b->s->nr_ctx)
		ret = -E2BIG;
	if (ret < 0) {
		prompt_fini(&b->p);
		return ret;
	}
	*ret_p = b->p;
	return 0;
}

/* All whole blocks but what the last token is in: it is decoded for its logits. */
static void share_all(struct builder *b)
{
	b->p.nr_document = b->p.nr;
	b->p.nr_prefix = b->p.nr ? (b->p.nr - 1) / b->s->block_tokens * b->s->block_tokens : 0;
}

static bool has_chatml(const struct session *s)
{
	const char *template = llama_model_chat_template(s->model, NULL);

	return template && strstr(template, "<|im_start|>");
}

int prompt_of_document(const struct session *s, const char *document, const char *question,
		       unsigned nr_predict, struct prompt *ret_p)
{
	bool is_chat = has_chatml(s);
	struct builder b;
	int ret = builder_init(&b, s, strlen(document) + strlen(question), 1);

	if (ret < 0)
		return ret;
	if (is_chat)
		add(&b, "<|im_start|>user\n", true);
	add(&b, document, false);
	b.p.is_exact = true;
	b.p.nr_document = b.p.nr;
	b.p.nr_prefix = b.p.nr / s->block_tokens * s->block_tokens;
	add(&b, "\n\n", false);
	add(&b, question, false);
	if (is_chat)
		add(&b, "<|im_end|>\n<|im_start|>assistant\n", true);
	return finish(&b, nr_predict, ret_p);
}

int prompt_of_text(const struct session *s, const char *text, unsigned nr_predict,
		   struct prompt *ret_p)
{
	struct builder b;
	int ret = builder_init(&b, s, strlen(text), 0);

	if (ret < 0)
		return ret;
	add(&b, text, false);
	share_all(&b);
	return finish(&b, nr_predict, ret_p);
}

int prompt_of_chat(const struct session *s, const struct message *messages, size_t nr_messages,
		   unsigned nr_predict, struct prompt *ret_p)
{
	size_t i, len = 0;
	struct builder b;
	int ret;

	if (!has_chatml(s))
		return -ENOTSUP;
	for (i = 0; i < nr_messages; i++)
		len += strlen(messages[i].role) + strlen(messages[i].content);
	ret = builder_init(&b, s, len, nr_messages);
	if (ret < 0)
		return ret;
	for (i = 0; i < nr_messages; i++) {
		add(&b, "<|im_start|>", true);
		add(&b, messages[i].role, false);
		add(&b, "\n", false);
		add(&b, messages[i].content, false);
		add(&b, "<|im_end|>\n", true);
	}
	add(&b, "<|im_start|>assistant\n", true);
	share_all(&b);
	return finish(&b, nr_predict, ret_p);
}

void prompt_fini(struct prompt *p)
{
	free(p->tokens);
	*p = (struct prompt){ 0 };
}
