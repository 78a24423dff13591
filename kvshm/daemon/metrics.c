/* SPDX-License-Identifier: Apache-2.0 */
/* What the writer knows, into the stats page; what the clients say, checked first. */
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <kvshm/version.h>

#include "kvshm/arena/backing.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/log.h"
#include "kvshm/cache/cache.h"
#include "kvshm/cache/scrub.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/writer.h"

#define JUMP_MAX (1ull << 44) /* no honest counter grows by that much in a tick (16 TiB) */

void metrics_begin_client(struct session *s)
{
	for (unsigned i = 0; i < KVSHM_CC_LAST; i++)
		s->q.counter[i] = READ_ONCE(s->q.seg.hdr->counter[i]);
}

void metrics_take_client(struct writer *w, struct session *s)
{
	struct queue *q = &s->q;

	for (unsigned i = 0; i < KVSHM_CC_LAST; i++) {
		uint64_t v = READ_ONCE(q->seg.hdr->counter[i]), grown = v - q->counter[i];

		if (grown == 0)
			continue;
		if (v < q->counter[i] || grown > JUMP_MAX) {
			w->counts.counters_rejected++;
			continue;
		}
		q->counter[i] = v;
		q->added[i] += grown;
		w->counts.client[i] += grown;
		w->is_busy = true;
	}
}

static const struct timed_op {
	bool is_timed;
	enum stat_hist from_stamp, from_turn;
} timed_ops[KVSHM_OP_LAST] = {
	[KVSHM_OP_ATTACH_NS] = { true, HIST_OP_ATTACH_NS, HIST_SERVE_ATTACH_NS },
	[KVSHM_OP_GRANT] = { true, HIST_OP_GRANT, HIST_SERVE_GRANT },
	[KVSHM_OP_RETURN] = { true, HIST_OP_RETURN, HIST_SERVE_RETURN },
	[KVSHM_OP_COMMIT] = { true, HIST_OP_COMMIT, HIST_SERVE_COMMIT },
	[KVSHM_OP_DROP] = { true, HIST_OP_DROP, HIST_SERVE_DROP },
};

static bool is_timed(const struct kvshm_sqe *sqe)
{
	return sqe->op < ARRAY_SIZE(timed_ops) && timed_ops[sqe->op].is_timed;
}

/* A trace's clock says nothing of how long we take; a stamp of the future is a lie. */
uint64_t metrics_time(struct writer *w, enum stat_hist h, uint64_t stamp_ns)
{
	uint64_t now_ns = clock_ns();

	if (!stamp_ns || stamp_ns > now_ns || w->d->conf.lockstep)
		return 0;
	stat_hist_record(w->d->stats, h, now_ns - stamp_ns);
	return now_ns - stamp_ns;
}

uint64_t metrics_turn(const struct writer *w, const struct kvshm_sqe *sqe)
{
	return is_timed(sqe) && !w->d->conf.lockstep ? clock_ns() : 0;
}

uint64_t metrics_op(struct writer *w, const struct kvshm_sqe *sqe, uint64_t turn_ns)
{
	if (!is_timed(sqe))
		return 0;
	metrics_time(w, timed_ops[sqe->op].from_turn, turn_ns);
	return metrics_time(w, timed_ops[sqe->op].from_stamp, sqe->stamp_ns);
}

