/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restart.c - SIGKILL of the daemon and warm restart, while clients read, put and drop
 *
 *   restart [--kills N] [--readers N] [--writers N] [--arena-mib N] [--seed N]	one JSON object on stdout
 *
 * Each writer owns some chains.  What a completion said is published is entered as confirmed, and what
 * the writer drops is taken out before: so a confirmed block must be found at any time, whether a
 * daemon lives or not.  All chains together are smaller than the arena, so nothing is evicted.
 *
 * Readers look for confirmed blocks all the time, compare the bytes, and count their hits while no
 * daemon lives.  Pins that they took before a death are kept over it and compared after it.
 */
#include "crash.h"
#include "kvshm/base/compiler.h"
#include "utils/private_daemon.h"

enum { CHAINS = 48, NR = 24, PROCS_MAX = 16 };
#define HANG_NS 5000000000ull
#define READY_NS 20000000000ull

struct cell {				/* shared, one a process */
	uint64_t since_ns, wrong, lost, hits, hits_dead, puts, drops, errors, put_ns;
	uint64_t put_max_ns, drop_max_ns, read_max_ns;	/* longest calls */
	uint64_t pad[4];
};

static struct crash_instance in;
static struct shared {
	uint32_t is_dead, is_over;
	uint32_t confirmed[CHAINS];	/* 0, or a number of its own for each time that all of a chain must be there */
	uint64_t drop_ns[CHAINS];	/* for a complaint: when the last drop began, what it returned */
	int drop_ret[CHAINS];
	struct cell cell[PROCS_MAX];
} *sh;
static unsigned nr_readers, nr_writers;
static struct {
	uint64_t kills, leaked, lost, hung, violations, wrong;
} sum;

/* ---- readers ------------------------------------------------------------------------------------ */

/* A writer may drop the chain during the look, and put it again: then the number is another one. */
static void look(struct kvshm *k, uint32_t ns, unsigned chain, struct cell *c)
{
	const bool was_dead = READ_ONCE(sh->is_dead);
	const uint32_t mark = READ_ONCE(sh->confirmed[chain]);
	int got;

	if (!mark)
		return;
	got = crash_read(k, ns, 1 + chain, NR, &c->wrong);
	if (got < 0) {
		c->errors++;
		return;
	}
	if (got < NR && READ_ONCE(sh->confirmed[chain]) == mark) {
		c->lost++;
		fprintf(stderr, "chain %u: %d of %d found, was %s, is %s, drop of %" PRIu64 " ms before returned %d\n", chain, got,
			NR, was_dead ? "dead" : "live", READ_ONCE(sh->is_dead) ? "dead" : "live",
			(clock_ns() - sh->drop_ns[chain]) / 1000000, sh->drop_ret[chain]);
	}
	if (got > 0) {
		c->hits++;
		c->hits_dead += was_dead && READ_ONCE(sh->is_dead);
	}
}

static void reader(unsigned number)
{
	struct cell *c = &sh->cell[number];
	struct kvshm_key key[NR];
	struct kvshm_block b[NR];
	struct kvshm_pin pin = { 0 };
	unsigned held = 0, n = 0;
	struct kvshm *k;
	struct rand r;
	uint32_t ns;
	int i, got = 0;

	rand_init(&r, number + 77);
	k = crash_open(&in, number % 2 ? KVSHM_OPEN_UNTRUSTED : 0, &ns);
	if (!k)
		_exit(3);
	while (!READ_ONCE(sh->is_over)) {
		WRITE_ONCE(c->since_ns, clock_ns());
		look(k, ns, (unsigned)rand_below(&r, CHAINS), c);
		c->read_max_ns = max_of(c->read_max_ns, clock_ns() - READ_ONCE(c->since_ns));
		if (++n % 64)
			continue;
		/* A pin over many looks, and so over deaths. */
		for (i = 0; i < got; i++)
			c->wrong += !crash_is_right(b[i].ptr, CRASH_BLOCK, &key[i]);
		if (n % 4096 == 0 || !held) {
			unsigned chain = (unsigned)rand_below(&r, CHAINS);

			kvshm_release(k, &pin);
			crash_keys(1 + chain, NR, key);
			got = kvshm_acquire(k, ns, key, NR, &pin);
			got = got > 0 ? kvshm_resolve(k, &pin, key, b) : 0;
			held = got > 0;
		}
	}
	WRITE_ONCE(c->since_ns, 0);
	kvshm_close(k);
	_exit(0);
}

/* ---- writers ------------------------------------------------------------------------------------ */

/* A drop without an answer may come yet; what is completed after it was asked for after it. */
static bool is_in_doubt;

static void confirm(unsigned chain)
{
	static uint32_t mark;

	WRITE_ONCE(sh->confirmed[chain], ++mark);
}

