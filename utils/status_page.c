/* SPDX-License-Identifier: Apache-2.0 */
/* status_page.c - one daemon as one HTML page; drawings are SVG in the page itself */
#include "utils/status_page.h"

#include <inttypes.h>
#include <math.h>

#include "kvshm/base/compiler.h"
#include "kvshm/stats/metrics.h"
#include "utils/degraded.h"
#include "utils/html.h"
#include "utils/mrc_chart.h"
#include "utils/views.h"

#define SPARK_W 240
#define SPARK_H 40

/* A line from the oldest look to the newest; a look that has nothing to say breaks it. */
static void sparkline(const struct history *h, enum history_line line, float max, FILE *out)
{
	bool is_open = false;

	fprintf(out, "<svg viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" role=\"img\">", SPARK_W, SPARK_H);
	for (unsigned i = 0; i < h->nr; i++) {
		float v = h->v[line][i];
		unsigned at = HISTORY_LEN - h->nr + i;

		if (v < 0) {
			fputs(is_open ? "\"/>" : "", out);
			is_open = false;
			continue;
		}
		fprintf(out, "%s%.1f,%.1f", is_open ? " " : "<polyline points=\"", (double)at * SPARK_W / (HISTORY_LEN - 1),
			SPARK_H - 2 - (max > 0 ? (double)(v / max) * (SPARK_H - 4) : 0));
		is_open = true;
	}
	fputs(is_open ? "\"/></svg>" : "</svg>", out);
}

static void spark_card(const struct history *h, enum history_line line, const char *title, const char *unit, FILE *out)
{
	float max = line == HISTORY_HIT_RATIO ? 1 : history_max(h, line), now = h->nr ? h->v[line][h->nr - 1] : -1;

	fprintf(out, "<div class=\"card\"><span class=\"dim\">%s</span><b>", title);
	if (now < 0)
		fputs("&ndash;", out);
	else if (line == HISTORY_HIT_RATIO)
		fprintf(out, "%.1f %%", 100 * (double)now);
	else
		fprintf(out, "%.0f%s", (double)now, unit);
	fputs("</b>", out);
	sparkline(h, line, max, out);
	fputs("</div>", out);
}

static void memory_card(const struct snapshot *s, FILE *out)
{
	uint64_t capacity = s->metric[METRIC_CAPACITY_BYTES], used = s->metric[METRIC_PUBLISHED_BYTES];
	char a[16], b[16], c[16];

	fprintf(out, "<div class=\"card\"><span class=\"dim\">published of the arena</span><b>%s of %s</b>",
		human_bytes(used, a), human_bytes(capacity, b));
	fprintf(out, "<svg viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" style=\"height:10px\">"
		"<rect class=\"bar\" width=\"100\" height=\"10\"/><rect class=\"part\" width=\"%.1f\" height=\"10\"/></svg>",
		capacity ? 100.0 * (double)used / (double)capacity : 0);
	fprintf(out, "<span class=\"dim\">pinned %s, %" PRIu64 " pins</span></div>",
		human_bytes(s->metric[METRIC_PINNED_BYTES], c), s->metric[METRIC_PINS]);
}

static void share(const char *when, uint64_t found, uint64_t asked, FILE *out)
{
	if (asked)
		fprintf(out, "%s %.1f %%", when, 100 * (double)found / (double)asked);
	else
		fprintf(out, "%s &ndash;", when);
}

static void total_card(const struct snapshot *s, FILE *out)
{
	const uint64_t *m = s->metric;

	fprintf(out, "<div class=\"card\"><span class=\"dim\">hit ratio since the start</span><b>%.1f %%</b><span class=\"dim\">%"
		PRIu64 " of %" PRIu64 " blocks, %" PRIu64 " tokens</span><br/>", 100 * snapshot_hit_ratio(s, NULL),
		m[METRIC_HIT_BLOCKS], m[METRIC_LOOKUP_BLOCKS], m[METRIC_HIT_TOKENS]);
	fputs("<span class=\"dim\">", out);
	share("lately", m[METRIC_HIT_BLOCKS_5S], m[METRIC_LOOKUP_BLOCKS_5S], out);
	share(", last minute", m[METRIC_HIT_BLOCKS_1M], m[METRIC_LOOKUP_BLOCKS_1M], out);
	fputs("</span></div>", out);
}

