/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_run.c - running requests to another GPU: what migrate.h decides, done by hops */
#include "gpu/migrate_run.h"

#include <errno.h>
#include <stdlib.h>

#include "gpu/migrate_priv.h"

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

int request_end(struct request *q, int error)
{
	int ret = migrate_abort(&q->m);

	if (ret == 0 && !q->error)
		q->error = error;
	return ret;
}

int migrate_run_abort(struct migrate_run *r, uint32_t request)
{
	struct request *q = request_of(r, request);

	return q ? request_end(q, -ECANCELED) : -EINVAL;
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
		is_new = messages_land(r);
		for (uint32_t i = 0; i < r->max_requests; i++)
			is_new |= r->request[i].is_used && ask(r, i);
		is_new |= messages_issue(r);
	} while (is_new);
	return count_open(r);
}

void migrate_run_end(struct migrate_run *r)
{
	for (uint32_t n = 0; n < r->max_requests; n++) {
		struct request *q = &r->request[n];

		if (!q->is_used || is_ended(q) || request_end(q, -ECANCELED) < 0)
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
