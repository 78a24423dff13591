/* SPDX-License-Identifier: Apache-2.0 */
/* stat_summary.c - the summary for people: state, memory, what is found, put, evicted, and all anomalies */
#include <inttypes.h>
#include <stdio.h>

#include "kvshm/base/compiler.h"
#include "utils/color.h"
#include "utils/degraded.h"
#include "utils/views.h"

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void print_memory(const struct snapshot *s, FILE *out)
{
	static const struct {
		const char *name;
		enum metric bytes, blocks;	/* blocks: METRIC_LAST, not counted */
	} row[] = {
		{ "free", METRIC_FREE_BYTES, METRIC_LAST },
		{ "published", METRIC_PUBLISHED_BYTES, METRIC_PUBLISHED },
		{ "granted", METRIC_GRANTED_BYTES, METRIC_GRANTED },
		{ "quarantined", METRIC_QUARANTINED_BYTES, METRIC_QUARANTINED },
		{ "retired", METRIC_RETIRED_BYTES, METRIC_LAST },
	};
	const uint64_t *m = s->metric;
	uint64_t capacity = m[METRIC_CAPACITY_BYTES];
	char a[16], b[16];

	fprintf(out, "memory      %s", human_bytes(capacity, a));
	if (m[METRIC_EXTENTS] < m[METRIC_EXTENTS_WANTED])
		fprintf(out, " so far, extent %" PRIu64 " of %" PRIu64, m[METRIC_EXTENTS], m[METRIC_EXTENTS_WANTED]);
	fprintf(out, ", staging besides %s\n", human_bytes(m[METRIC_STAGING_BYTES], b));
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		fprintf(out, "  %-11s %10s %5.1f %%", row[i].name, human_bytes(m[row[i].bytes], a),
			percent(m[row[i].bytes], capacity));
		if (row[i].blocks != METRIC_LAST)
			fprintf(out, "  %" PRIu64 " blocks", m[row[i].blocks]);
		fputc('\n', out);
	}
	fprintf(out, "  %-11s %10s %5.1f %%  %" PRIu64 " pins at the last scan\n", "pinned",
		human_bytes(m[METRIC_PINNED_BYTES], a), percent(m[METRIC_PINNED_BYTES], capacity), m[METRIC_PINS]);
}

/* Nothing asked is no ratio. */
static void print_share(uint64_t found, uint64_t asked, FILE *out)
{
	if (asked)
		fprintf(out, " %.1f %%", percent(found, asked));
	else
		fputs(" -", out);
}

static uint64_t count_state(const struct snapshot *s, uint32_t state)
{
	uint64_t nr = 0;

	for (unsigned i = 0; i < s->nr_sessions; i++)
		nr += s->session[i].state == state;
	return nr;
}

static void print_work(const struct snapshot *s, FILE *out)
{
	const uint64_t *m = s->metric;
	char a[16];

	fprintf(out, "look-ups    %" PRIu64 ", blocks asked %" PRIu64 ", found %" PRIu64 " (%.1f %%)\n", m[METRIC_LOOKUPS],
		m[METRIC_LOOKUP_BLOCKS], m[METRIC_HIT_BLOCKS], 100 * snapshot_hit_ratio(s, NULL));
	fprintf(out, "            %" PRIu64 " tokens found; lately", m[METRIC_HIT_TOKENS]);
	print_share(m[METRIC_HIT_BLOCKS_5S], m[METRIC_LOOKUP_BLOCKS_5S], out);
	fputs(", last minute", out);
	print_share(m[METRIC_HIT_BLOCKS_1M], m[METRIC_LOOKUP_BLOCKS_1M], out);
	fputc('\n', out);
	fprintf(out, "puts        %" PRIu64 " blocks published, %" PRIu64 " were there already\n", m[METRIC_PUBLISHES],
		m[METRIC_DUPLICATES]);
	fprintf(out, "evictions   %" PRIu64 " blocks, %s, %" PRIu64 " never read, in %" PRIu64 " scans\n",
		m[METRIC_EVICTIONS], human_bytes(m[METRIC_EVICTED_BYTES], a), m[METRIC_EVICTED_UNREAD], m[METRIC_SCANS]);
	fprintf(out, "clients     %" PRIu64 " attached, %" PRIu64 " paused, %" PRIu64 " detached, %" PRIu64 " orphans, %" PRIu64
		" died\n", m[METRIC_SESSIONS], m[METRIC_QUEUES_PAUSED], count_state(s, 2), m[METRIC_ORPHANS], m[METRIC_DEATHS]);
	fprintf(out, "            their things were returned in p99 %.1f ms, max %.1f ms\n",
		(double)m[METRIC_REAP_P99_NS] / 1e6, (double)m[METRIC_REAP_MAX_NS] / 1e6);
}

/* From the client's stamp on; those that were used. */
static void print_times(const struct snapshot *s, FILE *out)
{
	static const struct {
		enum stat_hist h;
		const char *name;
	} row[] = { { HIST_OP_GRANT, "grant" }, { HIST_OP_COMMIT, "commit" }, { HIST_OP_STAGED, "staged" },
		    { HIST_OP_RETURN, "return" }, { HIST_OP_DROP, "drop" }, { HIST_OP_ATTACH_NS, "namespace" } };
	const char *title = "times";

	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		const struct hist *h = &s->hist[row[i].h];
		char p50[CELL_LEN], p99[CELL_LEN], p999[CELL_LEN];

		if (!hist_total(h))
			continue;
		fprintf(out, "%-11s %-10s p50 %s, p99 %s, p99.9 %s\n", title, row[i].name, human_ns(hist_quantile(h, 0.5), p50),
			human_ns(hist_quantile(h, 0.99), p99), human_ns(hist_quantile(h, 0.999), p999));
		title = "";
	}
}

