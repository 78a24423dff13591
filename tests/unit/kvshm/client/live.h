/* SPDX-License-Identifier: Apache-2.0 */
/* live.h - a real kvshmd of a test's own */
#ifndef TESTS_UNIT_CLIENT_LIVE_H
#define TESTS_UNIT_CLIENT_LIVE_H

#include "fake.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

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

#endif
