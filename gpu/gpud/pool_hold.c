/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_hold.c - requests to the staging pool: what is missing is copied in, an answer when all is there
 *
 *   ask       what is there, or on its way, is held; the rest is pinned in our own pin file, gets a place and is put onto
 *             the pool's stream.  All or nothing: an error gives back what was held
 *   landed    pins end; every request whose last block has come is answered, whoever brought it
 *   failed    each request that waits for a block of that copy is answered with its error and holds nothing
 *
 * There is one stream, so copies land in the order of their numbers, and a request needs to remember only the last one
 * that it waits for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpud/pool.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/log.h"

#define EXTENTS_NS 2000000000ull

_Static_assert(GPUMSG_HOLD_MAX <= KVSHM_STAGE_MAX, "blocks of a request are pinned at once, and copied by g->dst");

/* ---- the end of a request --------------------------------------------------------------------------- */

static void give_back(struct pool *p, struct pool_request *r)
{
	for (uint32_t i = 0; i < r->nr; i++)
		if (r->is_held[i])
			pool_table_release(p->table, &r->client->pool_user, r->ref[i]);
}

/* By name: the client may have released what it was not told of. */
static int find_all(const struct pool *p, const struct pool_request *r, uint64_t *ret_off)
{
	for (uint32_t i = 0; i < r->nr; i++) {
		const struct pool_block *b = pool_table_find(p->table, r->ref[i]);

		if (!b || b->state != POOL_STAGED)
			return b && b->state == POOL_FAILED ? b->error : -ENOENT;
		ret_off[i] = b->off;
	}
	return 0;
}

static void say_held(struct gpud *g, struct pool_request *r, int error)
{
	struct gpumsg_held *m = &g->msg.held;

	if (!error)
		error = find_all(g->pool, r, m->off);
	if (error < 0) {
		give_back(g->pool, r);
		memset(m->off, 0, r->nr * sizeof(*m->off));
	}
	m->request = r->name;
	m->nr = r->nr;
	m->error = error;
	r->client->nr_holds--;
	clients_say(g, r->client, gpumsg_begin(&g->msg, GPUMSG_HELD, r->nr), NULL, 0);
}

static bool is_complete(const struct pool *p, const struct pool_request *r)
{
	return !r->copy && r->after <= p->nr_landed;
}

static void answer_complete(struct gpud *g)
{
	struct pool *p = g->pool;
	struct pool_request **at = &p->first, *r;

	while ((r = *at)) {
		if (!is_complete(p, r)) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		if (r->client)
			say_held(g, r, 0);
		free(r);
	}
	p->end = at;
}

void pool_hold_forget(struct pool *p, struct gpud_client *c)
{
	struct pool_request **at = &p->first, *r;

	while ((r = *at)) {
		if (r->client == c)
			r->client = NULL;
		if (r->client || r->copy) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		free(r);
	}
	p->end = at;
	c->nr_holds = 0;
}

/* ---- what is missing ------------------------------------------------------------------------------------------ */

/* What is there, or on its way.  What is held cannot be evicted for what comes after it. */
static int hold_present(struct pool *p, struct pool_request *r)
{
	struct pool_block *b;
	int ret;

	for (uint32_t i = 0; i < r->nr; i++) {
		ret = r->is_held[i] ? 0 : pool_table_take(p->table, &r->client->pool_user, r->ns, r->ref[i], &b);
		if (ret < 0)
			return ret;
		if (!ret)
			continue;
		r->is_held[i] = true;
		r->after = max_of(r->after, b->copy);
	}
	return 0;
}

/* The others, each once.  Return: number. */
static uint32_t list_missing(const struct pool_request *r, uint32_t *missing)
{
	uint32_t nr = 0, j;

	for (uint32_t i = 0; i < r->nr; i++) {
		for (j = 0; j < nr && memcmp(&r->ref[missing[j]], &r->ref[i], sizeof(*r->ref)); j++)
			;
		if (!r->is_held[i] && j == nr)
			missing[nr++] = i;
	}
	return nr;
}

static int pin_missing(struct gpud *g, struct pool_request *r, const uint32_t *missing, uint32_t nr)
{
	struct kvshm_stage_rec rec[GPUMSG_HOLD_MAX];

	for (uint32_t i = 0; i < nr; i++)
		rec[i].block = r->ref[missing[i]];
	return attach_pin(&g->attach, r->ns, rec, nr, clock_ns() + EXTENTS_NS, g->block, r->pin, &r->nr_pins);
}

/* g->block says how long each is, and where it is copied from. */
static int place_missing(struct gpud *g, struct pool_request *r, const uint32_t *missing, uint32_t nr)
{
	struct pool_user *u = &r->client->pool_user;
	struct pool *p = g->pool;
	struct pool_block *b;
	uint64_t size = 0;
	int ret;

	for (uint32_t i = 0; i < nr; i++)
		size += pool_room_size(g->block[i].length);
	ret = pool_table_admit(p->table, u, size);
	for (uint32_t i = 0; i < nr && !ret; i++) {
		ret = pool_table_add(p->table, u, r->ns, r->ref[missing[i]], g->block[i].length, &b);
		if (ret < 0)
			break;
		r->is_held[missing[i]] = true;
		r->block[r->nr_blocks++] = b;
		b->copy = p->nr_copies + 1;
		g->dst[i] = p->mem.addr + b->off;
		g->src[i] = (uintptr_t)g->block[i].ptr;
		g->len[i] = g->block[i].length;
	}
	/* those that were named twice */
	return ret ? ret : hold_present(p, r);
}

