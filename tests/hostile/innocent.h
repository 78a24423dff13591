/* SPDX-License-Identifier: Apache-2.0 */
/*
 * innocent.h - the neighbour: a client of the library that hits, puts and checks every byte
 *
 * Commands on stdin, an answer a line on stdout: `round` one of each; `measure MS` the 99th percentile of both
 * together over that time, in ns; 0: too few rounds to say.
 * Behind it, how many new chains were evicted before they were complete or read: as many as others put.
 */
#ifndef TESTS_HOSTILE_INNOCENT_H
#define TESTS_HOSTILE_INNOCENT_H

#include <kvshm/kvshm.h>

#include "tests/hostile/raw.h"

#define CHAIN 4u
#define SAMPLES 65536u
#define SAMPLES_MIN 10u

static const char put_dropped[] = "a put is dropped", not_found[] = "a chain is not found";

struct innocent {
	struct kvshm *k;
	uint32_t ns;
	struct kvshm_pin base;		/* held all the time: must hit whatever happens */
	uint64_t next;
	char buf[RAW_BLOCK];
};

static void key_of(struct kvshm_key *key, uint64_t chain, uint32_t i)
{
	memset(key, 0, sizeof(*key));
	memcpy(key->bytes, &chain, sizeof(chain));
	key->bytes[16] = (uint8_t)i;
	key->bytes[31] = 0x11;
}

static void bytes_of(char *dst, uint64_t chain, uint32_t i)
{
	uint64_t *w = (void *)dst;

	for (unsigned n = 0; n < RAW_BLOCK / 8; n++)
		w[n] = rand_mix(chain * 64 + i) + n;
}

/* What, with the error behind it. */
static const char *failed(const char *what, int error)
{
	static char text[128];

	snprintf(text, sizeof(text), "%s: %d, %s", what, error, error < 0 ? strerror(-error) : "no error");
	return text;
}

static const char *put_chain(struct innocent *in, uint64_t chain)
{
	struct kvshm_completion done;
	struct kvshm_key key, parent;
	const void *src = in->buf;
	int ret;

	for (uint32_t i = 0; i < CHAIN; i++) {
		parent = key;
		key_of(&key, chain, i);
		bytes_of(in->buf, chain, i);
		ret = kvshm_put(in->k, in->ns, i ? &parent : NULL, &key, &src, NULL, 1, 0, i, 2000000);
		if (ret < 0)
			return failed("a put is refused", ret);
		ret = kvshm_poll(in->k, &done, 1, 2000000);
		if (ret != 1)
			return failed("a put is not completed", ret);
		if (done.res != 1)
			return put_dropped;
	}
	return NULL;
}

static const char *check_pin(struct innocent *in, const struct kvshm_pin *pin, uint64_t chain)
{
	struct kvshm_block block[CHAIN];
	struct kvshm_key key[CHAIN];

	for (uint32_t i = 0; i < CHAIN; i++)
		key_of(&key[i], chain, i);
	if (kvshm_resolve(in->k, pin, key, block) != (int)CHAIN)
		return "a pinned prefix does not resolve";
	for (uint32_t i = 0; i < CHAIN; i++) {
		bytes_of(in->buf, chain, i);
		if (memcmp(in->buf, block[i].ptr, RAW_BLOCK))
			return "wrong bytes";
	}
	return NULL;
}

static const char *hit_chain(struct innocent *in, uint64_t chain, struct kvshm_pin *ret_pin)
{
	struct kvshm_key key[CHAIN];

	for (uint32_t i = 0; i < CHAIN; i++)
		key_of(&key[i], chain, i);
	if (kvshm_acquire(in->k, in->ns, key, CHAIN, ret_pin) != (int)CHAIN)
		return not_found;
	return check_pin(in, ret_pin, chain);
}

static const char *round_of(struct innocent *in)
{
	struct kvshm_pin pin;
	const char *why = check_pin(in, &in->base, 1);

	if (!why)
		why = hit_chain(in, 1, &pin);
	if (why)
		return why == not_found ? "a pinned chain is not found" : why;
	kvshm_release(in->k, &pin);
	why = put_chain(in, in->next);
	if (!why)
		why = hit_chain(in, in->next, &pin);
	if (!why)
		kvshm_release(in->k, &pin);
	in->next++;
	return why;
}

static int compare_ns(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void measure(struct innocent *in, unsigned ms)
{
	static uint64_t sample[SAMPLES];
	uint64_t end = clock_ns() + ms * 1000000ull, from;
	const char *why = NULL;
	unsigned n = 0, evicted = 0;

	while (!why && n < SAMPLES && clock_ns() < end) {
		from = clock_ns();
		why = round_of(in);
		if (why == put_dropped || why == not_found) {
			why = NULL;
			evicted++;
		} else {
			sample[n++] = clock_ns() - from;
		}
		nap(500);
	}
	qsort(sample, n, sizeof(sample[0]), compare_ns);
	if (why)
		printf("bad %s\n", why);
	else
		printf("ok %llu %u\n", n < SAMPLES_MIN ? 0 : (unsigned long long)sample[n * 99 / 100], evicted);
}

static int innocent_main(void)
{
	struct kvshm_options o = { .sz = sizeof(o), .socket = raw_path, .label = "innocent" };
	struct kvshm_ns_desc d = { .block_len = RAW_BLOCK, .block_tokens = 16, .fingerprint = "innocent" };
	static struct innocent in = { .next = 2 };
	const char *why;
	char line[128];
	int ret = kvshm_open(&o, &in.k);

	if (ret < 0)
		die("bad open: %s", strerror(-ret));
	ret = kvshm_attach_ns(in.k, &d, &in.ns);
	if (ret < 0)
		die("bad namespace: %s", strerror(-ret));
	why = put_chain(&in, 1);
	if (!why)
		why = hit_chain(&in, 1, &in.base);
	printf("%s\n", why ? why : "ok");
	fflush(stdout);
	while (!why && fgets(line, sizeof(line), stdin)) {
		unsigned ms;

		if (sscanf(line, "measure %u", &ms) == 1) {
			measure(&in, ms);
		} else {
			const char *bad = round_of(&in);

			printf("%s%s\n", bad ? "bad " : "ok", bad ? bad : "");
		}
		fflush(stdout);
	}
	kvshm_close(in.k);
	return why != NULL;
}

#endif
