/* SPDX-License-Identifier: Apache-2.0 */
/* migrate.c - running requests from one GPU side to another */
#include <errno.h>
#include <stdlib.h>

#include <kvshm/migrate.h>

#include "gpu/migrate_run.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/sized.h"
#include "kvshm/client/gpu.h"

#define MAX_REQUESTS 64u
#define MAX_PAUSES 4u
#define TIMEOUT_MS 5000u
#define HOP_LEN (32ull << 20)
#define NR_HOPS 2u

struct kvshm_migrate {
	struct gpu_user on_from, on_to;
	struct kvshm_gpu *from, *to;
	struct hops *hops;
	struct migrate_run *run;
	enum migrate_how how;
	struct migrate_cost rates;
	uint64_t token_bytes;
	uint32_t timeout_ms;
};

_Static_assert((int)KVSHM_MIGRATE_PEER == MIGRATE_BY_PEER && (int)KVSHM_MIGRATE_HOST == MIGRATE_BY_ARENA &&
	       (int)KVSHM_MIGRATE_RECOMPUTE == MIGRATE_BY_RECOMPUTE, "one enumeration");

static bool is_forked(const struct kvshm_migrate *m)
{
	return client_is_forked(m->from->k);
}

/* ---- open ------------------------------------------------------------------------------------------------ */

static int options_take(const struct kvshm_migrate_options *opts, struct kvshm_migrate_options *ret)
{
	int err = sized_take(opts, sizeof(*ret), ret, sizeof(*ret));

	if (err < 0)
		return err;
	if (ret->flags || !ret->pause || !ret->resume || !ret->move || ret->max_requests > MIGRATE_REQUESTS_MAX)
		return -EINVAL;
	ret->max_requests = ret->max_requests ? ret->max_requests : MAX_REQUESTS;
	ret->max_pauses = ret->max_pauses ? ret->max_pauses : MAX_PAUSES;
	ret->hop_len = ret->hop_len ? ret->hop_len : HOP_LEN;
	return 0;
}

static double rate_of(double measured, double guess)
{
	return measured > 0 ? measured : guess;
}

/* The least of the quotients; both devices are of one driver, so one of them is asked for the path between them. */
static void way_choose(struct kvshm_migrate *m, const struct kvshm_migrate_options *o)
{
	const double out = m->from->cost.link_bytes_per_ns, in = m->to->cost.link_bytes_per_ns;
	bool is_near = m->from->ctx.device.ordinal == m->to->ctx.device.ordinal ||
		       gpu_device_peer(&m->from->cu, &m->from->ctx.device, &m->to->ctx.device) > 0;

	m->rates = (struct migrate_cost){
		.bytes = 1, .peer_bytes_per_ns = is_near ? rate_of(o->peer_bytes_per_ns, min_of(out, in)) : 0,
		.d2h_bytes_per_ns = rate_of(o->d2h_bytes_per_ns, out), .h2d_bytes_per_ns = rate_of(o->h2d_bytes_per_ns, in),
		.recompute_ns = __builtin_inf(),
	};
	m->how = migrate_advise(&m->rates, NULL);
}

static int hops_make(struct kvshm_migrate *m, const struct kvshm_migrate_options *o, uint32_t *ret_blocks)
{
	const struct gpu_layout *l = &m->from->layout;
	struct hops_config cfg = { .from = { &m->from->ctx, l, &m->from->cost },
				   .to = { &m->to->ctx, &m->to->layout, &m->to->cost },
				   .by_host = m->how == MIGRATE_BY_ARENA, .nr = NR_HOPS };
	uint64_t len = 1;

	for (uint32_t g = 0; g < l->nr_groups; g++) {
		len = max_of(len, l->group[g].arena_len);
		m->token_bytes += gpu_layout_block_bytes(l, g) / l->group[g].nr_tokens;
	}
	cfg.max_blocks = (uint32_t)min_of(max_of(o->hop_len / len, (uint64_t)l->nr_groups), 65536ull);
	*ret_blocks = cfg.max_blocks;
	return hops_create(&cfg, &m->hops);
}

static int way_make(struct kvshm_migrate *m, const struct kvshm_migrate_options *o)
{
	const struct migrate_run_config cfg = {
		.max_requests = o->max_requests, .max_pauses = o->max_pauses, .engine = { o->arg, o->pause, o->resume, o->move },
	};
	uint32_t max_blocks;
	int ret = hops_make(m, o, &max_blocks);

	if (ret < 0)
		return ret;
	ret = migrate_run_create(m->hops, &m->from->layout, max_blocks, &cfg, &m->run);
	if (ret < 0)
		hops_destroy(m->hops, clock_ns());
	return ret;
}

static void close_from(struct gpu_user *u)
{
	kvshm_migrate_close(container_of(u, struct kvshm_migrate, on_from));
}

static void close_to(struct gpu_user *u)
{
	kvshm_migrate_close(container_of(u, struct kvshm_migrate, on_to));
}

