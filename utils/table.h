/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.h - a view as columns and rows, printed for people, scripts and monitoring
 *
 * A column's name is that of the JSON field, with its unit; the title is what people see.  As many
 * columns as fit the width are printed for people, in their order; CSV and JSON have all of them.
 * One thread; an allocation that fails ends the program.
 */
#ifndef UTILS_TABLE_H
#define UTILS_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "utils/json.h"

enum cell_kind {
	CELL_TEXT,			/* left, the rest to the right */
	CELL_COUNT,
	CELL_BYTES,
	CELL_NS,
	CELL_AGE,			/* ns too, of what may be days */
	CELL_RATIO,			/* 0 to 1, shown in percent */
	CELL_RATE,			/* per second */
	CELL_BOOL,
};

#define CELL_NONE UINT64_MAX		/* nothing known: "-", null */
#define COLUMNS_MAX 24u

struct column {
	const char *name;		/* "pinned_bytes" */
	const char *title;		/* "PINNED" */
	enum cell_kind kind;
	unsigned width;
	bool is_wide;			/* only where all fit */
};

struct cell {
	enum cell_kind kind;		/* the column's, unless a row has another unit */
	union {
		uint64_t u;		/* COUNT, BYTES, NS, BOOL */
		double d;		/* RATIO, RATE; negative: nothing known */
		char *text;		/* the table's */
	};
};

struct table {
	const char *view;
	const struct column *column;
	unsigned nr_columns;
	bool is_selected;		/* by table_fields() */
	struct cell *cell;		/* [nr_rows][nr_columns] */
	unsigned nr_rows, room;
	char note[4][200];		/* sentences below the rows */
	unsigned nr_notes;
};

void table_begin(struct table *t, const char *view, const struct column *column, unsigned nr_columns);
void table_end(struct table *t);

/* A new row, all cells empty; fill it by column. */
struct cell *table_row(struct table *t);
void cell_text(struct cell *c, const char *text);

__attribute__((format(printf, 2, 3))) void table_note(struct table *t, const char *fmt, ...);

/* ---- what is shown of it (table_select.c) -------------------------------------------------------- */

/* Column by name or title, upper or lower case; -1. */
int table_column(const struct table *t, const char *name);

/* Sort by a column, numbers from the greatest down, texts up.  Return: 0; -1 there is no such column. */
int table_sort(struct table *t, const char *by);

/* Keep the rows whose column K is V ("uid=1003").  Return: 0; -1 no such column, or no '='. */
int table_filter(struct table *t, const char *expression);

/**
 * table_fields() - only these columns, in this order ("slot,pid,label")
 * Columns come from a static array of COLUMNS_MAX: one table at a time.  Return: 0; -1 no such column.
 */
int table_fields(struct table *t, const char *names);

/* ---- printing (table_print.c) ---------------------------------------------------------------------- */

struct table_style {
	unsigned width;			/* columns of the terminal */
	bool is_raw;			/* plain numbers without units */
	bool no_header;
	bool is_wide;			/* all columns, however long the line */
};

/* Room in which the text of any cell but CELL_TEXT fits. */
#define CELL_LEN 24u
const char *cell_format(const struct cell *c, bool is_raw, char *buf);
/* "12.5 us"; @buf has CELL_LEN. */
const char *human_ns(uint64_t ns, char *buf);

void table_print(const struct table *t, const struct table_style *s, FILE *out);
void table_csv(const struct table *t, bool no_header, FILE *out);
void table_json(const struct table *t, struct jdoc *j, const char *array);

/* Columns of the terminal: COLUMNS, what it says itself, 80. */
unsigned terminal_width(void);

#endif