/* Of the writer's life until now: processor time alone misleads, as it spins before it sleeps. */
static void print_threads(const struct snapshot *s, FILE *out)
{
	const uint64_t *m = s->metric, busy = m[METRIC_WRITER_BUSY_NS], idle = m[METRIC_WRITER_IDLE_NS],
		       all = busy + idle + m[METRIC_WRITER_ASLEEP_NS];

	fprintf(out, "writer      busy %.1f %%, spinning %.1f %%, asleep %.1f %%\n", percent(busy, all), percent(idle, all),
		percent(m[METRIC_WRITER_ASLEEP_NS], all));
}

static void print_degraded(const struct snapshot *s, FILE *out)
{
	struct degraded d[DEGRADED_COMPONENTS];
	const char *comma = "";

	degraded_find(s, d);
	fputs("degraded    ", out);
	for (unsigned i = 0; i < DEGRADED_COMPONENTS; i++)
		if (d[i].is) {
			fprintf(out, "%s%s%s%s", comma, color(TONE_BAD), d[i].means, color(TONE_PLAIN));
			comma = ", ";
		}
	fprintf(out, "%s\n", *comma ? "" : "nothing");
}

/* Between two looks. */
static void print_now(const struct snapshot *now, const struct snapshot *before, FILE *out)
{
	char copied[16];

	fprintf(out, "now         hit ratio %.1f %%; a second: %.0f look-ups, %.0f blocks put, %.0f evicted\n"
		"            %s a second copied in from staging\n", 100 * snapshot_hit_ratio(now, before), snapshot_rate(now, before, METRIC_LOOKUPS),
		snapshot_rate(now, before, METRIC_PUBLISHES), snapshot_rate(now, before, METRIC_EVICTIONS),
		human_bytes((uint64_t)snapshot_rate(now, before, METRIC_COPY_IN_BYTES), copied));
}

struct count {
	enum metric m;
	const char *what;
};

/* Red unless 0. */
static void print_counts(const char *title, const uint64_t *m, const struct count *c, unsigned nr, FILE *out)
{
	fprintf(out, "%-12s", title);
	for (unsigned i = 0; i < nr; i++)
		fprintf(out, "%s%s%" PRIu64 " %s%s", i ? ", " : "", m[c[i].m] ? color(TONE_BAD) : "", m[c[i].m], c[i].what,
			m[c[i].m] ? color(TONE_PLAIN) : "");
	fputc('\n', out);
}

/* Always printed, also when all are 0: the reader must see that they were looked at. */
static void print_anomalies(const uint64_t *m, FILE *out)
{
	static const struct count dropped[] = { { METRIC_DROPPED_FULL, "full or pinned" },
						{ METRIC_DROPPED_PARENT, "parent gone" },
						{ METRIC_DROPPED_INDEX, "index full" } },
				  refused[] = { { METRIC_DROPPED_BAD, "refused" }, { METRIC_CLIENT_DROPPED, "by clients" } },
				  anomalies[] = { { METRIC_RESOLVE_SHORT, "short resolves" },
						  { METRIC_SQES_REFUSED, "malformed entries" },
						  { METRIC_CHECKSUM_FAILURES, "wrong checksums" } },
				  more[] = { { METRIC_DETACHES_BAD, "offences" }, { METRIC_COUNTERS_REJECTED, "bad counters" },
					     { METRIC_CQ_FULL, "full completion queues" } };

	print_counts("dropped", m, dropped, ARRAY_SIZE(dropped), out);
	print_counts("", m, refused, ARRAY_SIZE(refused), out);
	print_counts("anomalies", m, anomalies, ARRAY_SIZE(anomalies), out);
	print_counts("", m, more, ARRAY_SIZE(more), out);
}

void summary_print(const struct snapshot *s, const struct snapshot *before, FILE *out)
{
	uint64_t up_s = (s->at_ns - s->start_ns) / 1000000000u;

	fprintf(out, "kvshmd %s  instance %s  pid %" PRIu64 "  %s%s%s%s\n", s->text[KVSHM_TEXT_VERSION],
		s->text[KVSHM_TEXT_INSTANCE], s->pid, color(s->state == TARGET_RUNNING ? TONE_GOOD : TONE_BAD),
		target_state_name(s->state), s->state == TARGET_RUNNING ? "" : "  STALE: last values follow",
		color(TONE_PLAIN));
	fprintf(out, "started     %" PRIu64 "h%02" PRIu64 "m%02" PRIu64 "s ago, start %" PRIu64 " on this content, %s\n",
		up_s / 3600, up_s / 60 % 60, up_s % 60, s->metric[METRIC_STARTS], s->text[KVSHM_TEXT_START]);
	fprintf(out, "pages       %s; policy %s\n", s->text[KVSHM_TEXT_PAGES], s->text[KVSHM_TEXT_POLICY]);
	fprintf(out, "protection  %s\n", s->text[KVSHM_TEXT_PROTECTION]);
	print_degraded(s, out);
	print_memory(s, out);
	print_work(s, out);
	print_times(s, out);
	print_threads(s, out);
	if (before)
		print_now(s, before, out);
	print_anomalies(s->metric, out);
}
