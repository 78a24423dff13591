/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_prefix.c - how much memory a shared prefix saves, exactly
 *
 * Each process puts a prompt of 2,304 tokens of which 2,048 are everybody's (144 blocks, 128 shared),
 * all at the same time, so that first commits race.  Then each finds its whole prompt and checks it.
 * With 8 processes the arena holds 128 + 8 * 16 = 256 blocks instead of 8 * 144 = 1,152: 2/9.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "utils/bench.h"
#include "utils/commands.h"
#include "utils/load.h"
#include "utils/target.h"

#define SHARED 128u
#define PROMPT 144u
#define BATCH 16u
#define LIMIT_NS 20000000000u

struct prefix_client {
	const struct load_options *o;
	struct load_slot *slot;
	struct kvshm *k;
	uint32_t ns[LOAD_NAMESPACES];
	struct kvshm_key keys[PROMPT];
	uint64_t end_ns;
	char *bytes;
};

/* Return: number of leading blocks present, checked. */
static unsigned check_prompt(struct prefix_client *c)
{
	struct kvshm_block b[PROMPT];
	struct kvshm_pin pin = { 0 };
	int n = kvshm_acquire(c->k, c->ns[0], c->keys, PROMPT, &pin);

	if (n > 0)
		n = kvshm_resolve(c->k, &pin, c->keys, b);
	for (int i = 0; i < n; i++) {
		c->slot->checked_bytes += b[i].length;
		c->slot->wrong_bytes += tag_wrong_bytes(b[i].ptr, b[i].length, 0, &c->keys[i]);
	}
	kvshm_release(c->k, &pin);
	return n > 0 ? (unsigned)n : 0;
}

/* Put one batch and wait for its completion.  Return: 0, -errno. */
static int put_batch(struct prefix_client *c, unsigned at)
{
	const void *src[BATCH];
	struct kvshm_completion done;
	int ret;

	for (unsigned i = 0; i < BATCH; i++) {
		src[i] = c->bytes + (size_t)i * c->o->block_len;
		tag_fill(c->bytes + (size_t)i * c->o->block_len, c->o->block_len, 0, &c->keys[at + i]);
	}
	ret = kvshm_put(c->k, c->ns[0], at ? &c->keys[at - 1] : NULL, c->keys + at, src, NULL, BATCH, 0, at, 1000000);
	while (!ret && clock_ns() < c->end_ns) {
		ret = kvshm_poll(c->k, &done, 1, 100000);
		if (ret == 1) {
			c->slot->published += done.res > 0 ? (uint64_t)done.res : 0;
			c->slot->duplicates += done.nr_duplicate;
			return done.res < 0 ? done.res : 0;
		}
	}
	return ret ? ret : -ETIMEDOUT;
}

/* What a process does; all that it could not do shows in .hits. */
static void prefix_client(void *ctx, unsigned number)
{
	const struct load_client_ctx *x = ctx;
	struct prefix_client c = { .o = x->o, .slot = &x->sh->slot[number], .end_ns = clock_ns() + LIMIT_NS };
	int ret = 0;

	c.bytes = malloc((size_t)BATCH * c.o->block_len);
	if (!c.bytes || load_attach(c.o, x->socket, number, x->sh, &c.k, c.ns) < 0)
		_exit(1);
	for (unsigned i = 0; i < PROMPT; i++)
		c.keys[i] = bench_key(i < SHARED ? 1 : 2 + number, i);
	for (unsigned at = 0; at < PROMPT && !ret; at += BATCH)
		ret = put_batch(&c, at);
	if (ret < 0)
		fprintf(stderr, "kvshm load: client %u: put: %s\n", number, strerror(-ret));
	c.slot->blocks = PROMPT;
	c.slot->hits = check_prompt(&c);
	kvshm_close(c.k);
	free(c.bytes);
}

