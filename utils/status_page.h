/* SPDX-License-Identifier: Apache-2.0 */
/* status_page.h - one daemon as one HTML page: no script, nothing from elsewhere, light and dark */
#ifndef UTILS_STATUS_PAGE_H
#define UTILS_STATUS_PAGE_H

#include <stdio.h>

#include "utils/history.h"
#include "utils/mrc_watch.h"

#define STATUS_PAGE_TYPE "text/html; charset=utf-8"

struct status_page {
	const struct snapshot *s;	/* NULL: there is no page of @instance */
	const struct history *h;
	const char *instance;
	unsigned sample_s;		/* between two looks of @h */
	const struct mrc_watch_curve *curve;	/* [nr_curves] */
	unsigned nr_curves;
};

void status_page(const struct status_page *p, FILE *out);

#endif
