/* SPDX-License-Identifier: Apache-2.0 */
/* bench_fill.c - a daemon filled with chains, and what may be done to it */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "utils/bench.h"
#include "utils/commands.h"
#include "utils/syscalls.h"
#include "utils/target.h"

#define FILL_SLACK 32768ul		/* descriptors beyond the content: grants in hand */
#define FILL_TIMEOUT_NS 120000000000ull

static struct kvshm_ns_desc ns_desc(uint32_t block_len)
{
	struct kvshm_ns_desc d = { .block_len = block_len, .block_tokens = 16, .label = "bench" };

	snprintf((char *)d.fingerprint, sizeof(d.fingerprint), "bench %u", block_len);
	return d;
}

int bench_attach_to(const char *socket, uint32_t block_len, unsigned flags, struct kvshm **ret_k, uint32_t *ret_ns)
{
	struct kvshm_options o = { .sz = sizeof(o), .flags = flags, .socket = socket, .label = "kvshm bench",
				   .timeout_ms = 10000 };
	struct kvshm_ns_desc d = ns_desc(block_len);
	int ret = kvshm_open(&o, ret_k);

	if (ret < 0)
		return ret;
	ret = kvshm_attach_ns(*ret_k, &d, ret_ns);
	if (ret < 0)
		kvshm_close(*ret_k);
	return ret;
}

int bench_open(const struct bench_options *o, struct jdoc *j, unsigned long blocks, uint32_t block_len,
	       unsigned flags, struct bench_target *ret_t)
{
	struct bench_target t = { .block_len = block_len };
	size_t bytes = (size_t)blocks * block_len;
	char pages[KVSHM_STATS_TEXT_LEN];
	const char *socket;
	int ret;

	if (!o->socket) {
		/* Room for credits in hand and slab tails. */
		bytes += bytes / 16 + (256ul << 20);
		if (private_daemon_start(bytes, blocks + FILL_SLACK, o->sessions + 16, &t.daemon) < 0)
			return EXIT_DEAD;
	}
	socket = o->socket ? o->socket : private_daemon_socket(t.daemon);
	ret = bench_attach_to(socket, block_len, flags, &t.k, &t.ns);
	if (ret < 0) {
		fprintf(stderr, "kvshm bench: attach: %s\n", strerror(-ret));
		private_daemon_stop(t.daemon);
		return EXIT_DEAD;
	}
	ret = target_text(&(struct target){ .socket = socket }, KVSHM_TEXT_PAGES, pages);
	jdoc_page_kind(j, ret < 0 ? "unknown" : pages);
	*ret_t = t;
	return EXIT_FINE;
}

int bench_grant(struct kvshm *k, uint32_t ns, struct kvshm_block *b, unsigned nr)
{
	uint64_t end = clock_ns() + FILL_TIMEOUT_NS;
	unsigned got = 0;

	while (got < nr) {
		int ret = kvshm_grant(k, ns, 0, nr - got, b + got, 100000);

		if (ret < 0)
			return ret;
		got += (unsigned)ret;
		if (clock_ns() > end)
			return -ETIMEDOUT;
	}
	return 0;
}

static int commit_wait(struct bench_target *t, const struct kvshm_key *parent, const struct kvshm_key *keys,
		       const struct kvshm_block *b, unsigned nr, bool is_loose)
{
	uint64_t end = clock_ns() + FILL_TIMEOUT_NS;
	struct kvshm_completion done;
	int ret = kvshm_commit(t->k, t->ns, parent, keys, b, nr, is_loose ? KVSHM_COMMIT_LOOSE : 0, 1);

	while (ret >= 0) {
		ret = kvshm_poll(t->k, &done, 1, 1000000);
		if (ret == 1)
			return done.res < 0 ? done.res : (unsigned)done.res == nr ? 0 : -ENOSPC;
		if (clock_ns() > end)
			return -ETIMEDOUT;
	}
	return ret;
}

static int fill_part(struct bench_target *t, uint64_t chain, unsigned at, unsigned nr, bool is_loose)
{
	struct kvshm_key *keys = calloc(nr, sizeof(*keys)), parent = bench_key(chain, at - 1);
	struct kvshm_block *b = calloc(nr, sizeof(*b));
	int ret = -ENOMEM;

	for (unsigned i = 0; keys && i < nr; i++)
		keys[i] = bench_key(chain, at + i);
	if (keys && b)
		ret = bench_grant(t->k, t->ns, b, nr);
	if (!ret)
		ret = commit_wait(t, at && !is_loose ? &parent : NULL, keys, b, nr, is_loose);
	free(keys);
	free(b);
	return ret;
}

