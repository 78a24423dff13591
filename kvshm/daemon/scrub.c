/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/cache/scrub.h"

#include "kvshm/base/atomic.h"
#include "kvshm/base/log.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/writer.h"

void scrub_some(struct writer *w)
{
	uint64_t pass_ns = READ_ONCE(w->d->conf.scrub_ns);
	struct scrub_failure f;

	if (!pass_ns || !scrub_step(w->scrub, w->cache, w->now_ns, pass_ns, &f))
		return;
	w->is_busy = true;
	log_limited(
		LOG_LEVEL_ERR,
		"block %u (namespace %u, %u bytes) does not match its checksum: %ld blocks dropped",
		f.id, f.ns, f.length, f.nr_dropped);
}
