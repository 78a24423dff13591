/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pmu.h - what the processor counts in user space while a path runs (perf_event_open(2))
 *
 * Many virtual machines have no counters, and perf_event_paranoid may forbid them: what is not counted is
 * null in the report.  Of the calling thread only.
 */
#ifndef UTILS_PMU_H
#define UTILS_PMU_H

#include "utils/json.h"

struct pmu;

/* NULL only without memory.  Counts nothing until pmu_start(). */
struct pmu *pmu_open(void);
struct pmu *pmu_close(struct pmu *p);

/* Count from here to pmu_stop(), added to what was counted before.  NULL: nothing. */
void pmu_start(struct pmu *p);
void pmu_stop(struct pmu *p);

/* cycles, instructions, llc_misses, dtlb_misses, each "_per_call" of @calls; NULL: nothing. */
void pmu_report(const struct pmu *p, struct jdoc *j, double calls);

#endif
