/* SPDX-License-Identifier: Apache-2.0 */
/* attack_memory.h - pin files, locks, seals, ways around read-only maps */
#ifndef TESTS_HOSTILE_ATTACK_MEMORY_H
#define TESTS_HOSTILE_ATTACK_MEMORY_H

#include <grp.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "tests/hostile/attack_queue.h"
#include "tests/hostile/raw.h"

#define NOBODY 65534
#define SKIPPED 77

/* ---- pins (H5) ----------------------------------------------------------------------------------- */

static void pins_random(void)
{
	uint64_t end = clock_ns() + FLIP_NS;
	struct rand rnd;
	struct raw r;

	raw_open(&r, 0);
	rand_init(&rnd, 5);
	while (clock_ns() < end) {
		for (uint32_t i = 1; i < r.w.pin_words; i++)
			WRITE_ONCE(r.pins[i], rand_u64(&rnd));
		must(raw_call(&r, (struct kvshm_sqe){ .op = KVSHM_OP_DROP, .ns = r.ns }).res == 0);
	}
}

/* Every block there is, whatever its state; thrown out if that is past twice the quota. */
static void pins_flicker(void)
{
	uint64_t end = clock_ns() + FLIP_NS;
	struct kvshm_sqe drop = { .op = KVSHM_OP_DROP };
	struct kvshm_cqe c;
	uint32_t id, max;
	struct raw r;

	raw_open(&r, 0);
	max = raw_sb(&r)->max_blocks;
	for (unsigned round = 0; clock_ns() < end; round++) {
		for (id = 1; id <= max && id < r.w.pin_words; id++) {
			struct kvshm_block_ref ref = raw_ref(&r, id);

			WRITE_ONCE(r.pins[id], round & 1 ? 0 : (uint64_t)ref.generation << 32 | id);
		}
		drop.ns = r.ns;
		raw_put(&r, &drop);
		raw_ring(&r);
		if (!raw_pop(&r, &c, RAW_WAIT_NS)) {
			must_hang_up(r.sock);
			return;
		}
	}
	memset(r.pins + 1, 0, (r.w.pin_words - 1) * 8);
}

static void pin_one(struct raw *r, struct kvshm_block_ref ref)
{
	WRITE_ONCE(r->pins[1], (uint64_t)ref.generation << 32 | ref.id);
	smp_mb();
}

static uint32_t publish_from(struct raw *r, uint32_t first, uint32_t nr, uint32_t *ret_last)
{
	struct kvshm_commit_rec rec;
	uint32_t n;

	for (n = 0; n < nr; n++) {
		struct kvshm_key parent = rec.key;

		rec = raw_rec(first + n, raw_grant(r), RAW_BLOCK);
		if (raw_commit(r, &rec, 1, n ? 0 : KVSHM_SQE_F_NOPARENT, n ? &parent : NULL).res < 0)
			break;
		/* by a pin as any client has, or the next grant may be made of this block */
		pin_one(r, rec.block);
		*ret_last = rec.block.id;
	}
	return n;
}

/* A chain of our own, not pinned.  It may lose its end between a commit and the pin: then another one. */
static uint32_t publish_chain(struct raw *r, uint32_t nr, uint32_t *ret_last)
{
	static uint32_t first = 1000;
	uint32_t i, got = 0;

	for (i = 0; i < 100 && got < nr; i++, first += 64)
		got = publish_from(r, first, nr, ret_last);
	WRITE_ONCE(r->pins[1], 0);
	return got;
}

/* While it is on its way out, the writer may have seen the pins or not: then it stays, or it is gone. */
static uint32_t state_in_the_end(struct raw *r, uint32_t id)
{
	const uint64_t deadline = clock_ns() + RAW_WAIT_NS;
	uint32_t state;

	while ((state = READ_ONCE(raw_desc(r, id)->state) & KVSHM_STATE_MASK) == KVSHM_BLOCK_EVICTING)
		must(clock_ns() < deadline);
	return state;
}

