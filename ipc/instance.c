/* SPDX-License-Identifier: Apache-2.0 */
/* instance.c - where an instance's socket is found */
#include "ipc/instance.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_MAX_LEN 32

bool instance_name_ok(const char *name)
{
	size_t len = strlen(name);

	if (!len || len > NAME_MAX_LEN || name[0] == '.')
		return false;
	return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == len;
}

int instance_run_dir(const char *name, bool is_system, char *buf, size_t len)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (!instance_name_ok(name))
		return -EINVAL;
	if (is_system)
		n = snprintf(buf, len, "/run/kvshm/%s", name);
	else if (xdg && xdg[0] == '/')
		n = snprintf(buf, len, "%s/kvshm/%s", xdg, name);
	else
		n = snprintf(buf, len, "/tmp/kvshm-%u/%s", (unsigned)geteuid(), name);
	return n < 0 || (size_t)n >= len ? -ENAMETOOLONG : 0;
}

static int append_file(char *buf, size_t len, const char *file)
{
	size_t used = strlen(buf);
	int n = snprintf(buf + used, len - used, "/%s", file);

	return n < 0 || (size_t)n >= len - used ? -ENAMETOOLONG : 0;
}

/* A directory in /tmp that somebody else made may hold anybody's socket. */
static bool is_ours(const char *dir)
{
	struct stat st;

	return !lstat(dir, &st) && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

static int explicit_path(const char *path, char *buf, size_t len)
{
	int n = snprintf(buf, len, "%s", path);

	return n < 0 || (size_t)n >= len ? -ENAMETOOLONG : 0;
}

/* A name asks for that instance, wherever the environment points. */
static const char *named_socket(const char *path, const char *name)
{
	const char *env = name ? NULL : getenv("KVSHM_SOCKET");

	return path ? path : env && *env ? env : NULL;
}

static int search(const char *name, const char *file, char *buf, size_t len)
{
	for (int is_system = 0; is_system <= 1; is_system++) {
		int ret = instance_run_dir(name ? name : "main", is_system, buf, len);

		if (ret < 0)
			return ret;
		if (!is_system && !is_ours(buf))
			continue;
		ret = append_file(buf, len, file);
		if (ret < 0)
			return ret;
		if (!access(buf, F_OK))
			return 0;
	}
	return -ENOENT;
}

int instance_socket(const char *path, const char *name, char *buf, size_t len)
{
	const char *given = named_socket(path, name);

	return given ? explicit_path(given, buf, len) : search(name, "kvshm.sock", buf, len);
}

int instance_stats(const char *path, const char *name, char *buf, size_t len)
{
	const char *given = named_socket(path, name);
	char *slash;
	int ret;

	if (!given)
		return search(name, "stats", buf, len);
	ret = explicit_path(given, buf, len);
	if (ret < 0)
		return ret;
	slash = strrchr(buf, '/');
	if (!slash)
		return explicit_path("stats", buf, len);
	*slash = 0;
	return append_file(buf, len, "stats");
}
