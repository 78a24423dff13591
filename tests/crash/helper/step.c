/* SPDX-License-Identifier: Apache-2.0 */
/*
 * step.c - SIGKILL after step k of each thing that a client does
 *
 *   step [--points N] [--seed N] [--cap N] [--budget N]	one JSON object on stdout
 *
 * A victim does everything once, an int3 before each phase.  The stepper runs it to a phase and then
 * to a point inside it, and kills it there.  A phase that is short is killed at every instruction.
 * In a long one a half of the points are spread evenly over its instructions; the others lie in the
 * instructions after one of its system calls, where a state that others see has changed.
 *
 * After each death nothing of the victim may be left, and what is published must be right.
 */
#include <sys/ptrace.h>

#include "crash.h"
#include "utils/private_daemon.h"

enum phase {
	HELLO, ACQUIRE, RESOLVE, RELEASE, TOUCH, GRANT, FILL, COMMIT, POLL, PUT, STAGED, DROP, DETACH, NR_PHASES
};

static const char *const phase_name[NR_PHASES] = {
	"hello+attach", "acquire", "resolve", "release", "touch", "grant", "fill", "commit", "poll", "put",
	"staged put", "drop", "detach",
};

enum {
	BASE_CHAIN = 1, BASE_NR = 24, OWN_NR = 4,
	AFTER_CALL = 48,		/* steps after a system call that are points */
	VERIFY_EVERY = 64,
};

static struct crash_instance in;
static struct kvshm *judge;
static uint32_t judge_ns;
static struct kvshm_pin base_pin;
static int *phase;			/* shared: the phase that the victim is in */

static struct {
	uint64_t points, wrong, leaked, lost, hung, violations;
	uint64_t steps[NR_PHASES], calls[NR_PHASES], nr[NR_PHASES];
} sum;
static uint64_t *reap_ns;
static uint64_t cap;			/* only the first so many instructions of a phase, for a short run */
static uint64_t budget;			/* steps that the even points of one long phase may cost */

/* ---- the victim --------------------------------------------------------------------------------- */

#define MARK(p)								\
	do {								\
		WRITE_ONCE(*phase, (p));				\
		__asm__ __volatile__("int3" ::: "memory");		\
	} while (0)

static void victim_poll(struct kvshm *k, unsigned nr)
{
	struct kvshm_completion c[4];

	while (nr) {
		int got = kvshm_poll(k, c, 4, 200000);

		if (got <= 0)
			break;
		nr -= (unsigned)got;
	}
}

static void victim(uint32_t chain)
{
	struct kvshm_key base[BASE_NR], key[OWN_NR];
	struct kvshm_block b[BASE_NR], own[OWN_NR];
	struct kvshm_pin pin = { 0 };
	struct kvshm *k, *staged;
	uint32_t ns, ns2;
	int i, got;

	crash_keys(BASE_CHAIN, BASE_NR, base);
	crash_keys(chain, OWN_NR, key);
	MARK(HELLO);
	k = crash_open(&in, 0, &ns);
	if (!k)
		_exit(3);
	MARK(ACQUIRE);
	kvshm_acquire(k, ns, base, BASE_NR, &pin);
	MARK(RESOLVE);
	kvshm_resolve(k, &pin, base, b);
	MARK(RELEASE);
	kvshm_release(k, &pin);
	MARK(TOUCH);
	kvshm_acquire(k, ns, base, 1, &pin);
	MARK(GRANT);
	got = kvshm_grant(k, ns, 0, OWN_NR, own, 500000);
	MARK(FILL);
	for (i = 0; i < got; i++)
		crash_fill(own[i].ptr, CRASH_BLOCK, &key[i]);
	MARK(COMMIT);
	kvshm_commit(k, ns, NULL, key, own, (unsigned)got, 0, 1);
	MARK(POLL);
	victim_poll(k, 1);
	MARK(PUT);
	crash_put(k, ns, chain + 1, 0, 2, 2);
	victim_poll(k, 1);
	MARK(STAGED);
	staged = crash_open(&in, KVSHM_OPEN_UNTRUSTED, &ns2);
	if (!staged)
		_exit(3);
	crash_put(staged, ns2, chain + 2, 0, 2, 3);
	victim_poll(staged, 1);
	kvshm_close(staged);
	MARK(DROP);
	kvshm_drop(k, ns, &key[OWN_NR / 2]);
	MARK(DETACH);
	kvshm_close(k);
	MARK(NR_PHASES);
	_exit(0);
}

/* ---- stepping ----------------------------------------------------------------------------------- */

static void on_alarm(int sig)
{
}

