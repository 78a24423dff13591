/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prom.h - a snapshot as a Prometheus scrape
 *
 * Names, types and help are those of metrics.def, with times in seconds: kvshm_reap_p99_ns is served as
 * kvshm_reap_p99_seconds.  Every sample has the label daemon, the instance.  No label has a value that a
 * client chose.
 */
#ifndef UTILS_PROM_H
#define UTILS_PROM_H

#include <stdio.h>

#include "utils/mrc_watch.h"
#include "utils/snapshot.h"

enum prom_form {
	PROM_TEXT,			/* 0.0.4 */
	PROM_OPENMETRICS,		/* 1.0.0 */
};

#define PROM_TYPE_TEXT "text/plain; version=0.0.4; charset=utf-8"
#define PROM_TYPE_OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"

struct prom_scrape {
	const struct snapshot *s;	/* NULL: there is no page, only kvshm_up 0 then */
	const char *instance;		/* what the label says without one */
	const struct mrc_watch_curve *curve;	/* [nr_curves] */
	unsigned nr_curves;
};

void prom_write(const struct prom_scrape *p, enum prom_form form, FILE *out);

/* What process_* says of the calling process, without labels (prom_self.c). */
void prom_write_self(enum prom_form form, FILE *out);

/* Does it serve: runs, and has memory? */
bool prom_is_ready(const struct snapshot *s);

/* The form that the Accept header of a client asks for. */
enum prom_form prom_form_of(const char *accept);

#endif
