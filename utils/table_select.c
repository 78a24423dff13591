/* SPDX-License-Identifier: Apache-2.0 */
/* table_select.c - sort rows, leave rows out, choose columns */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "kvshm/base/compiler.h"
#include "utils/table.h"

static int find(const struct table *t, const char *name, size_t len)
{
	for (unsigned c = 0; c < t->nr_columns; c++) {
		const struct column *col = &t->column[c];

		if ((!strncasecmp(col->name, name, len) && !col->name[len]) ||
		    (!strncasecmp(col->title, name, len) && !col->title[len]))
			return (int)c;
	}
	return -1;
}

int table_column(const struct table *t, const char *name)
{
	return find(t, name, strlen(name));
}

/* qsort_r() hands the context to the comparison. */
struct order {
	unsigned column;
	enum cell_kind kind;
};

static int compare(const void *pa, const void *pb, void *arg)
{
	const struct order *o = arg;
	const struct cell *a = (const struct cell *)pa + o->column, *b = (const struct cell *)pb + o->column;

	if (o->kind == CELL_TEXT)
		return strcmp(a->text ? a->text : "", b->text ? b->text : "");
	if (o->kind == CELL_RATIO || o->kind == CELL_RATE)
		return (a->d < b->d) - (a->d > b->d);
	/* What is not known comes last. */
	return (a->u + 1 < b->u + 1) - (a->u + 1 > b->u + 1);
}

int table_sort(struct table *t, const char *by)
{
	int c = table_column(t, by);
	struct order o;

	if (c < 0)
		return -1;
	o = (struct order){ (unsigned)c, t->column[c].kind };
	if (t->nr_rows)
		qsort_r(t->cell, t->nr_rows, t->nr_columns * sizeof(*t->cell), compare, &o);
	return 0;
}

/* A row leaves: its texts go too. */
static void drop_row(struct table *t, unsigned r)
{
	struct cell *row = t->cell + (size_t)r * t->nr_columns;

	for (unsigned c = 0; c < t->nr_columns; c++)
		if (t->column[c].kind == CELL_TEXT)
			free(row[c].text);
	memmove(row, row + t->nr_columns, (size_t)(t->nr_rows - r - 1) * t->nr_columns * sizeof(*row));
	t->nr_rows--;
}

int table_filter(struct table *t, const char *expression)
{
	const char *eq = strchr(expression, '=');
	int c = eq ? find(t, expression, (size_t)(eq - expression)) : -1;
	char buf[CELL_LEN];

	if (c < 0)
		return -1;
	for (unsigned r = t->nr_rows; r-- > 0;)
		if (strcmp(cell_format(t->cell + r * t->nr_columns + c, true, buf), eq + 1))
			drop_row(t, r);
	return 0;
}

static void take_columns(struct table *t, const struct column *column, const unsigned *from, unsigned nr)
{
	struct table to;

	table_begin(&to, t->view, column, nr);
	for (unsigned r = 0; r < t->nr_rows; r++) {
		struct cell *row = table_row(&to), *old = t->cell + (size_t)r * t->nr_columns;

		for (unsigned c = 0; c < nr; c++)
			if (column[c].kind == CELL_TEXT)
				cell_text(&row[c], old[from[c]].text ? old[from[c]].text : "");
			else
				row[c] = old[from[c]];
	}
	to.nr_notes = t->nr_notes;
	memcpy(to.note, t->note, sizeof(to.note));
	table_end(t);
	*t = to;
}

int table_fields(struct table *t, const char *names)
{
	static struct column chosen[COLUMNS_MAX];
	unsigned from[COLUMNS_MAX], nr = 0;

	for (const char *at = names; *at && nr < COLUMNS_MAX; nr++) {
		size_t len = strcspn(at, ",");
		int c = find(t, at, len);

		if (c < 0)
			return -1;
		from[nr] = (unsigned)c;
		at += len + (at[len] == ',');
	}
	if (!nr)
		return -1;
	for (unsigned c = 0; c < nr; c++) {
		chosen[c] = t->column[from[c]];
		chosen[c].is_wide = false;
	}
	take_columns(t, chosen, from, nr);
	t->is_selected = true;
	return 0;
}
