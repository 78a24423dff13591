/* SPDX-License-Identifier: Apache-2.0 */
/* pmu.c - pmu.h on perf_event_open(2) */
#include "utils/pmu.h"

#include <linux/perf_event.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kvshm/base/compiler.h"

#define CACHE_MISS(which) \
	((uint64_t)(which) | PERF_COUNT_HW_CACHE_OP_READ << 8 | PERF_COUNT_HW_CACHE_RESULT_MISS << 16)

static const struct {
	const char *name;
	uint32_t type;
	uint64_t config;
} counters[] = {
	{ "cycles_per_call", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES },
	{ "instructions_per_call", PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS },
	{ "llc_misses_per_call", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES },
	{ "dtlb_misses_per_call", PERF_TYPE_HW_CACHE, CACHE_MISS(PERF_COUNT_HW_CACHE_DTLB) },
};

struct pmu {
	int fd[ARRAY_SIZE(counters)];	/* -1: cannot be counted here */
};

static int open_counter(unsigned i)
{
	struct perf_event_attr a = {
		.size = sizeof(a), .type = counters[i].type, .config = counters[i].config, .disabled = 1,
		.exclude_kernel = 1, .exclude_hv = 1,
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING,
	};

	return (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

struct pmu *pmu_open(void)
{
	struct pmu *p = calloc(1, sizeof(*p));

	for (unsigned i = 0; p && i < ARRAY_SIZE(counters); i++)
		p->fd[i] = open_counter(i);
	return p;
}

struct pmu *pmu_close(struct pmu *p)
{
	for (unsigned i = 0; p && i < ARRAY_SIZE(counters); i++)
		if (p->fd[i] >= 0)
			close(p->fd[i]);
	free(p);
	return NULL;
}

static void tell_all(struct pmu *p, unsigned long request)
{
	for (unsigned i = 0; p && i < ARRAY_SIZE(counters); i++)
		if (p->fd[i] >= 0)
			ioctl(p->fd[i], request, 0);
}

void pmu_start(struct pmu *p)
{
	tell_all(p, PERF_EVENT_IOC_ENABLE);
}

void pmu_stop(struct pmu *p)
{
	tell_all(p, PERF_EVENT_IOC_DISABLE);
}

void pmu_report(const struct pmu *p, struct jdoc *j, double calls)
{
	for (unsigned i = 0; p && i < ARRAY_SIZE(counters); i++) {
		uint64_t v[3] = { 0 };	/* count, time enabled, time it was on a counter */

		if (p->fd[i] < 0 || read(p->fd[i], v, sizeof(v)) != sizeof(v) || !v[2] || calls <= 0)
			jdoc_null(j, counters[i].name);
		else
			jdoc_real(j, counters[i].name, (double)v[0] * ((double)v[1] / (double)v[2]) / calls);
	}
}
