/* SPDX-License-Identifier: Apache-2.0 */
/* reader.c - lines to requests: form, unit of time, block length, names, order, lenience */
#include "utils/reader.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kvshm/base/compiler.h"
#include "utils/reader_form.h"
#include "utils/reader_input.h"
#include "utils/reader_session.h"

#define TYPES_MAX 255u
#define STOPS_MAX 15u
#define PROBE 512u			/* requests that the block length is worked out from */

struct names {
	char (*name)[READER_NAME_LEN];
	unsigned nr, max;
};

struct reader {
	char *path;
	struct reader_options o;
	struct input *in;
	struct reader_header header;
	struct reader_columns columns;
	bool is_csv, is_ms, is_first;
	const char *form;
	uint32_t block_tokens;
	struct reader_line line;
	struct reader_sessions *sessions;
	struct names types, stops;
	char *again;			/* the line that was looked at and is to be read */
	size_t again_len;
	uint64_t nr_lines, nr_requests, nr_skipped, time_ns;
	char first_skipped[READER_WHY_LEN];
};

/* ---- the parsers' side ----------------------------------------------------------------------------- */

void reader_line_clear(struct reader_line *l)
{
	uint64_t *hash = l->hash;
	size_t room = l->room;

	*l = (struct reader_line){ .parent_chat_id = -1, .input_tokens = UINT64_MAX,
				   .output_tokens = UINT64_MAX, .hash = hash, .room = room };
}

void reader_line_fini(struct reader_line *l)
{
	free(l->hash);
	*l = (struct reader_line){ 0 };
}

int reader_line_room(struct reader_line *l, size_t nr)
{
	size_t n = l->room ? l->room : 256;
	uint64_t *h;

	if (nr > READER_BLOCKS_MAX)
		return -E2BIG;
	if (nr <= l->room)
		return 0;
	while (n < nr)
		n *= 2;
	h = realloc(l->hash, n * sizeof(*h));
	if (!h)
		return -ENOMEM;
	l->hash = h;
	l->room = n;
	return 0;
}

/* ---- names and errors ------------------------------------------------------------------------------- */

static unsigned name_number(struct names *n, const char *name)
{
	char (*p)[READER_NAME_LEN];
	unsigned i;

	if (!*name)
		return 0;
	for (i = 0; i < n->nr; i++)
		if (!strcmp(n->name[i], name))
			return i + 1;
	if (n->nr == n->max)
		return 0;
	p = realloc(n->name, (n->nr + 1ull) * sizeof(*p));
	if (!p)
		return 0;
	n->name = p;
	snprintf(n->name[n->nr], READER_NAME_LEN, "%s", name);
	return ++n->nr;
}

static const char *name_of(const struct names *n, unsigned i)
{
	return i && i <= n->nr ? n->name[i - 1] : NULL;
}

const char *reader_type_name(const struct reader *r, unsigned n)
{
	return name_of(&r->types, n);
}

const char *reader_stop_name(const struct reader *r, unsigned n)
{
	return name_of(&r->stops, n);
}

static __printf(4, 5) int fail(const struct reader *r, int err, char *ret_why, const char *fmt, ...)
{
	int n = r->nr_lines ? snprintf(ret_why, READER_WHY_LEN, "%.200s:%llu: ", r->path, (unsigned long long)r->nr_lines) :
			      snprintf(ret_why, READER_WHY_LEN, "%.200s: ", r->path);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(ret_why + n, READER_WHY_LEN - (unsigned)n, fmt, ap);
	va_end(ap);
	return err;
}

static const char *input_why(int err)
{
	switch (err) {
	case -ENODATA:
		return "the compressed data is cut short";
	case -EBADMSG:
		return "the compressed data is damaged";
	case -E2BIG:
		return "the line is longer than 64 MiB";
	case -EILSEQ:
		return "a 0 byte in the line";
	default:
		return strerror(-err);
	}
}

/* ---- lines --------------------------------------------------------------------------------------------- */

static bool is_blank(const char *line)
{
	return !line[strspn(line, " \t\r")];
}

