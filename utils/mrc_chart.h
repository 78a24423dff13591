/* SPDX-License-Identifier: Apache-2.0 */
/* mrc_chart.h - miss-ratio curves on the exporter's page */
#ifndef UTILS_MRC_CHART_H
#define UTILS_MRC_CHART_H

#include <stdio.h>

#include "utils/mrc_watch.h"

/* A section with a card for each curve: line, where the arena stands, and what more would give. */
void mrc_chart(const struct mrc_watch_curve *c, unsigned nr, uint64_t capacity_bytes, FILE *out);

#endif
