/* SPDX-License-Identifier: Apache-2.0 */
/* prom.c - a snapshot as a Prometheus scrape */
#include "utils/prom.h"

#include <inttypes.h>
#include <string.h>

#include <kvshm/version.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/proc.h"
#include "kvshm/stats/metrics.h"
#include "utils/degraded.h"

#define NS 1e9

struct writer {
	FILE *out;
	enum prom_form form;
	char daemon[80];		/* the label, escaped */
};

/* What a label's value may not hold as it is. */
static void escape(const char *text, char *buf, size_t len)
{
	size_t n = 0;

	for (; *text && n + 3 < len; text++) {
		if (*text == '\\' || *text == '"' || *text == '\n')
			buf[n++] = '\\';
		buf[n++] = *text == '\n' ? 'n' : *text;
	}
	buf[n] = 0;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}

/* HELP, TYPE and, in OpenMetrics, UNIT of a family; a counter's family there has no _total. */
static void head(struct writer *w, const char *name, const char *type, const char *help)
{
	static const char *const units[] = { "bytes", "seconds", "blocks" };
	int len = (int)strlen(name);

	if (w->form == PROM_OPENMETRICS && ends_with(name, "_total"))
		len -= (int)strlen("_total");
	fprintf(w->out, "# HELP %.*s %s\n# TYPE %.*s %s\n", len, name, help, len, name, type);
	for (unsigned i = 0; w->form == PROM_OPENMETRICS && i < ARRAY_SIZE(units); i++) {
		char family[80], end[16];

		snprintf(family, sizeof(family), "%.*s", len, name);
		snprintf(end, sizeof(end), "_%s", units[i]);
		if (ends_with(family, end))
			fprintf(w->out, "# UNIT %s %s\n", family, units[i]);
	}
}

static void sample(struct writer *w, const char *name, const char *labels, double v)
{
	fprintf(w->out, "%s{daemon=\"%s\"%s%s} %.15g\n", name, w->daemon, *labels ? "," : "", labels, v);
}

static void gauge(struct writer *w, const char *name, const char *help, const char *labels, double v)
{
	head(w, name, "gauge", help);
	sample(w, name, labels, v);
}

/* "kvshm_reap_p99_ns" and "kvshm_cpu_ns_total" are served in seconds. */
static double served(enum metric m, const struct snapshot *s, char *name, size_t len)
{
	const char *full = metric_defs[m].name, *end = ends_with(full, "_total") ? "_total" : "";

	if (metric_defs[m].unit != KVSHM_STATS_UNIT_NS) {
		snprintf(name, len, "%s", full);
		return (double)s->metric[m];
	}
	snprintf(name, len, "%.*sseconds%s", (int)(strlen(full) - strlen(end) - strlen("ns")), full, end);
	return (double)s->metric[m] / NS;
}

/* In seconds: a scrape needs no more than people look at. */
#define BOUNDS 20u

static const double bounds_of_work[BOUNDS] = { 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2,
					       5e-2, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 },
		    bounds_of_life[BOUNDS] = { 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 150, 300, 600, 1800,
					       3600, 10800, 43200, 86400 };

static void write_hist(struct writer *w, const char *name, const struct hist_def *d, const struct hist *h)
{
	const double *bounds = d->unit_ns > 1 ? bounds_of_life : bounds_of_work, unit = (double)d->unit_ns / NS;
	const char *comma = *d->label ? "," : "";
	uint64_t total = hist_total(h);
	char labels[64], full[80];

	snprintf(full, sizeof(full), "%s_bucket", name);
	for (unsigned i = 0; i < BOUNDS; i++) {
		snprintf(labels, sizeof(labels), "%s%sle=\"%g\"", d->label, comma, bounds[i]);
		sample(w, full, labels, (double)hist_rank(h, (uint64_t)(bounds[i] / unit)));
	}
	snprintf(labels, sizeof(labels), "%s%sle=\"+Inf\"", d->label, comma);
	sample(w, full, labels, (double)total);
	snprintf(full, sizeof(full), "%s_sum", name);
	sample(w, full, d->label, (double)hist_sum(h) * unit);
	snprintf(full, sizeof(full), "%s_count", name);
	sample(w, full, d->label, (double)total);
}

/* "kvshm_op_ns" is the family kvshm_op_seconds. */
static void write_hists(struct writer *w, const struct snapshot *s)
{
	for (unsigned i = 0; i < HIST_LAST; i++) {
		const struct hist_def *d = &hist_defs[i];
		char name[64];

		snprintf(name, sizeof(name), "%.*sseconds", (int)strlen(d->name) - 2, d->name);
		if (!i || strcmp(d->name, hist_defs[i - 1].name))
			head(w, name, "histogram", d->help);
		write_hist(w, name, d, &s->hist[i]);
	}
}

