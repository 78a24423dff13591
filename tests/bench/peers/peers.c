/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers.c - the same work on kvshm and on what people would take instead, in one run
 *
 *   peers bench NAME:PID:WHERE...   lines "NAME WHAT FIELD VALUE"; PID of the server, 0 for none
 *   peers hit NAME WHERE SECONDS    exit 0 as soon as a block stored by bench is got, 1: not in that time
 *   peers left NAME WHERE           prints how many of the blocks stored by bench are there
 *
 * Stores take turns, a batch each, so that whatever else the machine does hits all.  Bytes are compared after
 * each get.  Started by tests/bench/peers/run.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/peers/peer.h"

#define CHAINS 32u
#define CHAIN 2048u
#define SMALL 4096u
#define LARGE (2u << 20)
#define BLOCKS 64u
#define ROUNDS 40u
#define ABSENT (1u << 24) /* numbers in a chain of keys that nobody stores */
#define NEW 0x80000000u /* chain numbers of blocks put in the timed part */

static const struct peer *const peers[] = { &peer_kvshm, &peer_redis, &peer_memcached,
					    &peer_files };

static const struct work {
	const char *name;
	unsigned keys; /* of a look-up; 0: bytes */
	bool is_put;
	unsigned batch;
} works[] = {
	{ "lookup_32", 32, false, 50 },	    { "lookup_256", 256, false, 20 },
	{ "lookup_2048", 2048, false, 10 }, { "get_2m", 0, false, 4 },
	{ "put_2m", 0, true, 4 },
};

#define WORKS (sizeof(works) / sizeof(works[0]))
#define SAMPLES (ROUNDS * 50u)

struct tally {
	uint64_t ns[SAMPLES];
	unsigned nr;
	uint64_t client_ns, server_ns;
};

struct subject {
	const struct peer *peer;
	void *p;
	int pid;
	uint32_t next; /* new blocks so far */
	struct tally tally[WORKS];
};

static uint64_t state = 1;

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* Any mix will do: a key stands for a digest. */
static void key_of(struct kvshm_key *key, uint32_t chain, uint32_t i)
{
	uint64_t x = ((uint64_t)chain << 32 | i) + 0x9e3779b97f4a7c15ull;
	unsigned n;

	for (n = 0; n < KVSHM_KEY_LEN; n += 8) {
		x ^= x >> 30;
		x *= 0xbf58476d1ce4e5b9ull;
		x ^= x >> 27;
		x *= 0x94d049bb133111ebull;
		x ^= x >> 31;
		memcpy(key->bytes + n, &x, 8);
	}
}

static void bytes_of(void *dst, uint32_t chain, size_t len)
{
	uint64_t *w = dst, i;

	for (i = 0; i < len / 8; i++)
		w[i] = (uint64_t)chain << 32 ^ i;
}

