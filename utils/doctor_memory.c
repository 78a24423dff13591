/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_memory.c - where the arena lies and on which pages */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/number.h"
#include "kvshm/stats/statpage.h"
#include "utils/doctor.h"

#define HUGE_KIB 2048u
#define SHM_LEAST (256ull << 20)	/* under that a plain kvshmd does not start */
#define NODES_MAX 64u

static const char hugepages[] = "hugepages/hugepages-2048kB/nr_hugepages";

static uint64_t pages_wanted(const struct doctor *d)
{
	return (d->arena_bytes + (HUGE_KIB << 10) - 1) / (HUGE_KIB << 10);
}

static bool has_small_pages(const struct doctor *d)
{
	char text[KVSHM_STATS_TEXT_LEN];

	if (!d->page)
		return false;
	stat_get_text(d->page, KVSHM_TEXT_PAGES, text);
	return !strncmp(text, "4 KiB", 5);
}

/* The page kind in use is the verdict; how to get better ones is the other checks'. */
void check_pages(struct doctor *d)
{
	char text[KVSHM_STATS_TEXT_LEN];

	if (!d->page) {
		doctor_find(d, "pages", VERDICT_NOTE, NULL, "%s", doctor_no_daemon);
		return;
	}
	stat_get_text(d->page, KVSHM_TEXT_PAGES, text);
	if (!has_small_pages(d))
		doctor_find(d, "pages", VERDICT_OK, NULL, "%s", text);
	else
		doctor_find(d, "pages", VERDICT_CHANGE, NULL,
			    "%s in use: more TLB misses; the lines of shmem, mount or hugepages cure it", text);
}

/* Pages reserved on a node.  Return: false there is no such node. */
static bool node_pages(const struct doctor *d, unsigned node, uint64_t *ret_v)
{
	char path[160];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/%s", node, hugepages);
	return !doctor_number(d, path, ret_v);
}

static bool is_on_hugetlb(const struct doctor *d)
{
	struct doctor_mount m;

	return d->memory_dir[0] && !doctor_mount(d, d->memory_dir, &m) && !strcmp(m.type, "hugetlbfs");
}

/* Only an arena on hugetlbfs needs them: tmpfs has huge pages of its own. */
void check_hugepages(struct doctor *d)
{
	uint64_t have, want = pages_wanted(d), n;
	char by_node[128] = "", lines[160];

	if (doctor_number(d, "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", &have) < 0) {
		doctor_find(d, "hugepages", VERDICT_NOTE, NULL, "this kernel has no huge pages of 2 MiB to reserve");
		return;
	}
	for (unsigned i = 0; i < NODES_MAX && node_pages(d, i, &n); i++) {
		size_t used = strlen(by_node);

		snprintf(by_node + used, sizeof(by_node) - used, "%s node %u: %" PRIu64, i ? "," : ";", i, n);
	}
	snprintf(lines, sizeof(lines), "sysctl vm.nr_hugepages=%" PRIu64 "    # keep it in /etc/sysctl.d/60-kvshm.conf", want);
	if (is_on_hugetlb(d) && have < want)
		doctor_find(d, "hugepages", VERDICT_CHANGE, lines, "wanted %" PRIu64 ", reserved %" PRIu64 "%s", want, have,
			    by_node);
	else
		doctor_find(d, "hugepages", is_on_hugetlb(d) ? VERDICT_OK : VERDICT_NOTE, NULL,
			    "%" PRIu64 " reserved, the arena is %s%s", have,
			    is_on_hugetlb(d) ? "on them" : "on none of them", by_node);
}

/* "always within_size [advise] never": the bracketed word.  @buf as given. */
static const char *chosen(char *buf)
{
	char *at = strchr(buf, '[');

	if (!at)
		return "";
	at[strcspn(at, "]")] = 0;
	return at + 1;
}

/* What MADV_COLLAPSE and huge=within_size need from the kernel. */
void check_shmem(struct doctor *d)
{
	static const char path[] = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
	char text[128];
	const char *word;

	if (is_on_hugetlb(d))
		return;
	if (doctor_read(d, path, text, sizeof(text)) < 0) {
		doctor_find(d, "shmem", VERDICT_CHANGE, "# a kernel with CONFIG_TRANSPARENT_HUGEPAGE, or hugetlbfs",
			    "no transparent huge pages for shared memory in this kernel");
		return;
	}
	word = chosen(text);
	/* "never" holds for page faults; the daemon asks for each 2 MiB, which only "deny" refuses. */
	if (!strcmp(word, "deny") || (!strcmp(word, "never") && has_small_pages(d)))
		doctor_find(d, "shmem", VERDICT_CHANGE, "echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled",
			    "shmem_enabled is \"%s\": a tmpfs gives huge pages only if mounted huge=within_size%s", word,
			    word[0] == 'd' ? ", and now not even then" : "");
	else
		doctor_find(d, "shmem", VERDICT_OK, NULL, "shmem_enabled is \"%s\"", word);
}