/* All pin words on the end of a chain of 64.  Return: was it there all the time? */
static bool hoard(struct raw *r)
{
	struct kvshm_block_ref ref;
	uint32_t last = 0, i;

	must(publish_chain(r, 64, &last) == 64);
	ref = raw_ref(r, last);
	for (i = 1; i < r->w.pin_words; i++)
		WRITE_ONCE(r->pins[i], (uint64_t)ref.generation << 32 | last);
	smp_mb();
	return state_in_the_end(r, last) == KVSHM_BLOCK_PUBLISHED && raw_ref(r, last).generation == ref.generation &&
	       raw_desc(r, last)->ns == r->ns && raw_desc(r, last)->depth == 63;
}

/*
 * Past twice its quota in whole prefixes: thrown out, and its pins no longer count.  The scan that tells may be the
 * one that the DROP asks for, or the writer's own, before the DROP was looked at: no completion is owed.
 */
static void pins_hoard(void)
{
	struct kvshm_sqe drop = { .op = KVSHM_OP_DROP, .flags = KVSHM_SQE_F_ALL };
	unsigned tries = 0;
	struct raw r;

	raw_open(&r, 0);
	while (!hoard(&r)) {
		/* gone, or thrown out and then gone: the next call tells */
		r.is_sought = true;
		must(++tries < 100);
	}
	drop.ns = r.ns;
	raw_put(&r, &drop);
	raw_ring(&r);
	must_hang_up(r.sock);
}

static void drop_all(struct raw *r)
{
	must(raw_call(r, (struct kvshm_sqe){ .op = KVSHM_OP_DROP, .ns = r->ns, .flags = KVSHM_SQE_F_ALL }).res >= 0);
}

static void pin_file_truncated(void)
{
	struct raw r;

	raw_open(&r, 0);
	must(ftruncate(r.fd[FD_PINS], 0) == 0);
	drop_all(&r);
	must(ftruncate(r.fd[FD_PINS], 12) == 0);
	drop_all(&r);
	must(raw_nop(&r) == 0);
	must(ftruncate(r.fd[FD_PINS], r.w.pin_words * 8) == 0);
}

static void pin_file_grown(void)
{
	struct raw r;

	raw_open(&r, 0);
	must(ftruncate(r.fd[FD_PINS], 1ll << 40) == 0);
	memset(r.pins + 1, 0xff, (r.w.pin_words - 1) * 8);
	drop_all(&r);
	must(raw_nop(&r) == 0);
}

static void pin_file_punched(void)
{
	struct raw r;

	raw_open(&r, 0);
	must(fallocate(r.fd[FD_PINS], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 20) == 0);
	drop_all(&r);
	must(raw_nop(&r) == 0);
}

/* Word 0 says that all is over while the session goes on, or counts words beyond the file. */
static void pin_word_0_forged(void)
{
	static const uint64_t words[] = { 0, KVSHM_PINFILE_CLOSED, ~0ull, 0xffffffff00000000ull | KVSHM_PINFILE_OPEN,
					  1ull << 32 | KVSHM_PINFILE_OPEN, 0x100000000ull };
	struct raw r;

	raw_open(&r, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		WRITE_ONCE(r.pins[0], words[i]);
		drop_all(&r);
		must(raw_nop(&r) == 0);
	}
	WRITE_ONCE(r.pins[0], KVSHM_PINFILE_OPEN);
}

