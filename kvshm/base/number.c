/* SPDX-License-Identifier: Apache-2.0 */
/* number.c - numbers as people write them */
#include "kvshm/base/number.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIME_MIN_NS 1e6
#define TIME_MAX_NS 1e15

int number_refuse(const struct number_arg *a, const char *wanted)
{
	fprintf(stderr, "%s: --%s takes %s, not \"%s\"\n", a->command, a->option, wanted, a->text);
	return -1;
}

uint64_t number_unit(const char *s)
{
	static const char units[] = "KMGT";
	const char *u = *s ? strchr(units, toupper((unsigned char)*s)) : NULL;

	if (!u || (s[1] && strcmp(s + 1, "iB") && strcmp(s + 1, "B")))
		return 0;
	return 1ull << (10 * (u - units + 1));
}

int number_whole(const struct number_arg *a, uint64_t min, uint64_t max, uint64_t *ret_v)
{
	char wanted[80], *end = NULL;
	uint64_t v = 0, unit = 1;

	errno = 0;
	if (isdigit((unsigned char)*a->text))
		v = strtoull(a->text, &end, 10);
	if (end && *end)
		unit = number_unit(end);
	if (end && !errno && unit && !__builtin_mul_overflow(v, unit, &v) && v >= min && v <= max) {
		*ret_v = v;
		return 0;
	}
	snprintf(wanted, sizeof(wanted), "a number from %" PRIu64 " to %" PRIu64, min, max);
	return number_refuse(a, wanted);
}

int number_whole32(const struct number_arg *a, uint32_t min, uint32_t max, uint32_t *ret_v)
{
	uint64_t v;

	if (number_whole(a, min, max, &v) < 0)
		return -1;
	*ret_v = (uint32_t)v;
	return 0;
}

int number_octal(const struct number_arg *a, unsigned max, unsigned *ret_v)
{
	char wanted[80], *end = NULL;
	unsigned long v = 0;

	errno = 0;
	if (isdigit((unsigned char)*a->text))
		v = strtoul(a->text, &end, 8);
	if (end && !*end && !errno && v <= max) {
		*ret_v = (unsigned)v;
		return 0;
	}
	snprintf(wanted, sizeof(wanted), "an octal number up to %04o", max);
	return number_refuse(a, wanted);
}

/* Digits and a point; what strtod() takes besides (signs, spaces, "nan", "0x1p3") is refused. */
static double decimal(const char *text, const char **ret_end)
{
	char *end;
	double v;

	*ret_end = NULL;
	if (!isdigit((unsigned char)*text) || tolower((unsigned char)text[1]) == 'x')
		return NAN;
	v = strtod(text, &end);
	*ret_end = end;
	return v;
}

int number_real(const struct number_arg *a, double min, double max, double *ret_v)
{
	const char *end;
	double v = decimal(a->text, &end);
	char wanted[80];

	if (end && !*end && v >= min && v <= max) {
		*ret_v = v;
		return 0;
	}
	snprintf(wanted, sizeof(wanted), "a number from %g to %g", min, max);
	return number_refuse(a, wanted);
}

static double time_unit(const char *s)
{
	if (!*s || !strcmp(s, "s"))
		return 1e9;
	return !strcmp(s, "ms") ? 1e6 : !strcmp(s, "m") ? 60e9 : 0;
}

int number_time(const struct number_arg *a, uint64_t *ret_ns)
{
	const char *end;
	double ns = decimal(a->text, &end);

	ns *= end ? time_unit(end) : 0;
	if (!(ns >= TIME_MIN_NS && ns <= TIME_MAX_NS))
		return number_refuse(a, "a time as 200ms, 5s or 1m");
	*ret_ns = (uint64_t)ns;
	return 0;
}
