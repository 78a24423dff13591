/* SPDX-License-Identifier: Apache-2.0 */
/* top_keys.c - what kvshm top shows and what its keys do */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "utils/screen.h"
#include "utils/table.h"
#include "utils/top.h"
#include "utils/views.h"

#define ESCAPE 27

const struct snapshot *top_now(const struct top *t)
{
	return &t->look[t->at];
}

const struct snapshot *top_before(const struct top *t)
{
	return t->is_since ? &t->base : &t->look[!t->at];
}

void top_look(struct top *t)
{
	if (t->is_paused)
		return;
	t->status = snapshot_look(&t->target, &t->look[!t->at]);
	if (!t->status)
		t->at = !t->at;
}

/* ---- the view as lines --------------------------------------------------------------------------------- */

static void must(const void *p)
{
	if (!p) {
		screen_close();
		fputs("kvshm: out of memory\n", stderr);
		exit(1);
	}
}

static void sort_table(struct top *t, struct table *table)
{
	t->sort_name = NULL;
	if (t->sort >= (int)table->nr_columns)
		t->sort = -1;
	if (t->sort < -1)
		t->sort = (int)table->nr_columns - 1;
	if (t->sort < 0 || table->nr_columns < 2)
		return;
	t->sort_name = table->column[t->sort].title;
	table_sort(table, table->column[t->sort].name);
}

static void print_view(struct top *t, unsigned width, FILE *out)
{
	const struct table_style style = { .width = width };
	struct table table;

	t->has_titles = false;
	if (!t->view) {
		t->sort_name = NULL;
		summary_print(top_now(t), top_before(t), out);
		return;
	}
	views[t->view].fill(&table, top_now(t), top_before(t));
	sort_table(t, &table);
	t->has_titles = table.nr_columns > 1;
	table_print(&table, &style, out);
	table_end(&table);
}

static bool is_shown(const struct top *t, const char *line, unsigned number)
{
	return !t->filter[0] || (t->has_titles && !number) || strcasestr(line, t->filter);
}

void top_lines(struct top *t, unsigned width)
{
	unsigned number = 0, room = 0;
	size_t len;
	char *save;
	FILE *out;

	top_fini(t);
	out = open_memstream(&t->text, &len);
	must(out);
	print_view(t, width, out);
	fclose(out);
	must(t->text);
	t->nr_lines = 0;
	for (char *line = strtok_r(t->text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!is_shown(t, line, number++))
			continue;
		if (t->nr_lines == room) {
			room = max_of(2 * room, 32u);
			t->line = realloc(t->line, room * sizeof(*t->line));
			must(t->line);
		}
		t->line[t->nr_lines++] = line;
	}
}

void top_fini(struct top *t)
{
	free(t->text);
	free(t->line);
	t->text = NULL;
	t->line = NULL;
}

/* ---- keys ----------------------------------------------------------------------------------------------- */

static unsigned nr_views(void)
{
	unsigned nr = 0;

	while (views[nr].name)
		nr++;
	return nr;
}

static void go_to(struct top *t, unsigned view)
{
	if (view >= nr_views())
		return;
	t->view = view;
	t->scroll = 0;
	t->sort = -1;
	t->is_helping = false;
}

/* While a filter is typed all keys are its letters. */
static void type(struct top *t, int key)
{
	size_t len = strlen(t->filter);

	if (key == '\r' || key == '\n')
		t->is_typing = false;
	else if (key == ESCAPE) {
		t->is_typing = false;
		t->filter[0] = 0;
	} else if (key == KEY_SCREEN_BACKSPACE && len)
		t->filter[len - 1] = 0;
	else if (key > 0 && key < 256 && isprint(key) && len + 1 < sizeof(t->filter)) {
		t->filter[len] = (char)key;
		t->filter[len + 1] = 0;
	}
	t->scroll = 0;
}

static void scroll(struct top *t, int lines)
{
	t->scroll = lines < 0 && t->scroll < (unsigned)-lines ? 0 : t->scroll + (unsigned)lines;
}

static void act(struct top *t, int key)
{
	switch (key) {
	case '\t':
	case KEY_SCREEN_RIGHT:
		go_to(t, (t->view + 1) % nr_views());
		break;
	case KEY_SCREEN_LEFT:
		go_to(t, (t->view + nr_views() - 1) % nr_views());
		break;
	case KEY_SCREEN_UP:
		scroll(t, -1);
		break;
	case KEY_SCREEN_DOWN:
		scroll(t, 1);
		break;
	case KEY_SCREEN_PAGE_UP:
		scroll(t, -(int)t->page_rows);
		break;
	case KEY_SCREEN_PAGE_DOWN:
		scroll(t, (int)t->page_rows);
		break;
	case KEY_SCREEN_HOME:
	case 'g':
		t->scroll = 0;
		break;
	case KEY_SCREEN_END:
	case 'G':
		t->scroll = t->nr_lines;
		break;
	case KEY_SCREEN_F6:
	case '>':
		t->sort++;
		break;
	case '<':
		t->sort--;
		break;
	case KEY_SCREEN_F4:
	case '\\':
		t->is_typing = true;
		t->is_helping = false;
		break;
	case ESCAPE:
		t->filter[0] = 0;
		t->is_helping = false;
		break;
	case 'c':
		t->base = *top_now(t);
		t->is_since = true;
		break;
	case 'l':
		t->is_since = false;
		break;
	case 'Z':
	case ' ':
		t->is_paused = !t->is_paused;
		break;
	case KEY_SCREEN_F1:
	case '?':
	case 'h':
		t->is_helping = !t->is_helping;
		break;
	default:
		if (key >= '1' && key <= '9')
			go_to(t, (unsigned)(key - '1'));
	}
}

bool top_key(struct top *t, int key)
{
	if (t->is_typing) {
		type(t, key);
		return false;
	}
	if (key == 'q' || key == KEY_SCREEN_F10)
		return true;
	act(t, key);
	return false;
}
