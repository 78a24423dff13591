/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/base/ini.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INI_FILE_MAX (1u << 20)

struct ini_state {
	const char *name;
	unsigned line;
	char section[INI_LINE_LEN];
	int (*on_entry)(void *arg, const struct ini_entry *e, char *error);
	void *arg;
	char *error;
};

static int complain(struct ini_state *st, const char *what)
{
	snprintf(st->error, INI_ERROR_LEN, "%s:%u: %s", st->name, st->line, what);
	return -EINVAL;
}

static char *trim(char *s)
{
	size_t n;

	while (isspace((unsigned char)*s))
		s++;
	n = strlen(s);
	while (n && isspace((unsigned char)s[n - 1]))
		s[--n] = '\0';
	return s;
}

static void cut_comment(char *s)
{
	for (char *p = s; *p; p++) {
		if (*p == '#' && (p == s || isspace((unsigned char)p[-1]))) {
			*p = '\0';
			return;
		}
	}
}

static int take_section(struct ini_state *st, char *s)
{
	size_t n = strlen(s);

	if (s[n - 1] != ']')
		return complain(st, "a section ends with ']'");
	s[n - 1] = '\0';
	s = trim(s + 1);
	if (!*s)
		return complain(st, "a section has a name");
	strncpy(st->section, s, sizeof(st->section) - 1);
	return 0;
}

static int take_line(struct ini_state *st, char *s)
{
	struct ini_entry e = { .file = st->name, .line = st->line, .section = st->section };
	char *eq;

	cut_comment(s);
	s = trim(s);
	if (!*s)
		return 0;
	if (*s == '[')
		return take_section(st, s);
	eq = strchr(s, '=');
	if (!eq)
		return complain(st, "neither [section] nor key=value");
	*eq = '\0';
	e.key = trim(s);
	e.value = trim(eq + 1);
	if (!*e.key)
		return complain(st, "no key before '='");
	if (!*st->section)
		return complain(st, "a key before the first [section]");
	return st->on_entry(st->arg, &e, st->error);
}

int ini_parse(const char *name, const char *text, size_t len,
	      int (*on_entry)(void *arg, const struct ini_entry *e, char *error), void *arg,
	      char *error)
{
	struct ini_state st = { .name = name, .on_entry = on_entry, .arg = arg, .error = error };
	const char *end = text + len;
	char line[INI_LINE_LEN];
	int ret = 0;

	while (text < end && ret >= 0) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((nl ? nl : end) - text);

		st.line++;
		if (n >= sizeof(line))
			return complain(&st, "line too long");
		if (memchr(text, '\0', n))
			return complain(&st, "a NUL byte: not a text file");
		memcpy(line, text, n);
		line[n] = '\0';
		ret = take_line(&st, line);
		text += n + 1;
	}
	return ret < 0 ? ret : 0;
}

/* Reads all of it; the caller frees *ret_text. */
static int read_all(const char *path, char **ret_text, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	char *text;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	text = malloc(INI_FILE_MAX);
	while (text && len < INI_FILE_MAX) {
		n = read(fd, text + len, INI_FILE_MAX - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	n = n < 0 ? -errno : 0;
	close(fd);
	if (!text)
		return -ENOMEM;
	if (n == 0 && len == INI_FILE_MAX)
		n = -EFBIG;
	if (n < 0) {
		free(text);
		return (int)n;
	}
	*ret_text = text;
	*ret_len = len;
	return 0;
}

int ini_read(const char *path, int (*on_entry)(void *arg, const struct ini_entry *e, char *error),
	     void *arg, char *error)
{
	char *text = NULL;
	size_t len = 0;
	int ret = read_all(path, &text, &len);

	if (ret < 0) {
		snprintf(error, INI_ERROR_LEN, "%s: %s", path, strerror(-ret));
		return ret;
	}
	ret = ini_parse(path, text, len, on_entry, arg, error);
	free(text);
	return ret;
}