/* One put of a whole chain's rest; it counts only if its completion comes. */
static void put_rest(struct kvshm *k, uint32_t ns, unsigned chain, struct cell *c)
{
	struct kvshm_completion done;
	uint64_t wrong = 0, end = clock_ns() + 300000000;
	static uint64_t tag;
	uint64_t start;
	int have, nr, ret;

	have = crash_read(k, ns, 1 + chain, NR, &wrong);
	start = clock_ns();
	c->wrong += wrong;
	if (have < 0 || have >= NR) {
		if (have >= NR && !is_in_doubt && !READ_ONCE(sh->confirmed[chain]))
			confirm(chain);
		return;
	}
	tag++;
	ret = crash_put(k, ns, 1 + chain, (unsigned)have, (unsigned)(NR - have), tag);
	c->put_max_ns = max_of(c->put_max_ns, clock_ns() - start);
	if (ret < 0) {
		crash_nap(500000);
		return;
	}
	/* What a dead daemon owed never comes: -ECONNRESET, or a completion of another tag after it. */
	while (clock_ns() < end) {
		nr = kvshm_poll(k, &done, 1, 20000);
		if (nr < 0)
			return;
		if (nr == 1 && done.user_data == tag) {
			is_in_doubt = false;
			if (done.res >= 0 && (unsigned)done.res + done.nr_duplicate == (unsigned)(NR - have)) {
				confirm(chain);
				WRITE_ONCE(c->put_ns, clock_ns());
				c->puts++;
			}
			return;
		}
	}
}

static void writer(unsigned number)
{
	struct cell *c = &sh->cell[number];
	unsigned mine = number - nr_readers;
	struct kvshm_key key;
	struct kvshm *k;
	struct rand r;
	uint32_t ns;

	rand_init(&r, number + 777);
	k = crash_open(&in, mine % 2 ? KVSHM_OPEN_UNTRUSTED : 0, &ns);
	if (!k)
		_exit(3);
	while (!READ_ONCE(sh->is_over)) {
		unsigned chain = mine + nr_writers * (unsigned)rand_below(&r, CHAINS / nr_writers);

		WRITE_ONCE(c->since_ns, clock_ns());
		if ((READ_ONCE(sh->confirmed[chain]) || is_in_doubt) && rand_below(&r, 2)) {
			WRITE_ONCE(sh->confirmed[chain], 0);
			crash_keys(1 + chain, 1, &key);
			sh->drop_ns[chain] = clock_ns();
			sh->drop_ret[chain] = kvshm_drop(k, ns, &key);
			c->drop_max_ns = max_of(c->drop_max_ns, clock_ns() - sh->drop_ns[chain]);
			c->drops += sh->drop_ret[chain] > 0;
			is_in_doubt = sh->drop_ret[chain] < 0;
		} else {
			put_rest(k, ns, chain, c);
		}
	}
	WRITE_ONCE(c->since_ns, 0);
	kvshm_close(k);
	_exit(0);
}

/* ---- the killer --------------------------------------------------------------------------------- */

static void find_hung(void)
{
	unsigned i;

	for (i = 0; i < nr_readers + nr_writers; i++) {
		uint64_t since = READ_ONCE(sh->cell[i].since_ns);

		if (since && clock_ns() > since + HANG_NS) {
			fprintf(stderr, "%s %u hangs\n", i < nr_readers ? "reader" : "writer", i);
			sum.hung++;
		}
	}
}

static bool wait_started(uint32_t before)
{
	uint64_t end = clock_ns() + READY_NS;

	while (directory_start_count(directory_state(&in.dir)) == before) {
		if (clock_ns() > end || private_daemon_has_exited(in.d))
			return false;
		crash_nap(1000000);
	}
	return true;
}

static uint64_t last_put(void)
{
	uint64_t last = 0;
	unsigned i;

	for (i = nr_readers; i < nr_readers + nr_writers; i++)
		last = max_of(last, READ_ONCE(sh->cell[i].put_ns));
	return last;
}

/* A process that comes too late would find no daemon. */
static void wait_all_open(void)
{
	uint64_t end = clock_ns() + READY_NS;
	unsigned i;

	for (i = 0; i < nr_readers + nr_writers; i++)
		while (!READ_ONCE(sh->cell[i].since_ns) && clock_ns() < end)
			crash_nap(1000000);
}

/* Until a put is accepted again.  Return: ns from @since, 0: none came. */
static uint64_t wait_put(uint64_t since)
{
	uint64_t end = clock_ns() + HANG_NS;

	while (last_put() <= since) {
		if (clock_ns() > end)
			return 0;
		crash_nap(500000);
	}
	return last_put() - since;
}

/* How long it took from a death to a daemon that is LIVE, and to a put that it accepted. */
struct outage {
	uint64_t *live_ns, *put_ns;
	unsigned nr;
};

static void one_death(struct rand *r, struct outage *o)
{
	uint32_t before = directory_start_count(directory_state(&in.dir));
	uint64_t at, put;

	crash_nap(rand_below(r, 12000000));
	private_daemon_kill(in.d, SIGKILL);
	at = clock_ns();
	WRITE_ONCE(sh->is_dead, 1);
	sum.kills++;

	crash_nap(rand_below(r, 3000000));
	if (private_daemon_restart(in.d) < 0 || !wait_started(before)) {
		fprintf(stderr, "the daemon does not start again\n");
		sum.lost++;
		exit(1);
	}
	WRITE_ONCE(sh->is_dead, 0);
	o->live_ns[o->nr] = clock_ns() - at;
	put = wait_put(at);
	if (!put) {
		fprintf(stderr, "no put is accepted after death %" PRIu64 "\n", sum.kills);
		sum.hung++;
	}
	o->put_ns[o->nr++] = put;
	find_hung();
	if (!directory_is_live(directory_state(&in.dir))) {
		fprintf(stderr, "the directory was given up\n");
		exit(1);
	}
}

