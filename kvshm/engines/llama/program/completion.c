/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/engines/llama/program/completion.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <llama.h>

#include "kvshm/engines/llama/program/session.h"

#define PIECE_MAX 256

double completion_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* ---- choosing a token ---------------------------------------------------------------------------- */

static int32_t likeliest(const float *logits, int32_t nr)
{
	int32_t i, best = 0;

	for (i = 1; i < nr; i++)
		if (logits[i] > logits[best])
			best = i;
	return best;
}

static int32_t draw(struct completion *c, const float *logits, int32_t nr)
{
	struct llama_token_data_array all = { .data = c->candidates, .size = (size_t)nr };
	struct llama_context *ctx = c->s->ctx;
	int32_t i;

	for (i = 0; i < nr; i++)
		c->candidates[i] = (struct llama_token_data){ .id = i, .logit = logits[i] };
	llama_sample_temp(ctx, &all, c->o.temperature);
	llama_sample_top_p(ctx, &all, c->o.top_p, 1);
	return llama_sample_token(ctx, &all);
}

/* Return: the next token, -1: the model's text ends here. */
static int32_t choose(struct completion *c)
{
	const float *logits = llama_get_logits_ith(c->s->ctx, -1);
	int32_t nr = llama_n_vocab(c->s->model), token;

	if (!logits)
		return -1;
	token = c->candidates ? draw(c, logits, nr) : likeliest(logits, nr);
	return llama_token_is_eog(c->s->model, token) ? -1 : token;
}

/* ---- text ---------------------------------------------------------------------------------------- */

static int add_text(struct completion *c, int32_t token)
{
	int32_t n;
	char *text;

	if (c->text_room - c->text_len < PIECE_MAX + 1) {
		text = realloc(c->text, c->text_room + 16 * PIECE_MAX);
		if (!text)
			return -ENOMEM;
		c->text = text;
		c->text_room += 16 * PIECE_MAX;
	}
	n = llama_token_to_piece(c->s->model, token, c->text + c->text_len, PIECE_MAX, 0, false);
	if (n > 0)
		c->text_len += (size_t)n;
	c->text[c->text_len] = '\0';
	return 0;
}

/* The first stop text there is ends the answer where it begins. */
static bool is_stopped(struct completion *c)
{
	char *first = NULL, *found;
	unsigned i;

	for (i = 0; i < c->o.nr_stop; i++) {
		/* What was taken had no stop text, and no beginning of one. */
		found = strstr(c->text + c->taken_len, c->o.stop[i]);
		if (found && (!first || found < first))
			first = found;
	}
	if (!first)
		return false;
	*first = '\0';
	c->text_len = (size_t)(first - c->text);
	return true;
}

/* Bytes at the end that may yet become a stop text. */
static size_t held_for_stop(const struct completion *c)
{
	size_t longest = 0, len;
	unsigned i;

	for (i = 0; i < c->o.nr_stop; i++) {
		len = strlen(c->o.stop[i]) - 1;
		if (len > c->text_len - c->taken_len)
			len = c->text_len - c->taken_len;
		while (len > longest && memcmp(c->text + c->text_len - len, c->o.stop[i], len))
			len--;
		if (len > longest)
			longest = len;
	}
	return longest;
}

/* Bytes at the end of @text that are the beginning of a character. */
static size_t half_character(const char *text, size_t len)
{
	size_t back, want;
	unsigned char lead;

	for (back = 1; back <= 3 && back <= len; back++) {
		lead = (unsigned char)text[len - back];
		if ((lead & 0xc0) == 0x80)
			continue;
		want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
		return want > back ? back : 0;
	}
	return 0;
}

const char *completion_take(struct completion *c, size_t *ret_len)
{
	const char *from = c->text ? c->text + c->taken_len : "";
	size_t len = c->text_len - c->taken_len;

	if (!c->finish) {
		len -= held_for_stop(c);
		len -= half_character(from, len);
	}
	c->taken_len += len;
	*ret_len = len;
	return from;
}

/* ---- from one token to the next ------------------------------------------------------------------ */

/* The token just chosen into the answer, and whether it was the last. */
static int take_token(struct completion *c, int32_t token)
{
	int ret;

	if (token < 0) {
		c->finish = "stop";
		return 0;
	}
	c->tokens[c->p.nr + c->nr_answer++] = token;
	ret = add_text(c, token);
	if (ret < 0)
		return ret;
	if (is_stopped(c))
		c->finish = "stop";
	else if (c->nr_answer == c->o.max_tokens)
		c->finish = "length";
	return 0;
}

int completion_next(struct completion *c)
{
	double start = completion_now_ms();
	int ret;

	if (c->finish)
		return 0;
	ret = session_step(c->s, c->tokens[c->p.nr + c->nr_answer - 1], c->p.nr + c->nr_answer - 1);
	if (!ret)
		ret = take_token(c, choose(c));
	c->generate_ms += completion_now_ms() - start;
	return ret < 0 ? ret : !c->finish;
}

static int first_token(struct completion *c)
{
	double t = completion_now_ms();
	int ret;

	c->cached_tokens = session_restore(c->s, &c->p, &c->hit);
	c->restore_ms = completion_now_ms() - t;
	t = completion_now_ms();
	ret = session_prefill(c->s, &c->p, c->cached_tokens, c->o.go_on, c->o.go_on_arg);
	if (!ret)
		ret = take_token(c, choose(c));
	c->prefill_ms = completion_now_ms() - t;
	c->ttft_ms = completion_now_ms() - c->start_ms;
	return ret;
}

static int prepare(struct completion *c)
{
	c->tokens = calloc(c->p.nr + c->o.max_tokens, sizeof(*c->tokens));
	if (!c->tokens)
		return -ENOMEM;
	memcpy(c->tokens, c->p.tokens, c->p.nr * sizeof(*c->tokens));
	if (c->o.temperature <= 0)
		return 0;
	c->candidates = calloc((size_t)llama_n_vocab(c->s->model), sizeof(*c->candidates));
	if (!c->candidates)
		return -ENOMEM;
	llama_set_rng_seed(c->s->ctx, c->o.seed);
	return 0;
}

int completion_begin(struct session *s, struct prompt *p, const struct completion_options *o,
		     double start_ms, struct completion **ret_c)
{
	struct completion *c = calloc(1, sizeof(*c));
	int ret;

	if (!c) {
		prompt_fini(p);
		return -ENOMEM;
	}
	*c = (struct completion){ .s = s, .p = *p, .o = *o, .start_ms = start_ms };
	*p = (struct prompt){ 0 };
	ret = prepare(c);
	if (!ret)
		ret = first_token(c);
	if (ret < 0) {
		completion_end(c);
		return ret;
	}
	*ret_c = c;
	return 0;
}

void completion_save(struct completion *c)
{
	/* The last token was chosen, but not decoded. */
	unsigned nr = c->p.nr + c->nr_answer - (c->nr_answer > 0);
	double start = completion_now_ms();

	session_save(c->s, c->tokens, c->p.is_exact ? c->p.nr_prefix : nr, &c->saved);
	c->save_ms = completion_now_ms() - start;
}

struct completion *completion_end(struct completion *c)
{
	if (c) {
		prompt_fini(&c->p);
		free(c->candidates);
		free(c->tokens);
		free(c->text);
		free(c);
	}
	return NULL;
}
