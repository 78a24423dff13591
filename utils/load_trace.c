/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_trace.c - a trace's requests through real clients, beside what the replayer makes of them
 *
 * Sessions are dealt to processes.  A request: acquire, check every byte, put what is missing, release,
 * kvshm_sync(), at which the daemon, whose clock is the trace's (policy.lockstep), takes the victims.
 *
 *	lockstep	one request at a time, staged puts (nothing is granted ahead): each request must hit
 *			exactly the blocks that it hits in the replayer
 *	free running	requests that are less than OVERLAP apart in the trace run at the same time, one in each
 *			process, each put in one COMMIT: one process's victims are not to be another's put that
 *			is half done.  Hours pass in seconds here; without that bound a request would begin
 *			before the one that was over long ago, and find nothing of it.  Together they use no more
 *			than a quarter of the capacity: what is pinned stays, whatever the policy says, and more
 *			than that would be another cache than the replayer's
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"
#include "kvshm/cache/cache.h"
#include "utils/bench.h"
#include "utils/commands.h"
#include "utils/load.h"
#include "utils/replay.h"

#define OVERLAP_NS 1000000000ull	/* as long as a prefill may take */
#define IN_USE_SHARE 4u			/* of the capacity, by requests that run at the same time */
#define BATCH 64u			/* blocks of a staged put */
#define STEP_NS 20000u
#define PUT_US 2000000u
#define REQUEST_NS 20000000000u		/* a turn that takes longer is lost */
#define CREDITS 128u			/* blocks that a process may have granted and not published */
#define SLACK (32ul << 20)		/* of the arena: slabs are never quite full */

struct trace_run {
	const struct load_options *o;
	struct load_shared *sh;
	const char *socket;
	const struct sim_trace *t;
	uint64_t capacity;
	uint32_t *expected;		/* hits of each request in the replayer */
	struct sim_result sim;
};

struct trace_client {
	const struct trace_run *run;
	struct load_slot *slot;
	struct kvshm *k;
	uint32_t ns[LOAD_NAMESPACES];
	struct kvshm_key *keys;
	struct kvshm_block *blocks;
	char *bytes;			/* BATCH blocks */
	unsigned puts;			/* under way */
};

/* ---- turns ------------------------------------------------------------------------------------------- */

static unsigned owner_of(const struct trace_run *run, size_t req)
{
	const uint32_t session = run->t->req[req].session;

	return (unsigned)((session ? session : req) % run->o->procs);
}

static size_t next_own(const struct trace_run *run, unsigned number, size_t req)
{
	while (req < run->t->nr_req && owner_of(run, req) != number)
		req++;
	return req;
}

/* May @req begin while @other is the oldest that is not done, and @blocks are in use by those before it? */
static bool may_overlap(const struct trace_run *run, uint64_t other, uint64_t blocks, size_t req)
{
	if (other >= req)
		return true;
	return !run->o->is_lockstep && run->t->req[req].time_ns - run->t->req[other].time_ns < OVERLAP_NS &&
	       blocks + run->t->req[req].nr <= run->capacity / IN_USE_SHARE;
}

/* Wait until request @req may begin.  Return: 0, -ETIMEDOUT nobody went on for too long. */
static int wait_for_turn(const struct trace_run *run, size_t req)
{
	uint64_t end = clock_ns() + REQUEST_NS, least, before = 0;

	for (;;) {
		uint64_t blocks = 0;

		least = UINT64_MAX;
		for (unsigned i = 0; i < run->o->procs; i++) {
			const uint64_t other = READ_ONCE(run->sh->slot[i].next_request);

			least = min_of(least, other);
			blocks += other < req ? run->t->req[other].nr : 0;
		}
		if (may_overlap(run, least, blocks, req))
			return 0;
		if (least != before)
			end = clock_ns() + REQUEST_NS;
		before = least;
		if (clock_ns() > end || READ_ONCE(run->sh->is_stopping))
			return -ETIMEDOUT;
		nanosleep(&(struct timespec){ .tv_nsec = STEP_NS }, NULL);
	}
}

