/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.h - metrics.def as a table: names, types, units, help */
#ifndef KVSHM_STATS_METRICS_H
#define KVSHM_STATS_METRICS_H

#include "kvshm/stats/statpage.h"

struct metric_def {
	const char *name;
	uint32_t type;			/* enum kvshm_stats_type */
	uint32_t unit;			/* enum kvshm_stats_unit */
	const char *help;
};

/* [METRIC_LAST], in the order of metrics.def. */
extern const struct metric_def metric_defs[];

struct hist_def {
	const char *name, *label, *help;
	uint64_t unit_ns;		/* of a value: 1, or 1,000,000 */
};

/* [HIST_LAST], in the order of hists.def. */
extern const struct hist_def hist_defs[];

#endif
