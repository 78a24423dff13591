/* SPDX-License-Identifier: Apache-2.0 */
/* options.c - a table of options on getopt_long() */
#include "kvshm/base/options.h"

#include <getopt.h>
#include <string.h>

#include "kvshm/base/number.h"

#define ROWS_MAX 48u
#define FIRST 256			/* what getopt returns for row 0 */

/* Both forms that getopt wants. */
struct forms {
	struct option longs[ROWS_MAX + 2];
	char letters[3 * ROWS_MAX + 2];
};

static int argument_of(const struct option_row *r)
{
	return r->kind == OPTION_FLAG || r->kind == OPTION_COUNT ? no_argument : r->otherwise != 0 ? optional_argument : required_argument;
}

static void make_forms(const struct option_table *t, struct forms *f)
{
	const struct option_row *rows = t->rows;
	char *at = f->letters;
	unsigned n;

	for (n = 0; rows[n].name && n < ROWS_MAX; n++) {
		int arg = argument_of(&rows[n]);

		f->longs[n] = (struct option){ rows[n].name, arg, NULL, FIRST + (int)n };
		if (!rows[n].letter)
			continue;
		*at++ = rows[n].letter;
		for (int colons = 0; colons < arg; colons++)
			*at++ = ':';
	}
	if (t->usage) {
		f->longs[n++] = (struct option){ "help", no_argument, NULL, 'h' };
		*at++ = 'h';
	}
	f->longs[n] = (struct option){ 0 };
	*at = 0;
}

static const struct option_row *row_of(const struct option_row *rows, int c)
{
	if (c >= FIRST)
		return &rows[c - FIRST];
	for (; rows->name; rows++)
		if (rows->letter == c)
			return rows;
	return NULL;
}

static int take_name(const struct number_arg *a, const struct option_row *r)
{
	char wanted[160] = "one of";

	for (unsigned i = 0; r->names[i]; i++) {
		size_t used = strlen(wanted);

		if (!strcmp(a->text, r->names[i])) {
			*(unsigned *)r->to = i;
			return 0;
		}
		snprintf(wanted + used, sizeof(wanted) - used, "%s %s", i ? "," : "", r->names[i]);
	}
	return number_refuse(a, wanted);
}

static int take(const struct option_table *t, const struct option_row *r)
{
	const struct number_arg a = { t->command, r->name, optarg };

	switch (r->kind) {
	case OPTION_FLAG:
		*(bool *)r->to = true;
		return 0;
	case OPTION_COUNT:
		++*(int *)r->to;
		return 0;
	case OPTION_TEXT:
		*(const char **)r->to = optarg;
		return 0;
	case OPTION_WHOLE:
		return number_whole(&a, (uint64_t)r->min, (uint64_t)r->max, r->to);
	case OPTION_OCTAL:
		return number_octal(&a, (unsigned)r->max, r->to);
	case OPTION_SECONDS:
		if (optarg)
			return number_real(&a, r->min, r->max, r->to);
		*(double *)r->to = r->otherwise;
		return 0;
	case OPTION_NAME:
		return take_name(&a, r);
	case OPTION_CALL:
		return r->call(r->to, r->name, optarg);
	}
	return -1;
}

int options_words(int argc)
{
	return argc - optind;
}

int options_parse(const struct option_table *t, int argc, char **argv)
{
	const struct option_row *r;
	struct forms f;
	int c;

	make_forms(t, &f);
	while ((c = getopt_long(argc, argv, f.letters, f.longs, NULL)) != -1) {
		if (c == 'h' && t->usage) {
			t->usage(stdout);
			return OPTIONS_HELPED;
		}
		r = row_of(t->rows, c);
		if (!r) {
			if (t->usage)
				t->usage(stderr);
			return OPTIONS_REFUSED;
		}
		if (take(t, r) < 0)
			return OPTIONS_REFUSED;
	}
	if (argc - optind > (int)t->max_words) {
		fprintf(stderr, "%s: unexpected argument \"%s\"\n", t->command, argv[optind + (int)t->max_words]);
		return OPTIONS_REFUSED;
	}
	return OPTIONS_GO_ON;
}
