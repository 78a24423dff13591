/* SPDX-License-Identifier: Apache-2.0 */
/* What the policy has learnt, from one daemon to the next.  Nothing here may stop a start or the service. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/log.h"
#include "kvshm/daemon/store.h"

#define KEEP_NS 10000000000ull /* as often as gix makes estimates of it: a megabyte at most */

static struct learnt_id id_of(const struct store *st, const struct conf *c)
{
	return (struct learnt_id){ .policy = c->policy, .instance = st->dir.sb->instance,
				   .max_blocks = st->dir.max_blocks };
}

static const char *why_not(long err)
{
	switch (-err) {
	case EUCLEAN:
		return "damaged or cut short";
	case ESTALE:
		return "of another policy or other content";
	default:
		return strerror((int)-err);
	}
}

void store_learn(struct store *st, const struct conf *c, int dirfd)
{
	const struct learnt_id id = id_of(st, c);
	void *buf = NULL;
	long ret = learnt_open(dirfd, &st->learnt);

	if (ret == 0)
		ret = learnt_read(&st->learnt, &id, &buf);
	if (ret >= 0) {
		int err = cache_learn(st->cache, buf, (size_t)ret);

		ret = err < 0 ? err : ret;
	}
	free(buf);
	if (ret >= 0)
		log_info("policy %s goes on with %ld bytes that it has learnt", id.policy, ret);
	else if (ret != -ENOENT)
		log_warn("policy %s learns from nothing: the file " LEARNT_FILE " is %s", id.policy, why_not(ret));
}

void store_save_learnt(struct store *st, const struct conf *c)
{
	const struct learnt_id id = id_of(st, c);
	size_t len = cache_learnt(st->cache, NULL, 0);
	void *buf;
	int ret;

	if (len == 0 || st->learnt.fd < 0)
		return;
	buf = malloc(len);
	ret = buf ? 0 : -ENOMEM;
	if (ret == 0) {
		cache_learnt(st->cache, buf, len);
		ret = learnt_write(&st->learnt, &id, buf, len);
	}
	free(buf);
	if (ret == 0)
		return;
	log_warn("what policy %s has learnt cannot be written: %s, not tried again", id.policy, strerror(-ret));
	learnt_close(&st->learnt);
}

void store_keep_learnt(struct store *st, const struct conf *c, uint64_t now_ns)
{
	struct cache_counts n;

	if (now_ns - st->learnt_ns < KEEP_NS)
		return;
	st->learnt_ns = now_ns;
	cache_count(st->cache, &n);
	if (n.touches + n.publishes == st->learnt_from)
		return;
	st->learnt_from = n.touches + n.publishes;
	store_save_learnt(st, c);
}
