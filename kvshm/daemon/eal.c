/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/eal.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>

/* "(0-2)@(0,1,5-7)": that many lcores, all allowed on every cpu of our set. */
static int lcore_map(unsigned nr_lcores, char *buf, size_t len)
{
	cpu_set_t set;
	size_t n = (size_t)snprintf(buf, len, "(0-%u)@(", nr_lcores - 1);
	const char *comma = "";

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return -errno;
	for (int cpu = 0; cpu < CPU_SETSIZE && n < len; cpu++) {
		if (!CPU_ISSET(cpu, &set))
			continue;
		n += (size_t)snprintf(buf + n, len - n, "%s%d", comma, cpu);
		comma = ",";
	}
	if (n + 2 > len)
		return -E2BIG;
	memcpy(buf + n, ")", 2);
	return 0;
}

/* EAL would take /tmp/dpdk for a plain user's daemon, which is the first user's of the machine. */
static int init_in(const char *run_dir, int argc, char **argv)
{
	const char *env = getenv("RUNTIME_DIRECTORY");
	char *before = env ? strdup(env) : NULL;
	int ret;

	if (env && !before)
		return -1;
	setenv("RUNTIME_DIRECTORY", run_dir, 1);
	ret = rte_eal_init(argc, argv);
	if (before)
		setenv("RUNTIME_DIRECTORY", before, 1);
	else
		unsetenv("RUNTIME_DIRECTORY");
	free(before);
	return ret;
}

int eal_start(const char *name, const char *run_dir, unsigned nr_lcores)
{
	char prefix[96], lcores[4096];
	char *argv[] = {
		"kvshmd",
		"--no-pci",
		"--no-huge",
		"--no-shconf",
		"--no-telemetry",
		"-m",
		"16",
		"--log-level=warning",
		"--file-prefix",
		prefix,
		"--lcores",
		lcores,
		NULL,
	};
	int ret = lcore_map(nr_lcores, lcores, sizeof(lcores));

	if (ret < 0)
		return ret;
	snprintf(prefix, sizeof(prefix), "kvshm-%s", name);
	rte_log_set_global_level(RTE_LOG_WARNING);
	if (init_in(run_dir, (int)(sizeof(argv) / sizeof(argv[0])) - 1, argv) < 0)
		return rte_errno ? -rte_errno : -EIO;
	return 0;
}

void eal_stop(void)
{
	rte_eal_cleanup();
}