/* ---- a request ----------------------------------------------------------------------------------------- */

/* The first word is the fingerprint that the replayer gives the block: policies sample by it. */
static struct kvshm_key key_of(uint32_t block)
{
	struct kvshm_key key;
	uint64_t w[4] = { rand_mix(block) };

	for (unsigned i = 1; i < 4; i++)
		w[i] = rand_mix(w[i - 1] + i);
	memcpy(key.bytes, w, sizeof(w));
	return key;
}

/* Bytes of block @i of a request: in proportion to its tokens, as kvshm_put() reads it. */
static uint32_t block_len(const struct trace_run *run, const struct sim_request *q, uint32_t i)
{
	const uint64_t all = run->t->block_tokens, end = (i + 1ull) * all;
	const uint64_t tokens = end <= q->tokens ? all : q->tokens + all - end;
	const uint64_t len = (tokens * run->o->block_len + all - 1) / all;

	return tokens < all && len ? (uint32_t)len : run->o->block_len;
}

/* Return: leading blocks present, each byte checked. */
static unsigned get_present(struct trace_client *c, const struct sim_request *q, struct kvshm_pin *pin)
{
	const uint64_t begin = clock_ns();
	int n = kvshm_acquire(c->k, c->ns[0], c->keys, q->nr, pin), m = 0;

	hist_record(&c->slot->acquire_ns, clock_ns() - begin);
	c->slot->acquires++;
	c->slot->blocks += q->nr;
	if (n > 0)
		m = kvshm_resolve(c->k, pin, c->keys, c->blocks);
	c->slot->short_resolves += m < n;
	for (int i = 0; i < m; i++) {
		const uint32_t len = c->blocks[i].length & ~7u;

		c->slot->checked_bytes += len;
		c->slot->wrong_bytes += tag_wrong_bytes(c->blocks[i].ptr, len, 0, &c->keys[i]);
	}
	m = m > 0 ? m : 0;
	c->slot->hits += (unsigned)m;
	return (unsigned)m;
}

static int put_batch(struct trace_client *c, const struct sim_request *q, unsigned at, unsigned nr)
{
	const uint32_t room = c->run->o->block_len;
	uint32_t len[BATCH];
	const void *src[BATCH];

	for (unsigned i = 0; i < nr; i++) {
		src[i] = c->bytes + (size_t)i * room;
		len[i] = block_len(c->run, q, at + i);
		tag_fill(c->bytes + (size_t)i * room, room, 0, &c->keys[at + i]);
	}
	return kvshm_put(c->k, c->ns[0], at ? &c->keys[at - 1] : NULL, c->keys + at, src, len, nr, 0, nr, PUT_US);
}

/* Granted blocks, filled in place.  Return: 0, -errno; -ENOBUFS also without enough grants. */
static int put_whole(struct trace_client *c, const struct sim_request *q, unsigned at, unsigned nr)
{
	struct kvshm_block *b = c->blocks + at;
	unsigned got = 0;
	int ret;

	while (got < nr) {
		ret = kvshm_grant(c->k, c->ns[0], 0, nr - got, b + got, PUT_US);
		if (ret <= 0) {
			kvshm_return(c->k, b, got);
			return ret ? ret : -ENOBUFS;
		}
		got += (unsigned)ret;
	}
	for (unsigned i = 0; i < nr; i++) {
		b[i].length = block_len(c->run, q, at + i);
		b[i].tokens = (uint32_t)((uint64_t)b[i].length * c->run->t->block_tokens / c->run->o->block_len);
		tag_fill(b[i].ptr, c->run->o->block_len, 0, &c->keys[at + i]);
	}
	return kvshm_commit(c->k, c->ns[0], at ? &c->keys[at - 1] : NULL, c->keys + at, b, nr, 0, nr);
}

