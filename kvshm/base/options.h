/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.h - a program's options as a table: getopt, numbers and the usual refusals in one place
 *
 * With a usage text there is also -h, --help, which prints it on stdout.  What is refused is told on stderr, by getopt
 * or by number.h.
 */
#ifndef KVSHM_BASE_OPTIONS_H
#define KVSHM_BASE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum option_kind {
	OPTION_FLAG,			/* bool *to = true */
	OPTION_COUNT,			/* int *to = how often */
	OPTION_TEXT,			/* const char **to */
	OPTION_WHOLE,			/* uint64_t *to, .min to .max */
	OPTION_OCTAL,			/* unsigned *to, to .max: permissions */
	OPTION_SECONDS,			/* double *to, .min to .max; without a value .otherwise */
	OPTION_NAME,			/* unsigned *to = its number in .names */
	OPTION_CALL,			/* .call(.to, .name, text), which returns -1 when it has refused and told */
};

struct option_row {
	const char *name;
	char letter;			/* 0: none */
	enum option_kind kind;
	void *to;
	double min, max;
	double otherwise;		/* not 0: the value may be missing */
	const char *const *names;	/* ends with NULL */
	int (*call)(void *to, const char *name, const char *text);
};

#define FLAG_ROW(name_, letter_, to_) { .name = name_, .letter = letter_, .kind = OPTION_FLAG, .to = to_ }
#define COUNT_ROW(name_, letter_, to_) { .name = name_, .letter = letter_, .kind = OPTION_COUNT, .to = to_ }
#define TEXT_ROW(name_, letter_, to_) { .name = name_, .letter = letter_, .kind = OPTION_TEXT, .to = to_ }
#define WHOLE_ROW(name_, letter_, to_, min_, max_) \
	{ .name = name_, .letter = letter_, .kind = OPTION_WHOLE, .to = to_, .min = min_, .max = max_ }
#define OCTAL_ROW(name_, letter_, to_, max_) \
	{ .name = name_, .letter = letter_, .kind = OPTION_OCTAL, .to = to_, .max = max_ }
#define SECONDS_ROW(name_, letter_, to_, min_, max_, otherwise_) \
	{ .name = name_, .letter = letter_, .kind = OPTION_SECONDS, .to = to_, .min = min_, .max = max_, \
	  .otherwise = otherwise_ }
#define NAME_ROW(name_, letter_, to_, names_) \
	{ .name = name_, .letter = letter_, .kind = OPTION_NAME, .to = to_, .names = names_ }

#define CALL_ROW(name_, letter_, to_, call_) \
	{ .name = name_, .letter = letter_, .kind = OPTION_CALL, .to = to_, .call = call_ }

struct option_table {
	const char *command;		/* "kvshm stat" */
	void (*usage)(FILE *out);	/* NULL: its rows have --help, and what is refused is told without it */
	const struct option_row *rows;	/* ends with a NULL name */
	unsigned max_words;		/* arguments that are no options */
};

enum options_end { OPTIONS_GO_ON = -1, OPTIONS_HELPED = 0, OPTIONS_REFUSED = 2 };

/**
 * options_parse() - all options into where their rows say; words end up at argv[optind..]
 * Return: OPTIONS_GO_ON; after --help OPTIONS_HELPED, told what is wrong OPTIONS_REFUSED: the end of the
 * program, for a command of kvshm its exit status.
 */
int options_parse(const struct option_table *t, int argc, char **argv);

/* Number of words that options_parse() left at the end of argv[]. */
int options_words(int argc);

#endif
