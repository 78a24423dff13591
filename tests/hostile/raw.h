/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw.h - a client without a library: its socket, its segment, its pin file, and nothing checked
 *
 * Only for the attacks of tests/hostile; what fails here ends the process with a line that says what.
 */
#ifndef TESTS_HOSTILE_RAW_H
#define TESTS_HOSTILE_RAW_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <kvshm/abi.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"

#define RAW_BLOCK (64u << 10)
#define RAW_WAIT_NS 5000000000ull

enum { FD_DIR, FD_PINS, FD_SEGMENT, FD_BELL, NR_FDS };

struct raw {
	int sock, fd[NR_FDS];
	struct kvshm_msg_welcome w;
	struct kvshm_segment *seg;
	size_t seg_len;
	const char *dir;		/* the directory, read-only */
	size_t dir_len;
	uint64_t *pins;
	char *staging;
	uint32_t tail, head, slices;
	uint16_t ns;
	bool is_sought;			/* to be thrown out is what the attack is for, whenever it comes */
};

static const char *raw_path;		/* of the daemon's socket */

__attribute__((format(printf, 1, 2), noreturn))
static inline void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	exit(1);
}

/* What the daemon must do, or the attack has had an effect that it must not have. */
#define must(cond) ((cond) ? (void)0 : die("line %d: not so: %s", __LINE__, #cond))

/* Cut to fit. */
static inline void put_text(void *dst, const char *src, size_t len)
{
	size_t n;

	for (n = 0; n < len - 1 && src[n]; n++)
		((char *)dst)[n] = src[n];
	((char *)dst)[n] = '\0';
}

static inline void nap(unsigned us)
{
	struct timespec ts = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000l };

	nanosleep(&ts, NULL);
}

/* ---- socket ------------------------------------------------------------------------------------- */

static inline int raw_try_connect(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct timeval tv = { .tv_sec = 5 };
	int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	put_text(sa.sun_path, raw_path, sizeof(sa.sun_path));
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (s < 0 || connect(s, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return s;
	close(s);
	return -1;
}

static inline int raw_connect(void)
{
	int s = raw_try_connect();

	if (s < 0)
		die("cannot connect: %s", strerror(errno));
	return s;
}

/* Type of the next message, 0: hung up.  At most @max descriptors, the others are dropped. */
static inline int raw_recv(int s, void *buf, size_t len, int *fds, unsigned max, unsigned *ret_nr)
{
	union { struct cmsghdr align; char b[CMSG_SPACE(KVSHM_MSG_MAX_FDS * sizeof(int))]; } ctl;
	struct iovec iov = { buf, len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &ctl,
			     .msg_controllen = sizeof(ctl) };
	struct kvshm_msg_hdr h;
	struct cmsghdr *c;
	ssize_t n = recvmsg(s, &mh, MSG_CMSG_CLOEXEC);

	*ret_nr = 0;
	if (n < (ssize_t)sizeof(h))
		return n < 0 && errno == EAGAIN ? -EAGAIN : 0;
	memcpy(&h, buf, sizeof(h));
	c = CMSG_FIRSTHDR(&mh);
	if (c && max) {
		*ret_nr = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), *ret_nr * sizeof(int));
	}
	return h.type;
}

static inline int raw_next(int s)
{
	char buf[KVSHM_MSG_MAX];
	unsigned nr, i;
	int fds[KVSHM_MSG_MAX_FDS], type = raw_recv(s, buf, sizeof(buf), fds, KVSHM_MSG_MAX_FDS, &nr);

	for (i = 0; i < nr; i++)
		close(fds[i]);
	return type;
}

static inline struct kvshm_msg_hello hello_of(const char *label, uint32_t flags)
{
	struct kvshm_msg_hello h = { .hdr = { KVSHM_MSG_MAGIC, KVSHM_MSG_HELLO, sizeof(h) },
				     .abi = KVSHM_ABI, .flags = flags };

	put_text(h.label, label, sizeof(h.label));
	return h;
}