__public int kvshm_migrate_open(struct kvshm_gpu *from, struct kvshm_gpu *to, const struct kvshm_migrate_options *opts,
				struct kvshm_migrate **ret_m)
{
	struct kvshm_migrate_options o;
	struct kvshm_migrate *m;
	int ret;

	if (client_is_forked(from->k) || client_is_forked(to->k))
		return -EOWNERDEAD;
	ret = options_take(opts, &o);
	if (ret < 0)
		return ret;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->from = from;
	m->to = to;
	m->timeout_ms = o.timeout_ms ? o.timeout_ms : TIMEOUT_MS;
	way_choose(m, &o);
	ret = way_make(m, &o);
	if (ret < 0) {
		free(m);
		return ret;
	}
	m->on_from.close = close_from;
	m->on_to.close = close_to;
	gpu_user_add(from, &m->on_from);
	gpu_user_add(to, &m->on_to);
	*ret_m = m;
	return 0;
}

__public int kvshm_migrate_close(struct kvshm_migrate *m)
{
	int ret;

	if (!m)
		return 0;
	if (is_forked(m))
		return -EOWNERDEAD;
	migrate_run_end(m->run);
	ret = hops_destroy(m->hops, clock_ns() + (uint64_t)m->timeout_ms * 1000000u);
	gpu_user_remove(m->from, &m->on_from, ret);
	gpu_user_remove(m->to, &m->on_to, ret);
	migrate_run_destroy(m->run);
	if (ret == 0)
		free(m);
	return ret;
}

/* ---- requests --------------------------------------------------------------------------------------------- */

__public int kvshm_migrate_add(struct kvshm_migrate *m, const struct kvshm_migrate_request *req)
{
	struct migrate_tables t = { .nr_blocks = req->nr_blocks };

	if (is_forked(m))
		return -EOWNERDEAD;
	if (req->sz != sizeof(*req) || !req->from || !req->to)
		return -EINVAL;
	for (uint32_t g = 0; g < m->from->layout.nr_groups; g++) {
		t.from[g] = req->from[g];
		t.to[g] = req->to[g];
	}
	return migrate_run_add(m->run, &t, req->tokens, req->nr_there);
}

__public int kvshm_migrate_grew(struct kvshm_migrate *m, uint32_t request, uint64_t tokens)
{
	return is_forked(m) ? -EOWNERDEAD : migrate_run_grew(m->run, request, tokens);
}

__public int kvshm_migrate_paused(struct kvshm_migrate *m, uint32_t request, uint64_t tokens)
{
	return is_forked(m) ? -EOWNERDEAD : migrate_run_paused(m->run, request, tokens);
}

__public int kvshm_migrate_moved(struct kvshm_migrate *m, uint32_t request, int is_there)
{
	return is_forked(m) ? -EOWNERDEAD : migrate_run_moved(m->run, request, is_there);
}

__public int kvshm_migrate_abort(struct kvshm_migrate *m, uint32_t request)
{
	return is_forked(m) ? -EOWNERDEAD : migrate_run_abort(m->run, request);
}

__public int kvshm_migrate_poll(struct kvshm_migrate *m)
{
	int nr;

	if (is_forked(m))
		return -EOWNERDEAD;
	nr = (int)migrate_run_poll(m->run);
	return hops_error(m->hops, NULL) ? hops_error(m->hops, NULL) : nr;
}

__public int kvshm_migrate_state(struct kvshm_migrate *m, uint32_t request)
{
	return is_forked(m) ? -EOWNERDEAD : migrate_run_state(m->run, request);
}

__public int kvshm_migrate_is_over(struct kvshm_migrate *m, uint32_t request)
{
	return is_forked(m) ? -EOWNERDEAD : migrate_run_is_over(m->run, request);
}

__public int kvshm_migrate_end(struct kvshm_migrate *m, uint32_t request)
{
	return is_forked(m) ? -EOWNERDEAD : migrate_run_remove(m->run, request);
}

__public int kvshm_migrate_advise(struct kvshm_migrate *m, uint64_t tokens, double recompute_ns)
{
	struct migrate_cost c = m->rates;

	if (is_forked(m))
		return -EOWNERDEAD;
	c.bytes = tokens * m->token_bytes;
	c.recompute_ns = recompute_ns;
	return (int)migrate_advise(&c, NULL);
}

__public int kvshm_migrate_info(struct kvshm_migrate *m, struct kvshm_migrate_facts *info)
{
	struct migrate_run_info run;
	struct hops_info hops;
	bool is_to;

	if (is_forked(m))
		return -EOWNERDEAD;
	if (info->sz != sizeof(*info))
		return -EINVAL;
	migrate_run_info(m->run, &run);
	hops_info(m->hops, &hops);
	hops_error(m->hops, &is_to);
	*info = (struct kvshm_migrate_facts){
		.sz = info->sz, .way = (uint32_t)m->how, .is_to_lost = is_to, .moved = run.moved, .aborted = run.aborted,
		.hops = run.hops, .pieces = run.pieces, .bytes = hops.bytes, .pause_bytes_max = run.pause_bytes_max,
	};
	return 0;
}
