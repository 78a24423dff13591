/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_compare.c - one load under several policies: a real daemon each, one after the other
 *
 * Each run is a process of its own, as all that it starts belongs to it; what it measured comes back in shared
 * memory.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "utils/commands.h"
#include "utils/json.h"
#include "utils/load.h"
#include "utils/target.h"

#define POLICIES_MAX 16u

struct compare_run {
	char policy[64];
	struct load_result r;
};

static void run_one(struct load_options o, struct compare_run *run)
{
	int ret;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	o.policy = run->policy;
	ret = load_trace(&o, &run->r);
	fflush(NULL);
	_exit(ret);
}

/* Return: an exit status. */
static int run_in_child(const struct load_options *o, struct compare_run *run)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		run_one(*o, run);
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return EXIT_DEAD;
	return WEXITSTATUS(status);
}

static double ratio(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : 0;
}

/* Into the arena, and out of it as far as the clients looked at it. */
static uint64_t bytes_in(const struct load_options *o, const struct compare_run *run)
{
	return run->r.sum.published * o->block_len;
}

static void print_text(const struct load_options *o, const struct compare_run *run, unsigned nr)
{
	char in[16], out[16];

	printf("%s at %s = %" PRIu64 " blocks, %u processes, %s\n\n%-10s %10s %10s %12s %12s %10s %10s %8s\n", o->trace,
	       o->capacity, run->r.capacity_blocks, o->procs, o->is_lockstep ? "in lockstep" : "free running", "policy",
	       "hit ratio", "replayer", "prefill saved", "replayer", "copied in", "read", "dropped");
	for (; nr; nr--, run++) {
		const struct load_slot *s = &run->r.sum;

		printf("%-10s %10.4f %10.4f %11.1f s %10.1f s %10s %10s %8" PRIu64 "\n", run->policy, ratio(s->hits, s->blocks),
		       ratio(run->r.replayer_hits, s->blocks), s->saved_seconds, run->r.replayer_saved_seconds,
		       human_bytes(bytes_in(o, run), in), human_bytes(s->checked_bytes, out), s->dropped);
	}
}

static void print_json(const struct load_options *o, const struct compare_run *run, unsigned nr)
{
	struct jdoc *j = jdoc_begin("load-policies", run->r.pages[0] ? run->r.pages : "unknown");

	jdoc_text(j, "trace", o->trace);
	jdoc_text(j, "capacity", o->capacity);
	jdoc_int(j, "capacity_blocks", (int64_t)run->r.capacity_blocks);
	jdoc_int(j, "block_bytes", o->block_len);
	jdoc_int(j, "procs", o->procs);
	jdoc_bool(j, "lockstep", o->is_lockstep);
	for (; nr; nr--, run++) {
		const struct load_slot *s = &run->r.sum;
		struct jdoc *p = jdoc_append(j, "policies");

		jdoc_text(p, "policy", run->policy);
		jdoc_real(p, "block_hit_ratio", ratio(s->hits, s->blocks));
		jdoc_real(p, "replayer_block_hit_ratio", ratio(run->r.replayer_hits, s->blocks));
		jdoc_real(p, "saved_seconds", s->saved_seconds);
		jdoc_real(p, "replayer_saved_seconds", run->r.replayer_saved_seconds);
		jdoc_int(p, "put_bytes", (int64_t)bytes_in(o, run));
		jdoc_int(p, "checked_bytes", (int64_t)s->checked_bytes);
		jdoc_int(p, "wrong_bytes", (int64_t)s->wrong_bytes);
		jdoc_int(p, "duplicate_blocks", (int64_t)s->duplicates);
		jdoc_int(p, "dropped_blocks", (int64_t)s->dropped);
		jdoc_int(p, "acquire_p99_ns", (int64_t)hist_quantile(&s->acquire_ns, 0.99));
		jdoc_real(p, "seconds", run->r.seconds);
	}
	jdoc_end(j, stdout);
}

static unsigned split(const char *names, struct compare_run *run)
{
	unsigned nr = 0;

	for (const char *at = names; at && nr < POLICIES_MAX; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL, nr++)
		snprintf(run[nr].policy, sizeof(run[nr].policy), "%.*s", (int)strcspn(at, ","), at);
	return nr;
}

int load_compare(const struct load_options *o)
{
	struct compare_run *run = mmap(NULL, POLICIES_MAX * sizeof(*run), PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int ret = run == MAP_FAILED ? EXIT_DEAD : EXIT_FINE;
	unsigned nr = 0, i;

	if (ret == EXIT_FINE)
		nr = split(o->policy, run);
	for (i = 0; i < nr && ret == EXIT_FINE; i++)
		ret = run_in_child(o, &run[i]);
	if (ret == EXIT_FINE)
		(o->is_json ? print_json : print_text)(o, run, nr);
	for (i = 0; i < nr && ret == EXIT_FINE; i++)
		ret = load_judge(&run[i].r);
	if (run != MAP_FAILED)
		munmap(run, POLICIES_MAX * sizeof(*run));
	return ret;
}
