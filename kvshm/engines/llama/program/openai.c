/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/engines/llama/program/openai.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <jansson.h>

#include "kvshm/engines/llama/program/session.h"
#include "kvshm/engines/llama/program/text_json.h"

#define MESSAGES_MAX 4096u

/* A parse under way: what it reads and where it says what is wrong. */
struct parse {
	const struct session *s;
	json_t *body;
	char *why;
	size_t why_size;
};

__attribute__((format(printf, 2, 3))) static int refuse(const struct parse *p, const char *format,
							...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(p->why, p->why_size, format, args);
	va_end(args);
	return -EINVAL;
}

/* ---- fields -------------------------------------------------------------------------------------- */

/* A field that is there and not null. */
static json_t *field(const struct parse *p, const char *name)
{
	json_t *v = json_object_get(p->body, name);

	return json_is_null(v) ? NULL : v;
}

static int number(const struct parse *p, const char *name, double min, double max, double *ret_x)
{
	json_t *v = field(p, name);

	if (!v)
		return 0;
	if (min == max && !(json_is_number(v) && json_number_value(v) == min))
		return refuse(p, "%s can only be %g here", name, min);
	if (!json_is_number(v) || !(json_number_value(v) >= min && json_number_value(v) <= max))
		return refuse(p, "%s is a number from %g to %g", name, min, max);
	*ret_x = json_number_value(v);
	return 0;
}

static int boolean(const struct parse *p, const char *name, bool *ret_b)
{
	json_t *v = field(p, name);

	if (v && !json_is_boolean(v))
		return refuse(p, "%s is true or false", name);
	*ret_b = json_is_true(v);
	return 0;
}

/* Fields that would change the answer, and the one value of them that does not. */
static int refuse_unknown(const struct parse *p)
{
	static const char *const unless_empty[] = {
		"tools", "functions",  "logit_bias", "response_format", "suffix",
		"audio", "modalities", "grammar",    "guided_json",	"guided_regex",
	};
	static const char *const unless_zero[] = {
		"frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "echo",
	};
	double one = 1;
	unsigned i;
	int ret;

	for (i = 0; i < sizeof(unless_empty) / sizeof(unless_empty[0]); i++) {
		json_t *v = field(p, unless_empty[i]);

		if (v && (json_is_object(v)  ? json_object_size(v)
			  : json_is_array(v) ? json_array_size(v)
					     : 1))
			return refuse(p, "%s is not known here", unless_empty[i]);
	}
	for (i = 0; i < sizeof(unless_zero) / sizeof(unless_zero[0]); i++) {
		json_t *v = field(p, unless_zero[i]);

		if (v && !json_is_false(v) && !(json_is_number(v) && json_number_value(v) == 0))
			return refuse(p, "%s is not known here", unless_zero[i]);
	}
	ret = number(p, "n", 1, 1, &one);
	return ret ? ret : number(p, "best_of", 1, 1, &one);
}

static int add_stop(const struct parse *p, struct completion_options *o, json_t *v)
{
	if (!json_is_string(v) || !json_string_length(v) ||
	    strlen(json_string_value(v)) != json_string_length(v))
		return refuse(p, "stop is a text, or up to %u of them, none empty",
			      COMPLETION_STOPS);
	o->stop[o->nr_stop++] = json_string_value(v);
	return 0;
}

static int parse_stop(const struct parse *p, struct completion_options *o)
{
	json_t *v = field(p, "stop"), *one;
	size_t i;
	int ret = 0;

	if (!v)
		return 0;
	if (!json_is_array(v))
		return add_stop(p, o, v);
	if (json_array_size(v) > COMPLETION_STOPS)
		return refuse(p, "stop has more than %u texts", COMPLETION_STOPS);
	json_array_foreach(v, i, one) if (!ret) ret = add_stop(p, o, one);
	return ret;
}

static int parse_options(const struct parse *p, struct request *r)
{
	double temperature = 1, top_p = 1, seed = -1;
	json_t *v;
	int ret;

	ret = number(p, "temperature", 0, 2, &temperature);
	if (!ret)
		ret = number(p, "top_p", 0, 1, &top_p);
	if (!ret)
		ret = number(p, "seed", -9007199254740992.0, 9007199254740992.0, &seed);
	if (!ret)
		ret = boolean(p, "stream", &r->is_stream);
	if (!ret)
		ret = refuse_unknown(p);
	if (!ret)
		ret = parse_stop(p, &r->o);
	v = field(p, "stream_options");
	r->has_usage = json_is_true(json_object_get(v, "include_usage"));
	r->o.temperature = (float)temperature;
	r->o.top_p = (float)top_p;
	r->o.seed = (uint32_t)(int64_t)seed;
	if (!field(p, "seed") && getrandom(&r->o.seed, sizeof(r->o.seed), 0) < 0)
		r->o.seed = 0;
	return ret;
}

