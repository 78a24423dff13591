/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/lcore.h"

#include <pthread.h>

#include <rte_launch.h>
#include <rte_lcore.h>

#include "kvshm/base/atomic.h"

static struct job {
	int (*fn)(void *arg);
	void *arg;
	uint32_t is_done;
} jobs[RTE_MAX_LCORE];

static int run_job(void *job)
{
	struct job *j = job;
	int ret = j->fn(j->arg);

	/* LC-1: all that the thread did before its end; pairs with lcore_join(). */
	store_release(&j->is_done, 1);
	return ret;
}

int lcore_launch(unsigned lcore, int (*fn)(void *arg), void *arg)
{
	jobs[lcore] = (struct job){ .fn = fn, .arg = arg };
	return rte_eal_remote_launch(run_job, &jobs[lcore], lcore);
}

void lcore_join(unsigned lcore)
{
	rte_eal_wait_lcore(lcore);
	/* LC-1: its end before what it left is used; pairs with run_job(). */
	while (!load_acquire(&jobs[lcore].is_done))
		cpu_relax();
}

void lcore_name(const char *name)
{
	pthread_setname_np(pthread_self(), name);
}