static void table_html(const struct table *t, FILE *out)
{
	char buf[CELL_LEN];

	fputs("<div class=\"scroll\"><table><tr>", out);
	for (unsigned c = 0; c < t->nr_columns; c++)
		fprintf(out, "<th%s>%s</th>", t->column[c].kind == CELL_TEXT ? " class=\"t\"" : "", t->column[c].title);
	fputs("</tr>", out);
	for (unsigned r = 0; r < t->nr_rows; r++) {
		fputs("<tr>", out);
		for (unsigned c = 0; c < t->nr_columns; c++) {
			fprintf(out, "<td%s>", t->column[c].kind == CELL_TEXT ? " class=\"t\"" : "");
			html_text(cell_format(t->cell + (size_t)r * t->nr_columns + c, false, buf), out);
			fputs("</td>", out);
		}
		fputs("</tr>", out);
	}
	fputs("</table></div>", out);
	for (unsigned i = 0; i < t->nr_notes; i++) {
		fputs("<p class=\"dim\">", out);
		html_text(t->note[i], out);
		fputs("</p>", out);
	}
}

static void section(const char *title, const char *view, const char *fields, const struct snapshot *s,
		    const struct snapshot *before, FILE *out)
{
	struct table t;

	view_find(view)->fill(&t, s, before);
	if (fields)
		table_fields(&t, fields);
	fprintf(out, "<h2>%s</h2>", title);
	table_html(&t, out);
	table_end(&t);
}

#define OCTAVES 24u
#define OCTAVE_OF_WORK 6u		/* [512, 1024) ns, and so up to 8.6 s */
#define OCTAVE_OF_LIFE 0u		/* up to 16 ms, and so up to 37 hours */

/* Bars of an octave each, as high as the logarithm of their count. */
static void bars(const struct hist *h, unsigned first, FILE *out)
{
	double most = 0, height[OCTAVES];

	for (unsigned o = 0; o < OCTAVES; o++) {
		uint64_t n = 0;

		for (unsigned c = 0; c < 1u << HIST_SUB_BITS; c++)
			n += h->count[((first + o) << HIST_SUB_BITS) + c];
		height[o] = n ? 1 + log2((double)n) : 0;
		most = max_of(most, height[o]);
	}
	fprintf(out, "<svg viewBox=\"0 0 %u %d\" preserveAspectRatio=\"none\" role=\"img\">", 10 * OCTAVES, SPARK_H);
	for (unsigned o = 0; o < OCTAVES; o++)
		if (height[o] > 0)
			fprintf(out, "<rect class=\"part\" x=\"%u\" y=\"%.1f\" width=\"9\" height=\"%.1f\"/>", 10 * o,
				SPARK_H * (1 - height[o] / most), SPARK_H * height[o] / most);
	fputs("</svg>", out);
}

/* Those that count in @unit_ns. */
static void histograms(const struct snapshot *s, uint64_t unit_ns, unsigned first, const char *range, FILE *out)
{
	fputs("<div class=\"cards\">", out);
	for (unsigned i = 0; i < HIST_LAST; i++) {
		if (hist_defs[i].unit_ns != unit_ns || !hist_total(&s->hist[i]))
			continue;
		fputs("<div class=\"card\"><span class=\"dim\">", out);
		html_text(hist_defs[i].name, out);
		fputc(' ', out);
		html_text(hist_defs[i].label, out);
		fputs("</span>", out);
		bars(&s->hist[i], first, out);
		fputs("</div>", out);
	}
	fprintf(out, "</div><p class=\"dim\">left to right %s, each bar twice the one before; heights are logarithms</p>", range);
}

/* All of them, also at 0: the reader must see that they were looked at. */
static void anomalies(const struct snapshot *s, FILE *out)
{
	static const struct {
		const char *name;
		enum metric m;
	} row[] = {
		{ "wrong checksums", METRIC_CHECKSUM_FAILURES }, { "short resolves", METRIC_RESOLVE_SHORT },
		{ "malformed entries", METRIC_SQES_REFUSED }, { "offences", METRIC_DETACHES_BAD },
		{ "bad counters", METRIC_COUNTERS_REJECTED }, { "full completion queues", METRIC_CQ_FULL },
		{ "puts dropped: full or pinned", METRIC_DROPPED_FULL }, { "parent gone", METRIC_DROPPED_PARENT },
		{ "index full", METRIC_DROPPED_INDEX }, { "by clients", METRIC_CLIENT_DROPPED },
	};

	fputs("<h2>Anomalies and drops</h2><p>", out);
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++)
		fprintf(out, "%s<span%s>%s %" PRIu64 "</span>", i ? " &middot; " : "", s->metric[row[i].m] ? " class=\"alarm\"" : "",
			row[i].name, s->metric[row[i].m]);
	fputs("</p>", out);
}

