/* SPDX-License-Identifier: Apache-2.0 */
/* read_jsonl.c - a request of a line of JSON: our own form, Qwen-Bailian's and Mooncake's */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <kvshm/trace.h>

#include "utils/reader_form.h"

/* Millisecond stamps of a year; what is larger is no time. */
#define STAMP_MAX (READER_TIME_MAX * 1000)

bool read_jsonl_sniff(const char *line)
{
	return line[strspn(line, " \t\r")] == '{';
}

static json_t *parse(const char *line, size_t len, const char **ret_why)
{
	json_t *o = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);

	if (!o)
		*ret_why = "not one JSON object";
	else if (!json_is_object(o))
		*ret_why = "not a JSON object";
	else
		return o;
	json_decref(o);
	return NULL;
}

/* A whole number that is not negative; a missing field or null leaves *@ret alone. */
static bool get_count(const json_t *o, const char *name, uint64_t max, uint64_t *ret)
{
	const json_t *v = json_object_get(o, name);

	if (!v || json_is_null(v))
		return true;
	if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) > max)
		return false;
	*ret = (uint64_t)json_integer_value(v);
	return true;
}

static bool get_id(const json_t *o, const char *name, int64_t *ret)
{
	const json_t *v = json_object_get(o, name);

	if (!v || json_is_null(v))
		return true;
	*ret = json_integer_value(v);
	return json_is_integer(v);
}

/* A name; a number is taken as one; a long one is cut. */
static bool get_name(const json_t *o, const char *name, char *ret, size_t len)
{
	const json_t *v = json_object_get(o, name);

	if (!v || json_is_null(v))
		return true;
	if (json_is_integer(v))
		snprintf(ret, len, "%lld", (long long)json_integer_value(v));
	else if (json_is_string(v))
		snprintf(ret, len, "%s", json_string_value(v));
	else
		return false;
	return true;
}

static int get_hashes(const json_t *o, struct reader_line *l, const char **ret_why)
{
	const json_t *a = json_object_get(o, "hash_ids"), *v;
	size_t n = json_array_size(a), i;
	int ret;

	if (!json_is_array(a)) {
		*ret_why = "hash_ids is missing or no array";
		return -EBADMSG;
	}
	ret = reader_line_room(l, n);
	if (ret < 0) {
		*ret_why = "too many hash_ids";
		return ret == -E2BIG ? -EBADMSG : ret;
	}
	for (i = 0; i < n; i++) {
		v = json_array_get(a, i);
		if (!json_is_integer(v)) {
			*ret_why = "hash_ids holds something that is no whole number of 63 bits";
			return -EBADMSG;
		}
		l->hash[i] = (uint64_t)json_integer_value(v);
	}
	l->nr = n;
	return 0;
}

static const char *get_fields(const json_t *o, struct reader_line *l)
{
	const json_t *stamp = json_object_get(o, "timestamp");
	uint64_t turn = 0;

	if (!json_is_number(stamp) || !isfinite(json_number_value(stamp)) ||
	    json_number_value(stamp) < 0 || json_number_value(stamp) > STAMP_MAX)
		return "timestamp is missing, negative or no number";
	l->time_s = json_number_value(stamp);
	if (!get_count(o, "input_length", UINT32_MAX, &l->input_tokens))
		return "input_length is no token count";
	if (!get_count(o, "output_length", UINT32_MAX, &l->output_tokens))
		return "output_length is no token count";
	if (!get_count(o, "turn", UINT32_MAX, &turn))
		return "turn is no count";
	l->turn = (unsigned)turn;
	l->has_chat = json_is_integer(json_object_get(o, "chat_id"));
	if (!get_id(o, "chat_id", &l->chat_id) || !get_id(o, "parent_chat_id", &l->parent_chat_id))
		return "chat_id or parent_chat_id is no whole number";
	if (!get_name(o, "type", l->type, sizeof(l->type)) ||
	    !get_name(o, "stop", l->stop, sizeof(l->stop)) ||
	    !get_name(o, "session", l->session, sizeof(l->session)))
		return "type, stop or session is no text";
	return NULL;
}

int read_jsonl_line(const char *line, size_t len, struct reader_line *ret, const char **ret_why)
{
	json_t *o = parse(line, len, ret_why);
	int err = -EBADMSG;

	if (!o)
		return err;
	*ret_why = get_fields(o, ret);
	if (!*ret_why)
		err = get_hashes(o, ret, ret_why);
	json_decref(o);
	return err;
}

int read_jsonl_header(const char *line, size_t len, struct reader_header *ret, const char **ret_why)
{
	json_t *o = parse(line, len, ret_why);
	uint64_t version = 0, tokens = 0;
	int err = 0;

	memset(ret, 0, sizeof(*ret));
	/* What is wrong with a first request is said when it is read as one. */
	if (!o || !json_object_get(o, KVSHM_TRACE_MARK)) {
		json_decref(o);
		return 0;
	}
	*ret_why = NULL;
	if (!get_count(o, KVSHM_TRACE_MARK, 1u << 30, &version) || version != KVSHM_TRACE_VERSION)
		*ret_why = "a version of the trace form that this kvshm does not know";
	else if (!get_count(o, "block_tokens", 1u << 20, &tokens) || !get_name(o, "note", ret->note, sizeof(ret->note)))
		*ret_why = "the header's block_tokens or note is wrong";
	if (*ret_why)
		err = -EBADMSG;
	ret->version = (unsigned)version;
	ret->block_tokens = (uint32_t)tokens;
	ret->is_synthetic = json_is_true(json_object_get(o, "is_synthetic"));
	json_decref(o);
	return err;
}
