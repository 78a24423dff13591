/* SPDX-License-Identifier: Apache-2.0 */
/* live_gpud.h - a real kvshm-gpud beside the daemon of live.h, over the fake driver */
#ifndef TESTS_UNIT_CLIENT_LIVE_GPUD_H
#define TESTS_UNIT_CLIENT_LIVE_GPUD_H

#include "live.h"

#include <sys/prctl.h>

#include <kvshm/service.h>

/* @deadline: for --deadline; @pool: for --pool, NULL: none.  Return: the keeper's process. */
static inline pid_t live_gpud_start(const struct live *l, const char *libcuda, const char *script, const char *deadline,
				    const char *pool)
{
	const char *build = getenv("KVSHM_BUILD");
	char bin[512], log[200];
	pid_t pid;

	snprintf(bin, sizeof(bin), "%.480s/kvshm-gpud", build ? build : "build");
	snprintf(log, sizeof(log), "%s/gpud.log", l->dir);
	pid = fork();
	if (pid == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

		/* a test that fails leaves none behind */
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		dup2(fd, 1);
		dup2(fd, 2);
		setenv("FAKE_CUDA_SCRIPT", script, 1);
		execl(bin, "kvshm-gpud", "--socket", l->socket, "--libcuda", libcuda, "--deadline", deadline,
		      pool ? "--pool" : NULL, pool, NULL);
		_exit(127);
	}
	return pid;
}

static inline void live_gpud_end(pid_t pid)
{
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* A worker may be about to start. */
static inline struct kvshm_service *live_service(struct kvshm *k, const char *libcuda)
{
	const struct kvshm_service_options o = { .sz = sizeof(o), .libcuda = libcuda, .timeout_ms = 4000 };
	uint64_t end = clock_ns() + 10000000000u;
	struct kvshm_service *s = NULL;
	int ret;

	while ((ret = kvshm_service_open(k, &o, &s)) < 0) {
		assert_true(ret == -ENOENT || ret == -ECONNREFUSED || ret == -ECONNRESET || ret == -ETIMEDOUT);
		assert_true(clock_ns() < end);
		poll(NULL, 0, 10);
	}
	return s;
}

#endif
