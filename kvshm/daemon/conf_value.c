/* SPDX-License-Identifier: Apache-2.0 */
/* Values as people write them. */
#include "kvshm/daemon/conf.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Digits, then @ret_rest; no sign, no space. */
static int parse_digits(const char *s, uint64_t *ret, const char **ret_rest)
{
	char *end;
	unsigned long long v;

	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno)
		return -ERANGE;
	*ret = v;
	*ret_rest = end;
	return 0;
}

int conf_parse_count(const char *s, uint64_t *ret)
{
	const char *rest;
	uint64_t v;
	int err = parse_digits(s, &v, &rest);

	if (err < 0)
		return err;
	if (*rest)
		return -EINVAL;
	*ret = v;
	return 0;
}

int conf_parse_size(const char *s, struct conf_size *ret)
{
	static const char units[] = "KMGT";
	const char *rest, *u;
	unsigned shift = 0;
	uint64_t v;
	int err;

	if (!strcmp(s, "auto")) {
		*ret = (struct conf_size){ 0 };
		return 0;
	}
	err = parse_digits(s, &v, &rest);
	if (err < 0)
		return err;
	if (!strcmp(rest, "%")) {
		if (v < 1 || v > 100)
			return -ERANGE;
		*ret = (struct conf_size){ .percent = (unsigned)v };
		return 0;
	}
	u = *rest ? strchr(units, toupper((unsigned char)*rest)) : NULL;
	if (u) {
		shift = 10u * (unsigned)(u - units + 1);
		rest++;
		if (!strcmp(rest, "iB"))
			rest += 2;
	}
	if (*rest)
		return -EINVAL;
	if (v > UINT64_MAX >> shift)
		return -ERANGE;
	*ret = (struct conf_size){ .bytes = v << shift };
	return 0;
}

int conf_parse_time(const char *s, uint64_t *ret_ns)
{
	static const struct {
		const char *unit;
		uint64_t ns;
	} units[] = {
		{ "ms", 1000000u },
		{ "us", 1000u },
		{ "s", 1000000000u },
		{ "min", 60000000000u },
		{ "h", 3600000000000u },
		{ "d", 86400000000000u },
	};
	const char *rest;
	uint64_t v;
	int err = parse_digits(s, &v, &rest);

	if (err < 0)
		return err;
	for (unsigned i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(rest, units[i].unit))
			continue;
		if (__builtin_mul_overflow(v, units[i].ns, ret_ns))
			return -ERANGE;
		return 0;
	}
	return -EINVAL;
}

int conf_parse_uids(const char *s, uid_t *ret_uids, unsigned max, unsigned *ret_nr)
{
	unsigned nr = 0;

	while (*s) {
		const char *rest;
		uint64_t v;
		int err = parse_digits(s, &v, &rest);

		if (err < 0)
			return err;
		if (v >= UINT32_MAX || nr == max)
			return -ERANGE;
		ret_uids[nr++] = (uid_t)v;
		if (*rest && *rest != ',')
			return -EINVAL;
		s = *rest ? rest + 1 : rest;
		while (*s == ' ')
			s++;
	}
	*ret_nr = nr;
	return 0;
}

void conf_format_size(const struct conf_size *v, char *buf, size_t len)
{
	static const char *const suffix[] = { "", "K", "M", "G", "T" };
	uint64_t b = v->bytes;
	unsigned i = 0;

	if (v->percent) {
		snprintf(buf, len, "%u%%", v->percent);
		return;
	}
	if (!b) {
		snprintf(buf, len, "auto");
		return;
	}
	while (i + 1 < ARRAY_SIZE(suffix) && b % 1024 == 0) {
		b /= 1024;
		i++;
	}
	snprintf(buf, len, "%" PRIu64 "%s", b, suffix[i]);
}

void conf_format_time(uint64_t ns, char *buf, size_t len)
{
	if (ns && ns % 86400000000000u == 0)
		snprintf(buf, len, "%" PRIu64 "d", ns / 86400000000000u);
	else if (ns % 1000000000u == 0)
		snprintf(buf, len, "%" PRIu64 "s", ns / 1000000000u);
	else if (ns % 1000000u == 0)
		snprintf(buf, len, "%" PRIu64 "ms", ns / 1000000u);
	else
		snprintf(buf, len, "%" PRIu64 "us", ns / 1000u);
}
