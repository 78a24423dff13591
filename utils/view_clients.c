/* SPDX-License-Identifier: Apache-2.0 */
/* view_clients.c - a row a session: who, since when, what it holds and how much of its quota */
#include <kvshm/abi.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/proc.h"
#include "utils/views.h"

static const struct column columns[] = {
	{ "slot", "SLOT", CELL_COUNT, 4, false },
	{ "pid", "PID", CELL_COUNT, 7, false },
	{ "uid", "UID", CELL_COUNT, 5, false },
	{ "state", "STATE", CELL_TEXT, 8, false },
	{ "is_trusted", "TRUST", CELL_BOOL, 5, false },
	{ "pins", "PINS", CELL_COUNT, 4, false },
	{ "pinned_bytes", "PINNED", CELL_BYTES, 8, false },
	{ "quota_used_ratio", "QUO%", CELL_RATIO, 5, false },
	{ "hit_ratio", "HIT%", CELL_RATIO, 5, false },
	{ "since_ns", "SINCE", CELL_AGE, 6, false },
	{ "quota_bytes", "QUOTA", CELL_BYTES, 8, true },
	{ "grants", "GRANTS", CELL_COUNT, 6, true },
	{ "grant_bytes", "GRANTED", CELL_BYTES, 8, true },
	{ "lookups", "LOOKUPS", CELL_COUNT, 10, true },
	{ "lookup_blocks", "ASKED", CELL_COUNT, 11, true },
	{ "hit_blocks", "FOUND", CELL_COUNT, 11, true },
	{ "commits", "COMMITS", CELL_COUNT, 9, true },
	{ "dropped_blocks", "DROPPED", CELL_COUNT, 9, true },
	{ "hit_tokens", "HIT TOKENS", CELL_COUNT, 11, true },
	{ "saved_prefill_ns", "SAVED", CELL_AGE, 6, true },
	{ "activity", "S", CELL_TEXT, 1, false },
	{ "label", "LABEL", CELL_TEXT, 12, false },
};

static const char *session_state(uint32_t state)
{
	return state == 1 ? "attached" : state == 2 ? "detached" : state == 3 ? "orphan" : "?";
}

static const struct kvshm_stats_session *earlier(const struct snapshot *before, const struct kvshm_stats_session *s)
{
	for (unsigned i = 0; before && i < before->nr_sessions; i++)
		if (before->session[i].slot == s->slot && before->session[i].since_ns == s->since_ns)
			return &before->session[i];
	return NULL;
}

static bool is_stopped(const struct snapshot *now, const struct kvshm_stats_session *s)
{
	struct proc_stat p;

	return now->has_pids && s->pid && !proc_stat_read((pid_t)s->pid, &p) && (p.state == 'T' || p.state == 't');
}

/* One letter, as of processes in top(1). */
static const char *activity(const struct snapshot *now, const struct snapshot *before, const struct kvshm_stats_session *s)
{
	const struct kvshm_stats_session *was = earlier(before, s);

	if (s->state != 1)
		return s->state == 2 ? "D" : "O";
	if (is_stopped(now, s))
		return "S";
	if (s->cq_entries >= KVSHM_CQ_ENTRIES)
		return "P";
	if (s->sq_entries)
		return "R";
	if (!was)
		return NULL;
	return was->lookups != s->lookups || was->commits != s->commits || was->hit_blocks != s->hit_blocks ? "R" : "I";
}

static void add(struct table *t, const struct snapshot *now, const struct snapshot *before, unsigned i)
{
	const struct kvshm_stats_session *s = &now->session[i];
	const char *letter = activity(now, before, s);
	struct cell *row = table_row(t);

	row[0].u = s->slot;
	row[1].u = s->pid;
	row[2].u = s->uid;
	cell_text(&row[3], session_state(s->state));
	row[4].u = s->is_trusted != 0;
	row[5].u = s->pins;
	row[6].u = s->pinned_bytes;
	if (s->quota_bytes)
		row[7].d = (double)s->pinned_bytes / (double)s->quota_bytes;
	if (s->lookup_blocks)
		row[8].d = (double)s->hit_blocks / (double)s->lookup_blocks;
	row[9].u = now->at_ns > s->since_ns ? now->at_ns - s->since_ns : 0;
	row[10].u = s->quota_bytes;
	row[11].u = s->grants;
	row[12].u = s->grant_bytes;
	row[13].u = s->lookups;
	row[14].u = s->lookup_blocks;
	row[15].u = s->hit_blocks;
	row[16].u = s->commits;
	row[17].u = s->dropped;
	row[18].u = s->hit_tokens;
	row[19].u = view_saved_ns(now->prefill_rate, s->hit_tokens);
	if (letter)
		cell_text(&row[20], letter);
	cell_text(&row[21], s->label);
}

void view_clients(struct table *t, const struct snapshot *now, const struct snapshot *before)
{
	unsigned untrusted = 0;

	table_begin(t, "clients", columns, ARRAY_SIZE(columns));
	for (unsigned i = 0; i < now->nr_sessions; i++) {
		untrusted += !now->session[i].is_trusted;
		add(t, now, before, i);
	}
	if (!now->nr_sessions)
		table_note(t, "nobody is attached");
	if (untrusted)
		table_note(t, "untrusted: staged, no direct GPU path; list the uid under clients.trusted_uids");
	if (now->nr_torn)
		table_note(t, "%u entries torn: the daemon stopped while it wrote them", now->nr_torn);
}
