/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group.c - one prefix of several namespaces: ranks of a tensor-parallel model, groups of layers
 *
 * What the engine can use is the shortest of what they have.  Each is pinned as far as it goes, not
 * beyond what those before it have; then the pins that reach too far are moved to an ancestor of
 * their block, in place, so that nothing can be evicted in between.
 */
#include <errno.h>

#include "kvshm/client/client.h"

#define GROUP_MAX 64u

static uint32_t block_tokens(const struct kvshm *k, const struct kvshm_chain *c)
{
	return k->ns[c->ns].desc.block_tokens;
}

/* As far as it goes, @limit tokens at most.  Return: blocks; 0; -errno. */
static int pin_chain(struct kvshm *k, const struct kvshm_chain *c, uint64_t limit, struct kvshm_pin *pin)
{
	const struct index_keys keys = { .flat = c->keys, .at = c->key_at, .ctx = c->ctx };
	unsigned nr = c->nr_keys;

	if (c->ns && c->ns <= k->nr_ns && nr <= KVSHM_CHAIN_MAX)	/* else match_enter() refuses */
		nr = (unsigned)min_of((uint64_t)nr, limit / block_tokens(k, c));
	return match_pin(k, c->ns, &keys, nr, pin);
}

/* The longest prefix of at most @tokens at which every namespace has a full block. */
static uint64_t common_tokens(const struct kvshm *k, const struct kvshm_chain *chains, unsigned nr,
			      uint64_t tokens)
{
	unsigned i, same;

	for (i = same = 0; same < nr; i = (i + 1) % nr) {
		uint32_t over = (uint32_t)(tokens % block_tokens(k, &chains[i]));

		tokens -= over;
		same = over ? 1 : same + 1;
	}
	return tokens;
}

/* Let the pin end at its first @nr blocks.  Return: false: it does not reach back to a root. */
static bool shorten(struct kvshm *k, struct kvshm_pin *pin, unsigned nr)
{
	struct attachment *a = match_pin_owner(k, pin);
	const struct directory *dir = &a->content->dir;
	blk_id_t id = pin->id;
	unsigned n;

	for (n = pin->nr; n > nr; n--) {
		id = READ_ONCE(dir->desc[id].parent);
		if (!id || id > dir->max_blocks)
			return false;
	}
	if (n == pin->nr)
		return true;
	pin->generation = pin_lower(&a->pins, dir, pin->slot, id);
	pin->id = id;
	pin->nr = nr;
	return true;
}

/* Pin them all.  Return: tokens that each has at least; 0; -errno, with @ret_nr pins to be ended. */
static int64_t pin_all(struct kvshm *k, const struct kvshm_chain *chains, unsigned nr,
		       struct kvshm_pin *pins, unsigned *ret_nr)
{
	uint64_t tokens = UINT64_MAX;
	int ret;

	for (*ret_nr = 0; *ret_nr < nr; ++*ret_nr) {
		ret = pin_chain(k, &chains[*ret_nr], tokens, &pins[*ret_nr]);
		if (ret <= 0)
			return ret;
		tokens = min_of(tokens, (uint64_t)ret * block_tokens(k, &chains[*ret_nr]));
	}
	return (int64_t)common_tokens(k, chains, nr, tokens);
}

static void count(struct kvshm *k, const struct kvshm_chain *chains, unsigned nr, uint64_t tokens)
{
	uint32_t len;
	unsigned i;

	for (i = 0; i < nr; i++) {
		len = block_tokens(k, &chains[i]);
		match_count(k, chains[i].nr_keys, (unsigned)(tokens / len), len);
	}
}

__public int kvshm_acquire_group(struct kvshm *k, const struct kvshm_chain *chains, unsigned nr,
				 struct kvshm_pin *ret_pins)
{
	struct kvshm_pin pins[GROUP_MAX];
	unsigned nr_pins, i;
	int64_t tokens;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	if (!nr || nr > GROUP_MAX)
		return -EINVAL;
	tokens = pin_all(k, chains, nr, pins, &nr_pins);
	for (i = 0; tokens > 0 && i < nr; i++)
		if (!shorten(k, &pins[i], (unsigned)(tokens / block_tokens(k, &chains[i]))))
			tokens = 0;
	if (tokens >= 0 || tokens == -ENOBUFS)
		count(k, chains, nr, tokens > 0 ? (uint64_t)tokens : 0);
	for (i = 0; i < nr_pins; i++) {
		if (tokens <= 0) {
			kvshm_release(k, &pins[i]);
			continue;
		}
		match_touch(k, pins[i].id, pins[i].generation, pins[i].nr);
		ret_pins[i] = pins[i];
	}
	return (int)tokens;
}
