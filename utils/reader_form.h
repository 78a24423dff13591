/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader_form.h - what the parser of a form hands to reader.c, for one line
 *
 * A parser fills in what the line has; the rest is as reader_line_clear() left it.
 */
#ifndef UTILS_READER_FORM_H
#define UTILS_READER_FORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define READER_NAME_LEN 48u		/* of a type, stop reason or session, its 0 included */
#define READER_BLOCKS_MAX (1u << 20)	/* of a request */
#define READER_TIME_MAX 1e9		/* seconds: 31 years */

struct reader_line {
	double time_s;
	bool has_chat;			/* chat_id is there: and so the unit of time is the second */
	int64_t chat_id, parent_chat_id;	/* parent < 0: a root */
	uint64_t input_tokens, output_tokens;	/* UINT64_MAX: not known */
	unsigned turn;				/* 0: not known */
	char type[READER_NAME_LEN], stop[READER_NAME_LEN], session[READER_NAME_LEN];	/* "": not known */
	uint64_t *hash;			/* the line's own, grown by reader_line_room() */
	size_t nr, room;
};

/* The first line of our recorded form; all 0 in others. */
struct reader_header {
	unsigned version;
	uint32_t block_tokens;		/* 0: not said */
	bool is_synthetic;
	char note[200];			/* who made it, and how */
};

/* Places of the columns of a csv file; -1: no such column. */
struct reader_columns {
	int timestamp, input_length, output_length, type, turn, stop, session, chat_id, parent_chat_id, hash_ids;
};

void reader_line_clear(struct reader_line *l);
void reader_line_fini(struct reader_line *l);
/* Room for @nr hashes.  Return: 0, -ENOMEM, -E2BIG. */
int reader_line_room(struct reader_line *l, size_t nr);

/* A parser's return: 0; -EBADMSG with *@ret_why, a constant text; -ENOMEM. */

/* Is this the first line of a file of JSON lines?  It may be the header of our own form. */
bool read_jsonl_sniff(const char *line);
int read_jsonl_header(const char *line, size_t len, struct reader_header *ret, const char **ret_why);
int read_jsonl_line(const char *line, size_t len, struct reader_line *ret, const char **ret_why);

/* The first line names the columns. */
bool read_csv_sniff(const char *line);
int read_csv_header(char *line, struct reader_columns *ret, const char **ret_why);
/* The line is cut up. */
int read_csv_line(char *line, const struct reader_columns *c, struct reader_line *ret, const char **ret_why);

#endif
