/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storm.c - SIGKILL of clients at random moments of a tagged load
 *
 *   storm [--kills N] [--clients N] [--life-us N] [--seed N]	one JSON object on stdout
 *
 * Each client opens a session, trusted or not, reads, puts, grants, drops, leaves and comes again,
 * until it is killed after a life of random length.  It compares all that it reads with what belongs
 * there, and leaves the start of the operation under way where the killer sees whether it hangs.
 *
 * The arena is small, so that all of it goes on under eviction; some chains are pinned by a session
 * that lives, and must be there at any time.  Now and then all clients are killed at once, and then
 * nothing may be left of them.
 */
#include "crash.h"
#include "kvshm/base/compiler.h"
#include "utils/private_daemon.h"

enum {
	CHAINS = 192, NR = 24, PINNED = 4, BIGS = 40, CLIENTS_MAX = 64,
	JUDGE_EVERY = 1000,
};
#define HANG_NS 5000000000ull

struct cell {				/* shared, one a client, on its own line */
	uint64_t since_ns;		/* start of the operation under way, 0: none */
	uint64_t wrong, reads, puts, opens;
	uint64_t pad[3];
};

struct client {
	pid_t pid;
	uint64_t end_ns;
};

static struct crash_instance in;
static struct cell *cell;
static struct client client[CLIENTS_MAX];
static unsigned nr_clients;
static struct rand rnd;
static uint64_t life_us;
static struct {
	uint64_t kills, wrong, leaked, lost, hung, violations, all_at_once;
} sum;

/* ---- a client ----------------------------------------------------------------------------------- */

static uint32_t pick_chain(struct rand *r)
{
	return 100 + (uint32_t)rand_below(r, CHAINS);
}

/* Puts what is not there yet of a chain. */
static void put_rest(struct kvshm *k, uint32_t ns, struct rand *r, struct cell *c)
{
	uint32_t chain = pick_chain(r);
	int have = crash_read(k, ns, chain, NR, &c->wrong);

	if (have >= 0 && have < NR)
		c->puts += crash_put(k, ns, chain, (unsigned)have,
				     (unsigned)min_of(NR - have, 1 + (int)rand_below(r, 8)), 1) == 0;
}

static void grant_and_commit(struct kvshm *k, uint32_t ns, struct rand *r)
{
	struct kvshm_key key[4];
	struct kvshm_block b[4];
	int i, got = kvshm_grant(k, ns, 0, 4, b, 2000);

	if (got <= 0)
		return;
	crash_keys(pick_chain(r), 4, key);
	for (i = 0; i < got; i++)
		crash_fill(b[i].ptr, CRASH_BLOCK, &key[i]);
	if (rand_below(r, 4))
		kvshm_commit(k, ns, NULL, key, b, (unsigned)got, 0, 2);
	else
		kvshm_return(k, b, (unsigned)got);
}

/* What its completion says is published is whole at once: the copy was before. */
static void put_big(struct kvshm *k, uint32_t ns, uint32_t chain, struct cell *c)
{
	static char bytes[CRASH_BIG] __attribute__((aligned(64)));
	const void *src = bytes;
	struct kvshm_completion done;
	struct kvshm_key key;
	struct kvshm_block b;
	struct kvshm_pin pin;
	unsigned tries;

	crash_keys(chain, 1, &key);
	crash_fill(bytes, CRASH_BIG, &key);
	if (kvshm_put(k, ns, NULL, &key, &src, NULL, 1, 0, 9, 100000) < 0)
		return;
	for (tries = 0; tries < 200000 && kvshm_poll(k, &done, 1, 0) == 0; tries++)
		cpu_relax();
	if (kvshm_acquire(k, ns, &key, 1, &pin) != 1)
		return;
	if (kvshm_resolve(k, &pin, &key, &b) == 1)
		c->wrong += !crash_is_right(b.ptr, CRASH_BIG, &key);
	kvshm_release(k, &pin);
}

static void one_op(struct kvshm *k, uint32_t ns, uint32_t big, bool is_trusted, struct rand *r, struct cell *c)
{
	struct kvshm_completion done[16];
	struct kvshm_key key;

	switch (rand_below(r, 16)) {
	case 0:
		if (rand_below(r, 8))
			break;
		crash_keys(pick_chain(r), 1, &key);
		kvshm_drop(k, ns, &key);
		break;
	case 1: case 2: case 3: case 4:
		put_rest(k, ns, r, c);
		break;
	case 5: case 6:
		if (is_trusted)
			grant_and_commit(k, ns, r);
		else if (big && rand_below(r, 4) == 0)
			put_big(k, big, 1000 + (uint32_t)rand_below(r, BIGS), c);
		break;
	case 7: case 8:
		kvshm_poll(k, done, 16, 200);
		break;
	default:
		c->reads += crash_read(k, ns, pick_chain(r), NR, &c->wrong) > 0;
	}
}

static void live(unsigned number, uint64_t seed)
{
	struct cell *c = &cell[number];
	struct rand r;

	rand_init(&r, seed);
	for (;;) {
		bool is_trusted = rand_below(&r, 3);
		unsigned ops = 1 + (unsigned)rand_below(&r, 400);
		uint32_t ns, big = 0;
		struct kvshm *k;

		WRITE_ONCE(c->since_ns, clock_ns());
		k = crash_open(&in, is_trusted ? 0 : KVSHM_OPEN_UNTRUSTED, &ns);
		if (!k) {
			if (errno != EAGAIN)
				_exit(3);
			crash_nap(200000);	/* the dead before us have the slots still */
			continue;
		}
		c->opens++;
		if (!is_trusted)
			crash_attach_big(k, &big);
		while (ops--) {
			WRITE_ONCE(c->since_ns, clock_ns());
			one_op(k, ns, big, is_trusted, &r, c);
		}
		WRITE_ONCE(c->since_ns, clock_ns());
		kvshm_close(k);
	}
}