static void end_all(const pid_t *pid)
{
	unsigned i;
	int status;

	WRITE_ONCE(sh->is_over, 1);
	for (i = 0; i < nr_readers + nr_writers; i++) {
		uint64_t end = clock_ns() + HANG_NS;

		while (waitpid(pid[i], &status, WNOHANG) == 0) {
			if (clock_ns() > end) {
				sum.hung++;
				kill(pid[i], SIGKILL);
				waitpid(pid[i], &status, 0);
				break;
			}
			crash_nap(1000000);
		}
		if (!WIFEXITED(status) || WEXITSTATUS(status)) {
			fprintf(stderr, "process %u ended by itself, status %#x\n", i, status);
			sum.lost++;
		}
	}
	if (crash_wait_base(&in, 0, 3000000000) == UINT64_MAX) {
		fprintf(stderr, "all gone: %u blocks, %u pin files left\n", crash_held(&in), crash_pin_files(&in));
		sum.leaked++;
	}
	sum.violations += crash_verify(&in);
}

static double ms_of(uint64_t *v, unsigned nr, unsigned permille)
{
	return (double)crash_permille(v, nr, permille) / 1e6;
}

static void report(const struct outage *o, const struct cell *t)
{
	printf("{\"daemon_kills\": %" PRIu64 ", \"wrong\": %" PRIu64 ", \"leaked\": %" PRIu64 ", \"lost\": %" PRIu64
	       ", \"hung\": %" PRIu64 ", \"violations\": %" PRIu64 ", \"hits\": %" PRIu64 ", \"hits_dead\": %" PRIu64
	       ", \"puts\": %" PRIu64 ", \"drops\": %" PRIu64 ", \"errors\": %" PRIu64
	       ", \"read_max_ms\": %.1f, \"put_max_ms\": %.1f, \"drop_max_ms\": %.1f"
	       ", \"live_p50_ms\": %.1f, \"live_p99_ms\": %.1f, \"live_max_ms\": %.1f"
	       ", \"first_put_p50_ms\": %.1f, \"first_put_p99_ms\": %.1f, \"first_put_max_ms\": %.1f}\n",
	       sum.kills, sum.wrong, sum.leaked, sum.lost, sum.hung, sum.violations, t->hits, t->hits_dead, t->puts,
	       t->drops, t->errors, (double)t->read_max_ns / 1e6, (double)t->put_max_ns / 1e6,
	       (double)t->drop_max_ns / 1e6, ms_of(o->live_ns, o->nr, 500), ms_of(o->live_ns, o->nr, 990),
	       ms_of(o->live_ns, o->nr, 1000), ms_of(o->put_ns, o->nr, 500), ms_of(o->put_ns, o->nr, 990),
	       ms_of(o->put_ns, o->nr, 1000));
}

int main(int argc, char **argv)
{
	const unsigned long kills = crash_option(argc, argv, "--kills", 500);
	struct outage o = { calloc(kills, sizeof(uint64_t)), calloc(kills, sizeof(uint64_t)), 0 };
	struct cell t = { 0 };
	pid_t pid[PROCS_MAX];
	struct rand r;
	unsigned i;

	nr_readers = (unsigned)min_of(crash_option(argc, argv, "--readers", 4), 8ul);
	nr_writers = (unsigned)min_of(crash_option(argc, argv, "--writers", 2), 8ul);
	rand_init(&r, crash_option(argc, argv, "--seed", 1));
	sh = crash_shared(sizeof(*sh));
	crash_start(&in, crash_option(argc, argv, "--arena-mib", 64) << 20, 8192, 80);
	for (i = 0; i < nr_readers + nr_writers; i++) {
		pid[i] = crash_fork();
		if (pid[i] == 0)
			i < nr_readers ? reader(i) : writer(i);
	}
	wait_all_open();
	wait_put(0);
	for (i = 0; i < kills; i++)
		one_death(&r, &o);
	end_all(pid);
	for (i = 0; i < nr_readers + nr_writers; i++) {
		const struct cell *c = &sh->cell[i];

		sum.wrong += c->wrong;
		sum.lost += c->lost;
		t.hits += c->hits;
		t.hits_dead += c->hits_dead;
		t.puts += c->puts;
		t.drops += c->drops;
		t.errors += c->errors;
		t.put_max_ns = max_of(t.put_max_ns, c->put_max_ns);
		t.drop_max_ns = max_of(t.drop_max_ns, c->drop_max_ns);
		t.read_max_ns = max_of(t.read_max_ns, c->read_max_ns);
	}
	report(&o, &t);
	crash_stop(&in);
	return sum.wrong || sum.leaked || sum.lost || sum.hung || sum.violations || !t.hits_dead;
}