/* The next line that is not empty.  Return: 1, 0, -errno as input_line(). */
static int next_line(struct reader *r, char **ret_line, size_t *ret_len)
{
	int ret;

	if (r->again) {
		*ret_line = r->again;
		*ret_len = r->again_len;
		r->again = NULL;
		return 1;
	}
	do {
		ret = input_line(r->in, ret_line, ret_len);
		r->nr_lines += ret != 0;
	} while (ret == 1 && is_blank(*ret_line));
	return ret;
}

static int parse_line(struct reader *r, char *line, size_t len, const char **ret_why)
{
	reader_line_clear(&r->line);
	return r->is_csv ? read_csv_line(line, &r->columns, &r->line, ret_why) :
			   read_jsonl_line(line, len, &r->line, ret_why);
}

/* What the first line tells. */
static int see_form(struct reader *r, char *ret_why)
{
	const char *why = NULL;
	char *line;
	size_t len;
	int ret = next_line(r, &line, &len);

	if (ret < 0)
		return fail(r, ret, ret_why, "%s", input_why(ret));
	if (ret == 0)
		return fail(r, -ENODATA, ret_why, "the file is empty");
	if (read_jsonl_sniff(line)) {
		ret = read_jsonl_header(line, len, &r->header, &why);
		if (ret < 0)
			return fail(r, ret, ret_why, "%s", why);
		if (r->header.version)
			return 0;
		r->again = line;
		r->again_len = len;
		return 0;
	}
	r->is_csv = read_csv_sniff(line);
	ret = r->is_csv ? read_csv_header(line, &r->columns, &why) : -EBADMSG;
	if (ret < 0)
		return fail(r, ret, ret_why, "no trace: neither JSON lines nor csv with the columns timestamp and hash_ids");
	return 0;
}

/* Is the line right, but for the lines before it? */
static int check_line(struct reader *r, uint64_t *ret_ns, const char **ret_why)
{
	double s = r->line.time_s;

	if (r->is_first) {
		r->is_ms = !r->is_csv && !r->header.version && !r->line.has_chat;
		r->form = r->is_csv ? "csv" : r->header.version ? "kvshm" : r->is_ms ? "mooncake" : "qwen-bailian";
		r->is_first = false;
	}
	s = r->is_ms ? s / 1000 : s;
	*ret_why = "timestamp is too large";
	if (s > READER_TIME_MAX)
		return -EBADMSG;
	*ret_ns = (uint64_t)(s * 1e9 + 0.5);
	*ret_why = "time runs backwards: sort the trace";
	return *ret_ns < r->time_ns ? -ERANGE : 0;
}

static int next_good(struct reader *r, uint64_t *ret_ns, char *ret_why)
{
	for (;;) {
		const char *why = NULL;
		char *line;
		size_t len;
		int ret = next_line(r, &line, &len);

		if (ret == 0 || (ret < 0 && ret != -EILSEQ))
			return ret ? fail(r, ret, ret_why, "%s", input_why(ret)) : 0;
		if (ret == 1) {
			ret = parse_line(r, line, len, &why);
			if (ret == 0)
				ret = check_line(r, ret_ns, &why);
			if (ret == 0)
				return 1;
		} else {
			ret = -EBADMSG;
			why = input_why(-EILSEQ);
		}
		fail(r, ret, ret_why, "%s", why ? why : strerror(-ret));
		if (!r->o.is_lenient || ret == -ENOMEM)
			return ret;
		if (!r->nr_skipped++)
			memcpy(r->first_skipped, ret_why, READER_WHY_LEN);
	}
}

