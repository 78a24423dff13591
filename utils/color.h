/* SPDX-License-Identifier: Apache-2.0 */
/* color.h - colours of what is printed for people; none until color_choose() */
#ifndef UTILS_COLOR_H
#define UTILS_COLOR_H

enum tone {
	TONE_PLAIN,			/* back to what it was */
	TONE_GOOD,
	TONE_BAD,
	TONE_TITLE,
};

/*
 * color_choose() - for all of stdout from now on
 * @when: "auto" (also NULL): on a terminal, unless NO_COLOR is set (https://no-color.org) or TERM is dumb; "always",
 *	"never".  Return: 0; -1 another word, told after @command.
 */
int color_choose(const char *command, const char *when);

/* What to print to change to it; "" without colours. */
const char *color(enum tone t);

#endif
