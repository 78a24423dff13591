/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.c - one look at a statistics page */
#include "utils/snapshot.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ipc/instance.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/stats/metrics.h"
#include "utils/commands.h"

/* A label comes from a client: what is not printable is shown as '?'. */
static void label_clean(char *label)
{
	for (; *label; label++)
		if (!isprint((unsigned char)*label))
			*label = '?';
}

void snapshot_copy(const struct statpage *p, struct snapshot *s)
{
	s->state = target_state(p);
	s->at_ns = clock_ns();
	s->start_ns = stat_header(p)->start_ns;
	s->pid = stat_header(p)->pid;
	s->has_pids = target_has_pids(p);
	s->nr_sessions = s->nr_torn = 0;
	s->prefill_rate = 0;
	for (unsigned i = 0; i < STAT_USES; i++)
		stat_get_use(p, i, &s->use[i]);
	for (unsigned i = 0; i < METRIC_LAST; i++)
		s->metric[i] = stat_get(p, (enum metric)i);
	for (unsigned i = 0; i < HIST_LAST; i++)
		stat_get_hist(p, (enum stat_hist)i, &s->hist[i]);
	for (unsigned i = 0; i < KVSHM_STATS_THREADS; i++)
		s->heartbeat_ns[i] = stat_get_heartbeat(p, i);
	for (unsigned i = 0; i < KVSHM_STATS_TEXTS; i++)
		stat_get_text(p, i, s->text[i]);
	for (unsigned i = 0; i < KVSHM_STATS_SESSIONS; i++) {
		struct kvshm_stats_session *to = &s->session[s->nr_sessions];
		int ret = stat_get_session(p, i, to);

		s->nr_torn += ret == -EAGAIN;
		if (ret || !to->state)
			continue;
		label_clean(to->label);
		s->nr_sessions++;
	}
}

int snapshot_look(const struct target *t, struct snapshot *ret_s)
{
	struct statpage *p;
	char path[512], *slash;
	int ret = instance_stats(t->socket, t->instance, path, sizeof(path));

	if (!ret)
		ret = statpage_open(path, &p);
	if (ret < 0)
		return ret;
	snapshot_copy(p, ret_s);
	statpage_destroy(p);
	slash = strrchr(path, '/');
	snprintf(ret_s->dir, sizeof(ret_s->dir), "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
	return 0;
}

int snapshot_take(const struct target *t, struct snapshot *ret_s)
{
	struct statpage *p;
	int ret;

	if (!snapshot_look(t, ret_s))
		return EXIT_FINE;
	/* Says why, and knows the exit status; should a page have come meanwhile, so much the better. */
	ret = target_open(t, &p);
	if (ret)
		return ret;
	statpage_destroy(p);
	return snapshot_look(t, ret_s) < 0 ? EXIT_DEAD : EXIT_FINE;
}

static uint64_t grown(const struct snapshot *now, const struct snapshot *before, enum metric m)
{
	uint64_t was = before && before->start_ns == now->start_ns ? before->metric[m] : 0;

	return now->metric[m] > was ? now->metric[m] - was : 0;
}

double snapshot_rate(const struct snapshot *now, const struct snapshot *before, enum metric m)
{
	uint64_t from = before ? max_of(before->at_ns, now->start_ns) : now->start_ns;

	return now->at_ns > from ? (double)grown(now, before, m) * 1e9 / (double)(now->at_ns - from) : 0;
}

double snapshot_hit_ratio(const struct snapshot *now, const struct snapshot *before)
{
	uint64_t asked = grown(now, before, METRIC_LOOKUP_BLOCKS);

	return asked ? (double)grown(now, before, METRIC_HIT_BLOCKS) / (double)asked : 0;
}

bool snapshot_is_counter(enum metric m)
{
	return metric_defs[m].type == KVSHM_STATS_COUNTER;
}
