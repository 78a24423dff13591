/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory an arena may take when nobody says. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>

#include "kvshm/daemon/instance.h"

#define GIB (1ull << 30)
#define SIZE_MIN_AUTO (256ull << 20)
#define SIZE_MIN (4ull << 20)
#define SIZE_MAX_AUTO (4 * GIB)

/* First number of a file; UINT64_MAX where it is missing or says "max". */
static uint64_t read_number(const char *path)
{
	FILE *f = fopen(path, "re");
	char line[64];
	uint64_t v = UINT64_MAX;

	if (!f)
		return UINT64_MAX;
	if (fgets(line, sizeof(line), f) && line[0] >= '0' && line[0] <= '9')
		v = strtoull(line, NULL, 10);
	fclose(f);
	return v;
}

uint64_t memsize_available(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	char line[128];
	uint64_t kib = 0;

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kib) == 1)
			break;
	fclose(f);
	return kib << 10;
}

/* Least of limit - use over the group and its ancestors. */
static uint64_t headroom_below(const char *root, char *group, const char *limit_name,
			       const char *use_name)
{
	uint64_t least = UINT64_MAX;
	char path[PATH_MAX + 128], *slash;

	for (;;) {
		uint64_t limit, use;

		snprintf(path, sizeof(path), "%s%s/%s", root, group, limit_name);
		limit = read_number(path);
		snprintf(path, sizeof(path), "%s%s/%s", root, group, use_name);
		use = read_number(path);
		if (limit != UINT64_MAX && use != UINT64_MAX)
			least = min_of(least, limit > use ? limit - use : 0);
		slash = strrchr(group, '/');
		if (!slash)
			return least;
		*slash = '\0';
	}
}

/* A line of /proc/self/cgroup is "id:controllers:path"; v2 has no controllers. */
uint64_t memsize_cgroup_headroom(void)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	uint64_t least = UINT64_MAX, v = UINT64_MAX;
	char line[PATH_MAX];

	if (!f)
		return UINT64_MAX;
	while (fgets(line, sizeof(line), f)) {
		char *ctl = strchr(line, ':'), *path = ctl ? strchr(ctl + 1, ':') : NULL;

		if (!path)
			continue;
		*path++ = '\0';
		path[strcspn(path, "\n")] = '\0';
		if (!strcmp(path, "/"))
			path[0] = '\0';
		if (!strcmp(ctl, ":"))
			v = headroom_below("/sys/fs/cgroup", path, "memory.max", "memory.current");
		else if (!strcmp(ctl, ":memory"))
			v = headroom_below("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes",
					   "memory.usage_in_bytes");
		least = min_of(least, v);
	}
	fclose(f);
	return least;
}

/* Bytes of the file system, and those free.  A hugetlbfs without size= says nothing: ask the pool. */
static int fs_bytes(const struct instance *in, uint64_t *ret_total, uint64_t *ret_free)
{
	char path[96];
	struct statfs fs;
	uint64_t unit, pages;

	if (fstatfs(in->mem_fd, &fs) < 0)
		return -errno;
	unit = (uint64_t)fs.f_bsize;
	*ret_total = (uint64_t)fs.f_blocks * unit;
	*ret_free = (uint64_t)fs.f_bavail * unit;
	if (!in->is_hugetlbfs)
		return 0;
	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/free_hugepages", unit >> 10);
	pages = read_number(path);
	if (pages != UINT64_MAX)
		*ret_free = fs.f_blocks ? min_of(*ret_free, pages * unit) : pages * unit;
	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/nr_hugepages", unit >> 10);
	pages = read_number(path);
	if (!fs.f_blocks && pages != UINT64_MAX)
		*ret_total = pages * unit;
	return 0;
}

/* The smallest of the limits so far, and what it is called. */
struct least {
	uint64_t bytes;
	const char *what;
};

static void consider(struct least *l, uint64_t bytes, const char *what)
{
	if (bytes < l->bytes)
		*l = (struct least){ bytes, what };
}

static int size_auto(const struct instance *in, uint64_t fs_free, uint64_t *ret_size,
		     struct diag *d)
{
	struct least l = { SIZE_MAX_AUTO, "the default" };

	if (in->is_hugetlbfs) {
		l = (struct least){ fs_free, "half of the free huge pages" };
		l.bytes /= 2;
	} else {
		consider(&l, memsize_available() / 4, "a quarter of the available memory");
		consider(&l, fs_free / 2, "half of the file system's free space");
		consider(&l, memsize_cgroup_headroom() / 2, "half of the cgroup's headroom");
	}
	if (l.bytes < SIZE_MIN_AUTO)
		return diag_set(d, EX_UNAVAILABLE,
				"only %" PRIu64
				" MiB for the arena in %s (%s): free memory, name a larger "
				"file system with --dir, or insist with --size",
				l.bytes >> 20, in->mem_dir, l.what);
	*ret_size = l.bytes & ~((2ull << 20) - 1);
	return 0;
}

uint64_t memsize_free(const struct instance *in)
{
	uint64_t total, left;

	return fs_bytes(in, &total, &left) < 0 ? 0 : left;
}

int memsize_check(const struct instance *in, uint64_t len)
{
	uint64_t total, left;
	int ret = fs_bytes(in, &total, &left);

	if (ret < 0)
		return ret;
	if (len > left)
		return -ENOSPC;
	if (in->is_hugetlbfs)
		return 0;
	return len > memsize_available() || len > memsize_cgroup_headroom() ? -ENOMEM : 0;
}

int instance_size(const struct instance *in, const struct conf *c, uint64_t *ret_size,
		  struct diag *d)
{
	uint64_t size = c->size.bytes, total, left;
	int ret = fs_bytes(in, &total, &left);

	if (ret < 0)
		return diag_set(d, EX_OSERR, "%s: %s", in->mem_dir, strerror(-ret));
	if (!size && !c->size.percent)
		return size_auto(in, left, ret_size, d);
	if (c->size.percent)
		size = total / 100 * c->size.percent;
	if (size < SIZE_MIN)
		return diag_set(d, EX_CONFIG, "arena.size: %" PRIu64 " bytes is less than 4 MiB",
				size);
	*ret_size = round_up(size, 2ull << 20);
	return 0;
}
