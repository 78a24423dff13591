/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_client.c - one client of kvshm load, from attach to exit
 *
 * A turn: acquire the chain, resolve, check every byte (in place and copied out, in turns), put what is
 * missing under the last block that is there, release.  One turn in four belongs to another client's
 * conversation, as when a router sends it elsewhere.
 *
 * Dead daemon: the parent raises .deaths after its waitpid; the first completion of an entry that was
 * sent after that (user_data carries the count) ends that time for all (.served).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"
#include "utils/load.h"

#define BATCH 16u			/* blocks of one commit: the standing credit of a session */
#define IN_FLIGHT_MAX 64u		/* blocks */
#define WAIT_US 20000u

struct client {
	const struct load_options *o;
	struct load_shared *sh;
	struct load_slot *slot;
	unsigned number;
	struct kvshm *k;
	uint32_t ns[LOAD_NAMESPACES];
	struct work work;
	struct rand rand;
	uint64_t turns;
	unsigned in_flight;		/* blocks */
	uint64_t accepted_for;		/* number of deaths that .accepted_ns has been written for */
	struct kvshm_key *keys;
	struct kvshm_block *blocks;
	char *copy;			/* BATCH blocks */
};

/* Only this process writes the word. */
static void count(uint64_t *word, uint64_t n)
{
	WRITE_ONCE(*word, *word + n);
}

/* Return: the number of the death that nothing was heard since, 0: the daemon serves. */
static uint64_t dead_since(const struct client *c)
{
	uint64_t deaths = READ_ONCE(c->sh->deaths);

	for (unsigned i = 0; i < c->o->procs; i++)
		if (READ_ONCE(c->sh->slot[i].served) == deaths)
			return 0;
	return deaths;
}

/* ---- completions ---------------------------------------------------------------------------------- */

static uint64_t tag_of(const struct client *c, unsigned nr)
{
	return READ_ONCE(c->sh->deaths) << 16 | nr;
}

static void take_completion(struct client *c, const struct kvshm_completion *done)
{
	unsigned nr = done->user_data & 0xffff;
	uint64_t deaths = done->user_data >> 16;
	unsigned published = done->res > 0 ? (unsigned)done->res : 0;

	c->in_flight -= min_of(nr, c->in_flight);
	count(&c->slot->published, published);
	count(&c->slot->duplicates, done->nr_duplicate);
	count(&c->slot->dropped, done->res < 0 ? nr : done->nr_dropped);
	if (done->res == -ECONNRESET || deaths != READ_ONCE(c->sh->deaths))
		return;
	WRITE_ONCE(c->slot->served, deaths);
	if (published + done->nr_duplicate && deaths != c->accepted_for) {
		c->accepted_for = deaths;
		WRITE_ONCE(c->slot->accepted_ns, clock_ns());
	}
}

/* Return: number taken. */
static int poll_some(struct client *c, unsigned timeout_us)
{
	struct kvshm_completion done[16];
	int ret = kvshm_poll(c->k, done, ARRAY_SIZE(done), timeout_us);

	for (int i = 0; i < ret; i++)
		take_completion(c, &done[i]);
	if (ret < 0) {
		/* The daemon died with them. */
		count(&c->slot->dropped, c->in_flight);
		c->in_flight = 0;
	}
	return ret;
}

/* ---- puts ------------------------------------------------------------------------------------------- */

/* Bytes made here, copied by the library: the only way of an untrusted client. */
static int put_copied(struct client *c, unsigned ns, const struct kvshm_key *parent, const struct kvshm_key *keys,
		      unsigned nr)
{
	const void *src[BATCH];

	for (unsigned i = 0; i < nr; i++) {
		src[i] = c->copy + (size_t)i * c->o->block_len;
		tag_fill((void *)(uintptr_t)src[i], c->o->block_len, ns, &keys[i]);
	}
	return kvshm_put(c->k, c->ns[ns], parent, keys, src, NULL, nr, 0, tag_of(c, nr), WAIT_US);
}

/* Granted blocks, filled in place.  Return: as kvshm_commit(), -ENOBUFS also without enough grants. */
static int put_in_place(struct client *c, unsigned ns, const struct kvshm_key *parent, const struct kvshm_key *keys,
			unsigned nr)
{
	struct kvshm_block b[BATCH];
	unsigned got = 0;

	while (got < nr) {
		int ret = kvshm_grant(c->k, c->ns[ns], 0, nr - got, b + got, WAIT_US);

		if (ret <= 0) {
			kvshm_return(c->k, b, got);
			return ret ? ret : -ENOBUFS;
		}
		got += (unsigned)ret;
	}
	for (unsigned i = 0; i < nr; i++)
		tag_fill(b[i].ptr, c->o->block_len, ns, &keys[i]);
	return kvshm_commit(c->k, c->ns[ns], parent, keys, b, nr, 0, tag_of(c, nr));
}

/* Put keys[@have..@nr); the first failure gives the rest up, for its parents will be missing. */
static void put_missing(struct client *c, const struct work_turn *t, unsigned have)
{
	bool in_place = c->number % 4 != 3 && c->turns % 3;

	for (unsigned at = have; at < t->nr; at += BATCH) {
		const struct kvshm_key *parent = at ? &c->keys[at - 1] : NULL;
		unsigned nr = min_of(BATCH, t->nr - at);
		int ret = in_place ? put_in_place(c, t->ns, parent, c->keys + at, nr) :
				     put_copied(c, t->ns, parent, c->keys + at, nr);

		if (ret < 0) {
			count(&c->slot->dropped, t->nr - at);
			return;
		}
		c->in_flight += nr;
		poll_some(c, c->in_flight > IN_FLIGHT_MAX ? WAIT_US : 0);
		WRITE_ONCE(c->slot->progress_ns, clock_ns());
	}
}

