/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_stats.c - F7: what the tools read: a damaged statistics page, a damaged directory */
#include <fcntl.h>
#include <unistd.h>

#include "kvshm/index/index.h"
#include "kvshm/stats/statpage.h"
#include "tests/fuzz/fuzz_dir.h"

static struct fuzz_dir f;
static char path[32];
static char *page, *valid;
static size_t page_len;

/* A valid page, mapped writable to be damaged in place. */
static void page_make(void)
{
	char dir[] = "/tmp/kvshm-fuzz-XXXXXX", name[48];
	struct statpage *p;
	int dirfd, fd;

	MUST(mkdtemp(dir));
	dirfd = open(dir, O_RDONLY | O_DIRECTORY);
	MUST(statpage_create(dirfd, "stats", "0.0", &p) == 0);
	page_len = stat_header(p)->len;
	statpage_destroy(p);
	fd = openat(dirfd, "stats", O_RDWR);
	page = mmap(NULL, page_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(fd >= 0 && page != MAP_FAILED);
	snprintf(name, sizeof(name), "%s/stats", dir);
	unlink(name);
	rmdir(dir);
	close(dirfd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	valid = malloc(page_len);
	MUST(valid);
	memcpy(valid, page, page_len);
}

static void read_page(struct input *in)
{
	char text[KVSHM_STATS_TEXT_LEN];
	struct kvshm_stats_session s;
	struct kvshm_stats_use use;
	struct statpage *p;
	unsigned i;

	memcpy(page, valid, page_len);
	while (in->left > 3) {
		uint32_t at = take16(in);
		uint32_t v = take32(in);

		if (at & 1)
			at = (at >> 1) % 128 * 4;	/* the header */
		memcpy(page + at % (page_len - 4), &v, 4);
	}
	if (statpage_open(path, &p) < 0)
		return;
	for (i = 0; i < METRIC_LAST; i++)
		stat_get(p, i);
	for (i = 0; i < stat_header(p)->nr_sessions && i < KVSHM_STATS_SESSIONS + 2; i += 16)
		if (stat_get_session(p, i, &s) == 0)
			MUST(memchr(s.label, 0, sizeof(s.label)));
	for (i = 0; i <= KVSHM_STATS_TEXTS; i++) {
		stat_get_text(p, i, text);
		MUST(memchr(text, 0, sizeof(text)));
	}
	for (i = 0; i < HIST_LAST; i++) {
		struct hist h;

		stat_get_hist(p, i, &h);
		hist_quantile(&h, 0.99);
	}
	for (i = 0; i <= STAT_USES; i++)
		stat_get_use(p, i, &use);
	stat_get_heartbeat(p, 1);
	statpage_destroy(p);
}

static void read_directory(struct input *in)
{
	struct kvshm_key key[8];
	struct arena_report r;
	struct index_hit hit;
	struct directory d;
	char first[160];
	blk_id_t id[8];
	uint8_t i;

	fuzz_dir_damage(&f, in);
	if (directory_attach(f.fd, false, &d) < 0)
		return;
	arena_verify(&d, &r);
	index_verify(&d, first);
	for (i = 0; i < 8; i++)
		key[i] = fuzz_key(1, i);
	MUST(index_longest(&d, 1, key, 8, &hit) <= 8);
	MUST(index_resolve(&d, 1, key, 8, id) <= 8);
	MUST(index_resolve_pinned(&d, 1, key, 8, 9, id) <= 8);
	directory_detach(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct input in = { data, len };

	if (!page)
		page_make();
	if (take8(&in) & 1)
		read_page(&in);
	else
		read_directory(&in);
	return 0;
}
