/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The extents after the first, made while the service runs.
 *
 * Faulting takes from 40 ms to seconds a GiB, so a thread of its own does it.  It works on a copy of
 * struct arena (the address space is reserved already, the new extent lies behind all others) and sends
 * the writer the grown copy; the extent table's next entry is its only word in the directory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/log.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/eal.h"

#define RETRY_NS 10000000000ull
#define RETRY_LOOK_US 20000

static void hand_over(struct daemon *d, const struct arena *a, long added)
{
	struct arena *grown = malloc(sizeof(*grown));
	int ret = extmem_register(a->base + a->span - added, (size_t)added);

	if (ret < 0)
		log_warn("extent %u is unknown to EAL: %s", a->nr_extents - 1, strerror(-ret));
	if (!grown) {
		log_err("no memory to hand over extent %u", a->nr_extents - 1);
		return;
	}
	*grown = *a;
	mailbox_send(&d->to_writer, LANE_GROWER, MAIL_EXTENT, grown, 0);
}

/* Room is asked for first: past it the kernel kills instead of refusing. */
static long grow_once(struct daemon *d, struct arena *a, struct arena_config *cfg)
{
	uint64_t left = cfg->size > a->span ? cfg->size - a->span : 0;
	int ret = memsize_check(&d->inst, min_of(left, (uint64_t)cfg->extent_len));

	return ret < 0 ? ret : store_grow(a, &d->store.dir, cfg, d->conf.numa);
}

static bool is_for_want_of_memory(long err)
{
	return err == -ENOSPC || err == -ENOMEM;
}

static void wait_before_retry(struct daemon *d)
{
	uint64_t until = clock_ns() + RETRY_NS;

	while (!READ_ONCE(d->is_stopping) && clock_ns() < until)
		usleep(RETRY_LOOK_US);
}

/* What is there is served meanwhile; others may give memory back. */
static void *grow_main(void *arg)
{
	struct daemon *d = arg;
	struct arena_config cfg = d->store.grow;
	struct arena a = d->store.arena;
	bool was_told = false;
	long n = 1;

	while (!READ_ONCE(d->is_stopping) && (n = grow_once(d, &a, &cfg)) != 0) {
		if (n > 0) {
			hand_over(d, &a, n);
			was_told = false;
			continue;
		}
		if (!was_told)
			log_warn("the arena stays at %zu MiB of %zu: %s%s", a.span >> 20,
				 cfg.size >> 20, strerror((int)-n),
				 is_for_want_of_memory(n) ? ", tried again every 10 s" : "");
		was_told = true;
		if (!is_for_want_of_memory(n))
			return NULL;
		wait_before_retry(d);
	}
	if (n == 0)
		log_debug("arena complete: %zu MiB in %u extents", a.span >> 20, a.nr_extents);
	return NULL;
}

int grower_start(struct daemon *d)
{
	int ret;

	if (d->store.arena.span >= d->store.grow.size)
		return 0;
	ret = pthread_create(&d->grower, NULL, grow_main, d);
	if (ret)
		return -ret;
	pthread_setname_np(d->grower, "kvshmd-grow");
	d->has_grower = true;
	return 0;
}

void grower_stop(struct daemon *d)
{
	WRITE_ONCE(d->is_stopping, true);
	if (d->has_grower)
		pthread_join(d->grower, NULL);
	d->has_grower = false;
}