static void end_blocks(struct pool *p, struct pool_request *r, int error)
{
	for (uint32_t i = 0; i < r->nr_blocks; i++)
		if (error < 0)
			pool_table_failed(p->table, r->block[i], error);
		else
			pool_table_landed(p->table, r->block[i]);
	r->nr_blocks = 0;
}

/* Some of it may be on the stream whatever comes of it: it is over when the event has passed. */
static void submit(struct gpud *g, struct pool_request *r)
{
	struct pool *p = g->pool;
	int err;

	if (p->nr_copies == p->nr_landed)
		p->since_ns = clock_ns();
	r->copy = r->after = ++p->nr_copies;
	r->res = gpu_stream_copy_many(&p->stream, GPU_H2D, g->dst, g->src, g->len, r->nr_blocks);
	err = gpu_event_record(&r->landed, &p->stream);
	if (err < 0 || r->res == -ENOTRECOVERABLE)
		jobs_give_up(g, 70, -EIO, "a copy into the staging pool cannot be followed");
}

static int bring(struct gpud *g, struct pool_request *r, const uint32_t *missing, uint32_t nr)
{
	int ret = pin_missing(g, r, missing, nr);

	if (ret < 0)
		return ret;
	ret = place_missing(g, r, missing, nr);
	if (!ret)
		ret = gpu_event_open(&g->ctx, GPU_EVENT_PLAIN, &r->landed);
	if (ret < 0) {
		end_blocks(g->pool, r, ret);
		attach_unpin(&g->attach, r->pin, r->nr_pins);
		return ret;
	}
	submit(g, r);
	return 0;
}

/* ---- asking ------------------------------------------------------------------------------------------ */

static int ask(struct gpud *g, struct pool_request *r)
{
	uint32_t missing[GPUMSG_HOLD_MAX], nr;
	int ret = hold_present(g->pool, r);

	if (ret < 0)
		return ret;
	nr = list_missing(r, missing);
	return nr ? bring(g, r, missing, nr) : 0;
}

static struct pool_request *request_new(struct gpud_client *c, const struct gpumsg_refs *m)
{
	struct pool_request *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->client = c;
	r->name = m->request;
	r->ns = m->ns;
	r->nr = m->nr;
	memcpy(r->ref, m->ref, m->nr * sizeof(*m->ref));
	c->nr_holds++;
	return r;
}

static void say_refused(struct gpud *g, const struct gpud_client *c, int error)
{
	struct pool_counts n;

	if (error != -ENOSPC && error != -EDQUOT)
		return;
	g->pool->nr_refused++;
	pool_table_counts(g->pool->table, &n);
	log_limited(LOG_LEVEL_WARN, "client %d gets no place in the staging pool: %u of %u MiB are held, %u MiB by it: %s",
		    (int)c->pid, (unsigned)(n.held_bytes >> 20), (unsigned)(n.bytes >> 20),
		    (unsigned)(c->pool_user.held_bytes >> 20), error == -EDQUOT ? "it may hold no more" : "it is full");
}

int pool_hold_serve(struct gpud *g, struct gpud_client *c)
{
	struct pool_request *r = request_new(c, &g->msg.refs);
	struct pool *p = g->pool;
	int ret;

	if (!r)
		return -ENOMEM;
	ret = c->nr_holds <= GPUMSG_HOLDS ? ask(g, r) : -EBUSY;
	if (ret < 0) {
		say_refused(g, c, ret);
		say_held(g, r, ret == -ENOTRECOVERABLE ? -EIO : ret);
		free(r);
		if (ret == -ENOTRECOVERABLE)
			jobs_give_up(g, 70, -EIO, "the device's context is lost");
		return 0;
	}
	*p->end = r;
	p->end = &r->next;
	answer_complete(g);
	return 0;
}

/* ---- landing ----------------------------------------------------------------------------------------- */

static void land(struct gpud *g, struct pool_request *r)
{
	struct pool *p = g->pool;

	end_blocks(p, r, r->res);
	attach_unpin(&g->attach, r->pin, r->nr_pins);
	gpu_event_close(&r->landed);
	p->nr_landed = r->copy;
	p->since_ns = clock_ns();
	r->copy = 0;
}

unsigned pool_poll(struct gpud *g)
{
	struct pool *p = g->pool;
	unsigned nr = 0;
	int ret = 1;

	if (!pool_is_busy(g) || g->end >= 0)
		return 0;
	for (struct pool_request *r = p->first; r && ret > 0; r = r->next) {
		if (!r->copy)
			continue;
		ret = gpu_event_poll(&r->landed);
		if (ret < 0) {
			jobs_give_up(g, 70, -EIO, ret == -ENOTRECOVERABLE ? "the device's context is lost" : strerror(-ret));
		} else if (ret > 0) {
			land(g, r);
			nr++;
		} else if (clock_ns() - p->since_ns >= g->opts->deadline_ns) {
			jobs_give_up(g, 75, -ETIMEDOUT, "a copy into the staging pool hangs");
		}
	}
	if (nr)
		answer_complete(g);
	return nr;
}

bool pool_is_busy(const struct gpud *g)
{
	return g->pool && g->pool->nr_copies != g->pool->nr_landed;
}
