/* SPDX-License-Identifier: Apache-2.0 */
/* view_events.c - what happened to blocks last, from the ring beside the statistics page */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/stats/events.h"
#include "utils/views.h"

#define LAST 256u

static const char *type_name(const struct kvshm_event *e)
{
	switch (e->type) {
	case KVSHM_EVENT_STORED:
		return "stored";
	case KVSHM_EVENT_REMOVED:
		return e->reason == KVSHM_EVENT_EVICTED ? "evicted" : "dropped";
	case KVSHM_EVENT_TOUCHED:
		return "touched";
	default:
		return "?";
	}
}

/* A hash under a key that the daemon tells nobody; 0: a root or a loose block. */
static void set_hash(struct cell *c, uint64_t hash)
{
	char text[20];

	if (!hash)
		return;
	snprintf(text, sizeof(text), "%016" PRIx64, hash);
	cell_text(c, text);
}

static void add(struct table *t, const struct kvshm_event *e, uint64_t now_ns)
{
	struct cell *row = table_row(t);

	row[0].u = e->seq - 1;
	row[1].u = now_ns > e->time_ns ? now_ns - e->time_ns : 0;
	cell_text(&row[2], type_name(e));
	row[3].u = e->ns;
	row[4].u = e->nr;
	row[5].u = e->length;
	row[6].u = e->tokens;
	set_hash(&row[7], e->key);
	set_hash(&row[8], e->parent);
}

void view_events(struct table *t, const struct snapshot *now, const struct snapshot *before)
{
	static const struct column columns[] = {
		{ "event", "EVENT", CELL_COUNT, 10, false },
		{ "ago_ns", "AGO", CELL_NS, 8, false },
		{ "type", "TYPE", CELL_TEXT, 8, false },
		{ "namespace", "NS", CELL_COUNT, 4, false },
		{ "blocks", "DEPTH", CELL_COUNT, 6, false },
		{ "length_bytes", "LENGTH", CELL_BYTES, 8, false },
		{ "tokens", "TOKENS", CELL_COUNT, 6, false },
		{ "key", "KEY", CELL_TEXT, 16, false },
		{ "parent", "PARENT", CELL_TEXT, 16, true },
	};
	struct kvshm_event *e = calloc(LAST, sizeof(*e));
	char path[sizeof(now->dir) + 16];
	struct event_ring *r;
	uint64_t next, lost = 0;
	unsigned nr;
	int ret;

	(void)before;
	table_begin(t, "events", columns, ARRAY_SIZE(columns));
	snprintf(path, sizeof(path), "%s/events", now->dir);
	ret = e ? events_open(path, &r) : -ENOMEM;
	if (ret < 0) {
		table_note(t, "%s: %s", path, strerror(-ret));
		free(e);
		return;
	}
	next = events_next(r) > LAST ? events_next(r) - LAST : 0;
	nr = events_read(r, &next, e, LAST, &lost);
	events_close(r);
	while (nr)
		add(t, &e[--nr], now->at_ns);
	free(e);
	if (!t->nr_rows)
		table_note(t, "nothing happened yet");
	table_note(t, "the newest first; keys are hashes that mean nothing outside this start of the daemon");
}
