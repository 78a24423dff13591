/* SPDX-License-Identifier: Apache-2.0 */
/* bench_sample.c - samples, keys, randomness, cold caches, CPU time, progress */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kvshm/base/clock.h"
#include "utils/bench.h"

#define FLUSH_LEN (96ul << 20)

void samples_add(struct samples *s, double v)
{
	if (s->nr == s->room) {
		s->room = s->room ? 2 * s->room : 256;
		s->v = realloc(s->v, s->room * sizeof(*s->v));
		if (!s->v)
			abort();
	}
	s->v[s->nr++] = v;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double samples_quantile(struct samples *s, double q)
{
	size_t at;

	if (!s->nr)
		return NAN;
	qsort(s->v, s->nr, sizeof(*s->v), by_value);
	at = (size_t)(q * (double)(s->nr - 1) + 0.5);
	return s->v[at];
}

void samples_p999(struct samples *s, double unit, struct jdoc *j, const char *field)
{
	if (s->nr >= 1000)
		jdoc_real(j, field, samples_quantile(s, 0.999) / unit);
}

void samples_fini(struct samples *s)
{
	free(s->v);
	memset(s, 0, sizeof(*s));
}

void bench_progress(const char *label, unsigned long n, unsigned long total)
{
	static uint64_t last;
	uint64_t now = clock_ns();

	if (!isatty(STDERR_FILENO))
		return;
	if (!total) {
		fputs("\r\033[K", stderr);
		return;
	}
	if (now - last < 100000000u)
		return;
	last = now;
	fprintf(stderr, "\r\033[K%s %lu/%lu", label, n, total);
}

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

struct kvshm_key bench_key(uint64_t chain, uint64_t i)
{
	struct kvshm_key key;
	uint64_t w[4], base = mix(chain) ^ mix(i * 0x100000001b3ull + 7);

	for (int k = 0; k < 4; k++)
		w[k] = mix(base + (uint64_t)k);
	memcpy(key.bytes, w, sizeof(w));
	return key;
}

uint64_t bench_rand(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

void bench_flush_caches(void)
{
	static char *buf;

	if (!buf) {
		buf = malloc(FLUSH_LEN);
		if (!buf)
			abort();
	}
	for (size_t i = 0; i < FLUSH_LEN; i += 64)
		buf[i]++;
}

uint64_t bench_process_cpu_ns(int pid)
{
	struct timespec ts;
	clockid_t id;

	if (pid <= 0 || clock_getcpuclockid(pid, &id) || clock_gettime(id, &ts))
		return 0;
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}