/* A file that it owned once says what it likes: it is not scanned any more. */
static void pin_file_of_the_past(void)
{
	uint32_t last = 0;
	struct raw a, b;
	uint64_t *pins;

	raw_open(&b, 0);
	must(publish_chain(&b, 8, &last) == 8);
	raw_open(&a, 0);
	pins = mmap(NULL, a.w.pin_words * 8, PROT_READ | PROT_WRITE, MAP_SHARED, a.fd[FD_PINS], 0);
	must(pins != MAP_FAILED);
	raw_close(&a);
	nap(300000);
	for (uint32_t i = 1; i < b.w.pin_words; i++)
		WRITE_ONCE(pins[i], (uint64_t)raw_ref(&b, last).generation << 32 | last);
	drop_all(&b);
	nap(150000);
	must((raw_desc(&b, last)->state & KVSHM_STATE_MASK) == KVSHM_BLOCK_FREE);
}

/* ---- locks ------------------------------------------------------------------------------------------ */

static void locks_everywhere(void)
{
	struct flock l = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
	struct raw r;

	raw_open(&r, 0);
	for (unsigned i = 0; i < NR_FDS; i++) {
		flock(r.fd[i], LOCK_EX | LOCK_NB);
		if (i != FD_PINS)
			fcntl(r.fd[i], F_SETLK, &l);
		fcntl(r.fd[i], F_OFD_SETLK, &l);
		fcntl(r.fd[i], F_SETLEASE, F_RDLCK);
	}
	must(raw_nop(&r) == 0);
	nap(200000);
	must(raw_nop(&r) == 0);
}

/* A living client whose lock is gone goes on being served, and its pins go on counting. */
static void lock_lost(void)
{
	uint32_t last = 0;
	struct raw r;

	raw_open(&r, 0);
	must(publish_chain(&r, 4, &last) == 4);
	WRITE_ONCE(r.pins[1], (uint64_t)raw_ref(&r, last).generation << 32 | last);
	close(dup(r.fd[FD_PINS]));
	nap(300000);
	drop_all(&r);
	nap(150000);
	must((raw_desc(&r, last)->state & KVSHM_STATE_MASK) == KVSHM_BLOCK_QUARANTINED);
	must(raw_nop(&r) == 0);
}

/* ... also when the socket went with it, as close_range() does. */
static void everything_closed_but_alive(void)
{
	uint32_t last = 0;
	struct raw r, b;

	raw_open(&r, 0);
	must(publish_chain(&r, 4, &last) == 4);
	WRITE_ONCE(r.pins[1], (uint64_t)raw_ref(&r, last).generation << 32 | last);
	for (unsigned i = 0; i < NR_FDS; i++)
		close(r.fd[i]);
	close(r.sock);
	nap(300000);
	raw_open(&b, 0);
	drop_all(&b);
	nap(150000);
	must((raw_desc(&r, last)->state & KVSHM_STATE_MASK) == KVSHM_BLOCK_QUARANTINED);
}

/* ---- maps and descriptors (H8) ------------------------------------------------------------------------ */

static void segment_resized(void)
{
	struct raw r;

	raw_welcome(&r, 0);
	must(ftruncate(r.fd[FD_SEGMENT], 0) < 0);
	must(ftruncate(r.fd[FD_SEGMENT], 1 << 30) < 0);
	raw_mapped(&r);
	must(ftruncate(r.fd[FD_SEGMENT], 0) < 0);
	must(fallocate(r.fd[FD_SEGMENT], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 20) < 0);
	must(madvise(r.seg, 1 << 16, MADV_REMOVE) < 0);
	must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd[FD_SEGMENT], 0) == MAP_FAILED);
	must(write(r.fd[FD_SEGMENT], "x", 1) < 0);
	must(raw_nop(&r) == 0);
}

static void segment_sealed_first(void)
{
	struct raw r;

	raw_welcome(&r, 0);
	must(fcntl(r.fd[FD_SEGMENT], F_ADD_SEALS, F_SEAL_SEAL) == 0);
	raw_plain(r.sock, KVSHM_MSG_MAPPED, 0, 0);
	must_hang_up(r.sock);
}

