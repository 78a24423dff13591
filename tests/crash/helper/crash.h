/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crash.h - what the crash programs share: tagged blocks, the daemon under test, what must be back
 *
 * The bytes of a block follow from its key, so that any reader can say whether what it got is what
 * was published under that key.  One process of a program owns the daemon and judges; the others
 * are made to be killed.
 */
#ifndef TESTS_CRASH_HELPER_CRASH_H
#define TESTS_CRASH_HELPER_CRASH_H

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <kvshm/kvshm.h>

#include "kvshm/arena/block.h"
#include "kvshm/arena/directory.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/rand.h"
#include "utils/private_daemon.h"
#include "utils/verify.h"

#define __crash static inline __attribute__((unused))

enum { CRASH_CHAIN_MAX = 32, CRASH_BLOCK = 4096, CRASH_BIG = 600 << 10 };

struct crash_instance {			/* the judge's view of a daemon */
	struct private_daemon *d;
	struct directory dir;		/* read-only, of the file that outlives daemons */
};

/* ---- options ------------------------------------------------------------------------------------ */

/* Value of `--name N`, or @otherwise. */
__crash unsigned long crash_option(int argc, char **argv, const char *name, unsigned long otherwise)
{
	int i;

	for (i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], name))
			return strtoul(argv[i + 1], NULL, 0);
	return otherwise;
}

/* ---- tagged blocks ------------------------------------------------------------------------------ */

__crash uint64_t crash_mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* Keys 0 .. nr - 1 of a chain. */
__crash void crash_keys(uint32_t chain, unsigned nr, struct kvshm_key *ret_keys)
{
	unsigned i, j;

	for (i = 0; i < nr; i++) {
		uint64_t w[4];

		for (j = 0; j < 4; j++)
			w[j] = crash_mix((uint64_t)chain << 20 | i << 4 | (j + 1));
		memcpy(&ret_keys[i], w, sizeof(w));
	}
}

__crash uint64_t crash_seed(const struct kvshm_key *key)
{
	uint64_t w;

	memcpy(&w, key, sizeof(w));
	return w;
}

__crash void crash_fill(void *dst, uint32_t len, const struct kvshm_key *key)
{
	uint64_t *p = dst, w = crash_seed(key);
	uint32_t i;

	for (i = 0; i < len / 8; i++)
		p[i] = w + i * 0x9e3779b97f4a7c15ull;
}

__crash bool crash_is_right(const void *src, uint32_t len, const struct kvshm_key *key)
{
	const uint64_t *p = src;
	uint64_t w = crash_seed(key), bad = 0;
	uint32_t i;

	for (i = 0; i < len / 8; i++)
		bad |= p[i] ^ (w + i * 0x9e3779b97f4a7c15ull);
	return !bad;
}

/* An own session.  Return: handle, or NULL with errno. */
__crash struct kvshm *crash_open(const struct crash_instance *in, uint32_t flags, uint32_t *ret_ns)
{
	const struct kvshm_options o = { .sz = sizeof(o), .socket = private_daemon_socket(in->d), .flags = flags,
					 .label = "crash" };
	struct kvshm_ns_desc desc = { .fingerprint = "crash", .layout = "plain", .block_len = CRASH_BLOCK,
				      .block_tokens = 16, .label = "crash" };
	struct kvshm *k;
	int ret = kvshm_open(&o, &k);

	if (ret == 0) {
		ret = kvshm_attach_ns(k, &desc, ret_ns);
		if (ret == 0)
			return k;
		kvshm_close(k);
	}
	errno = -ret;
	return NULL;
}

/* Blocks of several staging slices, in a namespace of their own.  Return: 0, -errno. */
__crash int crash_attach_big(struct kvshm *k, uint32_t *ret_ns)
{
	const struct kvshm_ns_desc desc = { .fingerprint = "crash, big", .layout = "plain", .block_len = CRASH_BIG,
					    .block_tokens = 16, .label = "big" };

	return kvshm_attach_ns(k, &desc, ret_ns);
}

/* Put blocks @from .. @from + @nr - 1 of a chain by copy.  Return: that of kvshm_put(). */
__crash int crash_put(struct kvshm *k, uint32_t ns, uint32_t chain, unsigned from, unsigned nr,
		      uint64_t user_data)
{
	static char bytes[CRASH_CHAIN_MAX][CRASH_BLOCK] __attribute__((aligned(64)));
	struct kvshm_key key[CRASH_CHAIN_MAX];
	const void *src[CRASH_CHAIN_MAX];
	unsigned i;

	crash_keys(chain, from + nr, key);
	for (i = 0; i < nr; i++) {
		crash_fill(bytes[i], CRASH_BLOCK, &key[from + i]);
		src[i] = bytes[i];
	}
	return kvshm_put(k, ns, from ? &key[from - 1] : NULL, &key[from], src, NULL, nr, 0, user_data, 100000);
}

