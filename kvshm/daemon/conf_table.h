/* SPDX-License-Identifier: Apache-2.0 */
/* conf_table.h - the table of keys, for conf.c and conf_args.c only */
#ifndef KVSHM_DAEMON_CONF_TABLE_H
#define KVSHM_DAEMON_CONF_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum conf_type { CONF_TEXT, CONF_SIZE, CONF_TIME, CONF_COUNT, CONF_MODE, CONF_NAME, CONF_UID_LIST };

struct conf_key {
	const char *section, *key;
	enum conf_type type;
	size_t offset, len; /* in struct conf */
	const char *def;
	uint64_t min, max; /* CONF_COUNT */
	const char *const *names; /* CONF_NAME, in the order of the enum, NULL at the end */
	const char *option; /* long option of its own, or NULL */
	char letter; /* short option, or 0 */
	const char *metavar, *expect, *help;
	bool is_live; /* taken by a reload; not a text or a list, which is no matter of a few words */
};

extern const struct conf_key conf_keys[];
extern const unsigned conf_nr_keys;

const struct conf_key *conf_find(const char *section, const char *key);

/* @src is cut at @len - 1. */
static inline void strcpy_bounded(char *dst, const char *src, size_t len)
{
	size_t n = strnlen(src, len - 1);

	memcpy(dst, src, n);
	dst[n] = '\0';
}

#endif