static int run_clients(const struct load_options *o, struct load_client_ctx *x)
{
	uint64_t deadline = clock_ns() + LIMIT_NS + 5000000000u;
	pid_t pid[LOAD_PROCS_MAX];
	int ret = 0;

	for (unsigned i = 0; i < o->procs; i++)
		pid[i] = load_spawn(prefix_client, x, i);
	for (unsigned i = 0; i < o->procs; i++)
		if (pid[i] <= 0 || load_reap(pid[i], deadline) < 0)
			ret = -1;
	WRITE_ONCE(x->sh->is_stopping, 1);
	return ret;
}

static int published_bytes(const char *socket, char *ret_pages, uint64_t *ret_bytes)
{
	struct statpage *p;
	int ret = target_open(&(struct target){ .socket = socket }, &p);

	if (ret)
		return ret;
	load_wait_for_page(p);
	*ret_bytes = stat_get(p, METRIC_PUBLISHED_BYTES);
	stat_get_text(p, KVSHM_TEXT_PAGES, ret_pages);
	statpage_destroy(p);
	return EXIT_FINE;
}

static int report(const struct load_options *o, const struct load_shared *sh, const char *pages,
		  uint64_t published)
{
	uint64_t block = o->block_len, unshared = (uint64_t)o->procs * PROMPT * block, wrong = 0, hits = 0;
	uint64_t expected = (SHARED + (uint64_t)o->procs * (PROMPT - SHARED)) * block;
	double ratio = (double)published / (double)unshared;
	bool holds;

	for (unsigned i = 0; i < o->procs; i++) {
		wrong += sh->slot[i].wrong_bytes;
		hits += sh->slot[i].hits;
	}
	holds = published == expected && !wrong && hits == (uint64_t)o->procs * PROMPT;
	if (o->is_json) {
		struct jdoc *j = jdoc_begin("load", pages);

		jdoc_int(j, "procs", o->procs);
		jdoc_int(j, "blocks", (int64_t)o->procs * PROMPT);
		jdoc_int(j, "hits", (int64_t)hits);
		jdoc_int(j, "wrong_bytes", (int64_t)wrong);
		jdoc_int(j, "unshared_bytes", (int64_t)unshared);
		jdoc_int(j, "published_bytes", (int64_t)published);
		jdoc_int(j, "expected_bytes", (int64_t)expected);
		jdoc_real(j, "shared_ratio", ratio);
		jdoc_bool(j, "is_exact", published == expected);
		jdoc_end(j, stdout);
	} else {
		printf("prompts         %u of 2304 tokens, 2048 shared\n"
		       "unshared bytes  %" PRIu64 "\narena bytes     %" PRIu64 " (%" PRIu64 " expected)\nratio           %.6f\n"
		       "found again     %" PRIu64 " of %" PRIu64 " blocks, %" PRIu64 " wrong bytes\n",
		       o->procs, unshared, published, expected, ratio, hits, (uint64_t)o->procs * PROMPT, wrong);
	}
	if (!holds)
		fprintf(stderr, "kvshm load: failed: %s\n", wrong ? "bytes were wrong" :
			published != expected ? "the arena does not hold exactly what is shared" :
			"a prompt was not found again");
	return holds ? EXIT_FINE : EXIT_DEAD;
}

int load_shared_prefix(const struct load_options *o)
{
	struct load_client_ctx x = { .o = o, .sh = load_shared_create() };
	struct private_daemon *d;
	char pages[KVSHM_STATS_TEXT_LEN];
	uint64_t published = 0;
	int ret;

	if (!x.sh || private_daemon_start(o->size, 0, o->procs + 16, &d) < 0)
		return EXIT_DEAD;
	x.socket = private_daemon_socket(d);
	ret = run_clients(o, &x) < 0 ? EXIT_DEAD : published_bytes(x.socket, pages, &published);
	if (!ret)
		ret = report(o, x.sh, pages, published);
	private_daemon_stop(d);
	return ret;
}
