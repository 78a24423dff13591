/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_file.c - files of a host below a root */
#include "utils/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *doctor_path(const struct doctor *d, const char *path, char *buf)
{
	snprintf(buf, DOCTOR_PATH, "%s%s", d->root, path);
	return buf;
}

int doctor_read(const struct doctor *d, const char *path, char *buf, size_t len)
{
	char full[DOCTOR_PATH];
	int fd = open(doctor_path(d, path, full), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t used = 0;
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	while (n > 0 && used < len - 1) {
		n = read(fd, buf + used, len - 1 - used);
		if (n > 0)
			used += (size_t)n;
	}
	n = n < 0 ? -errno : 0;
	close(fd);
	buf[used] = 0;
	return n < 0 ? (int)n : (int)used;
}

int doctor_number(const struct doctor *d, const char *path, uint64_t *ret_v)
{
	char text[64];
	int ret = doctor_read(d, path, text, sizeof(text));

	if (ret < 0)
		return ret;
	return sscanf(text, "%" SCNu64, ret_v) == 1 ? 0 : -EINVAL;
}

/* /proc writes a blank of a path as \040. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (!strncmp(s, "\\040", 4)) {
			*to++ = ' ';
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = 0;
}

static bool is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	if (len == 1 && *dir == '/')
		return true;
	return !strncmp(path, dir, len) && (!path[len] || path[len] == '/');
}

int doctor_mount(const struct doctor *d, const char *path, struct doctor_mount *ret_m)
{
	static char mounts[64 << 10];
	struct doctor_mount m, best = { 0 };
	int ret = doctor_read(d, "/proc/self/mounts", mounts, sizeof(mounts));
	char *save, *line;

	if (ret < 0)
		return ret;
	for (line = strtok_r(mounts, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "%*s %255s %31s %255s", m.dir, m.type, m.options) != 3)
			continue;
		unescape(m.dir);
		/* Of two on the same directory the later one is on top. */
		if (is_below(path, m.dir) && strlen(m.dir) >= strlen(best.dir))
			best = m;
	}
	if (!best.dir[0])
		return -ENOENT;
	*ret_m = best;
	return 0;
}

const char *doctor_option(const char *options, const char *name, char *buf, size_t len)
{
	size_t n = strlen(name);

	for (const char *at = options; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, name, n) || (at[n] && at[n] != '=' && at[n] != ','))
			continue;
		at += n + (at[n] == '=');
		snprintf(buf, len, "%.*s", (int)strcspn(at, ","), at);
		return buf;
	}
	return NULL;
}
