/* SPDX-License-Identifier: Apache-2.0 */
/* report.c - the results of `kvshm replay` for people, for sheets and for programs */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "utils/csv.h"
#include "utils/json.h"
#include "utils/replay.h"

/* A number, or a dash where there is none. */
static const char *number(double v, const char *fmt, char buf[24])
{
	snprintf(buf, 24, "-");
	if (isfinite(v)) {
		if (!strcmp(fmt, "%.4f"))
			snprintf(buf, 24, "%.4f", v);
		else
			snprintf(buf, 24, "%.0f", v);
	}
	return buf;
}

void report_text(const struct replay_results *results, FILE *out)
{
	const struct replay_result *r, *before = NULL;
	char b[6][24];

	for (size_t i = 0; i < results->nr; before = r, i++) {
		r = &results->r[i];
		if (!before || before->trace != r->trace)
			fprintf(out, "%s%s: %llu requests, %llu blocks asked, %llu unique; ideal block hit ratio %.4f\n",
				before ? "\n" : "", r->trace, (unsigned long long)r->sim.requests,
				(unsigned long long)r->sim.blocks, (unsigned long long)r->unique_blocks,
				r->ideal_ratio);
		if (!before || before->trace != r->trace || before->capacity != r->capacity)
			fprintf(out, "\n%s = %llu blocks, OPT %s\n  %-9s %7s %7s %11s %6s %7s %8s %9s %9s\n",
				r->capacity, (unsigned long long)r->capacity_blocks,
				number(r->opt_ratio, "%.4f", b[0]), "policy", "blocks", "tokens", "saved s",
				"saved", "gap", "ns/touch", "ns/victim", "B/block");
		fprintf(out, "  %-9s %7.4f %7.4f %11.2f %5.1f%% %7s %8s %9s %9s\n", r->policy->name,
			r->block_hit_ratio, r->token_hit_ratio, r->sim.saved_seconds,
			r->sim.total_seconds > 0 ? 100 * r->sim.saved_seconds / r->sim.total_seconds : 0,
			number(r->gap_ratio, "%.4f", b[1]), number(r->sim.ns_per_touch, "%.0f", b[2]),
			number(r->sim.ns_per_victim, "%.0f", b[3]),
			number(r->bytes_per_block, "%.0f", b[4]));
	}
}

static void csv_real(double v, FILE *out)
{
	if (isfinite(v))
		fprintf(out, ",%.10g", v);
	else
		fputc(',', out);
}

void report_csv(const struct replay_results *results, FILE *out)
{
	fputs("trace,policy,capacity,capacity_blocks,requests,blocks,block_hits,block_hit_ratio,token_hit_ratio,"
	      "saved_seconds,total_seconds,ideal_block_hit_ratio,opt_block_hit_ratio,gap_closed_ratio,"
	      "ns_per_touch,ns_per_victim,bytes_per_block,bytes_per_ghost\n", out);
	for (size_t i = 0; i < results->nr; i++) {
		const struct replay_result *r = &results->r[i];
		const double v[] = { r->block_hit_ratio, r->token_hit_ratio, r->sim.saved_seconds,
				     r->sim.total_seconds, r->ideal_ratio, r->opt_ratio, r->gap_ratio,
				     r->sim.ns_per_touch, r->sim.ns_per_victim, r->bytes_per_block,
				     r->bytes_per_ghost };

		csv_text(r->trace, out);
		fprintf(out, ",%s,%s,%llu,%llu,%llu,%llu", r->policy->name, r->capacity,
			(unsigned long long)r->capacity_blocks, (unsigned long long)r->sim.requests,
			(unsigned long long)r->sim.blocks, (unsigned long long)r->sim.block_hits);
		for (unsigned c = 0; c < sizeof(v) / sizeof(v[0]); c++)
			csv_real(v[c], out);
		fputc('\n', out);
	}
}

void report_json(const struct replay_results *results, FILE *out)
{
	struct jdoc *j = jdoc_begin("replay", "none");

	for (size_t i = 0; i < results->nr; i++) {
		const struct replay_result *r = &results->r[i];
		struct jdoc *o = jdoc_append(j, "results");

		jdoc_text(o, "trace", r->trace);
		jdoc_text(o, "policy", r->policy->name);
		jdoc_text(o, "capacity", r->capacity);
		jdoc_int(o, "capacity_blocks", (int64_t)r->capacity_blocks);
		jdoc_int(o, "unique_blocks", (int64_t)r->unique_blocks);
		jdoc_int(o, "requests", (int64_t)r->sim.requests);
		jdoc_int(o, "blocks", (int64_t)r->sim.blocks);
		jdoc_int(o, "block_hits", (int64_t)r->sim.block_hits);
		jdoc_real(o, "block_hit_ratio", r->block_hit_ratio);
		jdoc_real(o, "token_hit_ratio", r->token_hit_ratio);
		jdoc_real(o, "saved_seconds", r->sim.saved_seconds);
		jdoc_real(o, "total_seconds", r->sim.total_seconds);
		jdoc_real(o, "ideal_block_hit_ratio", r->ideal_ratio);
		jdoc_real(o, "opt_block_hit_ratio", r->opt_ratio);
		jdoc_real(o, "gap_closed_ratio", r->gap_ratio);
		jdoc_int(o, "inserts", (int64_t)r->sim.inserts);
		jdoc_int(o, "victims", (int64_t)r->sim.victims);
		jdoc_int(o, "wanted_again", (int64_t)r->sim.wanted_again);
		jdoc_real(o, "ns_per_touch", r->sim.ns_per_touch);
		jdoc_real(o, "ns_per_insert", r->sim.ns_per_insert);
		jdoc_real(o, "ns_per_victim", r->sim.ns_per_victim);
		jdoc_real(o, "bytes_per_block", r->bytes_per_block);
		jdoc_real(o, "bytes_per_ghost", r->bytes_per_ghost);
		jdoc_int(o, "fixed_bytes", (int64_t)r->sim.mem.fixed_bytes);
	}
	jdoc_end(j, out);
}
