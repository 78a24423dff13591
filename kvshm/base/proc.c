/* SPDX-License-Identifier: Apache-2.0 */
/* proc.c - what /proc says of a process and of this boot */
#include "kvshm/base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A small file as a string.  Return: 0, -errno. */
static int read_text(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;
	int ret;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, len - 1);
	ret = n < 0 ? -errno : 0;
	close(fd);
	if (n >= 0)
		buf[n] = '\0';
	return ret;
}

/* The start of field @want, counted on from field @have, which begins at @at. */
static const char *skip_fields(const char *at, int have, int want)
{
	for (; at && have < want; have++) {
		at = strchr(at, ' ');
		at = at ? at + 1 : NULL;
	}
	return at;
}

int proc_stat_read(pid_t pid, struct proc_stat *ret)
{
	const char *state, *user, *system, *start;
	char path[32], line[1024];
	int err;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	err = read_text(path, line, sizeof(line));
	if (err < 0)
		return err;
	/* The name in field 2 may hold spaces and brackets: count behind its last bracket. */
	state = strrchr(line, ')');
	if (!state || state[1] != ' ' || !state[2])
		return -EBADMSG;
	state += 2;
	user = skip_fields(state, 3, 14);
	system = skip_fields(user, 14, 15);
	start = skip_fields(system, 15, 22);
	if (!start)
		return -EBADMSG;
	ret->state = *state;
	ret->cpu_ticks = strtoull(user, NULL, 10) + strtoull(system, NULL, 10);
	ret->start_ticks = strtoull(start, NULL, 10);
	return 0;
}

static int hex_value(char c)
{
	const char *hex = "0123456789abcdef", *at = c ? strchr(hex, c) : NULL;

	return at ? (int)(at - hex) : -1;
}

int proc_boot_id(uint8_t *ret_id)
{
	uint8_t id[16] = { 0 };
	unsigned nr = 0;
	char text[64];
	int ret = read_text("/proc/sys/kernel/random/boot_id", text, sizeof(text));

	if (ret < 0)
		return ret;
	for (const char *c = text; *c && nr < 32; c++) {
		int v = hex_value(*c);

		if (v < 0)
			continue;
		id[nr / 2] = (uint8_t)(id[nr / 2] << 4 | v);
		nr++;
	}
	if (nr < 32)
		return -EIO;
	memcpy(ret_id, id, sizeof(id));
	return 0;
}

uint64_t proc_boot_time(void)
{
	FILE *f = fopen("/proc/stat", "re");
	char *line = NULL;
	uint64_t s = 0;
	size_t room = 0;

	while (f && !s && getline(&line, &room, f) > 0)
		if (!strncmp(line, "btime ", 6))
			s = strtoull(line + 6, NULL, 10);
	free(line);
	if (f)
		fclose(f);
	return s;
}
