/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_run.c - running requests to another GPU: what migrate.h decides, done by hops */
#include "gpu/migrate_run.h"

#include <errno.h>
#include <stdlib.h>

#include "kvshm/base/compiler.h"

struct request {
	struct migrate m;
	struct migrate_tables tables;
	int error;			/* why it was aborted */
	bool is_used;
	bool is_lost;			/* a device was lost with copies of it under way */
	bool is_counted;
};

struct message {			/* what a hop carries */
	struct migrate_piece *pieces;	/* [max_blocks] */
	unsigned nr;
	struct message *next;		/* submitted behind it */
};

struct migrate_run {
	struct hops *hops;
	uint32_t nr_groups, block_tokens, max_blocks;
	uint64_t token_bytes;		/* of all groups and layers */
	struct migrate_engine engine;
	uint32_t max_pauses, max_requests;
	struct migrate_run_info info;
	struct message *first, **last, *idle;
	struct hop_block *blocks;	/* of the call, [max_blocks * nr_groups] */
	struct migrate **set;		/* all of .request */
	struct request request[];
};

static struct request *request_of(const struct migrate_run *r, uint32_t n)
{
	const struct request *q = n < r->max_requests && r->request[n].is_used ? &r->request[n] : NULL;

	return (struct request *)q;
}

/* One that is over, as far as migrate_batch() sees. */
static void request_clear(struct request *q)
{
	*q = (struct request){ .m = { .block_tokens = 1, .state = MIGRATE_DONE } };
}

/* ---- create ------------------------------------------------------------------------------------------- */

static int layout_take(struct migrate_run *r, const struct gpu_layout *l)
{
	r->nr_groups = l->nr_groups;
	r->block_tokens = l->group[0].nr_tokens;
	for (uint32_t g = 0; g < l->nr_groups; g++) {
		const struct gpu_group *y = &l->group[g];

		if (y->nr_tokens != r->block_tokens)
			return -EOPNOTSUPP;
		r->token_bytes += (uint64_t)gpu_layout_group_layers(l, g) * y->nr_parts * y->nr_heads * y->run_len;
	}
	return 0;
}

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

static int arrays_create(struct migrate_run *r, uint32_t max_blocks)
{
	r->max_blocks = max_blocks / r->nr_groups;
	if (!r->max_blocks)
		return -EINVAL;
	r->blocks = malloc(max_blocks * sizeof(*r->blocks));
	r->set = malloc(r->max_requests * sizeof(*r->set));
	if (!r->blocks || !r->set)
		return -ENOMEM;
	for (uint32_t i = 0; i < r->max_requests; i++) {
		request_clear(&r->request[i]);
		r->set[i] = &r->request[i].m;
	}
	return 0;
}

int migrate_run_create(struct hops *hops, const struct gpu_layout *layout, uint32_t max_blocks,
		       const struct migrate_run_config *cfg, struct migrate_run **ret)
{
	struct migrate_run *r;
	int err;

	if (!cfg->max_requests || cfg->max_requests > MIGRATE_REQUESTS_MAX || !cfg->max_pauses || !cfg->engine.pause ||
	    !cfg->engine.resume || !cfg->engine.move)
		return -EINVAL;
	r = calloc(1, sizeof(*r) + cfg->max_requests * sizeof(r->request[0]));
	if (!r)
		return -ENOMEM;
	r->hops = hops;
	r->engine = cfg->engine;
	r->max_pauses = cfg->max_pauses;
	r->max_requests = cfg->max_requests;
	r->last = &r->first;
	err = layout_take(r, layout);
	if (err == 0)
		err = arrays_create(r, max_blocks);
	if (err < 0) {
		migrate_run_destroy(r);
		return err;
	}
	*ret = r;
	return 0;
}

static void messages_free(struct message *m)
{
	struct message *next;

	for (; m; m = next) {
		next = m->next;
		free(m->pieces);
		free(m);
	}
}

void migrate_run_destroy(struct migrate_run *r)
{
	if (!r)
		return;
	messages_free(r->first);
	messages_free(r->idle);
	free(r->blocks);
	free(r->set);
	free(r);
}

/* ---- what the engine tells -------------------------------------------------------------------------------- */

static bool fits(const struct migrate_run *r, const struct migrate_tables *t, uint64_t tokens)
{
	return tokens <= (uint64_t)t->nr_blocks * r->block_tokens;
}

int migrate_run_add(struct migrate_run *r, const struct migrate_tables *t, uint64_t tokens, uint32_t nr_there)
{
	struct request q = { .tables = *t, .is_used = true };
	uint32_t n = 0;
	int ret;

	if (hops_error(r->hops, NULL))
		return hops_error(r->hops, NULL);
	for (uint32_t g = 0; g < r->nr_groups; g++)
		if (!t->from[g] || !t->to[g])
			return -EINVAL;
	if (!fits(r, t, tokens))
		return -EINVAL;
	while (n < r->max_requests && r->request[n].is_used)
		n++;
	if (n == r->max_requests)
		return -EBUSY;
	ret = migrate_init(&q.m, tokens, r->block_tokens, r->max_pauses);
	if (ret == 0)
		ret = migrate_skip(&q.m, nr_there);
	if (ret < 0)
		return ret;
	r->request[n] = q;
	return (int)n;
}

