/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/stats/events.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/proc.h"
#include "kvshm/base/siphash.h"

#define MASK (KVSHM_EVENTS_NR - 1)
#define WORDS (sizeof(struct kvshm_event) / 8)

_Static_assert(sizeof(struct kvshm_event) == 64, "one cache line");
_Static_assert(sizeof(struct kvshm_events_page) == 128, "header");

struct event_ring {
	struct kvshm_events_page *page;
	struct kvshm_event *event;
	size_t len;
	uint64_t next;			/* writer */
	struct siphash_key key;		/* writer */
};

static size_t ring_len(void)
{
	return round_up(sizeof(struct kvshm_events_page) + KVSHM_EVENTS_NR * sizeof(struct kvshm_event), 4096ul);
}

/* ---- the file ------------------------------------------------------------------------------------------ */

static int ring_map(int fd, int prot, struct event_ring **ret_r)
{
	struct event_ring *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->len = ring_len();
	r->page = mmap(NULL, r->len, prot, MAP_SHARED, fd, 0);
	if (r->page == MAP_FAILED) {
		int ret = -errno;

		free(r);
		return ret;
	}
	r->event = (void *)(r->page + 1);
	*ret_r = r;
	return 0;
}

static void header_fill(struct kvshm_events_page *h)
{
	struct proc_stat self;

	h->major = KVSHM_EVENTS_MAJOR;
	h->minor = KVSHM_EVENTS_MINOR;
	h->len = ring_len();
	h->start_ns = clock_ns();
	h->pid = (uint64_t)getpid();
	h->start_ticks = proc_stat_read(getpid(), &self) < 0 ? 0 : self.start_ticks;
	h->nr_events = KVSHM_EVENTS_NR;
	h->event_off = sizeof(*h);
	h->magic = KVSHM_EVENTS_MAGIC;
}

static int ring_make(int fd, struct event_ring **ret_r)
{
	struct event_ring *r;
	int ret = fchmod(fd, 0640) < 0 ? -errno : -posix_fallocate(fd, 0, (off_t)ring_len());

	if (ret == 0)
		ret = ring_map(fd, PROT_READ | PROT_WRITE, &r);
	if (ret < 0)
		return ret;
	if (getrandom(&r->key, sizeof(r->key), 0) != (ssize_t)sizeof(r->key)) {
		events_close(r);
		return -EIO;
	}
	header_fill(r->page);
	*ret_r = r;
	return 0;
}

int events_create(int dirfd, const char *name, struct event_ring **ret_r)
{
	struct event_ring *r = NULL;
	char temp[80];
	int fd, ret;

	if ((size_t)snprintf(temp, sizeof(temp), "%s.%d", name, (int)getpid()) >= sizeof(temp))
		return -ENAMETOOLONG;
	fd = openat(dirfd, temp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	ret = ring_make(fd, &r);
	close(fd);
	if (ret == 0 && renameat(dirfd, temp, dirfd, name) < 0) {
		ret = -errno;
		events_close(r);
	}
	if (ret < 0) {
		unlinkat(dirfd, temp, 0);
		return ret;
	}
	*ret_r = r;
	return 0;
}

static int ring_check(const struct event_ring *r)
{
	const struct kvshm_events_page *h = r->page;

	if (h->magic != KVSHM_EVENTS_MAGIC)
		return -EBADMSG;
	if (h->major != KVSHM_EVENTS_MAJOR)
		return -EPROTONOSUPPORT;
	return h->nr_events == KVSHM_EVENTS_NR && h->event_off == sizeof(*h) ? 0 : -EBADMSG;
}

int events_open(const char *path, struct event_ring **ret_r)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), ret = 0;
	struct event_ring *r;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		ret = -errno;
	else if (!S_ISREG(st.st_mode) || (size_t)st.st_size < ring_len())
		ret = -EBADMSG;
	if (ret == 0)
		ret = ring_map(fd, PROT_READ, &r);
	close(fd);
	if (ret < 0)
		return ret;
	ret = ring_check(r);
	if (ret < 0) {
		events_close(r);
		return ret;
	}
	*ret_r = r;
	return 0;
}

struct event_ring *events_close(struct event_ring *r)
{
	if (r)
		munmap(r->page, r->len);
	free(r);
	return NULL;
}

uint64_t events_start(const struct event_ring *r)
{
	return r->page->start_ns;
}

const struct kvshm_events_page *events_header(const struct event_ring *r)
{
	return r->page;
}

uint64_t events_hash(const struct event_ring *r, const struct kvshm_key *key)
{
	uint64_t w[sizeof(*key) / 8], hash;

	memcpy(w, key, sizeof(w));
	hash = siphash_words(&r->key, w, ARRAY_SIZE(w));
	return hash ? hash : 1;
}

/* ---- events -------------------------------------------------------------------------------------------- */

void events_push(struct event_ring *r, const struct kvshm_event *e)
{
	struct kvshm_event *at = &r->event[r->next & MASK];
	uint64_t from[WORDS], *to = (uint64_t *)at;
	unsigned i;

	memcpy(from, e, sizeof(from));
	WRITE_ONCE(at->seq, 0);
	/* EV-1: gone before the first word changes; pairs with read_one(). */
	smp_release();
	for (i = 1; i < WORDS; i++)
		WRITE_ONCE(to[i], from[i]);
	/* EV-1: there after the last word; pairs with read_one(). */
	store_release(&at->seq, r->next + 1);
	r->next++;
	/* EV-2: the event before it is counted; pairs with events_next(). */
	store_release(&r->page->next, r->next);
}

uint64_t events_next(const struct event_ring *r)
{
	/* EV-2: the count before the events; pairs with events_push(). */
	return load_acquire(&r->page->next);
}

static uint64_t oldest_before(uint64_t next)
{
	return next > KVSHM_EVENTS_NR ? next - KVSHM_EVENTS_NR : 0;
}

uint64_t events_oldest(const struct event_ring *r)
{
	return oldest_before(events_next(r));
}

/* Return: 1; 0 it was overwritten. */
static int read_one(const struct event_ring *r, uint64_t number, struct kvshm_event *ret)
{
	const struct kvshm_event *at = &r->event[number & MASK];
	const uint64_t *from = (const uint64_t *)at;
	uint64_t to[WORDS];
	unsigned i;

	/* EV-1: the number before the words; pairs with events_push(). */
	to[0] = load_acquire(&at->seq);
	for (i = 1; i < WORDS; i++)
		to[i] = READ_ONCE(from[i]);
	/* EV-1: the words before the second look; pairs with events_push(). */
	smp_acquire();
	if (to[0] != number + 1 || READ_ONCE(at->seq) != number + 1)
		return 0;
	memcpy(ret, to, sizeof(*ret));
	return 1;
}

unsigned events_read(const struct event_ring *r, uint64_t *next, struct kvshm_event *ret, unsigned max,
		     uint64_t *ret_lost)
{
	const uint64_t end = events_next(r);
	unsigned nr = 0;

	/* Never before the oldest that can be there, nor past the end, whatever a bad page says. */
	if (end - *next > KVSHM_EVENTS_NR) {
		*ret_lost += end > *next ? end - KVSHM_EVENTS_NR - *next : 0;
		*next = oldest_before(end);
	}
	for (; *next != end && nr < max; ++*next) {
		if (read_one(r, *next, &ret[nr]))
			nr++;
		else
			++*ret_lost;
	}
	return nr;
}