static inline bool raw_send(int s, const void *msg, size_t len)
{
	return send(s, msg, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static inline bool raw_plain(int s, int type, uint32_t arg, uint32_t nr)
{
	struct kvshm_msg_plain m = { { KVSHM_MSG_MAGIC, (uint16_t)type, sizeof(m) }, arg, nr };

	return raw_send(s, &m, sizeof(m));
}

/* Thrown out: the daemon hangs up within the deadline; what it says before is skipped. */
static inline void must_hang_up(int s)
{
	int type;

	while ((type = raw_next(s)) > 0)
		;
	if (type < 0)
		die("the daemon does not hang up");
}

/* ---- session ------------------------------------------------------------------------------------ */

/* HELLO and WELCOME; pin file locked, segment mapped, not yet MAPPED. */
static inline void raw_welcome(struct raw *r, uint32_t flags)
{
	struct kvshm_msg_hello h = hello_of("hostile", flags);
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char buf[KVSHM_MSG_MAX];
	int fds[KVSHM_MSG_MAX_FDS];
	struct stat st;
	unsigned nr;

	memset(r, 0, sizeof(*r));
	r->sock = raw_connect();
	raw_send(r->sock, &h, sizeof(h));
	if (raw_recv(r->sock, buf, sizeof(buf), fds, NR_FDS, &nr) != KVSHM_MSG_WELCOME || nr != NR_FDS)
		die("no WELCOME: %s", ((struct kvshm_msg_refused *)(void *)buf)->text);
	memcpy(r->fd, fds, sizeof(r->fd));
	memcpy(&r->w, buf, sizeof(r->w));
	must(fstat(r->fd[FD_SEGMENT], &st) == 0);
	r->seg_len = (size_t)st.st_size;
	r->seg = mmap(NULL, r->seg_len, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd[FD_SEGMENT], 0);
	must(fstat(r->fd[FD_DIR], &st) == 0);
	r->dir_len = (size_t)st.st_size;
	r->dir = mmap(NULL, r->dir_len, PROT_READ, MAP_SHARED, r->fd[FD_DIR], 0);
	r->pins = mmap(NULL, r->w.pin_words * 8, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd[FD_PINS], 0);
	must(r->seg != MAP_FAILED && r->dir != MAP_FAILED && r->pins != MAP_FAILED);
	must(fcntl(r->fd[FD_PINS], F_SETLK, &lock) == 0);
}

static inline void raw_mapped(struct raw *r)
{
	raw_plain(r->sock, KVSHM_MSG_MAPPED, 0, 0);
	must(raw_next(r->sock) == KVSHM_MSG_READY);
}

static inline uint16_t raw_ns(struct raw *r, const char *name, uint32_t block_len);

static inline void raw_open(struct raw *r, uint32_t flags)
{
	raw_welcome(r, flags);
	raw_mapped(r);
	r->ns = raw_ns(r, "hostile", RAW_BLOCK);
}

/* As the library leaves: without it the daemon waits for the death of the process. */
static inline void raw_close(struct raw *r)
{
	unsigned i;

	store_release(&r->pins[0], (uint64_t)KVSHM_PINFILE_CLOSED);
	for (i = 0; i < NR_FDS; i++)
		close(r->fd[i]);
	close(r->sock);
	munmap(r->seg, r->seg_len);
	munmap((void *)(uintptr_t)r->dir, r->dir_len);
	munmap(r->pins, r->w.pin_words * 8);
}

/* ---- queue -------------------------------------------------------------------------------------- */

static inline void *raw_args(struct raw *r)
{
	return (char *)r->seg + r->seg->args_off;
}

static inline void raw_ring(struct raw *r)
{
	const uint64_t one = 1;

	if (write(r->fd[FD_BELL], &one, sizeof(one)) < 0 && errno != EAGAIN)
		die("doorbell: %s", strerror(errno));
}

/* Without a bell. */
static inline void raw_put(struct raw *r, const struct kvshm_sqe *e)
{
	struct kvshm_sqe *sq = (void *)((char *)r->seg + r->seg->sq_off);

	memcpy(&sq[r->tail % KVSHM_SQ_ENTRIES], e, sizeof(*e));
	store_release(&r->seg->sq.tail, ++r->tail);
}

/* The next completion.  Return: false: none in time, or thrown out. */
static inline bool raw_pop(struct raw *r, struct kvshm_cqe *ret, uint64_t wait_ns)
{
	const struct kvshm_cqe *cq = (void *)((char *)r->seg + r->seg->cq_off);
	uint64_t deadline = clock_ns() + wait_ns;
	struct pollfd p = { .fd = r->sock, .events = POLLRDHUP };

	while (load_acquire(&r->seg->cq.tail) == r->head) {
		if (clock_ns() > deadline || poll(&p, 1, 0) > 0)
			return false;
		nap(50);
	}
	memcpy(ret, &cq[r->head % KVSHM_CQ_ENTRIES], sizeof(*ret));
	store_release(&r->seg->cq.head, ++r->head);
	return true;
}

static inline struct kvshm_cqe raw_call(struct raw *r, struct kvshm_sqe e)
{
	struct kvshm_cqe c;

	raw_put(r, &e);
	raw_ring(r);
	if (!raw_pop(r, &c, RAW_WAIT_NS)) {
		if (!r->is_sought)
			die("no completion of opcode %u", e.op);
		must_hang_up(r->sock);
		exit(0);
	}
	return c;
}

static inline int raw_nop(struct raw *r)
{
	return raw_call(r, (struct kvshm_sqe){ .op = KVSHM_OP_NOP }).res;
}

/* Thrown out for what is in the queue. */
static inline void must_be_thrown_out(struct raw *r)
{
	raw_ring(r);
	must_hang_up(r->sock);
}

static inline uint16_t raw_ns(struct raw *r, const char *name, uint32_t block_len)
{
	struct kvshm_ns_args a = { .block_len = block_len, .block_tokens = 16 };
	int ns;

	put_text(a.fingerprint, name, sizeof(a.fingerprint));
	put_text(a.label, name, sizeof(a.label));
	memcpy(raw_args(r), &a, sizeof(a));
	ns = raw_call(r, (struct kvshm_sqe){ .op = KVSHM_OP_ATTACH_NS, .nr = 1, .len = sizeof(a) }).res;
	if (ns < 0)
		die("no namespace: %s", strerror(-ns));
	return (uint16_t)ns;
}

/* ---- directory ---------------------------------------------------------------------------------- */

static inline const struct kvshm_superblock *raw_sb(const struct raw *r)
{
	return (const void *)r->dir;
}

static inline const struct kvshm_desc *raw_desc(const struct raw *r, uint32_t id)
{
	return (const struct kvshm_desc *)(const void *)(r->dir + raw_sb(r)->desc_off) + id;
}

static inline struct kvshm_block_ref raw_ref(const struct raw *r, uint32_t id)
{
	uint64_t state = READ_ONCE(raw_desc(r, id)->state);

	return (struct kvshm_block_ref){ id, (uint32_t)(state >> KVSHM_GENERATION_SHIFT) };
}

/* The first block in @state, of somebody else than @not_ns; 0: none. */
static inline uint32_t raw_find(const struct raw *r, unsigned state, uint16_t not_ns)
{
	uint32_t id;

	for (id = 1; id <= raw_sb(r)->max_blocks; id++)
		if ((READ_ONCE(raw_desc(r, id)->state) & KVSHM_STATE_MASK) == state &&
		    raw_desc(r, id)->ns != not_ns)
			return id;
	return 0;
}

/* One grant of ours. */
static inline struct kvshm_block_ref raw_grant(struct raw *r)
{
	struct kvshm_cqe c = raw_call(r, (struct kvshm_sqe){ .op = KVSHM_OP_GRANT, .ns = r->ns, .nr = 1 });

	if (c.res != 1)
		die("no grant: %d", c.res);
	return raw_ref(r, c.run[0].first);
}

static inline struct kvshm_commit_rec raw_rec(uint64_t key, struct kvshm_block_ref ref, uint32_t length)
{
	struct kvshm_commit_rec c = { .block = ref, .length = length };

	memcpy(c.key.bytes, &key, sizeof(key));
	c.key.bytes[31] = 0x5a;
	return c;
}

static inline struct kvshm_cqe raw_commit(struct raw *r, const struct kvshm_commit_rec *rec, uint32_t nr,
					  uint8_t flags, const struct kvshm_key *parent)
{
	struct kvshm_sqe e = { .op = KVSHM_OP_COMMIT, .flags = flags, .ns = r->ns, .nr = nr,
			       .len = nr * (uint32_t)sizeof(*rec) };

	if (parent)
		e.key = *parent;
	memcpy(raw_args(r), rec, nr * sizeof(*rec));
	return raw_call(r, e);
}

/* ---- staging ------------------------------------------------------------------------------------ */

static inline void raw_staging(struct raw *r)
{
	char buf[KVSHM_MSG_MAX];
	int fds[KVSHM_MSG_MAX_FDS];
	unsigned nr;

	raw_plain(r->sock, KVSHM_MSG_STAGING, 0, 0);
	must(raw_recv(r->sock, buf, sizeof(buf), fds, 1, &nr) == KVSHM_MSG_STAGING_FD && nr == 1);
	r->staging = mmap(NULL, KVSHM_STAGING_SLICE * KVSHM_STAGING_SLICES, PROT_READ | PROT_WRITE,
			  MAP_SHARED, fds[0], 0);
	must(r->staging != MAP_FAILED);
	close(fds[0]);
	raw_mapped(r);
}

#endif
