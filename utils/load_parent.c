/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_parent.c - a run of kvshm load: starts everything, kills on schedule, watches, ends everything
 *
 * Looks round every TICK.  Life of the daemon under --kill-daemon:
 *
 *	served --(kill_daemon_ns since)--> SIGKILL, waitpid, deaths++ --(PAUSE)--> started again
 *	   ^                                                                          |
 *	   +------------- a client says that a put was accepted (.accepted_ns) -------+
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"
#include "utils/bench.h"
#include "utils/commands.h"
#include "utils/load.h"

#define TICK_NS 5000000u
#define PAUSE_NS 300000000u		/* how long the daemon stays dead, so that clients hit meanwhile */
#define HUNG_NS 5000000000u
#define LOST_NS 30000000000u		/* a daemon that did not come back by then is lost */
#define END_NS 10000000000u

enum life { SERVED, DOWN, STARTED };

struct parent {
	const struct load_options *o;
	struct load_client_ctx ctx;
	struct load_shared *sh;
	struct load_result *r;
	struct private_daemon *daemon;	/* NULL: --socket */
	struct rand rand;
	pid_t pid[LOAD_PROCS_MAX];
	enum life life;
	uint64_t begin_ns, next_client_ns, next_daemon_ns;
	uint64_t killed_ns;		/* last SIGKILL of the daemon */
	uint64_t served_since_ns;
};

static int spawn_client(struct parent *p, unsigned number)
{
	WRITE_ONCE(p->sh->slot[number].progress_ns, clock_ns());
	p->pid[number] = load_spawn(load_client, &p->ctx, number);
	if (p->pid[number] > 0)
		return 0;
	fprintf(stderr, "kvshm load: fork: %s\n", strerror(-p->pid[number]));
	return -1;
}

static int kill_one_client(struct parent *p)
{
	unsigned number = (unsigned)rand_below(&p->rand, p->o->procs);

	kill(p->pid[number], SIGKILL);
	waitpid(p->pid[number], NULL, 0);
	p->r->client_kills++;
	return spawn_client(p, number);
}

/* ---- the daemon's deaths --------------------------------------------------------------------------- */

static int kill_daemon(struct parent *p)
{
	load_note_reaps(p->ctx.socket, p->r);
	p->killed_ns = clock_ns();
	if (private_daemon_kill(p->daemon, SIGKILL) < 0)
		return -1;
	WRITE_ONCE(p->sh->deaths, p->sh->deaths + 1);
	p->r->daemon_kills++;
	p->life = DOWN;
	return 0;
}

/* Return: when the successor accepted a put, 0: not yet. */
static uint64_t accepted_ns(const struct parent *p)
{
	uint64_t first = 0;

	for (unsigned i = 0; i < p->o->procs; i++) {
		uint64_t ns = READ_ONCE(p->sh->slot[i].accepted_ns);

		if (ns > p->killed_ns && (!first || ns < first))
			first = ns;
	}
	return first;
}

static void see_if_served(struct parent *p, uint64_t now)
{
	uint64_t at = accepted_ns(p);

	if (!at)
		return;
	p->r->restart_max_ns = max_of(p->r->restart_max_ns, at - p->killed_ns);
	p->life = SERVED;
	p->served_since_ns = now;
	p->next_daemon_ns = max_of(p->next_daemon_ns, now + PAUSE_NS);
}

/* Return: 0, -1 the daemon is gone for good. */
static int step_daemon(struct parent *p, uint64_t now, bool is_ending)
{
	if (!p->daemon)
		return 0;
	if (p->life != DOWN && private_daemon_has_exited(p->daemon)) {
		fprintf(stderr, "kvshm load: the daemon ended by itself\n");
		return -1;
	}
	switch (p->life) {
	case SERVED:
		if (is_ending || !p->o->kill_daemon_ns || now < p->next_daemon_ns)
			return 0;
		p->next_daemon_ns += p->o->kill_daemon_ns;
		return kill_daemon(p);
	case DOWN:
		if (now - p->killed_ns < PAUSE_NS)
			return 0;
		p->life = STARTED;
		return private_daemon_restart(p->daemon);
	case STARTED:
		see_if_served(p, now);
		if (p->life == STARTED && now - p->killed_ns > LOST_NS) {
			fprintf(stderr, "kvshm load: no put was accepted for 30 s after the daemon started again\n");
			return -1;
		}
	}
	return 0;
}

/* ---- the clients' well-being ------------------------------------------------------------------------ */

