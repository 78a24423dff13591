/* SPDX-License-Identifier: Apache-2.0 */
/* table_print.c - a table as text, CSV, JSON */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kvshm/base/compiler.h"
#include "utils/color.h"
#include "utils/csv.h"
#include "utils/table.h"
#include "utils/target.h"

unsigned terminal_width(void)
{
	const char *env = getenv("COLUMNS");
	struct winsize w;
	long n = env ? strtol(env, NULL, 10) : 0;

	if (n >= 20 && n <= 1000)
		return (unsigned)n;
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) && w.ws_col >= 20)
		return w.ws_col;
	return 80;
}

const char *human_ns(uint64_t ns, char *buf)
{
	static const struct {
		uint64_t unit;
		const char *name;
	} row[] = { { 1000000000, "s" }, { 1000000, "ms" }, { 1000, "us" } };

	for (unsigned i = 0; i < ARRAY_SIZE(row); i++)
		if (ns >= row[i].unit) {
			double v = (double)ns / (double)row[i].unit;

			snprintf(buf, CELL_LEN, v < 100 ? "%.1f %s" : "%.0f %s", v, row[i].name);
			return buf;
		}
	snprintf(buf, CELL_LEN, "%" PRIu64 " ns", ns);
	return buf;
}

static void format_age(uint64_t ns, char *buf)
{
	uint64_t s = ns / 1000000000u;

	if (s < 60)
		snprintf(buf, CELL_LEN, "%" PRIu64 "s", s);
	else if (s < 3600)
		snprintf(buf, CELL_LEN, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, CELL_LEN, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
	else
		snprintf(buf, CELL_LEN, "%" PRIu64 "d%02" PRIu64 "h", s / 86400, s / 3600 % 24);
}

static bool is_known(const struct cell *c)
{
	if (c->kind == CELL_TEXT)
		return c->text != NULL;
	return c->kind == CELL_RATIO || c->kind == CELL_RATE ? c->d >= 0 : c->u != CELL_NONE;
}

const char *cell_format(const struct cell *c, bool is_raw, char *buf)
{
	if (!is_known(c))
		return "-";
	switch (c->kind) {
	case CELL_TEXT:
		return c->text;
	case CELL_BOOL:
		return c->u ? "yes" : "no";
	case CELL_RATIO:
		snprintf(buf, CELL_LEN, is_raw ? "%.6g" : "%.1f", is_raw ? c->d : 100 * c->d);
		return buf;
	case CELL_RATE:
		snprintf(buf, CELL_LEN, is_raw || c->d < 100 ? "%.4g" : "%.0f", c->d);
		return buf;
	case CELL_BYTES:
		if (!is_raw)
			return human_bytes(c->u, buf);
		break;
	case CELL_NS:
		if (!is_raw)
			return human_ns(c->u, buf);
		break;
	case CELL_AGE:
		if (!is_raw) {
			format_age(c->u, buf);
			return buf;
		}
		break;
	case CELL_COUNT:
		break;
	}
	snprintf(buf, CELL_LEN, "%" PRIu64, c->u);
	return buf;
}

/* Are the columns that only a wide line shows to be shown? */
static bool all_fit(const struct table *t, const struct table_style *s)
{
	unsigned need = 0;

	for (unsigned c = 0; c < t->nr_columns; c++)
		need += t->column[c].width + 1;
	return s->is_wide || need - 1 <= s->width;
}

/* The last column of a line is not filled up with blanks, and is cut at the end of the line. */
static void print_cell(const struct column *col, const char *text, bool is_last, unsigned left, FILE *out)
{
	if (col->kind != CELL_TEXT)
		fprintf(out, "%*s", (int)col->width, text);
	else if (is_last)
		fprintf(out, "%.*s", (int)left, text);
	else
		fprintf(out, "%-*.*s", (int)col->width, (int)col->width, text);
}

static void print_line(const struct table *t, const struct cell *row, const struct table_style *s, bool shows_all, FILE *out)
{
	unsigned used = 0, last = 0;
	char buf[CELL_LEN];

	for (unsigned c = 0; c < t->nr_columns; c++)
		if (shows_all || !t->column[c].is_wide)
			last = c;
	for (unsigned c = 0; c <= last; c++) {
		const struct column *col = &t->column[c];
		const char *text = row ? cell_format(&row[c], s->is_raw, buf) : col->title;

		if (!shows_all && col->is_wide)
			continue;
		if (used) {
			fputc(' ', out);
			used++;
		}
		print_cell(col, text, c == last, s->is_wide ? 1000 : s->width > used ? s->width - used : 0, out);
		used += col->width;
	}
	fputc('\n', out);
}

/* A sentence, broken at blanks where it is longer than a line. */
static void print_note(const char *text, unsigned width, FILE *out)
{
	while (*text) {
		size_t len = strlen(text);

		if (len > width) {
			for (len = width; len && text[len] != ' '; len--)
				;
			len = len ? len : width;
		}
		fprintf(out, "%.*s\n", (int)len, text);
		text += len;
		text += *text == ' ';
	}
}

void table_print(const struct table *t, const struct table_style *s, FILE *out)
{
	bool shows_all = all_fit(t, s);

	if (t->nr_columns > 1 && !s->no_header) {
		fputs(color(TONE_TITLE), out);
		print_line(t, NULL, s, shows_all, out);
		fputs(color(TONE_PLAIN), out);
	}
	for (unsigned r = 0; r < t->nr_rows; r++)
		print_line(t, t->cell + (size_t)r * t->nr_columns, s, shows_all, out);
	for (unsigned i = 0; i < t->nr_notes; i++)
		print_note(t->note[i], s->is_wide ? 1000 : s->width, out);
}

void table_csv(const struct table *t, bool no_header, FILE *out)
{
	char buf[CELL_LEN];

	for (unsigned c = 0; c < t->nr_columns && !no_header; c++)
		fprintf(out, "%s%s", c ? "," : "", t->column[c].name);
	if (!no_header)
		fputs("\r\n", out);
	for (unsigned r = 0; r < t->nr_rows; r++) {
		for (unsigned c = 0; c < t->nr_columns; c++) {
			const struct cell *cell = t->cell + (size_t)r * t->nr_columns + c;

			if (c)
				fputc(',', out);
			if (is_known(cell))
				csv_text(cell_format(cell, true, buf), out);
		}
		fputs("\r\n", out);
	}
}

static void json_cell(const char *name, const struct cell *c, struct jdoc *o)
{
	if (!is_known(c))
		jdoc_null(o, name);
	else if (c->kind == CELL_TEXT)
		jdoc_text(o, name, c->text);
	else if (c->kind == CELL_BOOL)
		jdoc_bool(o, name, c->u != 0);
	else if (c->kind == CELL_RATIO || c->kind == CELL_RATE)
		jdoc_real(o, name, c->d);
	else
		jdoc_int(o, name, (int64_t)c->u);
}

void table_json(const struct table *t, struct jdoc *j, const char *array)
{
	jdoc_array(j, array);
	for (unsigned r = 0; r < t->nr_rows; r++) {
		struct jdoc *o = jdoc_append(j, array);

		for (unsigned c = 0; c < t->nr_columns; c++)
			json_cell(t->column[c].name, t->cell + (size_t)r * t->nr_columns + c, o);
	}
	for (unsigned i = 0; i < t->nr_notes; i++)
		jdoc_text(jdoc_append(j, "notes"), "text", t->note[i]);
}
