/* SPDX-License-Identifier: Apache-2.0 */
/* load_procs.c - the client processes: start, attach, end */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "utils/load.h"

struct load_shared *load_shared_create(void)
{
	void *p = mmap(NULL, sizeof(struct load_shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

pid_t load_spawn(void (*fn)(void *ctx, unsigned number), void *ctx, unsigned number)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		return -errno;
	if (pid)
		return pid;
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	fn(ctx, number);
	_exit(0);
}

int load_reap(pid_t pid, uint64_t deadline_ns)
{
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (clock_ns() > deadline_ns) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return -1;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -1;
}

void load_label(pid_t parent, char *buf)
{
	snprintf(buf, 32, "kvshm load %d", (int)parent);
}

static int attach_once(const struct load_options *o, const char *socket, unsigned number, struct kvshm **ret_k,
		       uint32_t *ret_ns)
{
	/* One client in four hands its bytes over through staging; in lockstep all: that grants nothing ahead. */
	struct kvshm_options ko = { .sz = sizeof(ko), .socket = socket,
				    .flags = (o->trace ? o->is_lockstep : number % 4 == 3) ? KVSHM_OPEN_UNTRUSTED : 0 };
	char label[32];
	int ret;

	load_label(getppid(), label);
	ko.label = label;
	ret = kvshm_open(&ko, ret_k);
	for (unsigned i = 0; !ret && i < LOAD_NAMESPACES; i++) {
		struct kvshm_ns_desc d = { .block_len = o->block_len, .block_tokens = o->block_tokens, .label = "load" };

		snprintf((char *)d.fingerprint, sizeof(d.fingerprint), "kvshm load %u %u", o->block_len, i);
		ret = kvshm_attach_ns(*ret_k, &d, &ret_ns[i]);
		if (ret < 0)
			kvshm_close(*ret_k);
	}
	return ret;
}

int load_attach(const struct load_options *o, const char *socket, unsigned number, const struct load_shared *sh,
		struct kvshm **ret_k, uint32_t *ret_ns)
{
	int ret;

	/* A dead daemon comes back; slots of killed clients come free. */
	while ((ret = attach_once(o, socket, number, ret_k, ret_ns)) < 0 && !READ_ONCE(sh->is_stopping))
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	return ret;
}
