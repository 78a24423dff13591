/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ini.h - read `[section]` / `key=value` files, with file and line for every complaint
 *
 * `#` starts a comment at the beginning of a line or after white space.  White space around section,
 * key and value is dropped; a value may be empty.  A key before the first section is an error.
 */
#ifndef KVSHM_BASE_INI_H
#define KVSHM_BASE_INI_H

#include <stddef.h>

#define INI_ERROR_LEN 256
#define INI_LINE_LEN 1024

struct ini_entry {
	const char *file;
	unsigned line;
	const char *section, *key, *value; /* valid during the call */
};

/**
 * ini_parse() - parse a text
 * @name: how the text is called in complaints
 * @on_entry: called for each key; a negative return stops and is handed on (it words its own @error)
 * @error: of INI_ERROR_LEN, "name:line: what", written on failure only
 * Return: 0; -EINVAL malformed; what @on_entry returned.
 */
int ini_parse(const char *name, const char *text, size_t len,
	      int (*on_entry)(void *arg, const struct ini_entry *e, char *error), void *arg,
	      char *error);

/* The same for a file, of at most 1 MiB.  Return: also -errno of reading it. */
int ini_read(const char *path, int (*on_entry)(void *arg, const struct ini_entry *e, char *error),
	     void *arg, char *error);

#endif
