/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify.c - check the invariants of arena, directory and pins, with the daemon up or down
 *
 * The directory is mapped read-only and every value in it is checked before it is used.  While a
 * daemon runs, a look can fall between two stores of one update, so a violation counts only when a
 * second pass sees one too.
 */
#include "utils/verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kvshm/base/options.h"
#include "kvshm/index/index.h"
#include "kvshm/pin/pin.h"
#include "utils/commands.h"
#include "utils/json.h"
#include "utils/target.h"

#define MAX_PIN_FILES 4096

static void usage(FILE *out)
{
	fputs("usage: kvshm verify [OPTION...]\n\n"
	      "Checks descriptors, index, extents and pin files: free + granted + published + quarantined\n"
	      "= capacity, no overlap, every published block's parent is published, no freed block pinned.\n"
	      "Works while the daemon runs (needs its user) and while it is down.\n\n"
	      "  -i, --instance NAME  which daemon (default: main)\n"
	      "      --socket PATH    the daemon of this socket\n"
	      "      --dir PATH       its memory directory, when there is no statistics page\n"
	      "      --json           one object, schema kvshm.verify/1\n"
	      "  -h, --help           print this\n\n"
	      "Exit status: 0 clean, 1 nothing to verify, 2 usage, 3 no permission, 4 other version,\n"
	      "5 a violation.\n", out);
}

static void add_pin_files(int dirfd, struct pin_set *set, unsigned long *nr)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d))) {
		char *end;
		unsigned long number;
		struct stat st;
		int pin_fd;

		if (strncmp(e->d_name, "pins.", 5))
			continue;
		number = strtoul(e->d_name + 5, &end, 10);
		if (*end || number > KVSHM_OWNER_MAX)
			continue;
		pin_fd = openat(dirfd, e->d_name, O_RDONLY | O_CLOEXEC);
		if (pin_fd < 0 || fstat(pin_fd, &st) < 0)
			continue;
		if (!pin_set_add(set, (uint32_t)number, pin_fd,
				 (uint32_t)((size_t)st.st_size / sizeof(uint64_t)), 0))
			(*nr)++;
	}
	closedir(d);
}

static int verify_pins(int dirfd, const struct directory *dir, struct verify_result *r)
{
	char first[160] = "";
	struct pin_set *set;
	int ret = pin_set_create(MAX_PIN_FILES, &set);

	if (ret < 0)
		return ret;
	add_pin_files(dirfd, set, &r->pin_files);
	if (r->pin_files)
		r->pin_violations = pin_verify(set, dir, first);
	if (!r->first[0])
		snprintf(r->first, sizeof(r->first), "%s", first);
	pin_set_destroy(set);
	return 0;
}

static int verify_once(int dirfd, const struct directory *dir, struct verify_result *r)
{
	char first[160] = "";
	int ret;

	memset(r, 0, sizeof(*r));
	ret = arena_verify(dir, &r->arena);
	if (ret < 0 && ret != -EUCLEAN)
		return ret;
	snprintf(r->first, sizeof(r->first), "%s", r->arena.first);
	r->index_violations = index_verify(dir, first);
	if (!r->first[0])
		snprintf(r->first, sizeof(r->first), "%s", first);
	return verify_pins(dirfd, dir, r);
}

uint64_t verify_violations(const struct verify_result *r)
{
	return r->arena.violations + r->index_violations + r->pin_violations;
}

static void print_result(const struct verify_result *r, bool is_json, const char *path)
{
	const struct arena_report *a = &r->arena;
	struct jdoc *j;

	if (!is_json) {
		printf("%s: %s\n", path, verify_violations(r) ? r->first : "clean");
		printf("  capacity %" PRIu64 " = free %" PRIu64 " + granted %" PRIu64 " + published %" PRIu64
		       " + quarantined %" PRIu64 " bytes\n", a->capacity_bytes, a->free_bytes,
		       a->granted_bytes, a->published_bytes, a->quarantined_bytes);
		printf("  %" PRIu64 " published, %" PRIu64 " granted, %" PRIu64 " quarantined blocks; %lu pin files; %" PRIu64 " violations\n",
		       a->nr_published, a->nr_granted, a->nr_quarantined, r->pin_files, verify_violations(r));
		return;
	}
	j = jdoc_begin("verify", "n/a");
	jdoc_bool(j, "is_clean", !verify_violations(r));
	jdoc_int(j, "violations", (int64_t)verify_violations(r));
	jdoc_int(j, "arena_violations", (int64_t)a->violations);
	jdoc_int(j, "index_violations", (int64_t)r->index_violations);
	jdoc_int(j, "pin_violations", (int64_t)r->pin_violations);
	jdoc_text(j, "first", r->first);
	jdoc_int(j, "capacity_bytes", (int64_t)a->capacity_bytes);
	jdoc_int(j, "free_bytes", (int64_t)a->free_bytes);
	jdoc_int(j, "granted_bytes", (int64_t)a->granted_bytes);
	jdoc_int(j, "published_bytes", (int64_t)a->published_bytes);
	jdoc_int(j, "quarantined_bytes", (int64_t)a->quarantined_bytes);
	jdoc_int(j, "granted_blocks", (int64_t)a->nr_granted);
	jdoc_int(j, "published_blocks", (int64_t)a->nr_published);
	jdoc_int(j, "quarantined_blocks", (int64_t)a->nr_quarantined);
	jdoc_int(j, "pin_files", (int64_t)r->pin_files);
	jdoc_end(j, stdout);
}

static int report_errno(const char *path, int err)
{
	fprintf(stderr, "kvshm verify: %s: %s\n", path,
		err == -EPROTONOSUPPORT ? "directory of another version" :
		err == -EBADMSG ? "not a directory file, or its superblock is damaged" :
		err == -ENODATA ? "marked DEAD: a daemon abandoned it" : strerror(-err));
	return err == -EACCES ? EXIT_PERMISSION : err == -EPROTONOSUPPORT ? EXIT_ABI :
	       err == -EBADMSG ? EXIT_VIOLATION : EXIT_DEAD;
}

int verify_directory(const char *path, struct verify_result *ret_r)
{
	int dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret;
	struct verify_result r;
	struct directory dir;

	if (dirfd < 0)
		return -errno;
	ret = directory_open(path, &dir);
	if (ret < 0)
		goto out_close;
	ret = verify_once(dirfd, &dir, &r);
	if (!ret && verify_violations(&r)) {
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
		ret = verify_once(dirfd, &dir, &r);
	}
	directory_detach(&dir);
	if (!ret)
		*ret_r = r;
out_close:
	close(dirfd);
	return ret;
}

static int verify_and_print(const char *path, bool is_json)
{
	struct verify_result r;
	int ret = verify_directory(path, &r);

	if (ret < 0)
		return report_errno(path, ret);
	print_result(&r, is_json, path);
	return verify_violations(&r) ? EXIT_VIOLATION : EXIT_FINE;
}

int cmd_verify(int argc, char **argv)
{
	char found[KVSHM_STATS_TEXT_LEN];
	const char *path = NULL;
	struct target t = { 0 };
	bool is_json = false;
	const struct option_row rows[] = {
		TARGET_ROWS(&t), TEXT_ROW("dir", 0, &path), FLAG_ROW("json", 0, &is_json), { 0 },
	};
	const struct option_table table = { "kvshm verify", usage, rows, 0 };
	int ret = options_parse(&table, argc, argv);

	if (ret != OPTIONS_GO_ON)
		return ret;
	if (!path) {
		ret = target_memory_dir(&t, found);
		if (ret)
			return ret;
		path = found;
	}
	return verify_and_print(path, is_json);
}
