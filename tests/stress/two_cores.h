/* SPDX-License-Identifier: Apache-2.0 */
/* two_cores.h - keep two threads apart, or the scheduler may never let them meet */
#ifndef TESTS_STRESS_TWO_CORES_H
#define TESTS_STRESS_TWO_CORES_H

#include <sched.h>

/* The calling thread goes to the first (@which 0) or the last (1) CPU that the process may use. */
static inline void run_on_core(int which)
{
	static cpu_set_t all;
	static int is_read;
	cpu_set_t one;
	int cpu, first = -1, last = -1;

	/* once, by the main thread, before it binds itself and starts others */
	if (!is_read && sched_getaffinity(0, sizeof(all), &all) < 0)
		return;
	is_read = 1;
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		first = first < 0 ? cpu : first;
		last = cpu;
	}
	CPU_ZERO(&one);
	CPU_SET(which ? last : first, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

#endif