/* Acquire, resolve, compare, release.  Return: blocks read, -errno; @wrong: blocks with other bytes. */
__crash int crash_read(struct kvshm *k, uint32_t ns, uint32_t chain, unsigned nr, uint64_t *wrong)
{
	struct kvshm_key key[CRASH_CHAIN_MAX];
	struct kvshm_block b[CRASH_CHAIN_MAX];
	struct kvshm_pin pin;
	int i, got;

	crash_keys(chain, nr, key);
	got = kvshm_acquire(k, ns, key, nr, &pin);
	if (got <= 0)
		return got;
	got = kvshm_resolve(k, &pin, key, b);
	for (i = 0; i < got; i++)
		*wrong += b[i].length != CRASH_BLOCK || !crash_is_right(b[i].ptr, CRASH_BLOCK, &key[i]);
	kvshm_release(k, &pin);
	return got;
}

/* ---- the daemon --------------------------------------------------------------------------------- */

__crash void crash_start(struct crash_instance *in, size_t arena_bytes, unsigned long max_blocks,
			 unsigned sessions)
{
	int ret = private_daemon_start(arena_bytes, max_blocks, sessions, &in->d);

	if (ret < 0)
		exit(2);
	ret = directory_open(private_daemon_dir(in->d), &in->dir);
	if (ret < 0) {
		fprintf(stderr, "%s/directory: %s\n", private_daemon_dir(in->d), strerror(-ret));
		exit(2);
	}
}

__crash void crash_stop(struct crash_instance *in)
{
	directory_detach(&in->dir);
	in->d = private_daemon_stop(in->d);
}

/* Blocks granted or in quarantine at this moment. */
__crash unsigned crash_held(const struct crash_instance *in)
{
	unsigned nr = 0;
	uint32_t id;

	for (id = 1; id <= in->dir.max_blocks; id++) {
		enum kvshm_block_state s = state_of(READ_ONCE(in->dir.desc[id].state));

		nr += s == KVSHM_BLOCK_GRANTED || s == KVSHM_BLOCK_QUARANTINED;
	}
	return nr;
}

__crash unsigned crash_count_files(const char *path, const char *prefix)
{
	DIR *d = opendir(path);
	struct dirent *e;
	unsigned nr = 0;

	while (d && (e = readdir(d)))
		nr += !strncmp(e->d_name, prefix, strlen(prefix));
	if (d)
		closedir(d);
	return nr;
}

__crash unsigned crash_pin_files(const struct crash_instance *in)
{
	return crash_count_files(private_daemon_dir(in->d), "pins.");
}

__crash unsigned crash_daemon_fds(const struct crash_instance *in)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)private_daemon_pid(in->d));
	return crash_count_files(path, "");
}

__crash void crash_nap(uint64_t ns)
{
	nanosleep(&(struct timespec){ .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) }, NULL);
}

/*
 * Descriptors of a daemon at rest: the fewest seen, once none has gone for a while.  A session that was just closed
 * and a file that is being saved would make a base too large, under which as many could leak unseen.
 */
__crash unsigned crash_fds_base(const struct crash_instance *in)
{
	const unsigned still_ms = 300;
	unsigned base = crash_daemon_fds(in), quiet, now;

	for (quiet = 0; quiet < still_ms; quiet++) {
		crash_nap(1000000);
		now = crash_daemon_fds(in);
		if (now < base) {
			base = now;
			quiet = 0;
		}
	}
	return base;
}

/*
 * Descriptors of the daemon past @base, once they are as few as they will be.  Pin files go first: the
 * descriptors of a session, and of connections whose client died in the backlog, are closed a moment later.
 */
__crash int crash_fds_left(const struct crash_instance *in, unsigned base, uint64_t bound_ns)
{
	const uint64_t start = clock_ns();
	unsigned now;

	while ((now = crash_daemon_fds(in)) > base && clock_ns() - start < bound_ns)
		crash_nap(1000000);
	return (int)now - (int)base;
}

/* Until nothing is held and @pin_files are left.  Return: ns it took, UINT64_MAX: past @bound_ns. */
__crash uint64_t crash_wait_base(const struct crash_instance *in, unsigned pin_files, uint64_t bound_ns)
{
	const uint64_t start = clock_ns();

	while (crash_held(in) || crash_pin_files(in) != pin_files) {
		if (clock_ns() - start > bound_ns)
			return UINT64_MAX;
		crash_nap(20000);
	}
	return clock_ns() - start;
}

/* kvshm verify.  Return: violations, the first one on stderr. */
__crash uint64_t crash_verify(const struct crash_instance *in)
{
	struct verify_result r;
	int ret = verify_directory(private_daemon_dir(in->d), &r);

	if (ret < 0) {
		fprintf(stderr, "verify: %s\n", strerror(-ret));
		return 1;
	}
	if (verify_violations(&r))
		fprintf(stderr, "verify: %s\n", r.first);
	return verify_violations(&r);
}

/* ---- processes ---------------------------------------------------------------------------------- */

/* fork(); the child dies with its parent.  Return: pid, 0 in the child. */
__crash pid_t crash_fork(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	if (pid == 0) {
		signal(SIGINT, SIG_DFL);
		signal(SIGTERM, SIG_DFL);
		signal(SIGHUP, SIG_DFL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}
	return pid;
}

__crash void crash_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, __WALL);
}

__crash void *crash_shared(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return p;
}

static int crash_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* @nr values are sorted.  Return: the @p-th per mille of them. */
__crash uint64_t crash_permille(uint64_t *v, unsigned nr, unsigned p)
{
	qsort(v, nr, sizeof(*v), crash_cmp);
	return nr ? v[(uint64_t)(nr - 1) * p / 1000] : 0;
}

#endif