static void segment_punched_first(void)
{
	struct raw r;

	raw_welcome(&r, 0);
	must(fallocate(r.fd[FD_SEGMENT], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)r.seg_len) == 0);
	raw_plain(r.sock, KVSHM_MSG_MAPPED, 0, 0);
	must(raw_next(r.sock) == KVSHM_MSG_READY);
}

/* Every way from a descriptor to write access that a client may try.  Return: how, NULL: none. */
static const char *way_to_write(int fd)
{
	char path[64];
	int w;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	w = open(path, O_RDWR | O_CLOEXEC);
	if (w >= 0)
		return "reopened";
	if (open(path, O_WRONLY | O_TRUNC | O_CLOEXEC) >= 0)
		return "reopened to truncate";
	if (ftruncate(fd, 0) == 0)
		return "truncated";
	if (truncate(path, 0) == 0)
		return "truncated by path";
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0)
		return "punched";
	if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED)
		return "mapped to write";
	if (fchmod(fd, 0666) == 0)
		return "mode changed";
	return NULL;
}

static void must_be_read_only(int fd, const char *what)
{
	const char *how = way_to_write(fd);
	void *p;

	if (how)
		die("%s: %s", what, how);
	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	must(p != MAP_FAILED);
	must(mprotect(p, 4096, PROT_READ | PROT_WRITE) < 0);
	must(madvise(p, 4096, MADV_REMOVE) < 0);
	munmap(p, 4096);
}

static void writes_nothing(void)
{
	char buf[KVSHM_MSG_MAX];
	int fds[KVSHM_MSG_MAX_FDS];
	struct raw r;
	unsigned nr;

	raw_open(&r, KVSHM_HELLO_F_UNTRUSTED);
	must(!(r.w.flags & KVSHM_WELCOME_F_TRUSTED));
	must_be_read_only(r.fd[FD_DIR], "directory");
	raw_plain(r.sock, KVSHM_MSG_EXTENTS, 0, 0);
	must(raw_recv(r.sock, buf, sizeof(buf), fds, KVSHM_MSG_MAX_FDS, &nr) == KVSHM_MSG_EXTENT_FDS && nr > 0);
	for (unsigned i = 0; i < nr; i++)
		must_be_read_only(fds[i], "arena");
}

/* Its own user, root even: only a mount that it cannot reach holds it back. */
static void writes_as_the_same_user(void)
{
	if (geteuid() != 0) {
		printf("needs root\n");
		exit(SKIPPED);
	}
	writes_nothing();
}

/* Another user, who may connect. */
static void as_nobody(void (*attack)(void))
{
	if (geteuid() != 0) {
		printf("needs root, to be another user\n");
		exit(SKIPPED);
	}
	must(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	attack();
}

static void writes_as_another_user(void)
{
	as_nobody(writes_nothing);
}

static void grants_of_another_user(void)
{
	struct raw r;

	raw_open(&r, 0);
	must(!(r.w.flags & KVSHM_WELCOME_F_TRUSTED));
	must(raw_call(&r, (struct kvshm_sqe){ .op = KVSHM_OP_GRANT, .ns = r.ns, .nr = 1 }).res == -EPERM);
}

/* What the neighbour has put is not for others to take away. */
static void drops_of_another_user(void)
{
	struct raw r;
	uint32_t id;

	raw_open(&r, 0);
	id = raw_find(&r, KVSHM_BLOCK_PUBLISHED, r.ns);
	must(id != 0);
	must(raw_call(&r, (struct kvshm_sqe){ .op = KVSHM_OP_DROP, .ns = raw_desc(&r, id)->ns,
					      .flags = KVSHM_SQE_F_ALL }).res == -EPERM);
	must((raw_desc(&r, id)->state & KVSHM_STATE_MASK) == KVSHM_BLOCK_PUBLISHED);
}

static void drops_as_another_user(void)
{
	as_nobody(drops_of_another_user);
}

static void grants_as_another_user(void)
{
	as_nobody(grants_of_another_user);
}

#endif
