/* SPDX-License-Identifier: Apache-2.0 */
/* Touch rings into the cache: who used what, by the clients' own word. */
#include "ipc/touch.h"

#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/cache/cache.h"
#include "kvshm/daemon/writer.h"

#define BATCH 64u
#define TOUCH_FRESH_NS 1000000u
#define MAX_A_DRAIN (2 * KVSHM_TOUCH_ENTRIES) /* a client that goes on writing cannot hold us */

void touch_drain_one(struct writer *w, struct session *s)
{
	struct kvshm_touch t[BATCH];
	unsigned total = 0;
	int n;

	if (s->q.is_reported)
		return;
	do {
		n = touch_drain(&s->q.touch, t, BATCH);
		if (n < 0) {
			writer_report(w, s, OFFENCE_RING);
			return;
		}
		cache_touch(w->cache, t, (unsigned)n, w->now_ns);
		total += (unsigned)n;
	} while (n == (int)BATCH && total < MAX_A_DRAIN);
	w->is_busy |= total > 0;
}

void touch_drain_all(struct writer *w)
{
	w->touch_ns = w->now_ns;
	for (unsigned i = 0; i < SESSION_MAX; i++)
		if (w->known[i] && w->known[i]->q.is_serving)
			touch_drain_one(w, w->known[i]);
}

void touch_freshen(struct writer *w)
{
	if (w->now_ns - w->touch_ns > TOUCH_FRESH_NS)
		touch_drain_all(w);
}