/* Return: the stop signal; 0: it ended; -1: nothing came in 10 s. */
static int wait_stop(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, __WALL) < 0)
		return -1;
	return WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
}

static int resume(pid_t pid, int how)
{
	if (ptrace(how, pid, NULL, NULL) < 0)
		return -1;
	return wait_stop(pid);
}

/* A victim that has just passed the mark of @p.  Return: its pid, 0: it did not get there. */
static pid_t run_to(enum phase p, uint32_t chain)
{
	pid_t pid = crash_fork();

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		victim(chain);
	}
	if (wait_stop(pid) != SIGSTOP)
		goto failed;
	ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD));
	WRITE_ONCE(*phase, -1);
	do
		if (resume(pid, PTRACE_CONT) != SIGTRAP)
			goto failed;
	while (READ_ONCE(*phase) != (int)p);
	return pid;
failed:
	crash_kill(pid);
	return 0;
}

/* Return: steps done, fewer than @max when the phase ended; a stop that is none is counted. */
static uint64_t step(pid_t pid, enum phase p, uint64_t max)
{
	uint64_t n = 0;

	while (n < max) {
		int sig = resume(pid, PTRACE_SINGLESTEP);

		if (sig != SIGTRAP) {
			sum.hung += sig < 0;
			break;
		}
		if (READ_ONCE(*phase) != (int)p)
			break;
		n++;
	}
	return n;
}

/* Past @n stops at system calls, two for each.  Return: how many there were. */
static uint64_t pass_calls(pid_t pid, uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; i++)
		if (resume(pid, PTRACE_SYSCALL) != (SIGTRAP | 0x80))
			break;
	return i;
}

/* ---- judging ------------------------------------------------------------------------------------ */

static void judge_content(uint32_t chain)
{
	uint64_t before = sum.wrong;
	unsigned i;

	for (i = 0; i < 3; i++)
		crash_read(judge, judge_ns, chain + i, OWN_NR, &sum.wrong);
	if (crash_read(judge, judge_ns, BASE_CHAIN, BASE_NR, &sum.wrong) != BASE_NR)
		sum.lost++;
	if (sum.wrong != before)
		fprintf(stderr, "wrong bytes in chain %u\n", chain);
}

static void judge_death(enum phase p, const char *how, uint64_t at, uint32_t chain)
{
	uint64_t ns = crash_wait_base(&in, 1, 2000000000);

	if (ns == UINT64_MAX) {
		fprintf(stderr, "%s %s %" PRIu64 ": %u blocks, %u pin files left after 2 s\n", phase_name[p], how, at,
			crash_held(&in), crash_pin_files(&in));
		sum.leaked++;
		ns = 2000000000;
	}
	reap_ns[sum.points++] = ns;
	sum.nr[p]++;
	if (private_daemon_has_exited(in.d)) {
		fprintf(stderr, "%s %s %" PRIu64 ": the daemon is dead\n", phase_name[p], how, at);
		exit(1);
	}
	judge_content(chain);
	if (sum.points % VERIFY_EVERY == 0)
		sum.violations += crash_verify(&in);
}

static uint32_t next_chain(void)
{
	static uint32_t chain = 16;

	return chain += 4;
}

static void die_after_steps(enum phase p, uint64_t k)
{
	uint32_t chain = next_chain();
	pid_t pid;

	alarm(10);
	pid = run_to(p, chain);
	if (!pid) {
		sum.hung++;
		return;
	}
	step(pid, p, k);
	crash_kill(pid);
	judge_death(p, "step", k, chain);
}

static void die_after_call(enum phase p, uint64_t stop, uint64_t k)
{
	uint32_t chain = next_chain();
	pid_t pid;

	alarm(10);
	pid = run_to(p, chain);
	if (!pid) {
		sum.hung++;
		return;
	}
	if (pass_calls(pid, stop) == stop)
		step(pid, p, k);
	crash_kill(pid);
	judge_death(p, "stop", stop, chain);
}

/* How long is each phase? */
static void measure(enum phase p)
{
	pid_t pid;

	alarm(10);
	pid = run_to(p, next_chain());
	if (pid) {
		alarm(100);
		sum.steps[p] = step(pid, p, cap);
		crash_kill(pid);
	}
	alarm(10);
	pid = run_to(p, next_chain());
	if (pid) {
		while (resume(pid, PTRACE_SYSCALL) == (SIGTRAP | 0x80))
			sum.calls[p]++;
		crash_kill(pid);
	}
	if (!sum.steps[p]) {
		fprintf(stderr, "%s: no victim comes through it\n", phase_name[p]);
		sum.hung++;
	}
}

