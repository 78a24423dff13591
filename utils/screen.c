/* SPDX-License-Identifier: Apache-2.0 */
/* screen.c - screen.h on ncurses; no other file of the tool knows the library */
#include "utils/screen.h"

#include <errno.h>
#include <locale.h>
#include <ncurses.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <unistd.h>

#include "kvshm/base/compiler.h"

#undef columns				/* <term.h> takes the word for itself */

static SCREEN *screen;

static const struct {
	int theirs;
	int ours;
} keys[] = {
	{ ERR, KEY_NONE }, { KEY_UP, KEY_SCREEN_UP }, { KEY_DOWN, KEY_SCREEN_DOWN }, { KEY_LEFT, KEY_SCREEN_LEFT },
	{ KEY_RIGHT, KEY_SCREEN_RIGHT }, { KEY_PPAGE, KEY_SCREEN_PAGE_UP }, { KEY_NPAGE, KEY_SCREEN_PAGE_DOWN },
	{ KEY_HOME, KEY_SCREEN_HOME }, { KEY_END, KEY_SCREEN_END }, { KEY_BACKSPACE, KEY_SCREEN_BACKSPACE },
	{ 127, KEY_SCREEN_BACKSPACE }, { '\b', KEY_SCREEN_BACKSPACE }, { KEY_RESIZE, KEY_SCREEN_RESIZED },
	{ KEY_F(1), KEY_SCREEN_F1 }, { KEY_F(4), KEY_SCREEN_F4 }, { KEY_F(6), KEY_SCREEN_F6 }, { KEY_F(10), KEY_SCREEN_F10 },
};

/* Colours only where the terminal has them and the user has not asked for none (no-color.org). */
static void colours(void)
{
	if (getenv("NO_COLOR") || !has_colors())
		return;
	start_color();
	use_default_colors();
	init_pair(SCREEN_ALARM, COLOR_RED, -1);
	init_pair(SCREEN_GOOD, COLOR_GREEN, -1);
	init_pair(SCREEN_DIM, COLOR_CYAN, -1);
}

int screen_open(void)
{
	int found;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return -ENOTTY;
	setlocale(LC_CTYPE, "");
	/* newterm() would forget memory over a terminal that it does not know. */
	if (setupterm(NULL, STDOUT_FILENO, &found) == ERR)
		return -ENXIO;
	del_curterm(cur_term);
	screen = newterm(NULL, stdout, stdin);
	if (!screen)
		return -ENXIO;
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	set_escdelay(50);
	curs_set(0);
	colours();
	return 0;
}

void screen_close(void)
{
	endwin();
	delscreen(screen);
	screen = NULL;
}

void screen_size(unsigned *ret_rows, unsigned *ret_columns)
{
	*ret_rows = (unsigned)max_of(getmaxy(stdscr), 1);
	*ret_columns = (unsigned)max_of(getmaxx(stdscr), 1);
}

int screen_key(int timeout_ms)
{
	int c;

	timeout(timeout_ms);
	c = getch();
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		if (keys[i].theirs == c)
			return keys[i].ours;
	return c;
}

void screen_clear(void)
{
	erase();
}

static attr_t attribute_of(enum screen_style s)
{
	static const attr_t attributes[] = {
		[SCREEN_PLAIN] = A_NORMAL, [SCREEN_TITLE] = A_REVERSE, [SCREEN_CHOSEN] = A_BOLD | A_UNDERLINE,
		[SCREEN_ALARM] = A_BOLD, [SCREEN_GOOD] = A_BOLD, [SCREEN_DIM] = A_NORMAL,
	};
	bool has_pair = s >= SCREEN_ALARM && has_colors() && !getenv("NO_COLOR");

	return attributes[s] | (has_pair ? (attr_t)COLOR_PAIR(s) : 0);
}

void screen_put(unsigned row, unsigned column, enum screen_style style, const char *text)
{
	unsigned rows, columns;
	int len = (int)strlen(text);

	screen_size(&rows, &columns);
	if (row >= rows || column >= columns)
		return;
	attrset((int)attribute_of(style));
	mvaddnstr((int)row, (int)column, text, min_of(len, (int)(columns - column)));
	for (unsigned c = column + (unsigned)len; style == SCREEN_TITLE && c < columns; c++)
		addch(' ');
	attrset(A_NORMAL);
}

void screen_show(void)
{
	refresh();
}
