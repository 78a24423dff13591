/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flood.h - as much as one client can ask for, until it is ended: what does a neighbour feel of it?
 *
 * `polite` asks one thing after the other, as a busy client of the library does: what the neighbour's
 * figures are compared with.
 *
 * `puts_in_place` and `puts_staged` mean no harm: they are one engine that writes as much as it can, and
 * say how many bytes when they are ended.
 *
 * `begun` is said first, as the way to it may take longer than the neighbour is measured.
 */
#ifndef TESTS_HOSTILE_FLOOD_H
#define TESTS_HOSTILE_FLOOD_H

#include <kvshm/kvshm.h>

#include "tests/hostile/raw.h"

#define PUT_BLOCK (1u << 20)
#define PUT_CHAIN 8u

static void say_begun(void)
{
	printf("begun\n");
}

static void flood_polite(struct raw *r)
{
	struct kvshm_sqe nop = { .op = KVSHM_OP_NOP };

	for (;;) {
		raw_put(r, &nop);
		raw_ring(r);
		while (load_acquire(&r->seg->cq.tail) == r->head)
			;
		store_release(&r->seg->cq.head, ++r->head);
	}
}

/* The queue never empty, its completions thrown away. */
static void flood_entries(struct raw *r, const struct kvshm_sqe *e)
{
	for (;;) {
		while (r->tail - load_acquire(&r->seg->sq.head) < KVSHM_SQ_ENTRIES)
			raw_put(r, e);
		store_release(&r->seg->cq.head, load_acquire(&r->seg->cq.tail));
		raw_ring(r);
	}
}

static void flood_nops(struct raw *r)
{
	flood_entries(r, &(struct kvshm_sqe){ .op = KVSHM_OP_NOP });
}

static void flood_drops(struct raw *r)
{
	flood_entries(r, &(struct kvshm_sqe){ .op = KVSHM_OP_DROP, .ns = r->ns, .flags = KVSHM_SQE_F_ALL });
}

/* Commits of the greatest size, all of them rubbish. */
static void flood_commits(struct raw *r)
{
	flood_entries(r, &(struct kvshm_sqe){ .op = KVSHM_OP_COMMIT, .ns = r->ns, .flags = KVSHM_SQE_F_LOOSE,
					      .nr = KVSHM_COMMIT_MAX, .len = KVSHM_ARGS_LEN });
}

static void flood_grants(struct raw *r)
{
	flood_entries(r, &(struct kvshm_sqe){ .op = KVSHM_OP_GRANT, .ns = r->ns, .nr = KVSHM_COMMIT_MAX });
}

/* Commits of the greatest size, each record a block of its own. */
static void flood_publishes(struct raw *r)
{
	const struct kvshm_sqe grant = { .op = KVSHM_OP_GRANT, .nr = KVSHM_COMMIT_MAX,
					 .ns = raw_ns(r, "publishes", 4096) };
	struct kvshm_commit_rec *rec = raw_args(r);
	uint64_t key = (uint64_t)1 << 40;

	for (;;) {
		struct kvshm_cqe c = raw_call(r, grant);
		uint32_t nr = 0;

		for (unsigned i = 0; i < c.nr_runs; i++)
			for (uint32_t k = 0; k < c.run[i].nr; k++)
				rec[nr++] = raw_rec(key++, raw_ref(r, c.run[i].first + k), 4096);
		if (nr)
			raw_call(r, (struct kvshm_sqe){ .op = KVSHM_OP_COMMIT, .ns = grant.ns, .nr = nr,
							.flags = KVSHM_SQE_F_LOOSE,
							.len = nr * (uint32_t)sizeof(*rec) });
	}
}

/* ---- an engine that writes ---------------------------------------------------------------------- */

static volatile sig_atomic_t is_ended;

static void end_it(int sig)
{
	is_ended = sig;
}

static void put_for_ever(struct kvshm *k, uint32_t ns)
{
	static char bytes[PUT_BLOCK];
	const void *src[PUT_CHAIN];
	struct kvshm_key key[PUT_CHAIN] = { 0 };
	struct kvshm_completion done;
	uint64_t n = clock_ns(), nr_published = 0;	/* keys of its own each time */

	for (unsigned i = 0; i < PUT_CHAIN; i++)
		src[i] = bytes;
	while (!is_ended) {
		for (unsigned i = 0; i < PUT_CHAIN; i++, n++)
			memcpy(key[i].bytes, &n, sizeof(n));
		if (kvshm_put(k, ns, NULL, key, src, NULL, PUT_CHAIN, 0, n, 1000000) == 0 &&
		    kvshm_poll(k, &done, 1, 1000000) == 1 && done.res > 0)
			nr_published += (uint64_t)done.res;
	}
	printf("%llu\n", (unsigned long long)nr_published * PUT_BLOCK);
}

static void put_as(uint32_t flags)
{
	struct kvshm_options o = { .sz = sizeof(o), .socket = raw_path, .label = "writes", .flags = flags };
	struct kvshm_ns_desc d = { .block_len = PUT_BLOCK, .block_tokens = 16, .fingerprint = "writes" };
	struct kvshm *k;
	uint32_t ns;
	int ret = kvshm_open(&o, &k);

	if (ret == 0)
		ret = kvshm_attach_ns(k, &d, &ns);
	if (ret < 0)
		die("no session: %s", strerror(-ret));
	signal(SIGTERM, end_it);
	say_begun();
	put_for_ever(k, ns);
	kvshm_close(k);
}

static void flood_puts_in_place(void)
{
	put_as(0);
}

static void flood_puts_staged(void)
{
	put_as(KVSHM_OPEN_UNTRUSTED);
}

static void flood_bells(struct raw *r)
{
	for (;;)
		raw_ring(r);
}

static void flood_touches(struct raw *r)
{
	for (;;)
		store_release(&r->seg->touch.tail, load_acquire(&r->seg->touch.head) + KVSHM_TOUCH_ENTRIES);
}

static void flood_pins(struct raw *r)
{
	for (uint32_t n = 0;; n++)
		WRITE_ONCE(r->pins[1 + n % (r->w.pin_words - 1)], (uint64_t)n << 32 | n % 1024);
}

static void flood_connects(struct raw *r)
{
	(void)r;
	for (;;) {
		int s = raw_try_connect();

		if (s >= 0)
			close(s);
	}
}

#define FLOOD(f) { .name = #f, .run = flood_##f }
#define FLOOD_PUTS(f) { .name = #f, .put = flood_##f }

static const struct {
	const char *name;
	void (*run)(struct raw *r);
	void (*put)(void);		/* instead, with a session of its own */
} floods[] = {
	FLOOD(polite), FLOOD(nops), FLOOD(drops), FLOOD(commits), FLOOD(grants), FLOOD(bells), FLOOD(touches),
	FLOOD(pins), FLOOD(connects), FLOOD(publishes), FLOOD_PUTS(puts_in_place), FLOOD_PUTS(puts_staged),
};

static int flood_main(const char *name)
{
	struct raw r;

	for (unsigned i = 0; i < ARRAY_SIZE(floods); i++) {
		if (strcmp(floods[i].name, name))
			continue;
		if (floods[i].put) {
			floods[i].put();
			return 0;
		}
		raw_open(&r, 0);
		say_begun();
		floods[i].run(&r);
		return 0;
	}
	die("no flood %s", name);
}

#endif
