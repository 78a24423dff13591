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

/* What is shown of a table in a line of a width. */
struct fitting {
	bool is_shown[COLUMNS_MAX];
	unsigned last;			/* shown */
	unsigned first_width;		/* of column 0, which is cut where two columns are too many */
	unsigned width;			/* of the line */
};

#define LAST_TEXT_LEAST 6u		/* of a text at the end, which is cut at the end of the line */

static unsigned needed(const struct table *t, const struct fitting *f)
{
	unsigned need = 0;

	for (unsigned c = 0; c <= f->last; c++)
		if (f->is_shown[c])
			need += (c == f->last && t->column[c].kind == CELL_TEXT ? min_of(t->column[c].width, LAST_TEXT_LEAST) :
				 t->column[c].width) + 1;
	return need ? need - 1 : 0;
}

/* The rightmost column but the first, and but a text at the end, which names the row.  Return: false: none is left. */
static bool drop_one(const struct table *t, struct fitting *f)
{
	unsigned c = f->last;

	if (t->column[c].kind == CELL_TEXT)
		while (c > 1 && !f->is_shown[--c])
			;
	if (c < 2 || !f->is_shown[c])
		return false;
	f->is_shown[c] = false;
	while (!f->is_shown[f->last])
		f->last--;
	return true;
}

static void fit(const struct table *t, const struct table_style *s, struct fitting *f)
{
	unsigned all = 0;

	for (unsigned c = 0; c < t->nr_columns; c++)
		all += t->column[c].width + 1;
	*f = (struct fitting){ .width = s->is_wide ? 1000 : s->width, .first_width = t->column[0].width };
	for (unsigned c = 0; c < t->nr_columns; c++) {
		f->is_shown[c] = s->is_wide || all - 1 <= s->width || !t->column[c].is_wide;
		if (f->is_shown[c])
			f->last = c;
	}
	/* Who named columns gets them. */
	while (!t->is_selected && needed(t, f) > f->width && drop_one(t, f))
		;
	if (!t->is_selected && needed(t, f) > f->width && t->column[0].kind == CELL_TEXT)
		f->first_width = f->width > needed(t, f) - f->first_width ? f->width - (needed(t, f) - f->first_width) : 1;
}

/* The last column of a line is not filled up with blanks, and is cut at the end of the line. */
static void print_cell(const struct column *col, const char *text, unsigned width, bool is_last, unsigned left, FILE *out)
{
	if (col->kind != CELL_TEXT)
		fprintf(out, "%*s", (int)width, text);
	else if (is_last)
		fprintf(out, "%.*s", (int)left, text);
	else
		fprintf(out, "%-*.*s", (int)width, (int)width, text);
}

static void print_line(const struct table *t, const struct cell *row, const struct table_style *s, const struct fitting *f,
		       FILE *out)
{
	unsigned used = 0;
	char buf[CELL_LEN];

	for (unsigned c = 0; c <= f->last; c++) {
		const struct column *col = &t->column[c];
		const char *text = row ? cell_format(&row[c], s->is_raw, buf) : col->title;
		unsigned width = c ? col->width : f->first_width;

		if (!f->is_shown[c])
			continue;
		if (used) {
			fputc(' ', out);
			used++;
		}
		print_cell(col, text, width, c == f->last, f->width > used ? f->width - used : 0, out);
		used += width;
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
	struct fitting f;

	fit(t, s, &f);
	if (t->nr_columns > 1 && !s->no_header) {
		fputs(color(TONE_TITLE), out);
		print_line(t, NULL, s, &f, out);
		fputs(color(TONE_PLAIN), out);
	}
	for (unsigned r = 0; r < t->nr_rows; r++)
		print_line(t, t->cell + (size_t)r * t->nr_columns, s, &f, out);
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
