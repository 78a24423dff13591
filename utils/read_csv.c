/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read_csv.c - a request of a line of comma-separated values
 *
 * The first line names the columns, in any order: timestamp (s), hash_ids (numbers with spaces or
 * semicolons between them), and of input_length, output_length, type, turn, stop, session, chat_id,
 * parent_chat_id what there is.  Others are passed over.  A field may stand in double quotes.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "utils/reader_form.h"

#define COLUMNS_MAX 32

/* Cut the line at its commas.  Return: number of fields, -1 too many or an open quote. */
static int cut(char *line, char **field)
{
	int n = 0;

	line[strcspn(line, "\r")] = 0;
	for (;;) {
		char *end;

		if (n == COLUMNS_MAX)
			return -1;
		line += strspn(line, " \t");
		if (*line == '"') {
			end = strchr(++line, '"');
			if (!end)
				return -1;
			*end++ = 0;
			field[n++] = line;
			end += strspn(end, " \t");
			if (*end != ',')
				return *end ? -1 : n;
		} else {
			end = strchr(line, ',');
			field[n++] = line;
			if (!end)
				return n;
		}
		*end = 0;
		line = end + 1;
	}
}

bool read_csv_sniff(const char *line)
{
	return strstr(line, "timestamp") && strstr(line, "hash_ids") && strchr(line, ',');
}

int read_csv_header(char *line, struct reader_columns *ret, const char **ret_why)
{
	const struct {
		const char *name;
		int *place;
	} col[] = {
		{ "timestamp", &ret->timestamp }, { "input_length", &ret->input_length },
		{ "output_length", &ret->output_length }, { "type", &ret->type }, { "turn", &ret->turn },
		{ "stop", &ret->stop }, { "session", &ret->session }, { "chat_id", &ret->chat_id },
		{ "parent_chat_id", &ret->parent_chat_id }, { "hash_ids", &ret->hash_ids },
	};
	char *field[COLUMNS_MAX];
	int n = cut(line, field);

	for (unsigned c = 0; c < ARRAY_SIZE(col); c++) {
		*col[c].place = -1;
		for (int i = 0; i < n; i++)
			if (!strcmp(field[i], col[c].name))
				*col[c].place = i;
	}
	*ret_why = "the first line must name the columns timestamp and hash_ids";
	return ret->timestamp < 0 || ret->hash_ids < 0 ? -EBADMSG : 0;
}

/* A column that is absent or empty leaves *@ret alone. */
static bool get_count(char *const *field, int at, uint64_t *ret)
{
	char *end;

	if (at < 0 || !*field[at])
		return true;
	errno = 0;
	*ret = strtoull(field[at], &end, 10);
	return !*end && *field[at] != '-' && !errno && *ret <= UINT32_MAX;
}

static bool get_id(char *const *field, int at, int64_t *ret)
{
	char *end;

	if (at < 0 || !*field[at])
		return true;
	errno = 0;
	*ret = strtoll(field[at], &end, 10);
	return !*end && !errno;
}

static void get_name(char *const *field, int at, char *ret)
{
	if (at >= 0)
		snprintf(ret, READER_NAME_LEN, "%s", field[at]);
}

static int get_hashes(char *text, struct reader_line *l, const char **ret_why)
{
	int ret;

	*ret_why = "hash_ids are not numbers with spaces between them";
	for (;;) {
		char *end;

		text += strspn(text, " ;");
		if (!*text)
			return 0;
		ret = reader_line_room(l, l->nr + 1);
		if (ret < 0)
			return ret == -E2BIG ? -EBADMSG : ret;
		errno = 0;
		l->hash[l->nr++] = strtoull(text, &end, 10);
		if (end == text || errno || (*end && *end != ' ' && *end != ';'))
			return -EBADMSG;
		text = end;
	}
}

int read_csv_line(char *line, const struct reader_columns *c, struct reader_line *ret, const char **ret_why)
{
	char *field[COLUMNS_MAX], *end;
	const int *place = (const int *)c;
	uint64_t turn = 0;
	int n = cut(line, field);

	*ret_why = "fewer fields than the first line names, or an open quote";
	for (unsigned i = 0; i < sizeof(*c) / sizeof(int); i++)
		if (place[i] >= n)
			return -EBADMSG;
	ret->time_s = strtod(field[c->timestamp], &end);
	*ret_why = "timestamp is missing, negative or no number";
	if (end == field[c->timestamp] || *end || !isfinite(ret->time_s) || ret->time_s < 0 ||
	    ret->time_s > READER_TIME_MAX)
		return -EBADMSG;
	*ret_why = "input_length, output_length, turn or a chat id is no whole number";
	if (!get_count(field, c->input_length, &ret->input_tokens) ||
	    !get_count(field, c->output_length, &ret->output_tokens) || !get_count(field, c->turn, &turn) ||
	    !get_id(field, c->chat_id, &ret->chat_id) ||
	    !get_id(field, c->parent_chat_id, &ret->parent_chat_id))
		return -EBADMSG;
	ret->turn = (unsigned)turn;
	ret->has_chat = c->chat_id >= 0 && *field[c->chat_id];
	get_name(field, c->type, ret->type);
	get_name(field, c->stop, ret->stop);
	get_name(field, c->session, ret->session);
	return get_hashes(field[c->hash_ids], ret, ret_why);
}
