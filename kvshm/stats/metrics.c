/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.c - the table behind metrics.def */
#include "kvshm/stats/metrics.h"

#include "kvshm/base/compiler.h"

const struct metric_def metric_defs[] = {
#define METRIC(id, name_, type_, unit_, help_) \
	[METRIC_##id] = { name_, KVSHM_STATS_##type_, KVSHM_STATS_UNIT_##unit_, help_ },
#include "kvshm/stats/metrics.def"
#undef METRIC
};

const struct hist_def hist_defs[] = {
#define HIST(id, name_, label_, help_) \
	[HIST_##id] = { name_, label_, help_, sizeof(name_) > 4 && (name_)[sizeof(name_) - 3] == 'm' ? 1000000 : 1 },
#include "kvshm/stats/hists.def"
#undef HIST
};

_Static_assert(HIST_LAST <= KVSHM_STATS_HISTS, "the page has room for every histogram");
_Static_assert(ARRAY_SIZE(hist_defs) == HIST_LAST, "a histogram without a definition");
_Static_assert(METRIC_LAST <= KVSHM_STATS_METRICS, "the page has room for every metric");
_Static_assert(ARRAY_SIZE(metric_defs) == METRIC_LAST, "a metric without a definition");

const char *stat_metric_name(enum metric m)
{
	return (unsigned)m < METRIC_LAST ? metric_defs[m].name : "?";
}
