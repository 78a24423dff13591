/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/log.h"
#include "kvshm/daemon/numa.h"
#include "kvshm/stats/events.h"

#define CREDIT_SHARE 4u /* of the arena, at most, in one session's grants */

/* Why the earlier content cannot be used. */
static const char *why_not(int err)
{
	switch (-err) {
	case ENOENT:
		return "nothing there";
	case ENODATA:
		return "earlier content was given up";
	case EPROTONOSUPPORT:
		return "earlier content has another ABI";
	case ESTALE:
		return "earlier content is of another boot";
	case EBADMSG:
		return "earlier directory is damaged or incomplete";
	case ENXIO:
		return "a file of the earlier arena is missing";
	case ERANGE:
		return "an extent of earlier content is not what its directory says";
	case EIO:
		return "earlier directory lay in bad memory";
	case EUCLEAN:
		return "earlier content is damaged";
	case EOWNERDEAD:
		return "the pin files of earlier content are gone, nobody knows what is being read";
	default:
		return strerror(-err);
	}
}

static uint64_t quota_of(const struct conf *c, uint64_t arena_bytes)
{
	return c->pin_quota.percent ? arena_bytes / 100 * c->pin_quota.percent : c->pin_quota.bytes;
}

void store_set_limits(struct store *st, const struct conf *c, uint64_t arena_bytes)
{
	/* Grants alone must not leave the others without. */
	uint64_t credit = min_of(c->credit_bytes.bytes, arena_bytes / CREDIT_SHARE);

	WRITE_ONCE(st->quota_bytes, quota_of(c, arena_bytes));
	WRITE_ONCE(st->credit_bytes, credit);
}

/* Grants stay while the owner's pin file counts. */
static bool is_owner_alive(void *arg, uint32_t owner)
{
	const struct store *st = arg;

	for (unsigned i = 0; i < st->nr_orphans; i++)
		if (st->orphan[i].owner.slot == owner)
			return true;
	return false;
}

static int open_cache(struct store *st, const struct conf *c)
{
	struct cache_config cfg = {
		.dir = &st->dir,
		.arena = &st->arena,
		.pins = st->pins,
		.policy = cache_policy(c->policy),
		.retired = st->retired,
		.nr_retired = st->nr_retired,
		.wipe = (enum cache_wipe)c->wipe,
		.capacity_blocks = c->capacity_blocks,
		.events = st->events,
		.is_lockstep = c->lockstep,
	};

	return cache_create(&cfg, &st->cache);
}

/* A later size: more grows the arena, less needs a cold start. */
static void take_size(struct store *st, const struct instance *in, const struct conf *c)
{
	uint64_t size = st->arena.span;
	struct diag d;

	st->grow = (struct arena_config){
		.dirfd = in->mem_fd,
		.size = size,
		.pages = (enum backing_pages)c->pages,
		.nr_nodes = numa_nodes(st->nodes, ARRAY_SIZE(st->nodes)),
		.nodes = st->nodes,
		.extent_len = c->extent.bytes ? round_up(c->extent.bytes, 2ull << 20)
					      : st->dir.extent[0].len,
	};
	if (conf_is_default(c, "arena", "size") || (!c->size.bytes && !c->size.percent))
		return;
	if (instance_size(in, c, &size, &d) < 0)
		return;
	if (size < st->arena.span)
		log_warn("arena.size asks for %" PRIu64 " MiB, the content found has %zu MiB: "
			 "shrinking drops it, start with --discard",
			 size >> 20, st->arena.span >> 20);
	else
		st->grow.size = size;
}

/* Which of it does not fit, for why_not(). */
static int open_extents(struct store *st, const struct instance *in)
{
	int ret = arena_open(&st->arena, &st->dir, in->mem_fd);

	if (ret == -ENOENT)
		return -ENXIO;
	return ret == -EINVAL ? -ERANGE : ret;
}

/* Everything mapped and attached, or -errno with @st holding what was opened so far. */
static int attach(struct store *st, const struct instance *in, const struct conf *c, int fd)
{
	int ret = directory_attach(fd, true, &st->dir);

	if (ret < 0)
		return ret;
	if (!directory_is_live(directory_state(&st->dir)))
		return -EBADMSG;
	if (c->max_blocks && c->max_blocks != st->dir.max_blocks)
		return -EDOM;
	ret = arena_reserve(&st->arena, 0, true);
	if (ret == 0)
		ret = open_extents(st, in);
	if (ret == 0 && st->arena.nr_extents == 0)
		ret = -EBADMSG;
	return ret;
}

static void say_retired(const struct store *st)
{
	struct cache_counts n;

	cache_count(st->cache, &n);
	log_warn("%u units of 2 MiB lie in bad memory and are not used, %" PRIu64 " blocks dropped",
		 st->nr_retired, n.retired);
}

