/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_tier.c - a file of blocks to the GPU and back: by GPUDirect Storage beside pinned host memory, in one run
 *
 * No daemon: a file of its own in the directory that is asked about.  Runs alternate between the backends, each writes
 * all blocks and reads them into other ones; what came back is written again and compared as files.  On the fake driver
 * the transfers are made and compared, and have no time.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gpu/block_file.h"
#include "gpu/cufile_loader.h"
#include "gpu/poll.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "utils/bench_stage.h"
#include "utils/commands.h"

#define RUNS 5u
#define NR_SLOTS 8u
#define NR_BACKENDS 2u

struct backend {
	const struct tier_ops *ops;
	const char *name;
	char why[128];			/* why it is off; "" while it is on */
	struct block_file *f;
	char path[512];
	struct samples ns[2];		/* read, write */
};

struct tier_world {
	struct stage_world stage;
	struct cufile cufile;
	struct backend backend[NR_BACKENDS];
	uint64_t *places;
	uint32_t *blocks[2];		/* written from, read into */
	uint64_t wrong_bytes;
};

/* ---- backends ---------------------------------------------------------------------------------------------- */

static int open_backend(struct tier_world *w, struct backend *b)
{
	const struct block_file_config cfg = {
		.ctx = &w->stage.ctx, .layout = &w->stage.l, .ops = b->ops, .cufile = &w->cufile, .path = b->path,
		.is_write = true, .nr_slots = NR_SLOTS,
	};
	int ret = block_file_open(&cfg, &b->f);

	/* this file system is none that it serves: no figure, and no failure */
	if (ret == -EOPNOTSUPP && b->ops == &tier_cufile) {
		snprintf(b->why, sizeof(b->why), "the library does not serve this file system");
		return 0;
	}
	return ret;
}

/* The tests' build puts the fake library beside this program. */
static const char *library(const struct tier_world *w, char *buf, size_t len)
{
	ssize_t n = w->stage.fake ? readlink("/proc/self/exe", buf, len - 32) : -1;

	if (n < 0)
		return NULL;
	buf[n] = 0;
	snprintf(strrchr(buf, '/'), 32, "/fake/libcufile.so.0");
	return buf;
}

static int open_backends(struct tier_world *w, const char *dir)
{
	char path[512];
	int ret = 0;

	w->backend[0] = (struct backend){ .ops = &tier_file, .name = "host" };
	w->backend[1] = (struct backend){ .ops = &tier_cufile, .name = "direct" };
	if (cufile_load(library(w, path, sizeof(path)), &w->stage.ctx, &w->cufile) < 0)
		memcpy(w->backend[1].why, w->cufile.why, sizeof(w->backend[1].why));
	for (unsigned i = 0; i < NR_BACKENDS && ret == 0; i++) {
		snprintf(w->backend[i].path, sizeof(w->backend[i].path), "%s/kvshm-bench.%d.%s", dir, (int)getpid(),
			 w->backend[i].name);
		if (!w->backend[i].why[0])
			ret = open_backend(w, &w->backend[i]);
	}
	return ret;
}

static void close_backends(struct tier_world *w)
{
	for (unsigned i = 0; i < NR_BACKENDS; i++) {
		struct backend *b = &w->backend[i];

		block_file_close(b->f, clock_ns() + STAGE_WAIT_NS);
		if (b->path[0])
			unlink(b->path);
		samples_fini(&b->ns[0]);
		samples_fini(&b->ns[1]);
	}
	cufile_unload(&w->cufile);
}

/* ---- transfers ----------------------------------------------------------------------------------------------- */

static int poll_file(void *arg)
{
	return block_file_poll(arg);
}

static int transfer(struct tier_world *w, struct backend *b, bool is_write, const uint32_t *blocks, bool is_counted)
{
	const uint64_t start = clock_ns();
	int ret = block_file_start(b->f, is_write, w->places, blocks, w->stage.nr);

	if (ret == 0)
		ret = poll_until(poll_file, b->f, start + STAGE_WAIT_NS);
	if (ret < 0)
		return ret;
	if (is_counted)
		samples_add(&b->ns[is_write], (double)(clock_ns() - start));
	return 0;
}

static int measure(struct tier_world *w)
{
	const unsigned runs = w->stage.fake ? 1 : RUNS;
	int ret = 0;

	for (unsigned i = 0; i <= runs; i++)
		for (unsigned n = 0; n < NR_BACKENDS && ret == 0; n++) {
			struct backend *b = &w->backend[n];

			if (!b->f)
				continue;
			ret = transfer(w, b, true, w->blocks[0], i > 0);
			if (ret == 0)
				ret = transfer(w, b, false, w->blocks[1], i > 0);
		}
	return ret;
}

/* ---- is it what was written? ---------------------------------------------------------------------------------- */

static char *map_file(const char *path, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *at = MAP_FAILED;

	if (fd >= 0)
		at = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	return at == MAP_FAILED ? NULL : at;
}

static int compare(struct tier_world *w, const char *a, const char *b, size_t len)
{
	char *x = map_file(a, len), *y = map_file(b, len);
	int ret = x && y ? 0 : -EIO;

	for (size_t i = 0; i < len && ret == 0; i++)
		w->wrong_bytes += x[i] != y[i];
	if (x)
		munmap(x, len);
	if (y)
		munmap(y, len);
	return ret;
}