static void publish_cache(struct writer *w)
{
	struct statpage *p = w->d->stats;
	struct cache_counts c;

	cache_count(w->cache, &c);
	stat_set(p, METRIC_CAPACITY_BYTES, c.capacity_bytes);
	stat_set(p, METRIC_FREE_BYTES, c.free_bytes);
	stat_set(p, METRIC_GRANTED_BYTES, c.granted_bytes);
	stat_set(p, METRIC_PUBLISHED_BYTES, c.published_bytes);
	stat_set(p, METRIC_QUARANTINED_BYTES, c.quarantined_bytes);
	stat_set(p, METRIC_RETIRED_BYTES, c.retired_bytes);
	stat_set(p, METRIC_LARGEST_FREE_BYTES, c.largest_free_bytes);
	stat_set(p, METRIC_GRANTED, c.granted);
	stat_set(p, METRIC_PUBLISHED, c.published);
	stat_set(p, METRIC_QUARANTINED, c.quarantined);
	stat_set(p, METRIC_PUBLISHES, c.publishes);
	stat_set(p, METRIC_DUPLICATES, c.duplicates);
	stat_set(p, METRIC_DROPPED_FULL, c.dropped_full);
	stat_set(p, METRIC_DROPPED_PARENT, c.dropped_parent);
	stat_set(p, METRIC_DROPPED_INDEX, c.dropped_index);
	stat_set(p, METRIC_DROPPED_BAD, c.dropped_bad);
	stat_set(p, METRIC_EVICTIONS, c.evictions);
	stat_set(p, METRIC_EVICTED_BYTES, c.evicted_bytes);
	stat_set(p, METRIC_EVICTED_UNREAD, c.evicted_unread);
	stat_set(p, METRIC_SCANS, c.scans);
	stat_set(p, METRIC_VICTIMS_RESTORED, c.victims_restored);
	stat_set(p, METRIC_RELOCATIONS, c.relocations);
	stat_set(p, METRIC_DROPS, c.drops);
	stat_set(p, METRIC_PINS, c.pins);
	stat_set(p, METRIC_PINNED_BYTES, c.pinned_bytes);
	stat_set(p, METRIC_TOUCHES, c.touches);
	stat_set(p, METRIC_TOUCHES_STALE, c.touches_stale);
	stat_set(p, METRIC_HINTS, c.hints);
	stat_set(p, METRIC_HINTS_REFUSED, c.hints_refused);
	stat_set(p, METRIC_HOLDS, c.holds);
	stat_set(p, METRIC_NUMA_NEAR, c.near);
	stat_set(p, METRIC_NUMA_SPILL, c.spilled);
	stat_set(p, METRIC_HELD_BYTES, c.held_bytes);
	stat_set(p, METRIC_CHECKSUM_UNKNOWN, c.checksum_unknown);
}

static void publish_scrub(struct writer *w)
{
	struct statpage *p = w->d->stats;
	struct scrub_counts n;

	scrub_count(w->scrub, &n);
	stat_set(p, METRIC_SCRUB_BLOCKS, n.blocks);
	stat_set(p, METRIC_SCRUB_BYTES, n.bytes);
	stat_set(p, METRIC_SCRUB_PASSES, n.passes);
	stat_set(p, METRIC_CHECKSUM_FAILURES, n.failures);
}

static void publish_clients(struct writer *w)
{
	const uint64_t *cc = w->counts.client;
	struct statpage *p = w->d->stats;

	stat_set(p, METRIC_LOOKUPS, cc[KVSHM_CC_LOOKUPS]);
	stat_set(p, METRIC_LOOKUP_BLOCKS, cc[KVSHM_CC_LOOKUP_BLOCKS]);
	stat_set(p, METRIC_HIT_BLOCKS, cc[KVSHM_CC_HIT_BLOCKS]);
	stat_set(p, METRIC_HIT_TOKENS, cc[KVSHM_CC_HIT_TOKENS]);
	stat_set(p, METRIC_RESOLVE_SHORT, cc[KVSHM_CC_RESOLVE_SHORT]);
	stat_set(p, METRIC_QUOTA_REFUSALS, cc[KVSHM_CC_QUOTA_REFUSALS]);
	stat_set(p, METRIC_TOUCHES_DROPPED, cc[KVSHM_CC_TOUCHES_DROPPED]);
	stat_set(p, METRIC_CLIENT_DROPPED, cc[KVSHM_CC_DROPPED_DEAD] + cc[KVSHM_CC_DROPPED_CREDIT]);
	stat_set(p, METRIC_COUNTERS_REJECTED, w->counts.counters_rejected);
	stat_set(p, METRIC_GPU_IN_BYTES, cc[KVSHM_CC_GPU_IN_BYTES]);
	stat_set(p, METRIC_GPU_IN_BLOCKS, cc[KVSHM_CC_GPU_IN_BLOCKS]);
	stat_set(p, METRIC_GPU_OUT_BYTES, cc[KVSHM_CC_GPU_OUT_BYTES]);
	stat_set(p, METRIC_GPU_OUT_BLOCKS, cc[KVSHM_CC_GPU_OUT_BLOCKS]);
	stat_set(p, METRIC_GPU_BOUNCED_BYTES, cc[KVSHM_CC_GPU_BOUNCED]);
	stat_set(p, METRIC_GPU_FAILED, cc[KVSHM_CC_GPU_FAILED]);
	stat_set(p, METRIC_GPU_HELD, cc[KVSHM_CC_GPU_HELD]);
}