/* ---- the killer --------------------------------------------------------------------------------- */

static void spawn(unsigned i)
{
	uint64_t seed = rand_u64(&rnd);

	client[i].end_ns = clock_ns() + 200000 + (life_us * 2 * rand_below(&rnd, 1000));
	cell[i].since_ns = 0;
	client[i].pid = crash_fork();
	if (client[i].pid == 0)
		live(i, seed);
}

static void kill_one(unsigned i)
{
	uint64_t since = READ_ONCE(cell[i].since_ns);
	int status;

	if (since && clock_ns() > since + HANG_NS) {
		fprintf(stderr, "a client hangs\n");
		sum.hung++;
	}
	kill(client[i].pid, SIGKILL);
	waitpid(client[i].pid, &status, 0);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
		fprintf(stderr, "a client ended by itself: %s %d\n", WIFSIGNALED(status) ? "signal" : "exit",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		sum.lost++;
	}
	sum.kills++;
}

static void judge_all(struct kvshm *judge, uint32_t ns)
{
	unsigned i;

	for (i = 0; i < nr_clients; i++)
		kill_one(i);
	sum.all_at_once++;
	if (crash_wait_base(&in, 1, 2000000000) == UINT64_MAX) {
		fprintf(stderr, "all dead: %u blocks, %u pin files left after 2 s\n", crash_held(&in),
			crash_pin_files(&in));
		sum.leaked++;
	}
	sum.violations += crash_verify(&in);
	for (i = 0; i < PINNED; i++)
		sum.lost += crash_read(judge, ns, 1 + i, NR, &sum.wrong) != NR;
	for (i = 0; i < CHAINS; i++)
		crash_read(judge, ns, 100 + i, NR, &sum.wrong);
	if (private_daemon_has_exited(in.d)) {
		fprintf(stderr, "the daemon is dead\n");
		exit(1);
	}
}

static void storm(struct kvshm *judge, uint32_t ns, uint64_t kills)
{
	uint64_t next_judge = JUDGE_EVERY;
	unsigned i;

	for (i = 0; i < nr_clients; i++)
		spawn(i);
	while (sum.kills < kills) {
		unsigned first = 0;
		uint64_t now;

		for (i = 1; i < nr_clients; i++)
			if (client[i].end_ns < client[first].end_ns)
				first = i;
		now = clock_ns();
		if (now < client[first].end_ns)
			crash_nap(client[first].end_ns - now);
		kill_one(first);
		spawn(first);
		if (sum.kills < next_judge)
			continue;
		next_judge = sum.kills + JUDGE_EVERY;
		judge_all(judge, ns);
		for (i = 0; i < nr_clients; i++)
			spawn(i);
	}
	judge_all(judge, ns);
}

/* Chains that are pinned all the time: eviction and drop must leave them. */
static struct kvshm *prepare(uint32_t *ret_ns)
{
	struct kvshm_key key[NR];
	struct kvshm_completion c;
	struct kvshm_pin pin;
	struct kvshm *k;
	unsigned i;

	crash_start(&in, 64u << 20, 3000, 190);
	k = crash_open(&in, KVSHM_OPEN_UNTRUSTED, ret_ns);
	for (i = 0; k && i < PINNED; i++) {
		crash_keys(1 + i, NR, key);
		if (crash_put(k, *ret_ns, 1 + i, 0, NR, 0) < 0 || kvshm_poll(k, &c, 1, 1000000) != 1 ||
		    kvshm_acquire(k, *ret_ns, key, NR, &pin) != NR)
			break;
	}
	if (i < PINNED) {
		fprintf(stderr, "the pinned chains cannot be put\n");
		exit(2);
	}
	cell = crash_shared(CLIENTS_MAX * sizeof(*cell));
	return k;
}

int main(int argc, char **argv)
{
	const uint64_t kills = crash_option(argc, argv, "--kills", 30000);
	uint64_t reads = 0, puts = 0, opens = 0, start;
	unsigned i, fds;
	uint32_t ns;
	struct kvshm *judge;

	nr_clients = (unsigned)min_of(crash_option(argc, argv, "--clients", 8), (unsigned long)CLIENTS_MAX);
	life_us = crash_option(argc, argv, "--life-us", 8000);
	rand_init(&rnd, crash_option(argc, argv, "--seed", 1));
	judge = prepare(&ns);
	fds = crash_fds_base(&in);
	start = clock_ns();
	storm(judge, ns, kills);
	for (i = 0; i < nr_clients; i++) {
		sum.wrong += cell[i].wrong;
		reads += cell[i].reads;
		puts += cell[i].puts;
		opens += cell[i].opens;
	}
	printf("{\"client_kills\": %" PRIu64 ", \"wrong\": %" PRIu64 ", \"leaked\": %" PRIu64 ", \"lost\": %" PRIu64
	       ", \"hung\": %" PRIu64 ", \"violations\": %" PRIu64 ", \"fds_left\": %d, \"all_at_once\": %" PRIu64
	       ", \"reads\": %" PRIu64 ", \"puts\": %" PRIu64 ", \"opens\": %" PRIu64 ", \"kills_per_s\": %.0f}\n",
	       sum.kills, sum.wrong, sum.leaked, sum.lost, sum.hung, sum.violations,
	       crash_fds_left(&in, fds, 5000000000), sum.all_at_once, reads, puts, opens,
	       (double)sum.kills / ((double)(clock_ns() - start) / 1e9));
	crash_stop(&in);
	return sum.wrong || sum.leaked || sum.lost || sum.hung || sum.violations;
}
