/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/arena/mounts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue" */
static bool line_is_huge(const char *line, const struct stat *st)
{
	unsigned id, parent, maj, min;
	const char *super;

	if (sscanf(line, "%u %u %u:%u", &id, &parent, &maj, &min) != 4)
		return false;
	if (maj != major(st->st_dev) || min != minor(st->st_dev))
		return false;
	super = strstr(line, " - ");
	return super && (strstr(super, "huge=always") || strstr(super, "huge=within_size"));
}

bool mount_is_huge(int fd)
{
	bool is_huge = false;
	char *line = NULL;
	size_t cap = 0;
	struct stat st;
	FILE *f;

	if (fstat(fd, &st) < 0)
		return false;
	f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return false;
	while (!is_huge && getline(&line, &cap, f) > 0)
		is_huge = line_is_huge(line, &st);
	free(line);
	fclose(f);
	return is_huge;
}
