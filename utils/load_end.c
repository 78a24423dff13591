/* SPDX-License-Identifier: Apache-2.0 */
/* load_end.c - what the daemon holds after the last client has ended: nothing of theirs */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "utils/commands.h"
#include "utils/load.h"
#include "utils/target.h"
#include "utils/verify.h"

#define SETTLE_NS 2000000000u

/* What clients of this command still hold on a daemon that others use too. */
static uint64_t held_by_sessions(const struct statpage *p)
{
	struct kvshm_stats_session s;
	uint64_t held = 0;
	char label[32];

	load_label(getpid(), label);
	for (unsigned i = 0; i < KVSHM_STATS_SESSIONS; i++)
		if (!stat_get_session(p, i, &s) && s.state && !strncmp(s.label, label, sizeof(label)))
			held += 1 + s.grants + s.pins;
	return held;
}

/* Blocks granted, quarantined or pinned; on a private daemon nobody else can hold any. */
static uint64_t held_blocks(const struct load_options *o, const struct statpage *p)
{
	if (o->socket)
		return held_by_sessions(p);
	return stat_get(p, METRIC_GRANTED) + stat_get(p, METRIC_QUARANTINED) + stat_get(p, METRIC_PINS);
}

static uint64_t sessions_left(const struct load_options *o, const struct statpage *p)
{
	return o->socket ? 0 : stat_get(p, METRIC_SESSIONS) + stat_get(p, METRIC_ORPHANS);
}

void load_wait_for_page(const struct statpage *p)
{
	uint64_t end = clock_ns() + SETTLE_NS + 1000000000u, last = stat_get_heartbeat(p, 1);

	/* The first beat may end a tick that had begun before; the second one's tick saw everything. */
	for (unsigned beats = 0; beats < 2 && clock_ns() < end;) {
		uint64_t now = stat_get_heartbeat(p, 1);

		beats += now != last;
		last = now;
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
}

static void note_reaps(const struct statpage *p, struct load_result *r)
{
	r->reap_p99_ns = max_of(r->reap_p99_ns, stat_get(p, METRIC_REAP_P99_NS));
	r->reap_max_ns = max_of(r->reap_max_ns, stat_get(p, METRIC_REAP_MAX_NS));
}

void load_note_reaps(const char *socket, struct load_result *r)
{
	struct statpage *p;

	if (target_open(&(struct target){ .socket = socket }, &p))
		return;
	note_reaps(p, r);
	statpage_destroy(p);
}

static void verify(const struct load_options *o, const struct statpage *p, struct load_result *r)
{
	char dir[KVSHM_STATS_TEXT_LEN];
	struct verify_result v;

	stat_get_text(p, KVSHM_TEXT_MEMORY_DIR, dir);
	if (verify_directory(dir, &v) < 0) {
		/* Another user's daemon may keep its directory to itself. */
		r->verify_violations = o->socket ? -1 : 1;
		snprintf(r->verify_first, sizeof(r->verify_first), "%.100s: cannot be read", dir);
		return;
	}
	r->verify_violations = (int64_t)verify_violations(&v);
	snprintf(r->verify_first, sizeof(r->verify_first), "%s", v.first);
}

void load_settle(const struct load_options *o, const char *socket, struct load_result *r)
{
	struct statpage *p;
	uint64_t end;

	if (r->is_daemon_lost || target_open(&(struct target){ .socket = socket }, &p))
		return;
	end = clock_ns() + SETTLE_NS;
	load_wait_for_page(p);
	while (held_blocks(o, p) + sessions_left(o, p) && clock_ns() < end)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	r->leaked_blocks = held_blocks(o, p);
	if (sessions_left(o, p))
		fprintf(stderr, "kvshm load: 2 s after the last client ended, the daemon has %llu sessions and %llu old pin files\n",
			(unsigned long long)stat_get(p, METRIC_SESSIONS),
			(unsigned long long)stat_get(p, METRIC_ORPHANS));
	note_reaps(p, r);
	stat_get_text(p, KVSHM_TEXT_PAGES, r->pages);
	verify(o, p, r);
	statpage_destroy(p);
}