static uint64_t clock_of(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Time on a processor of all threads of a process, in ns. */
static uint64_t server_ns(int pid)
{
	unsigned long long ns, sum = 0;
	char path[320];
	struct dirent *e;
	DIR *d;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = pid ? opendir(path) : NULL;
	while (d && (e = readdir(d))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, e->d_name);
		f = *e->d_name == '.' ? NULL : fopen(path, "re");
		if (f && fscanf(f, "%llu", &ns) == 1)
			sum += ns;
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return sum;
}

static int fill(struct subject *s, void *buf)
{
	struct kvshm_key key, parent;
	uint32_t c, i;

	for (c = 0; c < CHAINS; c++) {
		for (i = 0; i < CHAIN; i++) {
			parent = key;
			key_of(&key, c, i);
			if (s->peer->put(s->p, i ? &parent : NULL, &key, buf, SMALL) < 0)
				return -1;
		}
	}
	for (i = 0; i < BLOCKS; i++) {
		key_of(&key, CHAINS + i, 0);
		bytes_of(buf, CHAINS + i, LARGE);
		if (s->peer->put(s->p, NULL, &key, buf, LARGE) < 0)
			return -1;
	}
	return 0;
}

/* A chain of which a random number of leading keys is stored. */
static int do_lookup(struct subject *s, unsigned nr, struct kvshm_key *keys, uint64_t *ret_ns)
{
	uint32_t chain = (uint32_t)(next_random() % CHAINS), i;
	unsigned want = (unsigned)(next_random() % (nr + 1));
	uint64_t start;
	int got;

	for (i = 0; i < nr; i++)
		key_of(&keys[i], chain, i < want ? i : ABSENT + i);
	start = clock_of(CLOCK_MONOTONIC);
	got = s->peer->lookup(s->p, keys, nr);
	*ret_ns = clock_of(CLOCK_MONOTONIC) - start;
	if (got == (int)want)
		return 0;
	fprintf(stderr, "%s: %d keys found, not %u\n", s->peer->name, got, want);
	return -1;
}

static int do_get(struct subject *s, void *dst, void *right, uint64_t *ret_ns)
{
	uint32_t chain = CHAINS + (uint32_t)(next_random() % BLOCKS);
	struct kvshm_key key;
	uint64_t start;
	int ret;

	key_of(&key, chain, 0);
	start = clock_of(CLOCK_MONOTONIC);
	ret = s->peer->get(s->p, &key, dst, LARGE);
	*ret_ns = clock_of(CLOCK_MONOTONIC) - start;
	bytes_of(right, chain, LARGE);
	if (!ret && !memcmp(dst, right, LARGE))
		return 0;
	fprintf(stderr, "%s: %s\n", s->peer->name, ret ? "a block is not there" : "wrong bytes");
	return -1;
}

static int do_put(struct subject *s, const void *src, uint64_t *ret_ns)
{
	struct kvshm_key key;
	uint64_t start;
	int ret;

	if (s->peer->trim && s->next >= 8) {
		key_of(&key, NEW + s->next - 8, 7);
		s->peer->trim(s->p, &key);
	}
	key_of(&key, NEW + s->next++, 7);
	start = clock_of(CLOCK_MONOTONIC);
	ret = s->peer->put(s->p, NULL, &key, src, LARGE);
	*ret_ns = clock_of(CLOCK_MONOTONIC) - start;
	return ret;
}

static int one(struct subject *s, const struct work *w, struct kvshm_key *keys, char *buf,
	       uint64_t *ret_ns)
{
	if (w->keys)
		return do_lookup(s, w->keys, keys, ret_ns);
	return w->is_put ? do_put(s, buf, ret_ns) : do_get(s, buf, buf + LARGE, ret_ns);
}

/* What is not the store's is in the client's time too, alike for all: keys, comparing. */
static int batch(struct subject *s, unsigned w, struct kvshm_key *keys, char *buf, bool is_warm)
{
	struct tally *t = &s->tally[w];
	uint64_t client = clock_of(CLOCK_PROCESS_CPUTIME_ID), server = server_ns(s->pid), ns;
	unsigned i;

	for (i = 0; i < works[w].batch; i++) {
		if (one(s, &works[w], keys, buf, &ns) < 0)
			return -1;
		if (is_warm)
			t->ns[t->nr++] = ns;
	}
	if (is_warm) {
		t->client_ns += clock_of(CLOCK_PROCESS_CPUTIME_ID) - client;
		t->server_ns += server_ns(s->pid) - server;
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void report(struct subject *s)
{
	unsigned w;

	for (w = 0; w < WORKS; w++) {
		struct tally *t = &s->tally[w];

		qsort(t->ns, t->nr, sizeof(t->ns[0]), compare);
		printf("%s %s p50_us %.3f\n%s %s p99_us %.3f\n%s %s server_cpu_us %.3f\n",
		       s->peer->name, works[w].name, (double)t->ns[t->nr / 2] / 1e3, s->peer->name,
		       works[w].name, (double)t->ns[t->nr * 99 / 100] / 1e3, s->peer->name,
		       works[w].name, (double)t->server_ns / t->nr / 1e3);
	}
}

static const struct peer *find_peer(const char *name)
{
	unsigned i;

	for (i = 0; i < sizeof(peers) / sizeof(peers[0]); i++)
		if (!strcmp(peers[i]->name, name))
			return peers[i];
	fprintf(stderr, "peers: no peer %s\n", name);
	exit(2);
}

static int bench(int nr, char **what)
{
	struct subject *s = calloc((size_t)nr, sizeof(*s));
	struct kvshm_key *keys = calloc(CHAIN, sizeof(*keys));
	char *buf = calloc(2, LARGE), name[32], where[256];
	unsigned round, w;
	int i;

	if (!s || !keys || !buf)
		return 1;
	for (i = 0; i < nr; i++) {
		if (sscanf(what[i], "%31[^:]:%d:%255s", name, &s[i].pid, where) != 3)
			return 2;
		s[i].peer = find_peer(name);
		s[i].p = s[i].peer->open(where);
		if (!s[i].p || fill(&s[i], buf) < 0)
			return 1;
	}
	for (round = 0; round <= ROUNDS; round++)
		for (w = 0; w < WORKS; w++)
			for (i = 0; i < nr; i++)
				if (batch(&s[i], w, keys, buf, round > 0) < 0)
					return 1;
	for (i = 0; i < nr; i++) {
		report(&s[i]);
		s[i].peer->close(s[i].p);
	}
	free(s);
	free(keys);
	free(buf);
	return 0;
}

static int count_left(const struct peer *peer, const char *where)
{
	char *buf = malloc(LARGE);
	void *p = peer->open(where);
	struct kvshm_key key;
	unsigned i, nr = 0;

	if (!p || !buf)
		return -1;
	for (i = 0; i < BLOCKS; i++) {
		key_of(&key, CHAINS + i, 0);
		nr += peer->get(p, &key, buf, LARGE) == 0;
	}
	peer->close(p);
	free(buf);
	return (int)nr;
}

/* A client that is attached when the server dies. */
static int hit(const struct peer *peer, const char *where, double seconds)
{
	static char buf[LARGE];
	void *p = peer->open(where);
	struct kvshm_key key;
	uint64_t end;
	int ret = -1;

	if (!p)
		return 1;
	key_of(&key, CHAINS, 0);
	printf("ready\n");
	fflush(stdout);
	getchar(); /* the server is dead now */
	end = clock_of(CLOCK_MONOTONIC) + (uint64_t)(seconds * 1e9);
	do
		ret = peer->get(p, &key, buf, LARGE);
	while (ret && clock_of(CLOCK_MONOTONIC) < end);
	return ret != 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 2 && !strcmp(argv[1], "bench"))
		return bench(argc - 2, argv + 2);
	if (argc == 5 && !strcmp(argv[1], "hit"))
		return hit(find_peer(argv[2]), argv[3], strtod(argv[4], NULL));
	if (argc == 4 && !strcmp(argv[1], "left"))
		return printf("%d\n", count_left(find_peer(argv[2]), argv[3])) < 0;
	fprintf(stderr,
		"usage: peers bench NAME:PID:WHERE... | hit NAME WHERE SECONDS | left NAME WHERE\n");
	return 2;
}
