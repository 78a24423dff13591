/* SPDX-License-Identifier: Apache-2.0 */
/*
 * statpage.h - the shared statistics page: written by the daemon, read by anybody in its group
 *
 * Layout in <kvshm/stats.h>; names, types, units and help in metrics.def, the one list.  Numbers are
 * plain relaxed stores; the session table is guarded by a sequence lock (ST-1) that a reader retries
 * at most 64 times, so a writer that died inside it cannot hang anybody.
 */
#ifndef KVSHM_STATS_STATPAGE_H
#define KVSHM_STATS_STATPAGE_H

#include <stdbool.h>
#include <stdint.h>

#include <kvshm/stats.h>

#include "kvshm/base/hist.h"

enum metric {
#define METRIC(id, ...) METRIC_##id,
#include "kvshm/stats/metrics.def"
#undef METRIC
	METRIC_LAST
};

enum stat_hist {
#define HIST(id, ...) HIST_##id,
#include "kvshm/stats/hists.def"
#undef HIST
	HIST_LAST
};

struct statpage;

/* Uses are counted by group: namespaces first, then classes. */
#define STAT_USES (KVSHM_STATS_NS + KVSHM_STATS_CLASSES)
unsigned stat_use_ns(uint32_t ns);
unsigned stat_use_class(uint32_t type);

/* Was anything counted? */
bool stat_use_any(const struct kvshm_stats_use *use);

/* ---- writer: one thread (the daemon's writer); heartbeats by each thread ------------------------ */

/**
 * statpage_create() - make the file @name in @dirfd anew, mode 0640, all pages faulted
 * The old file, if any, is replaced by rename(), so its readers keep a whole page.
 * Return: 0, -errno; nothing is left behind on failure.
 */
int statpage_create(int dirfd, const char *name, const char *version, struct statpage **ret_p);

/* Unmap (both sides).  The file stays: tools go on reading what a dead daemon left.  Return: NULL. */
struct statpage *statpage_destroy(struct statpage *p);

void stat_set(struct statpage *p, enum metric m, uint64_t value);
void stat_add(struct statpage *p, enum metric m, uint64_t n);

/* Count a time once, in the histogram's unit; each has one thread that does. */
void stat_hist_record(struct statpage *p, enum stat_hist h, uint64_t v);

/* Add to what is counted of @group, one of stat_use_ns() and stat_use_class(). */
void stat_use_add(struct statpage *p, unsigned group, const struct kvshm_stats_use *more);

/* One entry of the session table, all of it; @index < KVSHM_STATS_SESSIONS. */
void stat_session(struct statpage *p, unsigned index, const struct kvshm_stats_session *s);

/* Heartbeat of thread @thread (0 main, 1 writer, 2.. copy lcores), CLOCK_MONOTONIC ns. */
void stat_heartbeat(struct statpage *p, unsigned thread, uint64_t now_ns);

/* Text facts: page kind, policy, instance, state ("warm"/"cold"): enum kvshm_stats_text. */
void stat_text(struct statpage *p, unsigned which, const char *text);

/* ---- reader ----------------------------------------------------------------------------------- */

/* Map read-only and check every offset and size.  Return: 0, -EBADMSG, -EPROTONOSUPPORT, -errno. */
int statpage_open(const char *path, struct statpage **ret_p);

uint64_t stat_get(const struct statpage *p, enum metric m);
const char *stat_metric_name(enum metric m);	/* "kvshm_publishes_total" */

/* A copy of a histogram; empty if the page does not know it. */
void stat_get_hist(const struct statpage *p, enum stat_hist h, struct hist *ret_h);

/* What was counted of @group; zeros of groups that there are not. */
void stat_get_use(const struct statpage *p, unsigned group, struct kvshm_stats_use *ret_use);

/* Return: 0; -EAGAIN torn after 64 tries. */
int stat_get_session(const struct statpage *p, unsigned index, struct kvshm_stats_session *ret_s);

/* A copy of the text, NUL-terminated in @buf of KVSHM_STATS_TEXT_LEN bytes. */
void stat_get_text(const struct statpage *p, unsigned which, char *buf);

uint64_t stat_get_heartbeat(const struct statpage *p, unsigned thread);

const struct kvshm_stats_page *stat_header(const struct statpage *p);

#endif