/* ---- prompts ------------------------------------------------------------------------------------- */

/* A text without a NUL in it.  Return: NULL: not that. */
static const char *plain_text(json_t *v)
{
	const char *text = json_string_value(v);

	return text && strlen(text) == json_string_length(v) ? text : NULL;
}

/* Content in parts, as some clients send it: their texts joined, in place of the array. */
static int join_parts(const struct parse *p, json_t *message, json_t *parts)
{
	json_t *part, *joined = json_string("");
	size_t i;
	int ret = 0;

	json_array_foreach(parts, i, part)
	{
		const char *type = plain_text(json_object_get(part, "type"));
		const char *text = plain_text(json_object_get(part, "text"));
		json_t *longer;

		if (!type || strcmp(type, "text") || !text) {
			ret = refuse(p, "a part of a message's content is not text");
			break;
		}
		longer = json_sprintf("%s%s", json_string_value(joined), text);
		json_decref(joined);
		joined = longer;
	}
	if (ret < 0 || !joined) {
		json_decref(joined);
		return ret ? ret : -ENOMEM;
	}
	return json_object_set_new(message, "content", joined) ? -ENOMEM : 0;
}

static int parse_message(const struct parse *p, json_t *v, struct message *ret_m)
{
	static const char *const roles[] = { "system", "user", "assistant", "tool", "developer" };
	const char *role = plain_text(json_object_get(v, "role"));
	unsigned i;
	int ret = 0;

	for (i = 0; role && i < sizeof(roles) / sizeof(roles[0]); i++)
		if (!strcmp(role, roles[i]))
			ret_m->role = strcmp(role, "developer") ? roles[i] : "system";
	if (!ret_m->role)
		return refuse(p, "a message's role is system, developer, user, assistant or tool");
	if (json_is_array(json_object_get(v, "content")))
		ret = join_parts(p, v, json_object_get(v, "content"));
	if (ret < 0)
		return ret;
	ret_m->content = plain_text(json_object_get(v, "content"));
	return ret_m->content ? 0 : refuse(p, "a message's content is text");
}

static int parse_chat(const struct parse *p, struct prompt *ret_p)
{
	json_t *all = field(p, "messages"), *one;
	size_t i, nr = json_array_size(all);
	struct message *messages;
	int ret = 0;

	if (!nr || nr > MESSAGES_MAX)
		return refuse(p, "messages is an array of 1 to %u messages", MESSAGES_MAX);
	messages = calloc(nr, sizeof(*messages));
	if (!messages)
		return -ENOMEM;
	json_array_foreach(all, i, one) if (!ret) ret = parse_message(p, one, &messages[i]);
	if (!ret)
		ret = prompt_of_chat(p->s, messages, nr, 1, ret_p);
	free(messages);
	return ret;
}

static int parse_text(const struct parse *p, struct prompt *ret_p)
{
	json_t *v = field(p, "prompt");
	const char *text;

	if (json_array_size(v) == 1)
		v = json_array_get(v, 0);
	text = plain_text(v);
	return text ? prompt_of_text(p->s, text, 1, ret_p) : refuse(p, "prompt is one text");
}

static int parse_prompt(const struct parse *p, struct request *r)
{
	int ret = r->is_chat ? parse_chat(p, &r->p) : parse_text(p, &r->p);

	if (ret == -E2BIG)
		return refuse(p, "the prompt does not fit into the model's %u tokens",
			      p->s->nr_ctx);
	if (ret == -ENOTSUP)
		return refuse(
			p,
			"the model has no chat template that is known here: use /v1/completions");
	if (ret == -EINVAL && !*p->why)
		return refuse(p, "the prompt has no tokens");
	return ret;
}

/* What was asked for must fit; what was not is made to. */
static int parse_max(const struct parse *p, struct request *r, unsigned default_max)
{
	const char *name =
		field(p, "max_completion_tokens") ? "max_completion_tokens" : "max_tokens";
	unsigned room = p->s->nr_ctx - r->p.nr;
	double max = default_max < room ? default_max : room;
	int ret = number(p, name, 1, 1 << 20, &max);

	if (ret < 0)
		return ret;
	if (max != floor(max))
		return refuse(p, "%s is a whole number", name);
	if (max > room)
		return refuse(
			p, "%u tokens of prompt and %.0f of answer do not fit into the model's %u",
			r->p.nr, max, p->s->nr_ctx);
	r->o.max_tokens = (unsigned)max;
	return 0;
}