#define MINUTE (60 * 1000000000ull / RECENT_MARK_NS)

/* Of the blocks that were put in the last minute not one was taken: it finds what it has, and learns nothing. */
static bool takes_nothing(const struct writer *w, uint64_t taken, uint64_t dropped)
{
	return recent_grown(&w->recent, 3, MINUTE, dropped) && !recent_grown(&w->recent, 2, MINUTE, taken);
}

static void publish_recent(struct writer *w)
{
	const uint64_t asked = w->counts.client[KVSHM_CC_LOOKUP_BLOCKS], found = w->counts.client[KVSHM_CC_HIT_BLOCKS];
	struct statpage *p = w->d->stats;
	const uint64_t taken = stat_get(p, METRIC_PUBLISHES) + stat_get(p, METRIC_DUPLICATES),
		       dropped = stat_get(p, METRIC_DROPPED_FULL) + stat_get(p, METRIC_DROPPED_INDEX);

	recent_look(&w->recent, w->now_ns, (const uint64_t[RECENT_VALUES]){ asked, found, taken, dropped });
	stat_set(p, METRIC_LOOKUP_BLOCKS_5S, recent_grown(&w->recent, 0, 1, asked));
	stat_set(p, METRIC_HIT_BLOCKS_5S, recent_grown(&w->recent, 1, 1, found));
	stat_set(p, METRIC_LOOKUP_BLOCKS_1M, recent_grown(&w->recent, 0, MINUTE, asked));
	stat_set(p, METRIC_HIT_BLOCKS_1M, recent_grown(&w->recent, 1, MINUTE, found));
	stat_set(p, METRIC_SERVES, w->d->store.arena.nr_extents && !takes_nothing(w, taken, dropped));
}

