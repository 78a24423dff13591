/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_trace.c - requests with dense blocks, built record by record
 *
 * Files name a block by a hash or a number; the same name under another parent is another block.  So
 * the dense number hangs on the pair (parent's dense number, name).  Sessions are kept in a table of
 * the same kind, for the gap since a session's request before.
 */
#include "utils/sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/rand.h"
#include "policy/hints.h"

struct name_slot {
	uint64_t name;
	uint32_t parent;
	uint32_t id;			/* 0: empty */
};

struct name_table {
	struct name_slot *slot;
	size_t size, used;		/* a power of two */
};

struct sim_names {
	struct name_table blocks, sessions;
	uint64_t *last_ns;		/* of session id */
	size_t room_sessions;
	uint32_t nr_sessions;
};

static struct name_slot *table_at(const struct name_table *t, uint32_t parent, uint64_t name)
{
	size_t i = rand_mix(name ^ rand_mix(parent + 1ull)) & (t->size - 1);

	while (t->slot[i].id && (t->slot[i].name != name || t->slot[i].parent != parent))
		i = (i + 1) & (t->size - 1);
	return &t->slot[i];
}

static int table_grow(struct name_table *t)
{
	struct name_table n = { .size = t->size ? 2 * t->size : 1024, .used = t->used };
	size_t i;

	n.slot = calloc(n.size, sizeof(*n.slot));
	if (!n.slot)
		return -ENOMEM;
	for (i = 0; i < t->size; i++)
		if (t->slot[i].id)
			*table_at(&n, t->slot[i].parent, t->slot[i].name) = t->slot[i];
	free(t->slot);
	*t = n;
	return 0;
}

/* The number of (parent, name); a new one is @next.  Return: 0 out of memory. */
static uint32_t table_number(struct name_table *t, uint32_t parent, uint64_t name, uint32_t next)
{
	struct name_slot *s;

	if (2 * (t->used + 1) > t->size && table_grow(t) < 0)
		return 0;
	s = table_at(t, parent, name);
	if (!s->id) {
		*s = (struct name_slot){ .name = name, .parent = parent, .id = next };
		t->used++;
	}
	return s->id;
}

/* Room for one more of an array.  Return: -ENOMEM. */
static int make_room(void *array_p, size_t size, size_t need, size_t *room)
{
	size_t n = *room ? *room : 1024;
	void *a;

	if (need <= *room)
		return 0;
	while (n < need)
		n *= 2;
	a = realloc(*(void **)array_p, n * size);
	if (!a)
		return -ENOMEM;
	*(void **)array_p = a;
	*room = n;
	return 0;
}

void sim_trace_init(struct sim_trace *t, uint32_t block_tokens)
{
	*t = (struct sim_trace){ .block_tokens = block_tokens };
}

void sim_trace_fini(struct sim_trace *t)
{
	if (t->names) {
		free(t->names->blocks.slot);
		free(t->names->sessions.slot);
		free(t->names->last_ns);
	}
	free(t->names);
	free(t->req);
	free(t->chain);
	free(t->parent);
	*t = (struct sim_trace){ .block_tokens = t->block_tokens };
}

static int add_chain(struct sim_trace *t, const struct sim_record *r)
{
	uint32_t i, id, parent = 0;
	int ret = make_room(&t->chain, sizeof(*t->chain), t->nr_chain + r->nr, &t->room_chain);

	for (i = 0; ret == 0 && i < r->nr; i++) {
		id = table_number(&t->names->blocks, parent, r->hash[i], t->nr_blocks + 1);
		ret = id ? make_room(&t->parent, sizeof(*t->parent), id + 1ull, &t->room_blocks) : -ENOMEM;
		if (ret < 0)
			break;
		if (id > t->nr_blocks) {
			t->parent[0] = 0;
			t->parent[id] = parent;
			t->nr_blocks = id;
		}
		t->chain[t->nr_chain + i] = parent = id;
	}
	return ret;
}

/* hint_gap() of the request; the session is seen at its time from now on.  0: out of memory or no session. */
static uint8_t session_gap(struct sim_trace *t, const struct sim_record *r, uint32_t *ret_session)
{
	struct sim_names *n = t->names;
	uint32_t id = table_number(&n->sessions, 0, r->session, n->nr_sessions + 1);
	int is_first = id > n->nr_sessions;
	uint8_t gap;

	if (!id || make_room(&n->last_ns, sizeof(*n->last_ns), id + 1ull, &n->room_sessions) < 0)
		return 0;
	if (is_first)
		n->nr_sessions = id;
	gap = hint_gap(is_first, is_first ? 0 : r->time_ns - n->last_ns[id]);
	n->last_ns[id] = r->time_ns;
	*ret_session = id;
	return gap;
}

int sim_trace_add(struct sim_trace *t, const struct sim_record *r)
{
	struct sim_request q = { .time_ns = r->time_ns, .first = t->nr_chain, .nr = r->nr, .tokens = r->tokens };
	struct hints h = { .type = (uint8_t)r->type, .stop = (uint8_t)r->stop, .turn = hint_turn(r->turn) };

	if (t->nr_req && r->time_ns < t->req[t->nr_req - 1].time_ns)
		return -ERANGE;
	if (!t->names)
		t->names = calloc(1, sizeof(*t->names));
	if (!t->names || make_room(&t->req, sizeof(*t->req), t->nr_req + 1, &t->room_req) < 0 ||
	    add_chain(t, r) < 0)
		return -ENOMEM;
	if (r->output_tokens != UINT64_MAX)
		h.output = hint_octave(r->output_tokens);
	if (r->session) {
		h.gap = session_gap(t, r, &q.session);
		if (!h.gap)
			return -ENOMEM;
	}
	q.hints = hints_pack(&h);
	t->req[t->nr_req++] = q;
	t->nr_chain += r->nr;
	if (r->nr > t->longest)
		t->longest = r->nr;
	return 0;
}