/* Of all puts under way.  Return: 0, -errno. */
static int take_completions(struct trace_client *c)
{
	struct kvshm_completion done[16];
	int n;

	while (c->puts) {
		n = kvshm_poll(c->k, done, ARRAY_SIZE(done), PUT_US);
		if (n <= 0)
			return n ? n : -ETIMEDOUT;
		c->puts -= (unsigned)n;
		for (int i = 0; i < n; i++) {
			c->slot->published += done[i].res > 0 ? (uint64_t)done[i].res : 0;
			c->slot->duplicates += done[i].nr_duplicate;
			c->slot->dropped += done[i].res < 0 ? done[i].user_data : done[i].nr_dropped;
		}
	}
	return 0;
}

/* Return: 0, -errno: the daemon is not there. */
static int put_missing(struct trace_client *c, const struct sim_request *q, unsigned have)
{
	const bool is_staged = c->run->o->is_lockstep;
	unsigned nr;
	int ret = 0;

	for (unsigned at = have; ret == 0 && at < q->nr; at += nr) {
		nr = min_of(is_staged ? BATCH : KVSHM_COMMIT_MAX, q->nr - at);
		ret = is_staged ? put_batch(c, q, at, nr) : put_whole(c, q, at, nr);
		if (ret < 0)
			c->slot->dropped += q->nr - at;
		else
			c->puts++;
	}
	return ret == 0 || ret == -ENOBUFS ? take_completions(c) : ret;
}

static int one_request(struct trace_client *c, size_t req)
{
	const struct sim_request *q = &c->run->t->req[req];
	struct kvshm_pin pin = { 0 };
	unsigned have;
	int ret;

	for (uint32_t i = 0; i < q->nr; i++)
		c->keys[i] = key_of(c->run->t->chain[q->first + i]);
	kvshm_set_clock(c->k, &q->time_ns);
	kvshm_set_hint(c->k, q->hints);
	have = get_present(c, q, &pin);
	c->slot->saved_seconds += sim_saved_seconds(c->run->t, q, have, &policy_default_cost, c->run->o->block_len);
	if (c->run->o->is_lockstep && have != c->run->expected[req] && !c->slot->strays++)
		fprintf(stderr, "kvshm load: request %zu hits %u blocks, in the replayer %u\n", req, have,
			c->run->expected[req]);
	ret = put_missing(c, q, have);
	kvshm_release(c->k, &pin);
	return ret < 0 ? ret : kvshm_sync(c->k);
}

static void trace_client(void *ctx, unsigned number)
{
	const struct trace_run *run = ctx;
	struct trace_client c = { .run = run, .slot = &run->sh->slot[number] };
	size_t req = next_own(run, number, 0);
	int ret;

	c.keys = calloc(run->t->longest, sizeof(*c.keys));
	c.blocks = calloc(run->t->longest, sizeof(*c.blocks));
	c.bytes = malloc((size_t)BATCH * run->o->block_len);
	if (!c.keys || !c.blocks || !c.bytes || load_attach(run->o, run->socket, number, run->sh, &c.k, c.ns) < 0)
		_exit(1);
	for (; req < run->t->nr_req; req = next_own(run, number, req + 1)) {
		WRITE_ONCE(c.slot->next_request, req);
		ret = wait_for_turn(run, req);
		if (ret == 0)
			ret = one_request(&c, req);
		if (ret < 0) {
			fprintf(stderr, "kvshm load: client %u: request %zu: %s\n", number, req, strerror(-ret));
			_exit(1);
		}
	}
	WRITE_ONCE(c.slot->next_request, UINT64_MAX / 2);
	kvshm_close(c.k);
}

/* ---- the run -------------------------------------------------------------------------------------------- */

static void note_hits(void *arg, size_t req, uint32_t hits)
{
	((uint32_t *)arg)[req] = hits;
}

/* Blocks that processes may hold besides what is published: none in lockstep. */
static uint64_t more_ids(const struct trace_run *run)
{
	return run->o->is_lockstep ? 0 : (uint64_t)run->o->procs * (run->t->longest + CREDITS);
}