int migrate_run_grew(struct migrate_run *r, uint32_t request, uint64_t tokens)
{
	struct request *q = request_of(r, request);

	return q && fits(r, &q->tables, tokens) ? migrate_grew(&q->m, tokens) : -EINVAL;
}

int migrate_run_paused(struct migrate_run *r, uint32_t request, uint64_t tokens)
{
	struct request *q = request_of(r, request);

	return q && fits(r, &q->tables, tokens) ? migrate_paused(&q->m, tokens) : -EINVAL;
}

int migrate_run_moved(struct migrate_run *r, uint32_t request, bool is_there)
{
	struct request *q = request_of(r, request);

	return q ? migrate_switched(&q->m, is_there) : -EINVAL;
}

static int end_request(struct request *q, int error)
{
	int ret = migrate_abort(&q->m);

	if (ret == 0 && !q->error)
		q->error = error;
	return ret;
}

int migrate_run_abort(struct migrate_run *r, uint32_t request)
{
	struct request *q = request_of(r, request);

	return q ? end_request(q, -ECANCELED) : -EINVAL;
}

/* ---- messages ----------------------------------------------------------------------------------------------- */

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
			end_request(q, error);
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
		end_request(q, error);
		q->is_lost = q->m.nr_flight;
	}
}

/* Return: is there anything new? */
static bool land(struct migrate_run *r)
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

/* Return: has something been issued? */
static bool issue(struct migrate_run *r)
{
	struct message *m;

	if (hops_error(r->hops, NULL) || !hops_has_room(r->hops))
		return false;
	m = message_take(r);
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

/* ---- the engine ---------------------------------------------------------------------------------------------- */

static bool is_ended(const struct request *q)
{
	return q->m.state == MIGRATE_DONE || q->m.state == MIGRATE_ABORTED;
}

/* What is to be done and is no copy.  Return: was there anything? */
static bool ask(struct migrate_run *r, uint32_t n)
{
	const struct migrate_engine *e = &r->engine;
	struct request *q = &r->request[n];
	bool is_new = false;

	while (!migrate_wants_copy(&q->m)) {
		const enum migrate_act act = migrate_next(&q->m, 0).act;

		if (act == MIGRATE_DO_PAUSE)
			e->pause(e->arg, n);
		else if (act == MIGRATE_DO_RESUME)
			e->resume(e->arg, n);
		else if (act == MIGRATE_DO_SWITCH)
			e->move(e->arg, n);
		else
			break;
		is_new = true;
	}
	return is_new;
}

static uint32_t count_open(struct migrate_run *r)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < r->max_requests; i++) {
		struct request *q = &r->request[i];

		if (!q->is_used)
			continue;
		nr += !is_ended(q) && !q->is_lost;
		if (!is_ended(q) || q->is_counted)
			continue;
		q->is_counted = true;
		r->info.moved += q->m.state == MIGRATE_DONE;
		r->info.aborted += q->m.state == MIGRATE_ABORTED;
	}
	return nr;
}

uint32_t migrate_run_poll(struct migrate_run *r)
{
	bool is_new;

	do {
		is_new = land(r);
		for (uint32_t i = 0; i < r->max_requests; i++)
			is_new |= r->request[i].is_used && ask(r, i);
		is_new |= issue(r);
	} while (is_new);
	return count_open(r);
}

void migrate_run_end(struct migrate_run *r)
{
	for (uint32_t n = 0; n < r->max_requests; n++) {
		struct request *q = &r->request[n];

		if (!q->is_used || is_ended(q) || end_request(q, -ECANCELED) < 0)
			continue;
		ask(r, n);
		if (q->m.is_asked)
			r->engine.resume(r->engine.arg, n);
	}
}

/* ---- what became of it ----------------------------------------------------------------------------------------- */

int migrate_run_state(const struct migrate_run *r, uint32_t request)
{
	const struct request *q = request_of(r, request);

	if (!q)
		return -EINVAL;
	if (q->error || q->m.state == MIGRATE_DONE)
		return q->error ? q->error : 1;
	if (q->m.state != MIGRATE_ENDING && q->m.state != MIGRATE_ABORTED)
		return 0;
	return q->m.nr_pauses == q->m.max_pauses ? -EAGAIN : -ECANCELED;
}

int migrate_run_is_over(const struct migrate_run *r, uint32_t request)
{
	const struct request *q = request_of(r, request);

	if (!q)
		return -EINVAL;
	return q->is_lost ? -ENOTRECOVERABLE : is_ended(q);
}

int migrate_run_remove(struct migrate_run *r, uint32_t request)
{
	struct request *q = request_of(r, request);

	if (!q)
		return -EINVAL;
	if (!is_ended(q))
		return -EBUSY;
	request_clear(q);
	return 0;
}

void migrate_run_info(const struct migrate_run *r, struct migrate_run_info *ret)
{
	*ret = r->info;
}