static void mount_tmpfs(struct doctor *d, const struct doctor_mount *m)
{
	char huge[32], lines[400];

	if (doctor_option(m->options, "huge", huge, sizeof(huge)) && strcmp(huge, "never")) {
		doctor_find(d, "mount", VERDICT_OK, NULL, "%s: tmpfs, huge=%s", m->dir, huge);
		return;
	}
	if (!d->is_system) {
		doctor_find(d, "mount", VERDICT_NOTE, NULL,
			    "%s: tmpfs without huge=; the daemon asks for each 2 MiB to be made one page", m->dir);
		return;
	}
	snprintf(lines, sizeof(lines),
		 "mount -t tmpfs -o huge=within_size,size=%" PRIu64 "M,mode=0711 none /run/kvshm-huge\n"
		 "[arena]\ndir=/run/kvshm-huge/main",
		 (d->arena_bytes >> 20) + (d->arena_bytes >> 24) + 64);
	doctor_find(d, "mount", VERDICT_CHANGE, lines, "%s: a tmpfs without huge=, shared with others", m->dir);
}

void check_mount(struct doctor *d)
{
	struct doctor_mount m;

	if (!d->memory_dir[0]) {
		doctor_find(d, "mount", VERDICT_NOTE, NULL, "%s", doctor_no_daemon);
		return;
	}
	if (doctor_mount(d, d->memory_dir, &m) < 0)
		doctor_find(d, "mount", VERDICT_NOTE, NULL, "/proc/self/mounts cannot be read");
	else if (!strcmp(m.type, "hugetlbfs"))
		doctor_find(d, "mount", VERDICT_OK, NULL, "%s: hugetlbfs", m.dir);
	else if (!strcmp(m.type, "tmpfs"))
		mount_tmpfs(d, &m);
	else
		doctor_find(d, "mount", VERDICT_CHANGE, "[arena]\ndir=/dev/shm/kvshm    # or another tmpfs",
			    "%s lies on %s (%s): the kernel writes the arena to a disk", d->memory_dir, m.dir, m.type);
}

void check_shm_size(struct doctor *d)
{
	char text[32], a[16];
	uint64_t size = 0, unit;
	struct doctor_mount m;
	char *end;

	if (doctor_mount(d, "/dev/shm", &m) < 0 || strcmp(m.type, "tmpfs") || strcmp(m.dir, "/dev/shm")) {
		doctor_find(d, "dev_shm", VERDICT_CHANGE, "mount -t tmpfs -o mode=1777 tmpfs /dev/shm",
			    "/dev/shm is no tmpfs: a daemon of a plain user has nowhere to put its arena");
		return;
	}
	if (!doctor_option(m.options, "size", text, sizeof(text))) {
		doctor_find(d, "dev_shm", VERDICT_OK, NULL, "half of the memory, as the kernel has it");
		return;
	}
	size = strtoull(text, &end, 10);
	unit = *end ? number_unit(end) : 1;
	size *= unit;
	if (size < SHM_LEAST)
		doctor_find(d, "dev_shm", VERDICT_CHANGE,
			    "mount -o remount,size=8G /dev/shm    # a container: docker run --shm-size=8g",
			    "size %s: a plain kvshmd wants 256 MiB at least", human_bytes(size, a));
	else
		doctor_find(d, "dev_shm", VERDICT_OK, NULL, "size %s", human_bytes(size, a));
}

/* A client can grow its own pin file; on the arena's tmpfs that takes the arena's room. */
void check_pins(struct doctor *d)
{
	struct doctor_mount m;
	char dir[80];

	if (!d->page || !d->is_system)
		return;
	snprintf(dir, sizeof(dir), "/run/kvshm-pins/%s", d->target.instance ? d->target.instance : "main");
	if (!doctor_mount(d, dir, &m) && !strncmp(m.dir, "/run/kvshm-pins", 15))
		doctor_find(d, "pins", VERDICT_OK, NULL, "%s: a file system of its own", m.dir);
	else
		doctor_find(d, "pins", VERDICT_CHANGE,
			    "mkdir -p /run/kvshm-pins/main\n"
			    "mount -t tmpfs -o mode=0700,size=16M none /run/kvshm-pins/main\n"
			    "[clients]\npins_dir=/run/kvshm-pins/main",
			    "pin files lie on a file system with others: a client that grows its own takes their room");
}

void check_swap(struct doctor *d)
{
	char text[2048], *line;

	if (is_on_hugetlb(d) || doctor_read(d, "/proc/swaps", text, sizeof(text)) < 0)
		return;
	line = strchr(text, '\n');
	if (line && line[1])
		doctor_find(d, "swap", VERDICT_CHANGE,
			    "swapoff -a    # or an arena on hugetlbfs, or (kernel 6.4) a tmpfs mounted noswap",
			    "there is swap, and blocks on a tmpfs can go there: a hit would wait for a disk");
	else
		doctor_find(d, "swap", VERDICT_OK, NULL, "none");
}

static unsigned count_nodes(const struct doctor *d)
{
	char path[DOCTOR_PATH];
	DIR *dir = opendir(doctor_path(d, "/sys/devices/system/node", path));
	struct dirent *e;
	unsigned nr = 0, n;

	while (dir && (e = readdir(dir)))
		nr += sscanf(e->d_name, "node%u", &n) == 1;
	if (dir)
		closedir(dir);
	return nr;
}

void check_numa(struct doctor *d)
{
	unsigned nodes = count_nodes(d);
	uint64_t balancing = 0;

	if (nodes > 1 && !doctor_number(d, "/proc/sys/kernel/numa_balancing", &balancing) && balancing)
		doctor_find(d, "numa", VERDICT_CHANGE, "sysctl kernel.numa_balancing=0",
			    "%u nodes, and automatic balancing unmaps the arena's pages to see who uses them", nodes);
	else
		doctor_find(d, "numa", VERDICT_OK, NULL, "%u node%s", max_of(nodes, 1u), nodes > 1 ? "s" : "");
}
