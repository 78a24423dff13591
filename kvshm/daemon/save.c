/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/save.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/cache/cache.h"
#include "kvshm/daemon/credit.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/gpulink.h"
#include "kvshm/daemon/place.h"
#include "kvshm/daemon/writer.h"

enum save_state { SAVE_WAITING, SAVE_SENT, SAVE_OVER };

struct save {
	struct save *next;
	struct session *s; /* NULL: it ended meanwhile */
	enum save_state state;
	bool is_held; /* OVER: the grants stay kvshm-gpud's */
	int res; /* OVER: copies that landed, or -errno */
	uint64_t user_data, stamp_ns, bytes;
	uint16_t ns;
	uint8_t flags; /* KVSHM_SQE_F_NOPARENT, _LOOSE */
	uint32_t owner; /* slot of kvshm-gpud's session */
	uint32_t nr, nr_placed; /* records, the first ones with a grant */
	uint32_t nr_sent; /* pieces, the first ones */
	struct kvshm_key parent;
	struct kvshm_stage_rec *piece; /* behind the records */
	struct kvshm_commit_rec rec[];
};

_Static_assert(PLACE_MAX >= KVSHM_STAGE_MAX, "the records of an entry get their places at once");

/* ---- taking one --------------------------------------------------------------------------------- */

static bool piece_ok(const struct kvshm_stage_rec *p, uint32_t off, uint32_t left)
{
	return !p->block.id && !p->block.generation && p->off == off && p->len && p->len <= left && p->buffer &&
	       !p->resv;
}

/* A block is copied whole: its pieces follow one another without a gap, for what is not copied was another's. */
static int check(const struct kvshm_sqe *sqe, const struct kvshm_commit_rec *rec, const struct kvshm_stage_rec *piece,
		 uint32_t nr_pieces)
{
	uint64_t bytes = 0;
	uint32_t n = 0;

	for (uint32_t i = 0; i < sqe->nr; i++) {
		if (!place_rec_ok(&rec[i]) || rec[i].checksum)
			return -EINVAL;
		for (uint32_t off = 0; off < rec[i].length; off += piece[n++].len)
			if (n == nr_pieces || !piece_ok(&piece[n], off, rec[i].length - off))
				return -EINVAL;
		bytes += rec[i].length;
	}
	return n == nr_pieces && bytes <= KVSHM_BLOCK_MAX ? 0 : -EINVAL;
}

static struct save *save_create(struct session *s, const struct kvshm_sqe *sqe, const void *args)
{
	struct save *sv = aligned_alloc(64, round_up(sizeof(*sv) + sqe->len, 64u));

	if (!sv)
		return NULL;
	*sv = (struct save){ .s = s, .user_data = sqe->user_data, .stamp_ns = sqe->stamp_ns, .ns = sqe->ns,
			     .flags = sqe->flags, .nr = sqe->nr, .parent = sqe->key };
	memcpy(sv->rec, args, sqe->len);
	sv->piece = (struct kvshm_stage_rec *)&sv->rec[sqe->nr];
	for (uint32_t i = 0; i < sv->nr; i++)
		sv->bytes += sv->rec[i].length;
	return sv;
}

void save_free(struct save *sv)
{
	free(sv);
}

/* ---- grants ------------------------------------------------------------------------------------- */

/* All grants have left kvshm-gpud's hands at once; its session may have gone before. */
static void count_back(struct writer *w, const struct save *sv)
{
	struct session *owner = writer_known(w, sv->owner);

	for (uint32_t i = 0; owner && i < sv->nr_placed; i++) {
		owner->q.granted--;
		owner->q.granted_bytes -= sv->rec[i].length;
	}
}

static uint32_t same_length(const struct save *sv)
{
	uint32_t n = 1;

	while (sv->nr_placed + n < sv->nr && sv->rec[sv->nr_placed + n].length == sv->rec[sv->nr_placed].length)
		n++;
	return n;
}

/* As many records as there is room for, the first ones.  Return: number, -EINVAL. */
static int place(struct writer *w, struct save *sv, struct session *owner)
{
	struct kvshm_commit_rec *rec;
	uint32_t wanted;
	int got;

	sv->owner = owner->slot;
	cache_near(w->cache, sv->s->q.node);
	do {
		rec = &sv->rec[sv->nr_placed];
		wanted = same_length(sv);
		got = place_records(w, sv->owner, sv->ns, rec, wanted, sv->stamp_ns);
		if (got <= 0)
			break;
		credit_spend(owner, (unsigned)got, rec->length);
		sv->nr_placed += (uint32_t)got;
	} while (got == (int)wanted && sv->nr_placed < sv->nr);
	return sv->nr_placed ? (int)sv->nr_placed : got;
}

static void give_back(struct writer *w, const struct save *sv)
{
	if (sv->is_held)
		return;
	for (uint32_t i = 0; i < sv->nr_placed; i++)
		cache_return(w->cache, sv->owner, sv->rec[i].block);
	count_back(w, sv);
}