int reader_next(struct reader *r, struct sim_record *ret_rec, char *ret_why)
{
	struct reader_line *l = &r->line;
	uint64_t ns = 0, session;
	int ret = next_good(r, &ns, ret_why);

	if (ret <= 0)
		return ret;
	session = reader_session_of(r->sessions, l);
	if (!session)
		return fail(r, -ENOMEM, ret_why, "out of memory");
	r->time_ns = ns;
	r->nr_requests++;
	*ret_rec = (struct sim_record){
		.time_ns = ns, .session = session, .turn = l->turn, .output_tokens = l->output_tokens,
		.type = name_number(&r->types, l->type), .stop = name_number(&r->stops, l->stop),
		.hash = l->hash, .nr = (uint32_t)l->nr,
		.tokens = l->input_tokens != UINT64_MAX ? (uint32_t)l->input_tokens :
							  (uint32_t)l->nr * r->block_tokens,
	};
	return 1;
}

/* ---- open ------------------------------------------------------------------------------------------------ */

static int start(struct reader *r, char *ret_why)
{
	struct stat st;
	int ret;

	r->is_first = true;
	r->again = NULL;
	r->nr_lines = r->nr_skipped = r->nr_requests = r->time_ns = 0;
	r->in = input_close(r->in);
	if (stat(r->path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return fail(r, -ESPIPE, ret_why, "not a regular file; a trace is read twice");
	ret = input_open(r->path, &r->in);
	if (ret < 0)
		return fail(r, ret, ret_why, "%s", strerror(-ret));
	return see_form(r, ret_why);
}

/*
 * A prompt of t tokens has floor(t / block) ids, or one more for a short last block: so the block is
 * longer than t / (ids + 1) and shorter than t / (ids - 1).  The power of two between all of these.
 */
static int find_block_tokens(struct reader *r, char *ret_why)
{
	double above = 0, below = 1u << 20;
	uint32_t block = 1;
	uint64_t ns;
	int ret = 1;

	for (unsigned i = 0; i < PROBE && ret == 1; i++) {
		const struct reader_line *l = &r->line;

		ret = next_good(r, &ns, ret_why);
		if (ret <= 0 || l->nr < 2 || l->input_tokens == UINT64_MAX)
			continue;
		above = max_of(above, (double)l->input_tokens / ((double)l->nr + 1));
		below = min_of(below, (double)l->input_tokens / ((double)l->nr - 1));
	}
	if (ret < 0)
		return ret;
	while (block <= above)
		block *= 2;
	if (above <= 0 || block >= below || 2 * block < below)
		return fail(r, -EBADMSG, ret_why, "the block length cannot be told from the first requests: give --block-tokens");
	r->block_tokens = block;
	return 0;
}

int reader_open(const char *path, const struct reader_options *o, struct reader **ret_r, char *ret_why)
{
	struct reader *r = calloc(1, sizeof(*r));
	int ret;

	snprintf(ret_why, READER_WHY_LEN, "out of memory");
	if (!r)
		return -ENOMEM;
	r->o = *o;
	r->types.max = TYPES_MAX;
	r->stops.max = STOPS_MAX;
	r->path = strdup(path);
	r->sessions = reader_sessions_create();
	ret = r->path && r->sessions ? start(r, ret_why) : -ENOMEM;
	if (ret == 0) {
		r->block_tokens = o->block_tokens ? o->block_tokens : r->header.block_tokens;
		if (!r->block_tokens) {
			ret = find_block_tokens(r, ret_why);
			if (ret == 0)
				ret = start(r, ret_why);
		}
	}
	if (ret < 0) {
		reader_close(r);
		return ret;
	}
	*ret_r = r;
	return 0;
}

struct reader *reader_close(struct reader *r)
{
	if (!r)
		return NULL;
	input_close(r->in);
	reader_line_fini(&r->line);
	reader_sessions_destroy(r->sessions);
	free(r->types.name);
	free(r->stops.name);
	free(r->path);
	free(r);
	return NULL;
}

void reader_info(const struct reader *r, struct reader_info *ret)
{
	*ret = (struct reader_info){
		.form = r->form ? r->form : "", .block_tokens = r->block_tokens,
		.is_synthetic = r->header.is_synthetic, .note = r->header.note,
		.nr_skipped = r->nr_skipped, .first_skipped = r->first_skipped,
	};
}

double reader_progress(const struct reader *r)
{
	return input_progress(r->in);
}