static void write_metrics(struct writer *w, const struct snapshot *s)
{
	for (unsigned m = 0; m < METRIC_LAST; m++) {
		char name[80];
		double v = served((enum metric)m, s, name, sizeof(name));

		head(w, name, snapshot_is_counter((enum metric)m) ? "counter" : "gauge", metric_defs[m].help);
		sample(w, name, "", v);
	}
}

/* Free, granted, published, quarantined and retired in one family: they sum to the capacity. */
static void write_states(struct writer *w, const struct snapshot *s)
{
	static const struct {
		const char *labels;
		enum metric m;
	} row[] = {
		{ "state=\"free\"", METRIC_FREE_BYTES }, { "state=\"granted\"", METRIC_GRANTED_BYTES },
		{ "state=\"published\"", METRIC_PUBLISHED_BYTES }, { "state=\"quarantined\"", METRIC_QUARANTINED_BYTES },
		{ "state=\"retired\"", METRIC_RETIRED_BYTES },
	};

	head(w, "kvshm_arena_bytes", "gauge", "bytes of the arena by state, which sum to the capacity");
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++)
		sample(w, "kvshm_arena_bytes", row[i].labels, (double)s->metric[row[i].m]);
}

static void write_clients(struct writer *w, const struct snapshot *s)
{
	static const char *const labels[] = { "state=\"attached\"", "state=\"detached\"", "state=\"orphan\"" };
	unsigned nr[ARRAY_SIZE(labels)] = { 0 };

	for (unsigned i = 0; i < s->nr_sessions; i++)
		if (s->session[i].state - 1 < ARRAY_SIZE(nr))
			nr[s->session[i].state - 1]++;
	head(w, "kvshm_clients", "gauge", "sessions by state");
	for (unsigned i = 0; i < ARRAY_SIZE(labels); i++)
		sample(w, "kvshm_clients", labels[i], nr[i]);
}

static const struct use_family {
	const char *name, *help;
	size_t at;
	bool has_classes;
} use_families[] = {
	{ "hit_blocks_total", "blocks found", offsetof(struct kvshm_stats_use, hit_blocks), true },
	{ "hit_tokens_total", "tokens found", offsetof(struct kvshm_stats_use, hit_tokens), true },
	{ "put_blocks_total", "blocks published", offsetof(struct kvshm_stats_use, put_blocks), true },
	{ "put_tokens_total", "tokens published", offsetof(struct kvshm_stats_use, put_tokens), true },
	{ "evicted_blocks_total", "blocks evicted", offsetof(struct kvshm_stats_use, evicted_blocks), false },
	{ "dropped_blocks_total", "blocks dropped by users or for damage", offsetof(struct kvshm_stats_use, dropped_blocks),
	  false },
};

/* Groups @first to @first + @nr - 1, those that were used, told apart by @label. */
static void write_use_family(struct writer *w, const struct snapshot *s, const struct use_family *f, const char *label,
			     unsigned first, unsigned nr)
{
	char name[64], help[96], labels[40];

	snprintf(name, sizeof(name), "kvshm_%s_%s", label, f->name);
	snprintf(help, sizeof(help), "%s, by %s", f->help, label);
	head(w, name, "counter", help);
	for (unsigned i = 0; i < nr; i++) {
		const struct kvshm_stats_use *use = &s->use[first + i];

		if (!stat_use_any(use))
			continue;
		snprintf(labels, sizeof(labels), "%s=\"%u\"", label, i);
		sample(w, name, labels, (double)*(const uint64_t *)((const char *)use + f->at));
	}
}

static void write_uses(struct writer *w, const struct snapshot *s)
{
	for (unsigned i = 0; i < ARRAY_SIZE(use_families); i++) {
		write_use_family(w, s, &use_families[i], "namespace", stat_use_ns(0), KVSHM_STATS_NS);
		if (use_families[i].has_classes)
			write_use_family(w, s, &use_families[i], "class", stat_use_class(0), KVSHM_STATS_CLASSES);
	}
}

static void write_heartbeats(struct writer *w, const struct snapshot *s)
{
	head(w, "kvshm_heartbeat_age_seconds", "gauge", "since the last turn of a thread: 0 is main, 1 the writer");
	for (unsigned i = 0; i < KVSHM_STATS_THREADS; i++) {
		char labels[32];

		if (!s->heartbeat_ns[i])
			continue;
		snprintf(labels, sizeof(labels), "thread=\"%u\"", i);
		sample(w, "kvshm_heartbeat_age_seconds", labels,
		       s->at_ns > s->heartbeat_ns[i] ? (double)(s->at_ns - s->heartbeat_ns[i]) / NS : 0);
	}
}

