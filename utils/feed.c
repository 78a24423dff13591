/* SPDX-License-Identifier: Apache-2.0 */
#include "utils/feed.h"

#include <errno.h>
#include <stdlib.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"

#define BATCH 512
#define LOOK_NS 200000000ull		/* is the daemon still the same? */
#define BEGIN_NS 1000000000ull		/* events that were lost make us begin anew once in this time at most */

struct feed {
	struct target target;
	struct feed_ops ops;
	void *arg;
	struct event_ring *ring;
	struct mirror *mirror;
	uint64_t incarnation;
	uint64_t next;			/* event */
	uint64_t looked_ns, begun_ns;
	const char *again;		/* why all must be told anew, NULL: it need not */
	uint64_t malformed;
};

int feed_create(const struct target *t, const struct feed_ops *ops, void *arg, struct feed **ret_f)
{
	struct feed *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->target = *t;
	f->ops = *ops;
	f->arg = arg;
	*ret_f = f;
	return 0;
}

struct feed *feed_destroy(struct feed *f)
{
	if (f) {
		mirror_close(f->mirror);
		events_close(f->ring);
	}
	free(f);
	return NULL;
}

const struct mirror *feed_mirror(const struct feed *f)
{
	return f->mirror;
}

uint64_t feed_incarnation(const struct feed *f)
{
	return f->incarnation;
}

uint64_t feed_malformed(const struct feed *f)
{
	return f->malformed;
}

void feed_begin_again(struct feed *f, const char *reason)
{
	f->again = reason;
}

/* ---- which daemon -------------------------------------------------------------------------------------- */

/* The mirror of the daemon of @ring.  Return: 0; -EAGAIN it is not at work yet, -errno. */
static int open_mirror(const struct feed *f, const struct event_ring *ring, struct mirror **ret_m)
{
	char dir[KVSHM_STATS_TEXT_LEN];
	struct mirror *m;
	int ret = target_text(&f->target, KVSHM_TEXT_MEMORY_DIR, dir);

	if (ret == 0)
		ret = mirror_open(dir, &m);
	if (ret < 0)
		return ret;
	if (!mirror_is_served_by(m, events_header(ring))) {
		mirror_close(m);
		return -EAGAIN;
	}
	*ret_m = m;
	return 0;
}

static bool is_known(const struct feed *f, const struct event_ring *ring)
{
	const struct kvshm_events_page *now = events_header(ring), *had = f->ring ? events_header(f->ring) : NULL;

	return had && had->start_ns == now->start_ns && had->pid == now->pid;
}

static void adopt(struct feed *f, struct event_ring *ring, struct mirror *m)
{
	const uint64_t now_ns = clock_real_ns();

	f->again = f->mirror ? "restarted" : "started";
	mirror_close(f->mirror);
	events_close(f->ring);
	f->mirror = m;
	f->ring = ring;
	f->begun_ns = 0;
	/* A clock that was set back does not make it smaller. */
	f->incarnation = max_of(now_ns, f->incarnation + 1);
}

/* Is there another daemon?  Return: 0; what will not be better by waiting. */
static int look(struct feed *f)
{
	struct event_ring *ring;
	struct mirror *m;
	int ret = target_events(&f->target, &ring);

	if (ret == 0 && is_known(f, ring)) {
		events_close(ring);
		return 0;
	}
	if (ret == 0) {
		ret = events_header(ring)->minor < 1 ? -EPROTONOSUPPORT : open_mirror(f, ring, &m);
		if (ret == 0)
			adopt(f, ring, m);
		else
			events_close(ring);
	}
	return ret == -EACCES || ret == -EPROTONOSUPPORT || ret == -ENOMEM ? ret : 0;
}

/* ---- what it does -------------------------------------------------------------------------------------- */

static int begin(struct feed *f)
{
	const char *reason = f->again;
	int ret;

	/* Before the walk: what happens during it is heard after it. */
	f->next = events_next(f->ring);
	ret = mirror_walk(f->mirror);
	if (ret < 0)
		return ret;
	f->again = NULL;
	f->begun_ns = clock_ns();
	f->ops.begun(f->arg, reason);
	return 0;
}

static int hear_some(struct feed *f)
{
	struct kvshm_event e[BATCH];
	uint64_t lost = 0;
	unsigned nr = events_read(f->ring, &f->next, e, BATCH, &lost), i;

	if (lost) {
		f->again = "lost";
		return 0;
	}
	for (i = 0; i < nr; i++)
		f->malformed += !mirror_event(f->mirror, &e[i], f->ops.changed, f->arg);
	return (int)nr;
}

int feed_poll(struct feed *f)
{
	const uint64_t now_ns = clock_ns();
	int ret = 0;

	if (now_ns - f->looked_ns >= LOOK_NS) {
		f->looked_ns = now_ns;
		ret = look(f);
	}
	if (ret < 0 || !f->mirror)
		return ret;
	if (!f->again)
		return hear_some(f);
	return now_ns - f->begun_ns >= BEGIN_NS ? begin(f) : 0;
}
