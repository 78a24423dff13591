/* SPDX-License-Identifier: Apache-2.0 */
/* stat_print.c - one answer of kvshm stat, as text, JSON or CSV */
#include <stdio.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/stats/metrics.h"
#include "utils/color.h"
#include "utils/degraded.h"
#include "utils/stat.h"

static struct jdoc *json_begin(const struct snapshot *s, const char *schema)
{
	struct jdoc *j = jdoc_begin(schema, s->text[KVSHM_TEXT_PAGES]);

	jdoc_text(j, "state", target_state_name(s->state));
	jdoc_bool(j, "is_stale", s->state != TARGET_RUNNING);
	jdoc_int(j, "pid", (int64_t)s->pid);
	jdoc_int(j, "uptime_ns", (int64_t)(s->at_ns - s->start_ns));
	return j;
}

static double saved_prefill_s(const struct stat_options *o, const struct snapshot *s)
{
	return (double)s->metric[METRIC_HIT_TOKENS] / (double)o->prefill_rate;
}

static void json_degraded(struct jdoc *j, const struct snapshot *s)
{
	struct jdoc *o = jdoc_object(j, "degraded");
	struct degraded d[DEGRADED_COMPONENTS];

	degraded_find(s, d);
	for (unsigned i = 0; i < DEGRADED_COMPONENTS; i++)
		jdoc_bool(o, d[i].component, d[i].is);
}

static void json_summary(const struct stat_options *o, const struct snapshot *now, const struct snapshot *before)
{
	static const struct {
		const char *name;
		enum kvshm_stats_text which;
	} texts[] = {
		{ "instance", KVSHM_TEXT_INSTANCE }, { "daemon_version", KVSHM_TEXT_VERSION },
		{ "start", KVSHM_TEXT_START }, { "policy", KVSHM_TEXT_POLICY },
		{ "protection", KVSHM_TEXT_PROTECTION }, { "memory_dir", KVSHM_TEXT_MEMORY_DIR },
		{ "socket", KVSHM_TEXT_SOCKET },
	};
	struct jdoc *j = json_begin(now, "stat"), *m;

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
		jdoc_text(j, texts[i].name, now->text[texts[i].which]);
	json_degraded(j, now);
	jdoc_real(j, "block_hit_ratio", snapshot_hit_ratio(now, NULL));
	if (o->prefill_rate)
		jdoc_real(j, "saved_prefill_s", saved_prefill_s(o, now));
	m = jdoc_object(j, "metrics");
	for (unsigned i = 0; i < METRIC_LAST; i++)
		jdoc_int(m, stat_metric_name((enum metric)i), (int64_t)now->metric[i]);
	if (before) {
		jdoc_real(j, "recent_block_hit_ratio", snapshot_hit_ratio(now, before));
		m = jdoc_object(j, "per_second");
		for (unsigned i = 0; i < METRIC_LAST; i++)
			if (snapshot_is_counter((enum metric)i))
				jdoc_real(m, stat_metric_name((enum metric)i), snapshot_rate(now, before, (enum metric)i));
	}
	jdoc_end(j, stdout);
}

/* The command clients has had its own schema, with its rows under its name. */
static void json_view(const struct stat_options *o, const struct table *t, const struct snapshot *now)
{
	bool is_clients = !strcmp(o->command, "kvshm clients");
	struct jdoc *j = json_begin(now, is_clients ? "clients" : "stat");

	jdoc_text(j, "view", t->view);
	table_json(t, j, is_clients ? "clients" : "rows");
	if (is_clients) {
		jdoc_int(j, "nr_clients", t->nr_rows);
		jdoc_int(j, "torn_entries", now->nr_torn);
	}
	jdoc_end(j, stdout);
}

static bool is_summary(const struct stat_options *o)
{
	return o->view == views;
}

static int select_rows(const struct stat_options *o, struct table *t)
{
	const char *bad = o->sort && table_sort(t, o->sort) < 0 ? o->sort :
			  o->filter && table_filter(t, o->filter) < 0 ? o->filter :
			  o->fields && table_fields(t, o->fields) < 0 ? o->fields : NULL;

	if (!bad)
		return 0;
	fprintf(stderr, "%s: view %s has no column \"%s\"; it has", o->command, t->view, bad);
	for (unsigned c = 0; c < t->nr_columns; c++)
		fprintf(stderr, "%s %s", c ? "," : "", t->column[c].name);
	fputc('\n', stderr);
	return -1;
}

static void text_view(const struct stat_options *o, const struct table *t, const struct snapshot *now)
{
	if (now->state != TARGET_RUNNING)
		printf("%sSTALE: the daemon is %s; its last values follow%s\n", color(TONE_BAD), target_state_name(now->state),
		       color(TONE_PLAIN));
	table_print(t, &o->style, stdout);
}

static int print_table(const struct stat_options *o, const struct snapshot *now, const struct snapshot *before)
{
	struct table t;
	int ret;

	if (o->name && view_hist_cells(&t, now, o->name) < 0) {
		fprintf(stderr, "%s: no histogram \"%s\"; `%s hist` lists them\n", o->command, o->name, o->command);
		return -1;
	}
	if (!o->name)
		o->view->fill(&t, now, before);
	ret = select_rows(o, &t);
	if (!ret) {
		if (o->is_json)
			json_view(o, &t, now);
		else if (o->is_csv)
			table_csv(&t, o->style.no_header, stdout);
		else
			text_view(o, &t, now);
	}
	table_end(&t);
	return ret;
}

int stat_print(const struct stat_options *o, const struct snapshot *now, const struct snapshot *before)
{
	bool is_table = o->is_csv || o->style.is_raw || o->sort || o->filter || o->fields;
	int ret = 0;

	if (!is_summary(o) || is_table)
		ret = print_table(o, now, before);
	else if (o->is_json)
		json_summary(o, now, before);
	else {
		summary_print(now, before, stdout);
		if (o->prefill_rate)
			printf("saved       %.0f s of prefill at %llu tokens a second\n", saved_prefill_s(o, now),
			       (unsigned long long)o->prefill_rate);
	}
	fflush(stdout);
	return ret;
}