static void write_degraded(struct writer *w, const struct snapshot *s)
{
	struct degraded d[DEGRADED_COMPONENTS];
	char labels[48];

	degraded_find(s, d);
	head(w, "kvshm_degraded", "gauge", "1: the daemon does without something that it could have, by component");
	for (unsigned i = 0; i < DEGRADED_COMPONENTS; i++) {
		snprintf(labels, sizeof(labels), "component=\"%s\"", d[i].component);
		sample(w, "kvshm_degraded", labels, d[i].is);
	}
}

/* By why, in one family, to be summed. */
static void write_dropped(struct writer *w, const struct snapshot *s)
{
	static const struct {
		const char *labels;
		enum metric m;
	} row[] = {
		{ "reason=\"full\"", METRIC_DROPPED_FULL }, { "reason=\"parent\"", METRIC_DROPPED_PARENT },
		{ "reason=\"index\"", METRIC_DROPPED_INDEX }, { "reason=\"bad\"", METRIC_DROPPED_BAD },
		{ "reason=\"client\"", METRIC_CLIENT_DROPPED },
	};

	head(w, "kvshm_puts_dropped_total", "counter", "blocks that were put and not taken, by why");
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++)
		sample(w, "kvshm_puts_dropped_total", row[i].labels, (double)s->metric[row[i].m]);
}

static void write_info(struct writer *w, const struct snapshot *s)
{
	char version[160], policy[160], pages[160], labels[600];
	uint64_t boot_s = proc_boot_time();

	escape(s->text[KVSHM_TEXT_VERSION], version, sizeof(version));
	escape(s->text[KVSHM_TEXT_POLICY], policy, sizeof(policy));
	escape(s->text[KVSHM_TEXT_PAGES], pages, sizeof(pages));
	snprintf(labels, sizeof(labels), "version=\"%s\",abi=\"%" PRIu64 "\",policy=\"%s\",pages=\"%s\",exporter=\"%s\"", version,
		 s->metric[METRIC_ABI], policy, pages, KVSHM_VERSION_STRING);
	gauge(w, "kvshm_build_info", "what the daemon is and runs with, always 1", labels, 1);
	if (boot_s)
		gauge(w, "kvshm_start_time_seconds", "when the daemon started, since 1970", "",
		      (double)boot_s + (double)s->start_ns / NS);
	gauge(w, "kvshm_uptime_seconds", "since the daemon's start", "", (double)(s->at_ns - s->start_ns) / NS);
}

bool prom_is_ready(const struct snapshot *s)
{
	return s->state == TARGET_RUNNING && s->metric[METRIC_SERVES];
}

static void write_curves(struct writer *w, const struct mrc_watch_curve *c, unsigned nr)
{
	char labels[64];

	head(w, "kvshm_mrc_hit_ratio", "gauge",
	     "block hit ratio under leaf-lru of what was heard, alone in so many times the arena, by namespace");
	for (unsigned i = 0; i < nr; i++)
		for (unsigned p = 0; p < MRC_WATCH_POINTS; p++) {
			snprintf(labels, sizeof(labels), "namespace=\"%u\",of_capacity=\"%g\"", c[i].ns, mrc_watch_sizes[p]);
			sample(w, "kvshm_mrc_hit_ratio", labels, c[i].ratio[p]);
		}
	head(w, "kvshm_estimated_infinite_hit_ratio", "gauge", "the same of a cache that never evicts, by namespace");
	for (unsigned i = 0; i < nr; i++) {
		snprintf(labels, sizeof(labels), "namespace=\"%u\"", c[i].ns);
		sample(w, "kvshm_estimated_infinite_hit_ratio", labels, c[i].ratio_infinite);
	}
}

void prom_write(const struct prom_scrape *p, enum prom_form form, FILE *out)
{
	const struct snapshot *s = p->s;
	struct writer w = { .out = out, .form = form };

	escape(s ? s->text[KVSHM_TEXT_INSTANCE] : p->instance, w.daemon, sizeof(w.daemon));
	gauge(&w, "kvshm_up", "1: the daemon runs; 0: it hangs or is dead, and the other figures are its last", "",
	      s && s->state == TARGET_RUNNING);
	if (s) {
		gauge(&w, "kvshm_ready", "1: it runs and serves, as kvshm_serves says", "", prom_is_ready(s));
		write_info(&w, s);
		write_heartbeats(&w, s);
		write_degraded(&w, s);
		write_states(&w, s);
		write_dropped(&w, s);
		write_clients(&w, s);
		write_uses(&w, s);
		write_curves(&w, p->curve, p->nr_curves);
		write_metrics(&w, s);
		write_hists(&w, s);
	}
	prom_write_self(form, out);
	if (form == PROM_OPENMETRICS)
		fputs("# EOF\n", out);
}

enum prom_form prom_form_of(const char *accept)
{
	return strstr(accept, "application/openmetrics-text") ? PROM_OPENMETRICS : PROM_TEXT;
}
