/* SPDX-License-Identifier: Apache-2.0 */
/* load_report.c - how a run of kvshm load went, and whether its invariants held */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "utils/commands.h"
#include "utils/json.h"
#include "utils/load.h"

static double ratio(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : 0;
}

static double gb_per_s(const struct load_result *r)
{
	return r->seconds > 0 ? (double)r->sum.checked_bytes / 1e9 / r->seconds : 0;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void print_json(const struct load_options *o, const struct load_result *r)
{
	struct jdoc *j = jdoc_begin("load", r->pages[0] ? r->pages : "unknown");

	jdoc_int(j, "procs", o->procs);
	jdoc_real(j, "seconds", r->seconds);
	jdoc_int(j, "seed", (int64_t)o->seed);
	jdoc_int(j, "arena_bytes", o->socket ? 0 : (int64_t)o->size);
	jdoc_int(j, "block_bytes", o->block_len);
	jdoc_int(j, "acquires", (int64_t)r->sum.acquires);
	jdoc_int(j, "acquire_p50_ns", (int64_t)hist_quantile(&r->sum.acquire_ns, 0.5));
	jdoc_int(j, "acquire_p99_ns", (int64_t)hist_quantile(&r->sum.acquire_ns, 0.99));
	jdoc_int(j, "blocks", (int64_t)r->sum.blocks);
	jdoc_int(j, "hits", (int64_t)r->sum.hits);
	jdoc_real(j, "hit_ratio", ratio(r->sum.hits, r->sum.blocks));
	if (o->trace) {
		jdoc_text(j, "trace", base_name(o->trace));
		jdoc_text(j, "policy", o->policy);
		jdoc_text(j, "capacity", o->capacity);
		jdoc_int(j, "capacity_blocks", (int64_t)r->capacity_blocks);
		jdoc_bool(j, "lockstep", o->is_lockstep);
		jdoc_real(j, "block_hit_ratio", ratio(r->sum.hits, r->sum.blocks));
		jdoc_real(j, "replayer_block_hit_ratio", ratio(r->replayer_hits, r->sum.blocks));
		jdoc_real(j, "saved_seconds", r->sum.saved_seconds);
		jdoc_real(j, "replayer_saved_seconds", r->replayer_saved_seconds);
		jdoc_int(j, "put_bytes", (int64_t)r->sum.published * o->block_len);
		jdoc_int(j, "strays", (int64_t)r->sum.strays);
	}
	jdoc_int(j, "short_resolves", (int64_t)r->sum.short_resolves);
	jdoc_int(j, "checked_bytes", (int64_t)r->sum.checked_bytes);
	jdoc_real(j, "gb_per_s", gb_per_s(r));
	jdoc_int(j, "wrong_bytes", (int64_t)r->sum.wrong_bytes);
	jdoc_int(j, "leaked_blocks", (int64_t)r->leaked_blocks);
	jdoc_int(j, "published_blocks", (int64_t)r->sum.published);
	jdoc_int(j, "duplicate_blocks", (int64_t)r->sum.duplicates);
	jdoc_int(j, "dropped_blocks", (int64_t)r->sum.dropped);
	jdoc_int(j, "client_kills", r->client_kills);
	jdoc_int(j, "daemon_kills", r->daemon_kills);
	jdoc_int(j, "client_failures", r->client_failures);
	jdoc_real(j, "reap_p99_ms", (double)r->reap_p99_ns / 1e6);
	jdoc_real(j, "reap_max_ms", (double)r->reap_max_ns / 1e6);
	jdoc_int(j, "hits_while_dead", (int64_t)r->sum.hits_while_dead);
	jdoc_real(j, "restart_ms_max", (double)r->restart_max_ns / 1e6);
	jdoc_int(j, "verify_violations", r->verify_violations);
	jdoc_bool(j, "is_hung", r->is_hung);
	jdoc_bool(j, "is_daemon_lost", r->is_daemon_lost);
	jdoc_end(j, stdout);
}

static void print_kills(const struct load_result *r)
{
	if (r->client_kills)
		printf("clients killed  %u, reaped in p99 %.1f ms, max %.1f ms\n", r->client_kills,
		       (double)r->reap_p99_ns / 1e6, (double)r->reap_max_ns / 1e6);
	if (r->daemon_kills)
		printf("daemon killed   %u times, %" PRIu64 " hits while dead, puts again after %.0f ms at most\n",
		       r->daemon_kills, r->sum.hits_while_dead, (double)r->restart_max_ns / 1e6);
}

static void print_text(const struct load_options *o, const struct load_result *r)
{
	const struct load_slot *s = &r->sum;

	printf("processes       %u for %.1f s, seed %" PRIu64 "\n", o->procs, r->seconds, o->seed);
	printf("blocks          %" PRIu64 " asked, %" PRIu64 " found (%.1f %%)\n", s->blocks, s->hits,
	       100 * ratio(s->hits, s->blocks));
	if (o->trace)
		printf("trace           %s, %s at %s = %" PRIu64 " blocks, %s\n"
		       "block hit ratio %.6f, the replayer's %.6f\n"
		       "prefill saved   %.1f s, in the replayer %.1f s\n", base_name(o->trace), o->policy, o->capacity,
		       r->capacity_blocks, o->is_lockstep ? "in lockstep" : "free running",
		       ratio(s->hits, s->blocks), ratio(r->replayer_hits, s->blocks), s->saved_seconds,
		       r->replayer_saved_seconds);
	printf("acquire         %" PRIu64 " calls, p50 %.2f us, p99 %.2f us\n", s->acquires,
	       (double)hist_quantile(&s->acquire_ns, 0.5) / 1e3, (double)hist_quantile(&s->acquire_ns, 0.99) / 1e3);
	printf("read            %.2f GB/s, every byte checked\n", gb_per_s(r));
	printf("puts            %" PRIu64 " blocks published, %" PRIu64 " were there already, %" PRIu64 " dropped\n",
	       s->published, s->duplicates, s->dropped);
	print_kills(r);
	printf("wrong bytes     %" PRIu64 "\n", s->wrong_bytes);
	printf("leaked blocks   %" PRIu64 "\n", r->leaked_blocks);
	if (r->verify_violations >= 0)
		printf("violations      %" PRId64 "%s%s\n", r->verify_violations, r->verify_violations ? ": " : "",
		       r->verify_violations ? r->verify_first : "");
}

/* One line a broken invariant. */
int load_judge(const struct load_result *r)
{
	const struct {
		bool is_broken;
		const char *what;
	} rule[] = {
		{ r->sum.wrong_bytes, "bytes were wrong" },
		{ r->leaked_blocks, "blocks leaked" },
		{ r->verify_violations > 0, "verify found violations" },
		{ r->is_hung, "a client hung" },
		{ r->client_failures, "a client ended by itself" },
		{ r->is_daemon_lost, "the daemon did not survive" },
		{ r->sum.strays, "requests did not hit what they hit in the replayer" },
		{ !r->sum.acquires, "nothing was asked" },
	};
	int ret = EXIT_FINE;

	for (unsigned i = 0; i < sizeof(rule) / sizeof(rule[0]); i++)
		if (rule[i].is_broken) {
			fprintf(stderr, "kvshm load: failed: %s\n", rule[i].what);
			ret = EXIT_DEAD;
		}
	return ret;
}

int load_report(const struct load_options *o, const struct load_result *r)
{
	if (o->is_json)
		print_json(o, r);
	else
		print_text(o, r);
	fflush(stdout);
	return load_judge(r);
}
