/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/cache/cache.h"
#include "kvshm/daemon/opdef.h"
#include "kvshm/daemon/writer.h"

int op_attach_ns(struct request *r)
{
	uint16_t ns = 0;
	int ret = cache_ns_attach(r->w->cache, r->s->peer.uid, r->args, &ns);

	r->cqe.res = ret < 0 ? ret : ns;
	return 0;
}
