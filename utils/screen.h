/* SPDX-License-Identifier: Apache-2.0 */
/* screen.h - the whole terminal as lines, and its keys; hides the library.  One thread, one screen. */
#ifndef UTILS_SCREEN_H
#define UTILS_SCREEN_H

enum screen_style {
	SCREEN_PLAIN,
	SCREEN_TITLE,			/* a bar over the whole line */
	SCREEN_CHOSEN,
	SCREEN_ALARM,
	SCREEN_GOOD,
	SCREEN_DIM,
};

/* What screen_key() returns beside characters. */
enum screen_key {
	KEY_NONE = -1,			/* nothing in time, or a signal */
	KEY_SCREEN_UP = 0x10000, KEY_SCREEN_DOWN, KEY_SCREEN_LEFT, KEY_SCREEN_RIGHT, KEY_SCREEN_PAGE_UP,
	KEY_SCREEN_PAGE_DOWN, KEY_SCREEN_HOME, KEY_SCREEN_END, KEY_SCREEN_BACKSPACE, KEY_SCREEN_RESIZED,
	KEY_SCREEN_F1, KEY_SCREEN_F4, KEY_SCREEN_F6, KEY_SCREEN_F10,
};

/* Take the terminal.  Return: 0; -ENOTTY stdin or stdout is none, -ENXIO it is of an unknown kind. */
int screen_open(void);
void screen_close(void);

/* Rows and columns as of now. */
void screen_size(unsigned *ret_rows, unsigned *ret_columns);

/* Wait for a key.  Return: a character, enum screen_key; KEY_NONE. */
int screen_key(int timeout_ms);

void screen_clear(void);
/* @text from @column on, cut at the end of the line. */
void screen_put(unsigned row, unsigned column, enum screen_style style, const char *text);
void screen_show(void);

#endif