static void publish(struct writer *w, const struct save *sv, struct kvshm_cqe *cqe)
{
	const struct cache_commit m = {
		.owner = sv->owner,
		.ns = sv->ns,
		.flags = sv->flags,
		.nr = sv->nr_placed,
		.parent = sv->flags ? NULL : &sv->parent,
		.rec = sv->rec,
		.now_ns = writer_time(w, sv->stamp_ns),
	};
	struct cache_commit_result res = { 0 };
	int ret = cache_commit(w->cache, &m, &res);

	count_back(w, sv);
	cqe->res = ret < 0 ? ret : (int32_t)res.nr_published;
	cqe->nr_duplicate = res.nr_duplicate;
	cqe->nr_dropped -= res.nr_published + res.nr_duplicate;
}

/* ---- on its way --------------------------------------------------------------------------------- */

/* The first one always; then what the session may have in grants, were it to fill them itself. */
static bool may_start(const struct writer *w, const struct queue *q, const struct save *sv)
{
	return !q->saved_blocks || (q->saved_blocks + sv->nr <= READ_ONCE(w->d->conf.credit_blocks) &&
				    q->saved_bytes + sv->bytes <= READ_ONCE(w->d->store.credit_bytes));
}

/* The pieces of the records that have a place, to that place. */
static void name_blocks(struct save *sv)
{
	for (uint32_t i = 0; i < sv->nr_placed; i++)
		for (uint32_t off = 0; off < sv->rec[i].length; off += sv->piece[sv->nr_sent++].len)
			sv->piece[sv->nr_sent].block = sv->rec[i].block;
}

/* Return: 1 it is with kvshm-gpud; 0 no room; -errno. */
static int start(struct writer *w, struct save *sv)
{
	const struct gpujob job = { .s = sv->s, .save = sv, .op = KVSHM_OP_STAGE_OUT };
	struct session *owner;
	int ret = gpulink_owner(&w->link, &owner);

	if (ret < 0)
		return ret;
	ret = place(w, sv, owner);
	if (ret <= 0)
		return ret;
	name_blocks(sv);
	ret = gpulink_submit(w, &job, sv->ns, sv->piece, sv->nr_sent);
	return ret < 0 ? ret : 1;
}

static void start_next(struct writer *w, struct queue *q)
{
	struct save *sv = q->next_save;

	q->next_save = sv->next;
	sv->res = start(w, sv);
	if (sv->res <= 0) {
		sv->state = SAVE_OVER;
		return;
	}
	sv->state = SAVE_SENT;
	q->saved_blocks += sv->nr;
	q->saved_bytes += sv->bytes;
}

/* The oldest one is over. */
static void retire(struct writer *w, struct session *s)
{
	struct queue *q = &s->q;
	struct save *sv = q->first_save;
	struct kvshm_cqe cqe = { .user_data = sv->user_data, .op = KVSHM_OP_STAGE_OUT, .res = min_of(sv->res, 0),
				 .nr_dropped = sv->nr };

	q->first_save = sv->next;
	q->last_save = sv->next ? q->last_save : NULL;
	q->nr_saves--;
	q->owed--;
	if (sv->nr_sent && sv->res == (int)sv->nr_sent)
		publish(w, sv, &cqe);
	else
		give_back(w, sv);
	writer_complete(w, s, &cqe, writer_since(w, sv->stamp_ns));
	save_free(sv);
}

/* Neighbours wait for this, so no more blocks than a grant in steps has in one; what is sent comes back here. */
static void go_on(struct writer *w, struct session *s)
{
	struct queue *q = &s->q;
	const uint32_t before = q->saved_blocks;

	while (q->next_save && q->saved_blocks - before < SLOW_RECORDS && may_start(w, q, q->next_save))
		start_next(w, q);
	while (q->first_save && q->first_save->state == SAVE_OVER)
		retire(w, s);
}

int save_begin(struct writer *w, struct session *s, const struct kvshm_sqe *sqe, const void *args)
{
	const struct kvshm_commit_rec *rec = args;
	const struct kvshm_stage_rec *piece = (const void *)&rec[sqe->nr];
	uint32_t nr_pieces = (uint32_t)((sqe->len - sqe->nr * sizeof(*rec)) / sizeof(*piece));
	struct queue *q = &s->q;
	struct save *sv;
	int ret = check(sqe, rec, piece, nr_pieces);

	if (ret < 0)
		return ret;
	sv = save_create(s, sqe, args);
	if (!sv)
		return -ENOMEM;
	*(q->last_save ? &q->last_save->next : &q->first_save) = sv;
	q->last_save = sv;
	q->next_save = q->next_save ? q->next_save : sv;
	q->nr_saves++;
	q->owed++;
	go_on(w, s);
	return 0;
}

/* ---- its end ------------------------------------------------------------------------------------ */

void save_over(struct writer *w, struct save *sv, int res, bool is_held)
{
	struct session *s = sv->s;

	sv->state = SAVE_OVER;
	sv->res = res;
	sv->is_held = is_held;
	if (!s) {
		give_back(w, sv);
		save_free(sv);
		return;
	}
	s->q.saved_blocks -= sv->nr;
	s->q.saved_bytes -= sv->bytes;
	go_on(w, s);
}

void save_forget(struct writer *w, struct session *s)
{
	struct queue *q = &s->q;
	struct save *sv;

	while ((sv = q->first_save)) {
		q->first_save = sv->next;
		sv->s = NULL;
		if (sv->state == SAVE_SENT)
			continue;
		give_back(w, sv);
		save_free(sv);
	}
	q->last_save = q->next_save = NULL;
	q->nr_saves = q->saved_blocks = 0;
	q->saved_bytes = 0;
}