static int look_after(struct parent *p, unsigned number, uint64_t now)
{
	uint64_t since = max_of(READ_ONCE(p->sh->slot[number].progress_ns), p->served_since_ns);
	int status;

	if (waitpid(p->pid[number], &status, WNOHANG) == p->pid[number]) {
		fprintf(stderr, "kvshm load: client %u ended by itself: %s %d\n", number,
			WIFSIGNALED(status) ? "signal" : "status",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		p->r->client_failures++;
		return spawn_client(p, number);
	}
	if (p->life == SERVED && now > since && now - since > HUNG_NS && !p->r->is_hung) {
		fprintf(stderr, "kvshm load: client %u (pid %d) has made no progress for 5 s\n", number,
			(int)p->pid[number]);
		p->r->is_hung = true;
	}
	return 0;
}

static int step(struct parent *p, uint64_t now, bool is_ending)
{
	if (step_daemon(p, now, is_ending) < 0) {
		p->r->is_daemon_lost = true;
		return -1;
	}
	for (unsigned i = 0; i < p->o->procs; i++)
		if (look_after(p, i, now) < 0)
			return -1;
	if (is_ending || !p->o->kill_clients_ns || now < p->next_client_ns)
		return 0;
	p->next_client_ns += p->o->kill_clients_ns;
	return kill_one_client(p);
}

/* Until the time is over and the daemon serves. */
static void watch(struct parent *p)
{
	uint64_t end = p->begin_ns + p->o->run_ns, now;

	while ((now = clock_ns()) < end || p->life != SERVED) {
		if (step(p, now, now >= end) < 0)
			break;
		bench_progress("load, seconds", (now - p->begin_ns) / 1000000000u, max_of(p->o->run_ns / 1000000000u, 1u));
		nanosleep(&(struct timespec){ .tv_nsec = TICK_NS }, NULL);
	}
	bench_progress("", 0, 0);
	p->r->seconds = (double)(clock_ns() - p->begin_ns) / 1e9;
}

static void end_clients(struct parent *p)
{
	uint64_t deadline = clock_ns() + END_NS;

	WRITE_ONCE(p->sh->is_stopping, 1);
	for (unsigned i = 0; i < p->o->procs; i++)
		if (p->pid[i] > 0 && load_reap(p->pid[i], deadline) < 0)
			p->r->client_failures++;
}

void load_sum_up(const struct load_options *o, const struct load_shared *sh, struct load_slot *s)
{
	for (unsigned i = 0; i < o->procs; i++) {
		const struct load_slot *from = &sh->slot[i];

		s->acquires += from->acquires;
		s->blocks += from->blocks;
		s->hits += from->hits;
		s->short_resolves += from->short_resolves;
		s->checked_bytes += from->checked_bytes;
		s->wrong_bytes += from->wrong_bytes;
		s->published += from->published;
		s->duplicates += from->duplicates;
		s->dropped += from->dropped;
		s->hits_while_dead += from->hits_while_dead;
		s->strays += from->strays;
		s->saved_seconds += from->saved_seconds;
		hist_merge(&s->acquire_ns, &from->acquire_ns);
	}
}

static int start(struct parent *p)
{
	uint64_t now;

	p->sh = load_shared_create();
	if (!p->sh)
		return -1;
	if (!p->o->socket && private_daemon_start(p->o->size, 0, p->o->procs + 16, &p->daemon) < 0)
		return -1;
	p->ctx = (struct load_client_ctx){ p->o, p->sh, p->daemon ? private_daemon_socket(p->daemon) : p->o->socket };
	now = clock_ns();
	p->begin_ns = now;
	p->served_since_ns = now;
	p->next_client_ns = now + p->o->kill_clients_ns;
	p->next_daemon_ns = now + p->o->kill_daemon_ns;
	for (unsigned i = 0; i < p->o->procs; i++)
		if (spawn_client(p, i) < 0)
			return -1;
	return 0;
}

int load_run(const struct load_options *o, struct load_result *ret_r)
{
	struct load_result r = { .verify_violations = -1 };
	struct parent p = { .o = o, .r = &r };
	int ret;

	rand_init(&p.rand, o->seed);
	ret = start(&p);
	if (!ret)
		watch(&p);
	if (p.sh)
		end_clients(&p);
	if (!ret) {
		load_settle(o, p.ctx.socket, &r);
		load_sum_up(o, p.sh, &r.sum);
		*ret_r = r;
	}
	private_daemon_stop(p.daemon);
	return ret ? EXIT_DEAD : EXIT_FINE;
}
