/* SPDX-License-Identifier: Apache-2.0 */
/*
 * save.c - publish the blocks of a sequence that the cache does not have
 *
 * In chunks of what a session may hold granted, straight into arena blocks; a client that may not write
 * the arena hands over copies.  The deepest present block is pinned until the end, so that the chain
 * below it cannot be evicted under the children that are being sent.
 */
#include <errno.h>
#include <stdlib.h>

#include <kvshm/kvshm.h>

#include "kvshm/engines/llama/cache.h"
#include "kvshm/engines/llama/state.h"

#define SAVE_CHUNK 16u /* blocks asked for at once: the credit of a session */
#define SAVE_WAIT_US 100000u
#define SAVE_STALL_MAX 20u /* waits in a row that brought nothing */
#define DRAIN_WAIT_US 2000000u

/**
 * struct save - one call's work
 * @next: first block not sent yet
 * @nr_keys: blocks in all
 * @nr_open: commits without completion
 * @by_copy: the arena is not ours to write
 */
struct save {
	struct kvshm_llama *l;
	int32_t seq;
	unsigned next, nr_keys, nr_open;
	bool by_copy;
	struct kvshm_llama_saved saved;
};

/* The KV of the next @nr blocks into their places.  Return: 0 or -errno. */
static int fill_blocks(const struct save *s, void *const *dst, unsigned nr)
{
	struct state_place at = { .ctx = s->l->ctx, .seq = s->seq, .scratch = s->l->scratch_seq };
	unsigned i;
	int ret = 0;

	for (i = 0; !ret && i < nr; i++) {
		at.from = (int32_t)((s->next + i) * s->l->block_tokens);
		at.to = at.from + (int32_t)s->l->block_tokens;
		ret = state_save(&at, dst[i], s->l->block_bytes);
	}
	return ret;
}

static const struct kvshm_key *parent_of_next(const struct save *s)
{
	return s->next ? &s->l->keys[s->next - 1] : NULL;
}

/*
 * Straight into granted arena blocks.
 * Return: blocks sent, 0: none free now, -EPERM: only copies are taken from us, other -errno.
 */
static int save_in_place(struct save *s, unsigned nr)
{
	struct kvshm_llama *l = s->l;
	struct kvshm_block blocks[SAVE_CHUNK];
	void *dst[SAVE_CHUNK];
	int i, n, ret;

	n = kvshm_grant(l->k, l->ns, 0, nr, blocks, SAVE_WAIT_US);
	if (n <= 0)
		return n;
	for (i = 0; i < n; i++)
		dst[i] = blocks[i].ptr;
	ret = fill_blocks(s, dst, (unsigned)n);
	if (ret < 0) {
		kvshm_return(l->k, blocks, (unsigned)n);
		return ret;
	}
	ret = kvshm_commit(l->k, l->ns, parent_of_next(s), l->keys + s->next, blocks, (unsigned)n,
			   0, s->next);
	return ret < 0 ? ret : n;
}

/* Through memory of our own.  Return: as save_in_place(). */
static int save_by_copy(struct save *s, unsigned nr)
{
	struct kvshm_llama *l = s->l;
	char *buf = malloc(nr * l->block_bytes);
	void *dst[SAVE_CHUNK];
	unsigned i;
	int ret;

	if (!buf)
		return -ENOMEM;
	for (i = 0; i < nr; i++)
		dst[i] = buf + i * l->block_bytes;
	ret = fill_blocks(s, dst, nr);
	if (!ret)
		ret = kvshm_put(l->k, l->ns, parent_of_next(s), l->keys + s->next,
				(const void *const *)dst, NULL, nr, 0, s->next, SAVE_WAIT_US);
	free(buf);
	if (ret == -ETIMEDOUT || ret == -ENOBUFS)
		return 0;
	return ret < 0 ? ret : (int)nr;
}

/* Completions of what was sent.  Return: 0; -ENOSPC once one was refused, for so will be its children. */
static int drain(struct save *s, unsigned timeout_us)
{
	struct kvshm_completion done[8];
	int i, n, ret = 0;

	do {
		n = kvshm_poll(s->l->k, done, 8, timeout_us);
		if (n < 0)
			return n;
		for (i = 0; i < n; i++) {
			s->nr_open--;
			if (done[i].res > 0)
				s->saved.nr_published += (unsigned)done[i].res;
			s->saved.nr_duplicate += done[i].nr_duplicate;
			if (done[i].res < 0 || done[i].nr_dropped)
				ret = -ENOSPC;
		}
	} while (n > 0 && s->nr_open);
	return ret;
}

static void send_all(struct save *s)
{
	unsigned stalls = 0, want;
	int n, ret = 0;

	while (s->next < s->nr_keys && !ret && stalls < SAVE_STALL_MAX) {
		want = s->nr_keys - s->next < SAVE_CHUNK ? s->nr_keys - s->next : SAVE_CHUNK;
		n = s->by_copy ? save_by_copy(s, want) : save_in_place(s, want);
		if (n == -EPERM && !s->by_copy) {
			s->by_copy = true;
			continue;
		}
		if (n < 0)
			break;
		stalls = n ? 0 : stalls + 1;
		s->next += (unsigned)n;
		s->nr_open += n > 0;
		if (s->nr_open)
			ret = drain(s, 0);
	}
}

static void wait_for_all(struct save *s)
{
	unsigned before;
	int ret;

	while (s->nr_open) {
		before = s->nr_open;
		ret = drain(s, DRAIN_WAIT_US);
		if (ret == -ECONNRESET || s->nr_open == before)
			break;
	}
}

unsigned kvshm_llama_save(struct kvshm_llama *l, int32_t seq, const int32_t *tokens,
			  unsigned nr_tokens, struct kvshm_llama_saved *ret_saved)
{
	unsigned first = 0, nr_blocks = nr_tokens / l->block_tokens;
	struct save s = { .l = l, .seq = seq };
	struct kvshm_pin pin = { 0 };
	int ret = 0;

	s.nr_keys = cache_attach(l) ? cache_keys(l, tokens, nr_tokens) : 0;
	if (s.nr_keys)
		ret = kvshm_acquire(l->k, l->ns, l->keys, s.nr_keys, &pin);
	if (ret > 0)
		s.next = first = (unsigned)ret;
	if (s.next < s.nr_keys) {
		send_all(&s);
		wait_for_all(&s);
	}
	if (ret > 0)
		kvshm_release(l->k, &pin);
	if (l->status != -ECANCELED)
		s.saved.nr_dropped =
			nr_blocks - first - s.saved.nr_published - s.saved.nr_duplicate;
	if (ret_saved)
		*ret_saved = s.saved;
	return first + s.saved.nr_published + s.saved.nr_duplicate;
}