static void die_in(enum phase p, uint64_t quota, struct rand *r)
{
	uint64_t len = sum.steps[p], nr = quota, i;

	if (len <= quota) {
		for (i = 0; i < len; i++)
			die_after_steps(p, i);
		return;
	}
	if (sum.calls[p]) {
		nr = quota / 2;
		if (nr > 2 * budget / len)
			nr = 2 * budget / len;
		for (i = 0; i < quota - nr; i++)
			die_after_call(p, 1 + i % sum.calls[p], rand_below(r, AFTER_CALL));
	}
	for (i = 0; i < nr; i++)
		die_after_steps(p, len * i / nr + rand_below(r, len / nr));
}

/* ---- */

static void prepare(void)
{
	struct kvshm_key key[BASE_NR];
	struct kvshm_completion c;
	uint32_t ns;
	struct kvshm *k;

	crash_start(&in, 64u << 20, 2048, 80);
	k = crash_open(&in, 0, &ns);
	if (!k || crash_put(k, ns, BASE_CHAIN, 0, BASE_NR, 0) < 0 || kvshm_poll(k, &c, 1, 1000000) != 1 ||
	    c.res != BASE_NR) {
		fprintf(stderr, "the base chain cannot be put\n");
		exit(2);
	}
	kvshm_close(k);
	judge = crash_open(&in, KVSHM_OPEN_UNTRUSTED, &judge_ns);
	crash_keys(BASE_CHAIN, BASE_NR, key);
	if (!judge || kvshm_acquire(judge, judge_ns, key, BASE_NR, &base_pin) != BASE_NR ||
	    crash_wait_base(&in, 1, 2000000000) == UINT64_MAX) {
		fprintf(stderr, "the base chain cannot be pinned\n");
		exit(2);
	}
	phase = crash_shared(sizeof(*phase));
}

static void report(unsigned fds)
{
	enum phase p;

	for (p = 0; p < NR_PHASES; p++)
		fprintf(stderr, "# %-12s %7" PRIu64 " steps %3" PRIu64 " calls: %5" PRIu64 " points\n", phase_name[p],
			sum.steps[p], sum.calls[p] / 2, sum.nr[p]);
	printf("{\"points\": %" PRIu64 ", \"wrong\": %" PRIu64 ", \"leaked\": %" PRIu64 ", \"lost\": %" PRIu64
	       ", \"hung\": %" PRIu64 ", \"violations\": %" PRIu64 ", \"fds_left\": %d, "
	       "\"reap_p50_us\": %" PRIu64 ", \"reap_p99_us\": %" PRIu64 ", \"reap_max_us\": %" PRIu64 "}\n",
	       sum.points, sum.wrong, sum.leaked, sum.lost, sum.hung, sum.violations,
	       crash_fds_left(&in, fds, 5000000000), crash_permille(reap_ns, (unsigned)sum.points, 500) / 1000,
	       crash_permille(reap_ns, (unsigned)sum.points, 990) / 1000,
	       crash_permille(reap_ns, (unsigned)sum.points, 1000) / 1000);
}

int main(int argc, char **argv)
{
	const uint64_t points = crash_option(argc, argv, "--points", 4000);
	const struct sigaction sa = { .sa_handler = on_alarm };
	uint64_t quota, left;
	struct rand r;
	enum phase p;
	unsigned fds;

	cap = crash_option(argc, argv, "--cap", 4000000);
	budget = crash_option(argc, argv, "--budget", 220000);
	rand_init(&r, crash_option(argc, argv, "--seed", 1));
	sigaction(SIGALRM, &sa, NULL);
	reap_ns = calloc(2 * points + 64, sizeof(*reap_ns));
	prepare();
	fds = crash_fds_base(&in);
	for (p = 0; p < NR_PHASES; p++)
		measure(p);
	crash_wait_base(&in, 1, 2000000000);
	/* What the short phases do not use is the others'. */
	left = points;
	for (p = 0; p < NR_PHASES; p++)
		left -= sum.steps[p] < points / NR_PHASES ? sum.steps[p] : 0;
	for (quota = 0, p = 0; p < NR_PHASES; p++)
		quota += sum.steps[p] >= points / NR_PHASES;
	quota = quota ? (left + quota - 1) / quota : 0;
	for (p = 0; p < NR_PHASES; p++)
		die_in(p, quota, &r);
	sum.violations += crash_verify(&in);
	report(fds);
	crash_stop(&in);
	return sum.wrong || sum.leaked || sum.lost || sum.hung || sum.violations;
}