/* The blocks that were read last, as the other backend, or the same into a second file, writes them. */
static int check(struct tier_world *w, struct backend *b)
{
	struct backend again = { .ops = &tier_file };
	int ret;

	snprintf(again.path, sizeof(again.path), "%.500s.again", b->path);
	ret = open_backend(w, &again);
	if (ret == 0)
		ret = transfer(w, b, false, w->blocks[1], false);
	if (ret == 0)
		ret = transfer(w, &again, true, w->blocks[1], false);
	if (ret == 0)
		ret = compare(w, b->path, again.path, w->stage.nr * block_file_stride(b->f));
	block_file_close(again.f, clock_ns() + STAGE_WAIT_NS);
	unlink(again.path);
	return ret;
}

/* ---- the report ------------------------------------------------------------------------------------------------- */

static double median(struct tier_world *w, struct backend *b, bool is_write)
{
	return w->stage.fake || !b->f ? NAN : samples_quantile(&b->ns[is_write], 0.5);
}

static void report_backend(struct tier_world *w, struct backend *b, struct jdoc *j)
{
	struct jdoc *row = jdoc_append(j, "backends");
	const double bytes = b->f ? (double)w->stage.nr * (double)block_file_stride(b->f) : NAN;

	jdoc_text(row, "backend", b->name);
	jdoc_bool(row, "is_on", b->f != NULL);
	jdoc_text(row, "why_off", b->why);
	jdoc_real(row, "read_gb_per_s", bytes / median(w, b, false));
	jdoc_real(row, "write_gb_per_s", bytes / median(w, b, true));
}

static void report(struct tier_world *w, const char *dir, struct jdoc *j)
{
	struct backend *host = &w->backend[0], *direct = &w->backend[1];

	jdoc_text(j, "directory", dir);
	jdoc_text(j, "storage", w->cufile.how);
	for (unsigned i = 0; i < NR_BACKENDS; i++)
		report_backend(w, &w->backend[i], j);
	jdoc_real(j, "read_ratio", median(w, host, false) / median(w, direct, false));
	jdoc_real(j, "write_ratio", median(w, host, true) / median(w, direct, true));
	jdoc_int(j, "wrong_bytes", (int64_t)w->wrong_bytes);
}

/* ---- the run ------------------------------------------------------------------------------------------------------ */

/* Written from scattered blocks, read into others of the pool. */
static int lists_make(struct tier_world *w)
{
	const uint32_t nr = w->stage.nr;

	w->places = malloc(nr * sizeof(*w->places));
	w->blocks[0] = malloc(nr * sizeof(*w->blocks[0]));
	w->blocks[1] = malloc(nr * sizeof(*w->blocks[1]));
	if (!w->places || !w->blocks[0] || !w->blocks[1])
		return -ENOMEM;
	for (uint32_t i = 0; i < nr; i++) {
		w->places[i] = i;
		w->blocks[0][i] = w->stage.items[i].block;
		w->blocks[1][i] = w->stage.items[i].block / 4 * 4 + 3;
	}
	return 0;
}

/* Bytes that tell blocks apart, into as much of the pool as the arena fills. */
static int pool_fill(struct tier_world *w)
{
	for (uint64_t i = 0; i < w->stage.arena_len / 8; i++)
		((uint64_t *)(void *)w->stage.arena)[i] = i * 0x9e3779b97f4a7c15ull;
	return stage_world_plain(&w->stage, STAGE_H2D, w->stage.arena_len) < 0 ? -EIO : 0;
}

static int run_all(struct tier_world *w, const char *dir, struct jdoc *j)
{
	int ret = lists_make(w);

	if (ret == 0)
		ret = pool_fill(w);
	if (ret == 0)
		ret = open_backends(w, dir);
	if (ret == 0)
		ret = measure(w);
	for (unsigned i = 0; i < NR_BACKENDS && ret == 0; i++)
		ret = w->backend[i].f ? check(w, &w->backend[i]) : 0;
	if (ret == 0)
		report(w, dir, j);
	close_backends(w);
	return ret;
}

static int run(const struct bench_options *o, struct jdoc *j)
{
	struct tier_world *w = calloc(1, sizeof(*w));
	const char *dir = o->dir ? o->dir : getenv("TMPDIR");
	int ret;

	if (!w)
		return EXIT_DEAD;
	dir = dir && *dir ? dir : "/tmp";
	ret = stage_world_open(&w->stage, o, "tier");
	if (!ret) {
		stage_world_report(&w->stage, j);
		ret = run_all(w, dir, j);
		if (ret < 0) {
			fprintf(stderr, "kvshm bench tier: %s: %s\n", dir, strerror(-ret));
			ret = EXIT_DEAD;
		}
	}
	stage_world_close(&w->stage);
	free(w->places);
	free(w->blocks[0]);
	free(w->blocks[1]);
	free(w);
	return ret;
}

const struct bench bench_tier = {
	"tier", run, "a file of blocks to the GPU and back, straight and through host memory; --fake: simulated",
};