int request_parse(const struct session *s, bool is_chat, const char *text, size_t len,
		  unsigned default_max, struct request *ret_r, char *why, size_t why_size)
{
	struct parse p = { .s = s, .why = why, .why_size = why_size };
	struct request r = { .is_chat = is_chat };
	json_error_t error;
	int ret;

	*why = '\0';
	p.body = r.body = json_loadb(text, len, 0, &error);
	if (!json_is_object(p.body)) {
		json_decref(p.body);
		return refuse(&p, "the body is not a JSON object: %s (line %d)",
			      *error.text ? error.text : "no {", error.line);
	}
	ret = parse_options(&p, &r);
	if (!ret)
		ret = parse_prompt(&p, &r);
	if (!ret)
		ret = parse_max(&p, &r, default_max);
	if (ret < 0) {
		request_fini(&r);
		return ret;
	}
	*ret_r = r;
	return 0;
}

void request_fini(struct request *r)
{
	prompt_fini(&r->p);
	json_decref(r->body);
	*r = (struct request){ 0 };
}

/* ---- replies ------------------------------------------------------------------------------------- */

/* Text of an object, which is given away. */
static char *dump(json_t *o)
{
	char *text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;

	json_decref(o);
	return text;
}

static json_t *finish_json(const char *finish)
{
	return finish ? json_string(finish) : json_null();
}

static json_t *usage(const struct completion *c)
{
	return json_pack("{s:i, s:i, s:i, s:{s:i}}", "prompt_tokens", (int)c->p.nr,
			 "completion_tokens", (int)c->nr_answer, "total_tokens",
			 (int)(c->p.nr + c->nr_answer), "prompt_tokens_details", "cached_tokens",
			 (int)c->cached_tokens);
}

static json_t *timings(const struct completion *c)
{
	return json_pack("{s:f, s:f, s:f, s:f}", "ttft_ms", c->ttft_ms, "restore_ms", c->restore_ms,
			 "prefill_ms", c->prefill_ms, "generate_ms", c->generate_ms);
}

static json_t *head(const struct reply *r, const char *object)
{
	return json_pack("{s:s, s:s, s:I, s:s}", "id", r->id, "object", object, "created",
			 (json_int_t)r->created, "model", r->model);
}

static const char *object_name(const struct reply *r, bool is_chunk)
{
	if (!r->is_chat)
		return "text_completion";
	return is_chunk ? "chat.completion.chunk" : "chat.completion";
}

/* The one choice of an answer: {"index":0, @key: @value, "finish_reason": @finish}. */
static json_t *choices(const char *key, json_t *value, const char *finish)
{
	return json_pack("[{s:i, s:o, s:n, s:o}]", "index", 0, key, value, "logprobs",
			 "finish_reason", finish_json(finish));
}

char *reply_whole(const struct reply *r, const struct completion *c)
{
	json_t *text = text_json(c->text ? c->text : "", c->text_len),
	       *o = head(r, object_name(r, false));
	json_t *value =
		r->is_chat ? json_pack("{s:s, s:o}", "role", "assistant", "content", text) : text;

	json_object_set_new(o, "choices",
			    choices(r->is_chat ? "message" : "text", value, c->finish));
	json_object_set_new(o, "usage", usage(c));
	json_object_set_new(o, "timings", timings(c));
	return dump(o);
}

char *reply_chunk(const struct reply *r, const char *text, size_t len, const char *finish)
{
	json_t *o = head(r, object_name(r, true)), *value;

	if (!r->is_chat)
		value = text_json(text ? text : "", text ? len : 0);
	else if (!text)
		value = json_pack("{s:s, s:s}", "role", "assistant", "content", "");
	else if (len)
		value = json_pack("{s:o}", "content", text_json(text, len));
	else
		value = json_object();
	json_object_set_new(o, "choices", choices(r->is_chat ? "delta" : "text", value, finish));
	return dump(o);
}

char *reply_usage(const struct reply *r, const struct completion *c)
{
	json_t *o = head(r, object_name(r, true));

	json_object_set_new(o, "choices", json_array());
	json_object_set_new(o, "usage", usage(c));
	return dump(o);
}

char *reply_error(const char *type, const char *message)
{
	return dump(json_pack("{s:{s:o, s:s, s:n, s:n}}", "error", "message",
			      text_json(message, strlen(message)), "type", type, "param", "code"));
}

char *reply_models(const struct reply *r)
{
	return dump(json_pack("{s:s, s:[{s:s, s:s, s:I, s:s}]}", "object", "list", "data", "id",
			      r->model, "object", "model", "created", (json_int_t)r->created,
			      "owned_by", "local"));
}