static int run_replayer(struct trace_run *run)
{
	struct sim_config cfg = { .ops = cache_policy(run->o->policy), .capacity = run->capacity,
				  .more_ids = more_ids(run), .block_bytes = run->o->block_len, .on_request = note_hits };

	run->expected = calloc(run->t->nr_req, sizeof(*run->expected));
	cfg.arg = run->expected;
	return run->expected ? sim_run(run->t, &cfg, &run->sim) : -ENOMEM;
}

static int start_daemon(const struct trace_run *run, struct private_daemon **ret_d)
{
	const struct load_options *o = run->o;
	/* As many ids as the replayer's, so that the policies remember as much. */
	uint64_t ids = min_of(run->capacity + run->t->longest, (uint64_t)run->t->nr_blocks) + more_ids(run);
	char capacity[64], policy[64];

	snprintf(capacity, sizeof(capacity), "arena.capacity_blocks=%llu", (unsigned long long)run->capacity);
	snprintf(policy, sizeof(policy), "policy.name=%s", o->policy);
	private_daemon_set(capacity);
	private_daemon_set(policy);
	private_daemon_set("policy.lockstep=yes");
	private_daemon_set("clients.pin_quota=100%");
	return private_daemon_start(ids * o->block_len / 100 * 115 + SLACK, ids, o->procs + 16, ret_d);
}

static int run_clients(struct trace_run *run, struct load_result *r)
{
	const uint64_t begin = clock_ns();
	pid_t pid[LOAD_PROCS_MAX];

	for (unsigned i = 0; i < run->o->procs; i++)
		pid[i] = load_spawn(trace_client, run, i);
	for (unsigned i = 0; i < run->o->procs; i++)
		if (pid[i] <= 0 || load_reap(pid[i], UINT64_MAX) < 0) {
			/* The others wait for a turn that never comes. */
			WRITE_ONCE(run->sh->is_stopping, 1);
			r->client_failures++;
		}
	r->seconds = (double)(clock_ns() - begin) / 1e9;
	return 0;
}

static int replay_live(struct trace_run *run, struct load_result *r)
{
	struct private_daemon *d;
	int ret;

	run->sh = load_shared_create();
	if (!run->sh || run_replayer(run) < 0) {
		fputs("kvshm load: out of memory\n", stderr);
		return EXIT_DEAD;
	}
	if (start_daemon(run, &d) < 0)
		return EXIT_DEAD;
	run->socket = private_daemon_socket(d);
	ret = run_clients(run, r);
	load_settle(run->o, run->socket, r);
	load_sum_up(run->o, run->sh, &r->sum);
	private_daemon_stop(d);
	return ret;
}

int load_trace(struct load_options *o, struct load_result *ret)
{
	char why[READER_WHY_LEN];
	struct loaded_trace l;
	struct trace_run run = { .o = o, .t = &l.t };
	int err = reader_load("kvshm load", o->trace, &(struct reader_options){ 0 }, o->is_json, &l);

	if (err)
		return err;
	o->block_tokens = l.t.block_tokens;
	if (replay_capacity(o->capacity, l.t.nr_blocks, o->block_len, &run.capacity, why) < 0) {
		fprintf(stderr, "kvshm load: %s: %s\n", o->trace, why);
		err = EXIT_USAGE;
	} else if (l.t.longest > KVSHM_CHAIN_MAX) {
		fprintf(stderr, "kvshm load: %s: a request of %u blocks; %u are possible\n", o->trace, l.t.longest,
			KVSHM_CHAIN_MAX);
		err = EXIT_DATA;
	} else {
		*ret = (struct load_result){ .verify_violations = -1, .capacity_blocks = run.capacity };
		err = replay_live(&run, ret);
		ret->replayer_hits = run.sim.block_hits;
		ret->replayer_saved_seconds = run.sim.saved_seconds;
	}
	free(run.expected);
	reader_unload(&l);
	return err;
}