static int take_over(struct store *st, const struct instance *in, const struct conf *c, int fd)
{
	int ret = retired_read(in->pins_fd, st->retired);
	uint64_t start_ns;

	if (ret < 0)
		return ret;
	st->nr_retired = (unsigned)ret;
	ret = attach(st, in, c, fd);
	if (ret < 0)
		return ret;
	/* Without them a living client's pins would be overlooked, and what it reads evicted. */
	if (!st->has_owners)
		return -EOWNERDEAD;
	store_set_limits(st, c, st->arena.span);
	take_size(st, in, c);
	/* Pins first: nothing may be evicted before they are in force. */
	ret = store_find_orphans(st, in->pins_fd);
	if (ret == 0)
		ret = open_cache(st, c);
	if (ret < 0)
		return ret;
	store_learn(st, c, in->pins_fd);
	start_ns = clock_ns();
	st->recovered = cache_recover(st->cache, is_owner_alive, st, start_ns);
	st->recovery_ns = clock_ns() - start_ns;
	if (st->recovered >= 0 && st->nr_retired)
		say_retired(st);
	return st->recovered < 0 ? (int)st->recovered : 0;
}

/* Not the content's fault: it must not be dropped for that. */
static bool is_our_trouble(int err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE || err == -EACCES ||
	       err == -EPERM;
}

static void drop_content(struct store *st)
{
	st->cache = cache_destroy(st->cache);
	st->pins = pin_set_destroy(st->pins);
	for (unsigned i = 0; i < st->nr_orphans; i++)
		close(st->orphan[i].fd);
	st->nr_orphans = st->nr_retired = 0;
	learnt_close(&st->learnt);
	arena_unmap(&st->arena);
	directory_detach(&st->dir);
}

static int open_warm(struct store *st, const struct instance *in, const struct conf *c)
{
	int ret, fd = openat(in->mem_fd, "directory", O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	ret = c->is_discard ? -ECANCELED : take_over(st, in, c, fd);
	if (ret < 0) {
		if (!is_our_trouble(ret) && ret != -EIO)
			store_mark_dead(fd);
		drop_content(st);
	}
	close(fd);
	return ret;
}

static void say_why(struct store *st, int err)
{
	const char *why = why_not(err);

	if (err == -ECANCELED)
		why = "earlier content discarded";
	if (err == -EDOM)
		why = "arena.max_blocks has changed";
	snprintf(st->reason, sizeof(st->reason), "cold: %s", why);
}

static int open_cold(struct store *st, const struct instance *in, const struct conf *c,
		     struct diag *d)
{
	int ret;

	store_remove_files(in);
	ret = retired_forget(in->pins_fd);
	if (ret < 0)
		return diag_set(d, EX_CANTCREAT, "%s/retired: %s", in->pins_dir, strerror(-ret));
	st->owners_fd = pinowner_open(in->pins_fd);
	if (st->owners_fd < 0)
		return diag_set(d, EX_CANTCREAT, "%s/sessions: %s", in->pins_dir,
				strerror(-st->owners_fd));
	ret = pin_set_create(PINOWNER_MAX, &st->pins);
	if (ret == 0 && store_create(st, in, c, d) < 0)
		return -1;
	if (ret == 0)
		ret = open_cache(st, c);
	if (ret == 0)
		ret = cache_add_extent(st->cache, 0);
	if (ret < 0)
		return diag_set(d, EX_OSERR, "cannot begin the cache: %s", strerror(-ret));
	store_learn(st, c, in->pins_fd);
	store_set_limits(st, c, st->grow.size);
	return 0;
}

/* Nobody's content depends on it. */
static void open_events(struct store *st, const struct instance *in)
{
	int ret = events_create(in->run_fd, "events", &st->events);

	if (ret < 0)
		log_warn("%s/events: %s, nobody can listen", in->run_dir, strerror(-ret));
}

int store_open(struct store *st, const struct instance *in, const struct conf *c, struct diag *d)
{
	int ret;

	memset(st, 0, sizeof(*st));
	st->learnt.fd = -1;
	open_events(st, in);
	st->has_owners = pinowner_exists(in->pins_fd);
	st->owners_fd = pinowner_open(in->pins_fd);
	if (st->owners_fd < 0)
		return diag_set(d, EX_CANTCREAT, "%s/sessions: %s", in->pins_dir,
				strerror(-st->owners_fd));
	ret = pin_set_create(PINOWNER_MAX, &st->pins);
	if (ret < 0)
		return diag_set(d, EX_OSERR, "no memory");
	ret = open_warm(st, in, c);
	if (ret == 0) {
		st->is_warm = true;
		snprintf(st->reason, sizeof(st->reason), "warm: %ld blocks", st->recovered);
		st->start_count = directory_start_count(directory_state(&st->dir));
		return 0;
	}
	if (is_our_trouble(ret)) {
		store_close(st);
		return diag_set(d, EX_OSERR,
				"cannot take over the content of %s: %s (--discard drops it)",
				in->mem_dir, strerror(-ret));
	}
	say_why(st, ret);
	st->pins = pin_set_destroy(st->pins);
	close(st->owners_fd);
	if (open_cold(st, in, c, d) < 0) {
		store_remove_files(in);
		store_close(st);
		return -1;
	}
	return 0;
}

void store_go_live(struct store *st)
{
	struct kvshm_superblock *sb = st->dir.sb;

	WRITE_ONCE(sb->writer_asleep, 0);
	WRITE_ONCE(sb->daemon_pid, (uint64_t)getpid());
	WRITE_ONCE(sb->daemon_start_ticks, process_start_ticks(getpid()));
	directory_set_state(&st->dir, KVSHM_SB_LIVE, ++st->start_count);
}

void store_close(struct store *st)
{
	drop_content(st);
	st->events = events_close(st->events);
	if (st->owners_fd >= 0)
		close(st->owners_fd);
	st->owners_fd = -1;
}
