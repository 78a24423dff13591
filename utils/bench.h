/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench.h - what the benchmarks share: options, samples, keys, a filled daemon
 *
 * Rules: warm-up discarded, at least 30 batches, median and p99 of batches, the floor interleaved with
 * the measured path in the same run, ratios of medians.  A figure without its floor is not printed.
 */
#ifndef UTILS_BENCH_H
#define UTILS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvshm/kvshm.h>

#include "utils/json.h"
#include "utils/pmu.h"
#include "utils/private_daemon.h"

enum bench_daemon {
	BENCH_RUNNING,
	BENCH_STOPPED,
	BENCH_DEAD,
};

struct bench_options {
	unsigned keys;			/* of one call */
	unsigned long blocks;		/* in the cache, 0: the benchmark's default */
	size_t bytes;			/* of one block, get and put */
	unsigned sessions;
	bool is_miss, is_scattered, is_loose, is_staged;
	struct pmu *pmu;		/* NULL: do not count */
	enum bench_daemon daemon;
	const char *socket;		/* NULL: a private daemon */
	bool is_fake;			/* stage: the fake driver */
	const char *fake;		/* its path, NULL: beside this program */
	const char *model, *order;	/* stage: see gpu/geometry.h; NULL: default */
	unsigned device;		/* stage */
	const char *costs;		/* stage: file to write, NULL: none */
	const char *dir;		/* tier: of its files; NULL: default */
};

struct bench {
	const char *name;
	/* Measure, fill in the object.  Return: an exit status; prints why on failure. */
	int (*run)(const struct bench_options *o, struct jdoc *j);
	const char *summary;
};

extern const struct bench bench_match, bench_resolve, bench_get, bench_put, bench_qp, bench_evict,
	bench_attach, bench_policy, bench_plan, bench_stage, bench_tier;

/* The commands kvshm bench compare, kvshm bench report. */
int bench_compare(int argc, char **argv);
int bench_report(int argc, char **argv);

/* ---- samples (bench_sample.c) ------------------------------------------------------------------- */

struct samples {
	double *v;
	size_t nr, room;
};

void samples_add(struct samples *s, double v);
/* Sorts.  @q in 0..1.  NaN without a sample. */
double samples_quantile(struct samples *s, double q);
/* The 99.9th percentile over @unit as @field; nothing of fewer than 1,000 samples, which have none. */
void samples_p999(struct samples *s, double unit, struct jdoc *j, const char *field);
void samples_fini(struct samples *s);

/* Print "label n/total" to a terminal on stderr, at most ten times a second; total 0: end the line. */
void bench_progress(const char *label, unsigned long n, unsigned long total);

/* Deterministic: block @i of chain @chain; absent keys use chains from 2^62 up. */
struct kvshm_key bench_key(uint64_t chain, uint64_t i);

/* xorshift state, never 0. */
uint64_t bench_rand(uint64_t *state);

/* Read and write more than any cache holds, so that what follows is cold. */
void bench_flush_caches(void);

/* CPU time of a process in ns (user + system), 0 if it is gone. */
uint64_t bench_process_cpu_ns(int pid);

/* ---- a daemon and its content (bench_fill.c) ------------------------------------------------------ */

struct bench_target {
	struct private_daemon *daemon;	/* NULL: --socket */
	struct kvshm *k;
	uint32_t ns;
	unsigned chain_len;
	unsigned long nr_chains;
	uint32_t block_len;
};

/**
 * bench_open() - a private daemon (or --socket) with room for @blocks of @block_len, and a handle
 * @flags: KVSHM_OPEN_*; @j learns the page kind.  Return: an exit status; prints why.
 */
int bench_open(const struct bench_options *o, struct jdoc *j, unsigned long blocks, uint32_t block_len,
	       unsigned flags, struct bench_target *ret_t);

/**
 * bench_attach_to() - a handle and the namespace of blocks of @block_len, the same for all of a run
 * Return: 0, -errno.
 */
int bench_attach_to(const char *socket, uint32_t block_len, unsigned flags, struct kvshm **ret_k,
		    uint32_t *ret_ns);

/* @nr grants of full blocks, however many calls that needs.  Return: 0; -ETIMEDOUT, -errno. */
int bench_grant(struct kvshm *k, uint32_t ns, struct kvshm_block *b, unsigned nr);

/**
 * bench_fill() - publish chains of @chain_len keys, @per_commit of them at a time
 * @per_commit < @chain_len: chains grow in turn, as conversations do, so that ids scatter.
 * @is_loose: loose blocks.  The payload is left as it is.
 */
int bench_fill(struct bench_target *t, unsigned long blocks, unsigned chain_len, unsigned per_commit,
	       bool is_loose);

/* SIGSTOP or SIGKILL the private daemon, as the options say. */
int bench_disturb(const struct bench_options *o, struct bench_target *t);

void bench_close(struct bench_target *t);

/**
 * bench_count_syscalls() - run @fn in a child under a filter that allows no system call
 * @fn gets a handle and namespace of its own, opened before the daemon is disturbed as @o says and
 * before the filter; it runs once uncounted first.  The daemon stays disturbed.
 * Return: number of calls that @fn made, -1 if it could not be counted.
 */
long bench_count_syscalls(const struct bench_options *o, struct bench_target *t,
			  void (*fn)(struct kvshm *k, uint32_t ns, void *arg), void *arg);

#endif