/* ---- gets ------------------------------------------------------------------------------------------- */

static void check_block(struct client *c, const struct work_turn *t, unsigned i, const void *bytes)
{
	size_t wrong = c->blocks[i].length == c->o->block_len ?
		       tag_wrong_bytes(bytes, c->o->block_len, t->ns, &c->keys[i]) : c->o->block_len;

	count(&c->slot->checked_bytes, c->o->block_len);
	if (!wrong)
		return;
	if (!c->slot->wrong_bytes)
		fprintf(stderr, "kvshm load: client %u (pid %d): block %u of %u, id %u generation %u at offset %llu: %zu wrong bytes\n",
			c->number, (int)getpid(), i, t->nr, c->blocks[i].id, c->blocks[i].generation,
			(unsigned long long)c->blocks[i].arena_offset, wrong);
	count(&c->slot->wrong_bytes, wrong);
}

static void check_in_place(struct client *c, const struct work_turn *t, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		check_block(c, t, i, c->blocks[i].ptr);
}

static void check_copied(struct client *c, const struct work_turn *t, unsigned nr)
{
	void *dst[BATCH];

	for (unsigned i = 0; i < BATCH; i++)
		dst[i] = c->copy + (size_t)i * c->o->block_len;
	for (unsigned at = 0; at < nr; at += BATCH) {
		unsigned n = min_of(BATCH, nr - at);

		/* A checksum that does not match shows in the bytes too. */
		kvshm_get(c->k, c->blocks + at, n, dst, 0);
		for (unsigned i = 0; i < n; i++)
			check_block(c, t, at + i, dst[i]);
	}
}

/* Return: number of leading blocks that are here, pinned by @pin. */
static unsigned get_present(struct client *c, const struct work_turn *t, struct kvshm_pin *pin)
{
	uint64_t begin = clock_ns(), dead = dead_since(c);
	int n = kvshm_acquire(c->k, c->ns[t->ns], c->keys, t->nr, pin), m;

	hist_record(&c->slot->acquire_ns, clock_ns() - begin);
	count(&c->slot->acquires, 1);
	count(&c->slot->blocks, t->nr);
	if (n <= 0)
		return 0;
	m = kvshm_resolve(c->k, pin, c->keys, c->blocks);
	if (m < n)
		count(&c->slot->short_resolves, 1);
	if (m <= 0)
		return 0;
	if (c->turns & 1)
		check_copied(c, t, (unsigned)m);
	else
		check_in_place(c, t, (unsigned)m);
	count(&c->slot->hits, (unsigned)m);
	/* Counted only if the daemon was dead before the first look and after the last byte. */
	if (dead && dead == dead_since(c))
		count(&c->slot->hits_while_dead, (unsigned)m);
	return (unsigned)m;
}

/* ---- turns --------------------------------------------------------------------------------------- */

static void next_turn(struct client *c, unsigned which, bool is_last)
{
	uint64_t word = c->slot->session[which];

	WRITE_ONCE(c->slot->session[which], is_last ? work_word((word >> 8) + 1, 0) : word + 1);
}

static void one_turn(struct client *c)
{
	unsigned proc = c->number, which = (unsigned)rand_below(&c->rand, LOAD_OPEN_SESSIONS);
	struct kvshm_pin pin = { 0 };
	struct work_turn t;
	uint64_t word;
	unsigned have;

	if (!rand_below(&c->rand, 4))
		proc = (unsigned)rand_below(&c->rand, c->o->procs);
	word = READ_ONCE(c->sh->slot[proc].session[which]);
	work_turn(&c->work, proc, which, word, c->keys, &t);
	have = get_present(c, &t, &pin);
	put_missing(c, &t, have);
	kvshm_release(c->k, &pin);
	if (proc == c->number)
		next_turn(c, which, t.is_last);
	c->turns++;
	poll_some(c, 0);
	WRITE_ONCE(c->slot->progress_ns, clock_ns());
}

static void drain(struct client *c)
{
	uint64_t end = clock_ns() + 2000000000u;

	while (c->in_flight && clock_ns() < end)
		if (poll_some(c, WAIT_US) < 0)
			break;
}

void load_client(void *ctx, unsigned number)
{
	const struct load_client_ctx *x = ctx;
	struct client c = { .o = x->o, .sh = x->sh, .slot = &x->sh->slot[number], .number = number };

	c.keys = calloc(WORK_KEYS_MAX, sizeof(*c.keys));
	c.blocks = calloc(WORK_KEYS_MAX, sizeof(*c.blocks));
	c.copy = malloc((size_t)BATCH * c.o->block_len);
	if (!c.keys || !c.blocks || !c.copy)
		_exit(1);
	work_init(&c.work, c.o->seed);
	rand_init(&c.rand, rand_mix(c.o->seed) + rand_mix(number) + c.slot->acquires);
	for (unsigned i = 0; i < LOAD_OPEN_SESSIONS; i++)
		if (!c.slot->session[i])
			WRITE_ONCE(c.slot->session[i], work_word(1, 0));
	if (load_attach(c.o, x->socket, number, c.sh, &c.k, c.ns) < 0)
		_exit(READ_ONCE(c.sh->is_stopping) ? 0 : 1);
	while (!READ_ONCE(c.sh->is_stopping))
		one_turn(&c);
	drain(&c);
	kvshm_close(c.k);
}
