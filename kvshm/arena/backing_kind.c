/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backing_kind.c - which pages a mapping really has, from /proc/self/smaps
 *
 * Huge shared memory shows as ShmemPmdMapped and has a KernelPageSize of 4 kB all the same; hugetlb
 * pages show in KernelPageSize and nowhere in Rss.
 */
#include "kvshm/arena/backing.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <kvshm/abi.h>

/* Called for "field: N kB" lines of the right mapping. */
static void read_field(const char *line, unsigned long *page_kb, unsigned long *pmd_kb)
{
	unsigned long kb;

	if (sscanf(line, "KernelPageSize: %lu kB", &kb) == 1)
		*page_kb = kb;
	else if (sscanf(line, "ShmemPmdMapped: %lu kB", &kb) == 1)
		*pmd_kb = kb;
}

uint32_t backing_page_kind(const void *addr, size_t len)
{
	unsigned long page_kb = 4, pmd_kb = 0, first, end;
	uintptr_t at = (uintptr_t)addr;
	bool is_ours = false;
	char *line = NULL;
	size_t cap = 0;
	FILE *f;

	f = fopen("/proc/self/smaps", "re");
	if (!f)
		return KVSHM_PAGES_4K;
	while (getline(&line, &cap, f) > 0) {
		if (sscanf(line, "%lx-%lx ", &first, &end) != 2) {
			if (is_ours)
				read_field(line, &page_kb, &pmd_kb);
			continue;
		}
		if (is_ours)
			break;
		is_ours = at >= first && at < end;
	}
	free(line);
	fclose(f);
	if (page_kb > 4)
		return KVSHM_PAGES_HUGETLB;
	/* One chunk in eight may have stayed small before the name would mislead. */
	return pmd_kb >= len / 1024 / 8 * 7 && pmd_kb > 0 ? KVSHM_PAGES_TMPFS_HUGE : KVSHM_PAGES_4K;
}

const char *backing_kind_name(uint32_t kind)
{
	switch (kind) {
	case KVSHM_PAGES_4K:
		return "4 KiB pages";
	case KVSHM_PAGES_TMPFS_HUGE:
		return "tmpfs huge pages";
	case KVSHM_PAGES_HUGETLB:
		return "hugetlb pages";
	default:
		return "unknown pages";
	}
}
