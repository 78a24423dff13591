/* SPDX-License-Identifier: Apache-2.0 */
/* live.h - a real kvshmd in a directory of its own, for tests of the library */
#ifndef TESTS_UNIT_CLIENT_LIVE_H
#define TESTS_UNIT_CLIENT_LIVE_H

#include "fake.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "kvshm/stats/statpage.h"

struct live {
	char bin[512], dir[128], run[160], socket[192], memory[128];
	pid_t pid;
};

static inline void live_start(struct live *l)
{
	struct kvshm_options o = { .sz = sizeof(o), .socket = l->socket };
	uint64_t end = clock_ns() + 2 * FAKE_SOON_NS;
	struct kvshm *k;
	char log[200];
	int fd;

	snprintf(log, sizeof(log), "%s/log", l->dir);
	l->pid = fork();
	if (l->pid == 0) {
		fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(fd, 1);
		dup2(fd, 2);
		/* Who goes first is told by the order of uses here, and not by what was learnt of them. */
		execl(l->bin, "kvshmd", "--run-dir", l->run, "--dir", l->memory, "--size", "64M", "--set",
		      "policy.name=leaf-lru", NULL);
		_exit(127);
	}
	while (kvshm_open(&o, &k) < 0) {
		assert_true(clock_ns() < end);
		poll(NULL, 0, 5);
	}
	kvshm_close(k);
}

static inline void live_end(struct live *l, int sig)
{
	kill(l->pid, sig);
	waitpid(l->pid, NULL, 0);
}

static inline int live_setup(void **state)
{
	struct live *l = calloc(1, sizeof(*l));
	const char *build = getenv("KVSHM_BUILD"), *tmp = getenv("TMPDIR");
	const char *memory = getenv("KVSHM_TEST_MEMORY");

	if (!memory)
		memory = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";

	snprintf(l->bin, sizeof(l->bin), "%s/kvshmd", build ? build : "build");
	snprintf(l->dir, sizeof(l->dir), "%.80s/kvshm-live.XXXXXX", tmp ? tmp : "/tmp");
	snprintf(l->memory, sizeof(l->memory), "%.80s/kvshm-live.XXXXXX", memory);
	if (!mkdtemp(l->dir) || !mkdtemp(l->memory))
		return -1;
	snprintf(l->run, sizeof(l->run), "%s/run", l->dir);
	snprintf(l->socket, sizeof(l->socket), "%s/kvshm.sock", l->run);
	live_start(l);
	*state = l;
	return 0;
}

static inline int live_teardown(void **state)
{
	struct live *l = *state;
	char cmd[300];

	live_end(l, SIGKILL);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s' '%s'", l->dir, l->memory);
	free(l);
	return system(cmd);
}

static inline struct kvshm *open_live(struct live *l, unsigned flags)
{
	struct kvshm_options o = { .sz = sizeof(o), .socket = l->socket, .flags = flags, .label = "live" };
	struct kvshm *k = NULL;

	assert_int_equal(kvshm_open(&o, &k), 0);
	return k;
}

/* Acquire a chain of which @nr are cached, compare every byte. */
static inline void check_chain(struct kvshm *k, uint32_t ns, uint32_t chain, unsigned nr)
{
	struct kvshm_key keys[64] = { { { 0 } } };
	struct kvshm_block b[64];
	struct kvshm_pin pin;
	unsigned i;

	fake_keys(keys, nr + 4, chain);
	assert_int_equal(kvshm_acquire(k, ns, keys, nr + 4, &pin), nr);
	assert_int_equal(kvshm_resolve(k, &pin, keys, b), nr);
	for (i = 0; i < nr; i++)
		assert_true(fake_is_filled(b[i].ptr, chain, i, FAKE_LEN));
	kvshm_release(k, &pin);
}

/* A metric of the daemon's page, after it has become at least @at_least, or a deadline. */
static inline uint64_t live_metric(const struct live *l, enum metric m, uint64_t at_least)
{
	uint64_t end = clock_ns() + FAKE_SOON_NS, n;
	struct statpage *page;
	char path[300];

	snprintf(path, sizeof(path), "%s/stats", l->run);
	assert_int_equal(statpage_open(path, &page), 0);
	do {
		poll(NULL, 0, 5);
		n = stat_get(page, m);
	} while (n < at_least && clock_ns() < end);
	statpage_destroy(page);
	return n;
}

/* The same until it is 0. */
static inline uint64_t live_metric_gone(const struct live *l, enum metric m)
{
	uint64_t end = clock_ns() + FAKE_SOON_NS, n;

	do {
		n = live_metric(l, m, 0);
	} while (n && clock_ns() < end);
	return n;
}

static inline bool live_is_built(void)
{
	const char *build = getenv("KVSHM_BUILD");
	char bin[512];

	snprintf(bin, sizeof(bin), "%s/kvshmd", build ? build : "build");
	if (!access(bin, X_OK))
		return true;
	printf("no %s\n", bin);
	return false;
}

#endif