static void facts(const struct snapshot *s, FILE *out)
{
	uint64_t up_s = (s->at_ns - s->start_ns) / 1000000000u;

	fprintf(out, "<p class=\"dim\">kvshmd ");
	html_text(s->text[KVSHM_TEXT_VERSION], out);
	fprintf(out, ", pid %" PRIu64 ", up %" PRIu64 "h%02" PRIu64 "m, start %" PRIu64 ", ", s->pid, up_s / 3600, up_s / 60 % 60,
		s->metric[METRIC_STARTS]);
	html_text(s->text[KVSHM_TEXT_START], out);
	fputs(" &middot; ", out);
	html_text(s->text[KVSHM_TEXT_PAGES], out);
	fputs(" &middot; policy ", out);
	html_text(s->text[KVSHM_TEXT_POLICY], out);
	fputs(" &middot; ", out);
	html_text(s->text[KVSHM_TEXT_PROTECTION], out);
	fputs("</p>", out);
}

static void degraded(const struct snapshot *s, FILE *out)
{
	struct degraded d[DEGRADED_COMPONENTS];

	degraded_find(s, d);
	for (unsigned i = 0; i < DEGRADED_COMPONENTS; i++)
		if (d[i].is)
			fprintf(out, "<p class=\"alarm\">%s: kvshm doctor --suggest</p>", d[i].means);
}

static void cards(const struct snapshot *s, const struct history *h, unsigned sample_s, FILE *out)
{
	fputs("<div class=\"cards\">", out);
	total_card(s, out);
	memory_card(s, out);
	spark_card(h, HISTORY_HIT_RATIO, "hit ratio now", "", out);
	spark_card(h, HISTORY_LOOKUPS, "look-ups a second", "", out);
	spark_card(h, HISTORY_PUTS, "blocks put a second", "", out);
	spark_card(h, HISTORY_EVICTIONS, "blocks evicted a second", "", out);
	fprintf(out, "</div><p class=\"dim\">lines: the last %u minutes</p>", HISTORY_LEN * sample_s / 60);
}

void status_page(const struct status_page *p, FILE *out)
{
	const struct snapshot *s = p->s;
	bool is_good = s && s->state == TARGET_RUNNING;

	html_begin("kvshm", p->instance, p->sample_s, out);
	fprintf(out, " <span class=\"badge%s\">%s</span></h1>", is_good ? "" : " bad",
		s ? target_state_name(s->state) : "no daemon");
	if (s && !is_good)
		fputs("<p class=\"alarm\">STALE: the last values follow; clients go on hitting, puts are dropped</p>", out);
	if (s) {
		facts(s, out);
		degraded(s, out);
		cards(s, p->h, p->sample_s, out);
		anomalies(s, out);
		section("Clients", "clients", "label,pid,uid,state,is_trusted,pins,pinned_bytes,quota_used_ratio,hit_ratio,"
			"lookups,commits,dropped_blocks,since_ns", s, NULL, out);
		section("How long things take", "hist", "histogram,count,p50_ns,p90_ns,p99_ns,p999_ns,max_ns,help", s, NULL, out);
		histograms(s, 1, OCTAVE_OF_WORK, "0.5 us to 8.6 s", out);
		histograms(s, 1000000, OCTAVE_OF_LIFE, "16 ms to 37 hours", out);
		section("Pins", "pins", "metric,value,help", s, NULL, out);
		section("Namespaces", "namespaces", "namespace,hit_blocks,put_blocks,found_ratio,hit_tokens,evicted_blocks", s,
			NULL, out);
		section("Classes", "classes", "class,hit_blocks,put_blocks,found_ratio,hit_tokens", s, NULL, out);
		section("Queues", "queues", "label,pid,sq_entries,cq_entries", s, NULL, out);
		mrc_chart(p->curve, p->nr_curves, s->metric[METRIC_CAPACITY_BYTES], out);
	}
	fputs("<p class=\"dim\"><a href=\"metrics\">metrics</a></p>", out);
	html_end(out);
}