int bench_fill(struct bench_target *t, unsigned long blocks, unsigned chain_len, unsigned per_commit,
	       bool is_loose)
{
	unsigned long done = 0;

	t->chain_len = chain_len;
	t->nr_chains = max_of(blocks / chain_len, 1ul);
	per_commit = min_of(per_commit, chain_len);
	for (unsigned at = 0; at < chain_len; at += per_commit) {
		unsigned nr = min_of(per_commit, chain_len - at);

		for (uint64_t c = 0; c < t->nr_chains; c++) {
			int ret = fill_part(t, c, at, nr, is_loose);

			if (ret < 0) {
				fprintf(stderr, "kvshm bench: fill: %s after %lu blocks\n", strerror(-ret), done);
				return EXIT_DEAD;
			}
			done += nr;
			bench_progress("filling, blocks", done, t->nr_chains * chain_len);
		}
	}
	bench_progress("", 0, 0);
	return EXIT_FINE;
}

int bench_disturb(const struct bench_options *o, struct bench_target *t)
{
	int ret;

	if (o->daemon == BENCH_RUNNING)
		return EXIT_FINE;
	ret = private_daemon_kill(t->daemon, o->daemon == BENCH_DEAD ? SIGKILL : SIGSTOP);
	if (ret < 0) {
		fprintf(stderr, "kvshm bench: the daemon could not be stopped: %s\n", strerror(-ret));
		return EXIT_DEAD;
	}
	return EXIT_FINE;
}

void bench_close(struct bench_target *t)
{
	kvshm_close(t->k);
	private_daemon_stop(t->daemon);
}

/* ---- system calls counted -------------------------------------------------------------------------- */

/* Shared with the child: each word has one writer. */
struct counted {
	long calls;			/* child; -1: could not count */
	unsigned is_attached;		/* child */
	unsigned is_disturbed;		/* parent */
};

static void count_child(struct counted *sh, const char *socket, uint32_t block_len,
			void (*fn)(struct kvshm *k, uint32_t ns, void *arg), void *arg)
{
	uint64_t end = clock_ns() + FILL_TIMEOUT_NS;
	struct kvshm *k;
	uint32_t ns;

	if (bench_attach_to(socket, block_len, 0, &k, &ns) < 0)
		_exit(1);
	fn(k, ns, arg);			/* uncounted: lazy binding, first faults */
	WRITE_ONCE(sh->is_attached, 1);
	while (!READ_ONCE(sh->is_disturbed))
		if (clock_ns() > end)
			_exit(1);
	sh->calls = 0;
	if (syscalls_trap(&sh->calls) < 0) {
		sh->calls = -1;
		_exit(1);
	}
	fn(k, ns, arg);
	syscall(SYS_exit_group, 0);
}

/* The child attaches while the daemon lives; what is counted happens after it was disturbed. */
static int disturb_when_attached(struct counted *sh, pid_t pid, const struct bench_options *o,
				 struct bench_target *t)
{
	int ret;

	while (!READ_ONCE(sh->is_attached)) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return EXIT_DEAD;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	ret = bench_disturb(o, t);
	WRITE_ONCE(sh->is_disturbed, 1);
	waitpid(pid, NULL, 0);
	return ret;
}

long bench_count_syscalls(const struct bench_options *o, struct bench_target *t,
			  void (*fn)(struct kvshm *k, uint32_t ns, void *arg), void *arg)
{
	const char *socket = t->daemon ? private_daemon_socket(t->daemon) : o->socket;
	struct counted *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	long calls;
	pid_t pid;

	if (sh == MAP_FAILED)
		return -1;
	sh->calls = -1;
	pid = fork();
	if (!pid)
		count_child(sh, socket, t->block_len, fn, arg);
	if (pid > 0 && disturb_when_attached(sh, pid, o, t))
		sh->calls = -1;
	calls = sh->calls;
	munmap(sh, sizeof(*sh));
	return calls;
}