static uint64_t cpu_ns(void)
{
	struct timespec ts = { 0 };

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void publish_time(struct writer *w)
{
	struct statpage *p = w->d->stats;
	uint64_t copied_ns = 0;

	for (unsigned i = 0; i < w->d->nr_copiers; i++)
		copied_ns += READ_ONCE(w->d->copier[i].busy_ns);
	stat_set(p, METRIC_WRITER_BUSY_NS, w->counts.busy_ns);
	stat_set(p, METRIC_WRITER_IDLE_NS, w->counts.idle_ns);
	stat_set(p, METRIC_WRITER_ASLEEP_NS, w->counts.asleep_ns);
	stat_set(p, METRIC_COPY_BUSY_NS, copied_ns);
	stat_set(p, METRIC_CPU_NS, cpu_ns());
}

static void publish_gpud(struct writer *w)
{
	const struct gpulink_pool *pool = &w->link.pool;
	struct statpage *p = w->d->stats;

	stat_set(p, METRIC_GPUD_UP, w->link.fd >= 0);
	stat_set(p, METRIC_GPUD_LINKS, w->link.nr_links);
	stat_set(p, METRIC_GPUD_JOBS, w->link.nr_done);
	stat_set(p, METRIC_GPUD_JOBS_FAILED, w->link.nr_failed);
	stat_set(p, METRIC_GPUD_IN_BYTES, w->link.loaded_bytes);
	stat_set(p, METRIC_GPUD_OUT_BYTES, w->link.saved_bytes);
	stat_set(p, METRIC_GPUD_POOL_BYTES, pool->bytes);
	stat_set(p, METRIC_GPUD_POOL_USED, pool->used_bytes);
	stat_set(p, METRIC_GPUD_POOL_HELD, pool->held_bytes);
	stat_set(p, METRIC_GPUD_POOL_CLIENTS, pool->clients);
	stat_set(p, METRIC_GPUD_POOL_STAGED, pool->staged_blocks);
	stat_set(p, METRIC_GPUD_POOL_STAGED_BYTES, pool->staged_bytes);
	stat_set(p, METRIC_GPUD_POOL_SHARED, pool->shared_blocks);
	stat_set(p, METRIC_GPUD_POOL_EVICTED, pool->evicted_blocks);
	stat_set(p, METRIC_GPUD_POOL_REFUSED, pool->refused);
}

static void publish_own(struct writer *w)
{
	const struct main_counts *m = &w->d->counts;
	struct statpage *p = w->d->stats;

	stat_set(p, METRIC_SQES, w->counts.sqes);
	stat_set(p, METRIC_SQES_REFUSED, w->counts.sqes_refused);
	stat_set(p, METRIC_SQES_REFUSED_OP, w->counts.sqes_refused_op);
	stat_set(p, METRIC_SQES_REFUSED_ARGS, w->counts.sqes_refused_args);
	stat_set(p, METRIC_CQ_FULL, w->counts.cq_full);
	stat_set(p, METRIC_COPY_IN_BYTES, w->counts.copy_in_bytes);
	stat_set(p, METRIC_WAKEUPS, w->counts.wakeups);
	stat_set(p, METRIC_EXTENTS, w->d->store.arena.nr_extents);
	stat_set(p, METRIC_NAMESPACES, READ_ONCE(w->d->store.dir.sb->nr_ns));
	stat_set(p, METRIC_STAGING_BYTES, READ_ONCE(m->staging_bytes));
	stat_set(p, METRIC_SESSIONS, READ_ONCE(m->sessions));
	stat_set(p, METRIC_ORPHANS, READ_ONCE(m->orphans));
	stat_set(p, METRIC_ACCEPTS, READ_ONCE(m->accepts));
	stat_set(p, METRIC_ATTACHES, READ_ONCE(m->attaches));
	stat_set(p, METRIC_REFUSALS, READ_ONCE(m->refusals));
	stat_set(p, METRIC_DETACHES, READ_ONCE(m->detaches));
	stat_set(p, METRIC_DETACHES_BAD, READ_ONCE(m->detaches_bad));
	stat_set(p, METRIC_DEATHS_HUP, READ_ONCE(m->deaths[DEATH_HUP]));
	stat_set(p, METRIC_DEATHS_PIDFD, READ_ONCE(m->deaths[DEATH_PIDFD]));
	stat_set(p, METRIC_DEATHS_TICK, READ_ONCE(m->deaths[DEATH_TICK]));
	stat_set(p, METRIC_DEATHS, stat_get(p, METRIC_DEATHS_HUP) + stat_get(p, METRIC_DEATHS_PIDFD) +
		 stat_get(p, METRIC_DEATHS_TICK));
	stat_set(p, METRIC_RELOADS, READ_ONCE(m->reloads));
	stat_set(p, METRIC_RELOADS_FAILED, READ_ONCE(m->reloads_failed));
	stat_set(p, METRIC_REAP_LAST_NS, READ_ONCE(m->reap_last_ns));
	stat_set(p, METRIC_REAP_MAX_NS, READ_ONCE(m->reap_max_ns));
	stat_set(p, METRIC_LOG_SUPPRESSED, log_suppressed());
	stat_set(p, METRIC_REAP_P99_NS, READ_ONCE(m->reap_p99_ns));
}

static void publish_queues(struct writer *w)
{
	uint64_t waiting = 0, paused = 0;

	for (unsigned i = 0; i < SESSION_MAX; i++) {
		struct queue *q = w->known[i] && w->known[i]->q.is_serving ? &w->known[i]->q : NULL;
		int room = q ? qp_space(&q->cq) : 0;

		if (!q)
			continue;
		waiting += sq_depth(&q->sq);
		paused += room >= 0 && (uint32_t)room <= q->owed;
	}
	stat_set(w->d->stats, METRIC_QUEUE_DEPTH, waiting);
	stat_set(w->d->stats, METRIC_QUEUES_PAUSED, paused);
}

static void publish_session(struct writer *w, unsigned index)
{
	const struct session *s = w->known[index];
	struct kvshm_stats_session e = { 0 };
	const uint64_t *cc;
	bool is_hostile;

	if (s) {
		cc = s->q.added;
		e.state = s->q.is_serving ? 1 : s->is_orphan ? 3 : 2;
		e.slot = s->slot;
		e.pid = (uint32_t)s->peer.pid;
		e.uid = s->peer.uid;
		e.is_trusted = s->is_trusted;
		e.quota_bytes = s->quota_bytes;
		e.since_ns = s->since_ns;
		e.grants = s->q.granted;
		e.grant_bytes = s->q.granted_bytes;
		e.lookups = cc[KVSHM_CC_LOOKUPS];
		e.lookup_blocks = cc[KVSHM_CC_LOOKUP_BLOCKS];
		e.hit_blocks = cc[KVSHM_CC_HIT_BLOCKS];
		e.hit_tokens = cc[KVSHM_CC_HIT_TOKENS];
		if (s->q.is_serving) {
			e.sq_entries = sq_depth(&s->q.sq);
			e.cq_entries = cq_depth(&s->q.cq);
		}
		e.commits = cc[KVSHM_CC_COMMITS];
		e.dropped = cc[KVSHM_CC_DROPPED_DEAD] + cc[KVSHM_CC_DROPPED_CREDIT] +
			    cc[KVSHM_CC_DROPPED_FULL];
		memcpy(e.label, s->label, sizeof(e.label));
		pin_set_file(w->d->store.pins, s->slot, &e.pinned_bytes, &e.pins, &is_hostile);
	}
	stat_session(w->d->stats, index, &e);
}

void metrics_publish(struct writer *w)
{
	publish_cache(w);
	publish_scrub(w);
	publish_clients(w);
	publish_own(w);
	publish_gpud(w);
	publish_recent(w);
	publish_time(w);
	publish_queues(w);
	for (unsigned i = 0; i < SESSION_MAX; i++) {
		if (w->known[i] || w->is_listed[i])
			publish_session(w, i);
		w->is_listed[i] = w->known[i] != NULL;
	}
}

static uint64_t page_bytes(const struct daemon *d)
{
	struct statfs fs;

	switch (d->store.dir.extent[0].page_kind) {
	case KVSHM_PAGES_HUGETLB:
		return fstatfs(d->inst.mem_fd, &fs) ? HUGE_LEN : (uint64_t)fs.f_bsize;
	case KVSHM_PAGES_TMPFS_HUGE:
		return HUGE_LEN;
	default:
		return (uint64_t)sysconf(_SC_PAGESIZE);
	}
}

void metrics_begin(struct writer *w)
{
	const struct store *st = &w->d->store;
	uint64_t len = st->grow.extent_len ? st->grow.extent_len : 1, span = st->arena.span;
	uint64_t more = st->grow.size > span ? (st->grow.size - span + len - 1) / len : 0;

	stat_set(w->d->stats, METRIC_EXTENTS_WANTED, st->arena.nr_extents + more);
	stat_set(w->d->stats, METRIC_MAX_BLOCKS, st->dir.max_blocks);
	stat_set(w->d->stats, METRIC_STARTS, st->start_count);
	stat_set(w->d->stats, METRIC_RECOVERY_NS, st->recovery_ns);
	stat_set(w->d->stats, METRIC_ABI, KVSHM_ABI);
	stat_set(w->d->stats, METRIC_PAGE_BYTES, page_bytes(w->d));
	stat_set(w->d->stats, METRIC_RECOVERED, (uint64_t)max_of(st->recovered, 0l));
	metrics_publish(w);
}
