/* SPDX-License-Identifier: Apache-2.0 */
/* table.c - rows and cells */
#include "utils/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"

static void *must(void *p)
{
	if (!p) {
		fputs("kvshm: out of memory\n", stderr);
		exit(1);
	}
	return p;
}

void table_begin(struct table *t, const char *view, const struct column *column, unsigned nr_columns)
{
	*t = (struct table){ .view = view, .column = column, .nr_columns = nr_columns };
}

void table_end(struct table *t)
{
	for (unsigned r = 0; r < t->nr_rows; r++)
		for (unsigned c = 0; c < t->nr_columns; c++)
			if (t->column[c].kind == CELL_TEXT)
				free(t->cell[r * t->nr_columns + c].text);
	free(t->cell);
	*t = (struct table){ 0 };
}

static bool is_fraction(const struct column *c)
{
	return c->kind == CELL_RATIO || c->kind == CELL_RATE;
}

struct cell *table_row(struct table *t)
{
	struct cell *row;

	if (t->nr_rows == t->room) {
		t->room = max_of(2 * t->room, 16u);
		t->cell = must(realloc(t->cell, (size_t)t->room * t->nr_columns * sizeof(*t->cell)));
	}
	row = t->cell + (size_t)t->nr_rows++ * t->nr_columns;
	for (unsigned c = 0; c < t->nr_columns; c++) {
		row[c] = (struct cell){ .kind = t->column[c].kind, .u = CELL_NONE };
		if (is_fraction(&t->column[c]))
			row[c].d = -1;
		else if (t->column[c].kind == CELL_TEXT)
			row[c].text = NULL;
	}
	return row;
}

void cell_text(struct cell *c, const char *text)
{
	free(c->text);
	c->text = must(strdup(text));
}

void table_note(struct table *t, const char *fmt, ...)
{
	va_list ap;

	if (t->nr_notes == ARRAY_SIZE(t->note))
		return;
	va_start(ap, fmt);
	vsnprintf(t->note[t->nr_notes++], sizeof(t->note[0]), fmt, ap);
	va_end(ap);
}
