/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paths.c - the paths whose cost is guarded, each a fixed number of calls beside a deaf daemon
 *
 * usage: paths PATH              the calls, inside counted(), for callgrind
 *        paths --syscalls PATH   exit status: system calls that they made
 *
 * Everything is fixed: keys, ids, the hash seed, the writer's sleep flag, and the time, which stands
 * still, so that the look at the socket that a put takes once a millisecond happens once.  The daemon is
 * a thread that answered while the content was made and leaves the queue alone afterwards.
 */
#include <sys/syscall.h>
#include <time.h>

#include "tests/unit/kvshm/client/fake.h"
#include "utils/syscalls.h"

#define KEYS 256u
#define CACHED 100u			/* of each chain, give or take */
#define CHAINS 4u
#define CALLS 8u			/* tests/guard/run divides by it */

struct paths {
	struct fake *f;
	struct kvshm *k;
	uint32_t ns;
	struct kvshm_key key[CHAINS][KEYS];
	unsigned cached[CHAINS];
	struct kvshm_pin pin[CALLS];
	struct kvshm_block block[KEYS];
	unsigned wrong;
	bool is_done;
};

static __thread struct timespec still;	/* 0: time goes on */

/* In place of libc's, for the whole program. */
int clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (!still.tv_sec)
		return (int)syscall(SYS_clock_gettime, clock, ts);
	*ts = still;
	return 0;
}

static void acquire(struct paths *p)
{
	for (unsigned i = 0; i < CALLS; i++) {
		unsigned c = i % CHAINS;

		p->wrong += kvshm_acquire(p->k, p->ns, p->key[c], KEYS, &p->pin[i]) != (int)p->cached[c];
	}
}

static void resolve(struct paths *p)
{
	for (unsigned i = 0; i < CALLS; i++) {
		unsigned c = i % CHAINS;

		p->wrong += kvshm_resolve(p->k, &p->pin[i], p->key[c], p->block) != (int)p->cached[c];
	}
}

static void release(struct paths *p)
{
	for (unsigned i = 0; i < CALLS; i++)
		kvshm_release(p->k, &p->pin[i]);
}

/* One block in place, filled by nobody: the copy is the caller's affair. */
static void put(struct paths *p)
{
	for (unsigned i = 0; i < CALLS; i++) {
		struct kvshm_key key = fake_key_of(1000 + i, 0);

		p->wrong += kvshm_grant(p->k, p->ns, 0, 1, p->block, 0) != 1;
		p->wrong += kvshm_commit(p->k, p->ns, NULL, &key, p->block, 1, 0, i) != 0;
	}
}

static void nothing(struct paths *p)
{
	(void)p;
}

static const struct path {
	const char *name;
	void (*before)(struct paths *p);
	void (*run)(struct paths *p);
	bool is_asleep;
} paths[] = {
	{ "acquire", nothing, acquire, false },
	{ "resolve", acquire, resolve, false },
	{ "release", acquire, release, false },
	{ "put", nothing, put, false },
	{ "put-wake", nothing, put, true },
};

/* What callgrind collects; weak, so that it is neither inlined nor cloned. */
__attribute__((weak)) void counted(void (*run)(struct paths *p), struct paths *p);
void counted(void (*run)(struct paths *p), struct paths *p)
{
	run(p);
	p->is_done = true;		/* or the call would be a jump, and nothing be collected */
}

static void content(struct paths *p)
{
	void *state;

	fake_setup(&state);
	p->f = state;
	p->k = fake_open(p->f, 0);
	p->ns = fake_attach_ns(p->k);
	for (unsigned c = 0; c < CHAINS; c++) {
		p->cached[c] = CACHED + 7 * c;
		assert_int_equal(fake_put(p->k, p->ns, c, p->cached[c]).res, p->cached[c]);
		fake_keys(p->key[c], KEYS, c);
	}
}

/* Once to bind and to fault everything in; the daemon serves what it sent, and then no more. */
static void warm_up(struct paths *p, const struct path *path)
{
	struct timespec now;

	path->before(p);
	path->run(p);
	release(p);
	assert_int_equal(kvshm_sync(p->k), 0);
	WRITE_ONCE(p->f->is_deaf, 1);
	WRITE_ONCE(p->f->dir.sb->writer_asleep, path->is_asleep);
	path->before(p);
	clock_gettime(CLOCK_MONOTONIC, &now);
	now.tv_sec++;			/* every interval is over */
	still = now;
}

int main(int argc, char **argv)
{
	bool is_trapped = argc == 3 && !strcmp(argv[1], "--syscalls");
	static struct paths p;
	long calls = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
		if (strcmp(argv[argc - 1], paths[i].name))
			continue;
		content(&p);
		warm_up(&p, &paths[i]);
		if (is_trapped && syscalls_trap(&calls) < 0)
			return 255;
		counted(paths[i].run, &p);
		_exit(is_trapped ? (int)calls : p.wrong ? 1 : 0);
	}
	return 254;
}
