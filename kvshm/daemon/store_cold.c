/* SPDX-License-Identifier: Apache-2.0 */
/* A cold start: abandon what was, make directory and first extent anew. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/log.h"
#include "kvshm/daemon/numa.h"
#include "kvshm/daemon/store.h"

#define MAX_NS 1024u
#define MAX_EXTENTS_A_NODE 64u
#define EXTENT_MIN (64ull << 20)
#define EXTENT_MAX_AUTO (256ull << 20) /* served early: a big one takes seconds to fault */

/* Only the frozen first 64 bytes are used, which every ABI shares. */
void store_mark_dead(int fd)
{
	struct kvshm_superblock *sb;
	struct stat st;
	uint64_t state;

	if (fstat(fd, &st) < 0 || st.st_size < (off_t)HUGE_LEN)
		return;
	sb = backing_map(fd, HUGE_LEN, PROT_READ | PROT_WRITE, NULL);
	if (!sb)
		return;
	if (READ_ONCE(sb->magic) == KVSHM_DIRECTORY_MAGIC) {
		state = READ_ONCE(sb->state) >> 32 << 32 | KVSHM_SB_DEAD;
		/* SB-1: DEAD before the files go; pairs with directory_state(). */
		store_release(&sb->state, state);
	}
	munmap(sb, HUGE_LEN);
}

static void remove_from(int dirfd, const char *prefix)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(dir)))
		if (!strncmp(e->d_name, prefix, strlen(prefix)))
			unlinkat(dirfd, e->d_name, 0);
	closedir(dir);
}

void store_remove_files(const struct instance *in)
{
	unlinkat(in->mem_fd, "directory", 0);
	remove_from(in->mem_fd, "arena.");
	remove_from(in->pins_fd, "pins.");
	unlinkat(in->pins_fd, "sessions", 0);
	unlinkat(in->pins_fd, LEARNT_FILE, 0);
}

static int cannot_back(const struct instance *in, const struct conf *c, int err, uint64_t len,
		       struct diag *d)
{
	if (c->pages == BACKING_HUGETLB && !in->is_hugetlbfs)
		return diag_set(
			d, EX_CONFIG,
			"arena.pages=hugetlb, but %s is not on a hugetlbfs mount: mount one and name it with --dir",
			in->mem_dir);
	if (in->is_hugetlbfs && (err == -ENOMEM || err == -ENOSPC))
		return diag_set(d, EX_OSERR,
				"%" PRIu64 " huge pages of 2 MiB wanted for %s, %" PRIu64
				" free: reserve more in "
				"vm.nr_hugepages, or lower --size",
				len >> 21, in->mem_dir, memsize_free(in) >> 21);
	if (err == -ENOSPC || err == -ENOMEM)
		return diag_set(d, EX_OSERR,
				"no room for %" PRIu64
				" MiB in %s (%s): free space, lower --size, or name another --dir",
				len >> 20, in->mem_dir, strerror(-err));
	return diag_set(d, EX_OSERR, "cannot make memory in %s: %s", in->mem_dir, strerror(-err));
}

static uint64_t choose_extent(const struct conf *c, uint64_t size, unsigned nr_nodes)
{
	uint64_t len = size / 8, least = size / (MAX_EXTENTS_A_NODE * max_of(nr_nodes, 1u));

	if (c->extent.bytes)
		len = c->extent.bytes;
	else
		len = min_of(max_of(len, EXTENT_MIN), EXTENT_MAX_AUTO);
	len = round_up(max_of(len, least), 2ull << 20);
	return min_of(len, size);
}

static int create_directory(struct store *st, const struct instance *in, const struct conf *c,
			    uint64_t size, struct diag *d)
{
	struct directory_geometry g = {
		.max_blocks = (uint32_t)(c->max_blocks ? c->max_blocks : max_of(size >> 16, 64ull)),
		.max_ns = MAX_NS,
		.max_extents = MAX_EXTENTS_A_NODE * max_of(st->grow.nr_nodes, 1u),
	};
	size_t len = directory_size(&g);
	uint32_t kind;
	int fd, ret;

	ret = backing_create(in->mem_fd, "directory", len, (enum backing_pages)c->pages, -1, &fd,
			     &kind);
	if (ret < 0)
		return cannot_back(in, c, ret, len, d);
	ret = directory_create(fd, &g, &st->dir);
	close(fd);
	if (ret < 0)
		return diag_set(d, EX_OSERR, "cannot lay out %s/directory: %s", in->mem_dir,
				strerror(-ret));
	return 0;
}

long store_grow(struct arena *a, struct directory *dir, struct arena_config *cfg, unsigned numa)
{
	long n = arena_grow(a, dir, cfg);

	if ((n == -ENOMEM || n == -ENOSPC) && cfg->nr_nodes > 1 && numa == CONF_NUMA_PREFERRED) {
		log_warn("extent %u does not fit its NUMA node, it spills", a->nr_extents);
		cfg->nr_nodes = 0;
		n = arena_grow(a, dir, cfg);
	}
	return n;
}

int store_create(struct store *st, const struct instance *in, const struct conf *c, struct diag *d)
{
	uint64_t size;
	long added;
	int ret;

	if (instance_size(in, c, &size, d) < 0)
		return -1;
	ret = memsize_check(in, size);
	if (ret < 0)
		return cannot_back(in, c, ret, size, d);
	st->grow = (struct arena_config){
		.dirfd = in->mem_fd,
		.size = size,
		.pages = (enum backing_pages)c->pages,
		.nr_nodes = numa_nodes(st->nodes, ARRAY_SIZE(st->nodes)),
		.nodes = st->nodes,
	};
	st->grow.extent_len = choose_extent(c, size, st->grow.nr_nodes);
	if (create_directory(st, in, c, size, d) < 0)
		return -1;
	ret = arena_reserve(&st->arena, size, true);
	if (ret < 0)
		return diag_set(d, EX_OSERR, "no address space for the arena: %s", strerror(-ret));
	added = store_grow(&st->arena, &st->dir, &st->grow, c->numa);
	if (added < 0)
		return cannot_back(in, c, (int)added, st->grow.extent_len, d);
	return 0;
}
