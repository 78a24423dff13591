/* SPDX-License-Identifier: Apache-2.0 */
/* stat_summary.c - the summary for people: state, memory, what is found, put, evicted, and all anomalies */
#include <inttypes.h>
#include <stdio.h>

#include "kvshm/base/compiler.h"
#include "utils/color.h"
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

static void print_work(const struct snapshot *s, FILE *out)
{
	const uint64_t *m = s->metric;
	char a[16];

	fprintf(out, "look-ups    %" PRIu64 ", blocks asked %" PRIu64 ", found %" PRIu64 " (%.1f %%)\n", m[METRIC_LOOKUPS],
		m[METRIC_LOOKUP_BLOCKS], m[METRIC_HIT_BLOCKS], 100 * snapshot_hit_ratio(s, NULL));
	fprintf(out, "            %" PRIu64 " tokens found\n", m[METRIC_HIT_TOKENS]);
	fprintf(out, "puts        %" PRIu64 " blocks published, %" PRIu64 " were there already\n", m[METRIC_PUBLISHES],
		m[METRIC_DUPLICATES]);
	fprintf(out, "evictions   %" PRIu64 " blocks, %s, %" PRIu64 " never read, in %" PRIu64 " scans\n",
		m[METRIC_EVICTIONS], human_bytes(m[METRIC_EVICTED_BYTES], a), m[METRIC_EVICTED_UNREAD], m[METRIC_SCANS]);
	fprintf(out, "clients     %" PRIu64 " attached, %" PRIu64 " old pin files, %" PRIu64 " died\n", m[METRIC_SESSIONS],
		m[METRIC_ORPHANS], m[METRIC_DEATHS]);
	fprintf(out, "            their things were returned in p99 %.1f ms, max %.1f ms\n",
		(double)m[METRIC_REAP_P99_NS] / 1e6, (double)m[METRIC_REAP_MAX_NS] / 1e6);
}

/* Between two looks. */
static void print_now(const struct snapshot *now, const struct snapshot *before, FILE *out)
{
	fprintf(out, "now         hit ratio %.1f %%; a second: %.0f look-ups, %.0f blocks put, %.0f evicted\n",
		100 * snapshot_hit_ratio(now, before), snapshot_rate(now, before, METRIC_LOOKUPS),
		snapshot_rate(now, before, METRIC_PUBLISHES), snapshot_rate(now, before, METRIC_EVICTIONS));
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
	print_memory(s, out);
	print_work(s, out);
	if (before)
		print_now(s, before, out);
	print_anomalies(s->metric, out);
}
