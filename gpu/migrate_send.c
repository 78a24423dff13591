/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_send.c - pieces of many requests in one hop, and what became of it */
#include <errno.h>
#include <stdlib.h>

#include "gpu/migrate_priv.h"
#include "kvshm/base/compiler.h"

static struct message *message_new(const struct migrate_run *r)
{
	struct message *m = calloc(1, sizeof(*m));

	if (m)
		m->pieces = malloc(r->max_blocks * sizeof(*m->pieces));
	if (m && !m->pieces) {
		free(m);
		return NULL;
	}
	return m;
}

void messages_free(struct message *m)
{
	struct message *next;

	for (; m; m = next) {
		next = m->next;
		free(m->pieces);
		free(m);
	}
}

static struct message *message_take(struct migrate_run *r)
{
	struct message *m = r->idle;

	if (!m)
		return message_new(r);
	r->idle = m->next;
	return m;
}

static void message_put(struct migrate_run *r, struct message *m)
{
	m->next = r->idle;
	r->idle = m;
}

/* ---- landing ------------------------------------------------------------------------------------------------ */

static void message_over(struct migrate_run *r, struct message *m, int error)
{
	for (unsigned i = 0; i < m->nr; i++) {
		const struct migrate_piece *p = &m->pieces[i];
		struct request *q = &r->request[p->request];

		if (error < 0)
			request_end(q, error);
		migrate_landed(&q->m, p->step.nr);
	}
	message_put(r, m);
}

static struct message *message_pop(struct migrate_run *r)
{
	struct message *m = r->first;

	r->first = m->next;
	if (!r->first)
		r->last = &r->first;
	return m;
}

/* Their copies may be under way for ever. */
static void all_lost(struct migrate_run *r, int error)
{
	for (uint32_t i = 0; i < r->max_requests; i++) {
		struct request *q = &r->request[i];

		if (!q->is_used || q->is_lost)
			continue;
		request_end(q, error);
		q->is_lost = q->m.nr_flight;
	}
}

bool messages_land(struct migrate_run *r)
{
	bool is_new = false;
	int ret;

	while ((ret = hops_take(r->hops))) {
		message_over(r, message_pop(r), ret < 0 ? ret : 0);
		is_new = true;
	}
	if (hops_error(r->hops, NULL))
		all_lost(r, hops_error(r->hops, NULL));
	return is_new;
}

/* ---- issuing ------------------------------------------------------------------------------------------------ */

static uint32_t piece_blocks(const struct migrate_run *r, const struct migrate_piece *p, struct hop_block *ret)
{
	const struct migrate_tables *t = &r->request[p->request].tables;
	uint32_t n = 0;

	for (uint32_t g = 0; g < r->nr_groups; g++)
		for (uint32_t i = p->step.first; i < p->step.first + p->step.nr; i++)
			ret[n++] = (struct hop_block){ .group = g, .from = t->from[g][i], .to = t->to[g][i],
						       .nr_tokens = (uint16_t)p->step.nr_tokens };
	return n;
}

static void count_pause(struct migrate_run *r, const struct migrate_piece *p)
{
	if (p->step.act == MIGRATE_DO_TAIL)
		r->info.pause_bytes_max = max_of(r->info.pause_bytes_max, p->step.nr_tokens * r->token_bytes);
}

static void message_send(struct migrate_run *r, struct message *m)
{
	uint32_t nr = 0;
	int ret;

	for (unsigned i = 0; i < m->nr; i++) {
		nr += piece_blocks(r, &m->pieces[i], r->blocks + nr);
		count_pause(r, &m->pieces[i]);
	}
	ret = hops_submit(r->hops, r->blocks, nr);
	if (ret < 0) {
		message_over(r, m, ret);
		return;
	}
	m->next = NULL;
	*r->last = m;
	r->last = &m->next;
	r->info.hops++;
	r->info.pieces += m->nr;
}

bool messages_issue(struct migrate_run *r)
{
	struct message *m;

	if (hops_error(r->hops, NULL) || !hops_has_room(r->hops))
		return false;
	m = message_take(r);
	/* no memory: a later poll tries again */
	if (!m)
		return false;
	m->nr = migrate_batch(r->set, r->max_requests, m->pieces, r->max_blocks, r->max_blocks);
	if (m->nr) {
		message_send(r, m);
		return true;
	}
	message_put(r, m);
	return false;
}
