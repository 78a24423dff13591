/* SPDX-License-Identifier: Apache-2.0 */
/* migrate.c - copy while it runs, pause for the last block, switch */
#include "gpu/migrate.h"

#include <errno.h>
#include <stddef.h>

#include "kvshm/base/compiler.h"

static bool is_too_long(const struct migrate *m, uint64_t tokens)
{
	return tokens / m->block_tokens >= UINT32_MAX;
}

static uint32_t full_blocks(const struct migrate *m)
{
	return (uint32_t)(m->tokens / m->block_tokens);
}

int migrate_init(struct migrate *m, uint64_t tokens, uint32_t block_tokens, uint32_t max_pauses)
{
	struct migrate x = { .block_tokens = block_tokens, .max_pauses = max_pauses, .tokens = tokens };

	if (!block_tokens || !max_pauses || is_too_long(&x, tokens))
		return -EINVAL;
	*m = x;
	return 0;
}

int migrate_skip(struct migrate *m, uint32_t nr)
{
	if (nr > full_blocks(m))
		return -EINVAL;
	m->landed = m->sent = nr;
	return 0;
}

/* Full blocks of which no valid copy has landed or is under way. */
static uint32_t sendable(const struct migrate *m)
{
	const uint32_t full = full_blocks(m);

	return m->sent < full ? full - m->sent : 0;
}

static struct migrate_step copy(struct migrate *m, uint32_t max_blocks)
{
	struct migrate_step s = { .act = MIGRATE_DO_COPY, .first = m->sent };

	s.nr = min_of(sendable(m), max_blocks);
	if (!s.nr)
		return (struct migrate_step){ 0 };
	m->sent += s.nr;
	m->nr_flight += s.nr;
	return s;
}

static struct migrate_step next_copying(struct migrate *m, uint32_t max_blocks)
{
	if (m->nr_flight || m->landed < full_blocks(m))
		return copy(m, max_blocks);
	m->state = MIGRATE_PAUSING;
	m->is_asked = true;
	return (struct migrate_step){ .act = MIGRATE_DO_PAUSE };
}

static struct migrate_step resume(struct migrate *m)
{
	m->is_paused = false;
	return (struct migrate_step){ .act = MIGRATE_DO_RESUME };
}

static struct migrate_step ask_switch(struct migrate *m)
{
	m->state = MIGRATE_SWITCHING;
	m->is_asked = true;
	return (struct migrate_step){ .act = MIGRATE_DO_SWITCH };
}

/* It stands still: the rest, if that is no more than a block. */
static struct migrate_step next_tail(struct migrate *m)
{
	const uint64_t left = m->tokens - (uint64_t)m->landed * m->block_tokens;
	struct migrate_step s = { .act = MIGRATE_DO_TAIL, .first = m->landed, .nr = 1 };

	if (m->nr_flight)
		return (struct migrate_step){ 0 };
	if (left == m->pause_tokens)
		return ask_switch(m);
	if (left > m->block_tokens) {
		m->state = MIGRATE_COPYING;
		if (++m->nr_pauses == m->max_pauses)
			migrate_abort(m);
		return resume(m);
	}
	s.nr_tokens = (uint32_t)left;
	m->pause_tokens = left;
	m->nr_flight = 1;
	return s;
}

static struct migrate_step next_ending(struct migrate *m)
{
	if (m->is_paused)
		return resume(m);
	/* who was asked to stop will stop, and has to be let run again */
	if (!m->nr_flight && !m->is_asked)
		m->state = MIGRATE_ABORTED;
	return (struct migrate_step){ 0 };
}

struct migrate_step migrate_next(struct migrate *m, uint32_t max_blocks)
{
	switch (m->state) {
	case MIGRATE_COPYING:
		return next_copying(m, max_blocks);
	case MIGRATE_TAIL:
		return next_tail(m);
	case MIGRATE_ENDING:
		return next_ending(m);
	case MIGRATE_PAUSING:
	case MIGRATE_SWITCHING:
	case MIGRATE_DONE:
	case MIGRATE_ABORTED:
		break;
	}
	return (struct migrate_step){ 0 };
}

/* Blocks past the end are none any more, whether their copies have landed or not. */
static void take_back(struct migrate *m)
{
	const uint32_t full = full_blocks(m);

	m->landed = min_of(m->landed, full);
	m->sent = max_of(min_of(m->sent, full), m->landed);
}

int migrate_grew(struct migrate *m, uint64_t tokens)
{
	if (m->is_paused || m->state == MIGRATE_SWITCHING)
		return -EBUSY;
	if (is_too_long(m, tokens))
		return -EINVAL;
	m->tokens = tokens;
	take_back(m);
	return 0;
}

int migrate_landed(struct migrate *m, uint32_t nr)
{
	const uint32_t expected = m->sent - m->landed;

	if (!nr || nr > m->nr_flight)
		return -EINVAL;
	m->nr_flight -= nr;
	if (m->state == MIGRATE_TAIL || m->state == MIGRATE_ENDING)
		return 0;
	/*
	 * Copies land in the order in which they were issued, so one that was taken back counts for the one that
	 * was issued instead; when nothing is under way, all that was sent has landed.
	 */
	m->landed += min_of(nr, expected);
	return 0;
}

int migrate_paused(struct migrate *m, uint64_t tokens)
{
	if (!m->is_asked || (m->state != MIGRATE_PAUSING && m->state != MIGRATE_ENDING) || is_too_long(m, tokens))
		return -EINVAL;
	m->tokens = tokens;
	take_back(m);
	m->is_asked = false;
	m->is_paused = true;
	m->pause_tokens = 0;
	if (m->state == MIGRATE_PAUSING)
		m->state = MIGRATE_TAIL;
	return 0;
}

int migrate_switched(struct migrate *m, bool is_there)
{
	if (m->state != MIGRATE_SWITCHING)
		return -EINVAL;
	m->is_asked = false;
	m->state = is_there ? MIGRATE_DONE : MIGRATE_ENDING;
	m->is_paused = !is_there;
	return 0;
}

int migrate_abort(struct migrate *m)
{
	if (m->state == MIGRATE_SWITCHING || m->state == MIGRATE_DONE)
		return -EALREADY;
	if (m->state != MIGRATE_ABORTED)
		m->state = MIGRATE_ENDING;
	return 0;
}

/* ---- many at once ------------------------------------------------------------------------------------- */

static bool has_tail(const struct migrate *m)
{
	const uint64_t left = m->tokens - (uint64_t)m->landed * m->block_tokens;

	return m->state == MIGRATE_TAIL && !m->nr_flight && !m->pause_tokens && left && left <= m->block_tokens;
}

static bool has_copy(const struct migrate *m)
{
	return m->state == MIGRATE_COPYING && sendable(m);
}

bool migrate_wants_copy(const struct migrate *m)
{
	return has_tail(m) || has_copy(m);
}

/* Requests in order of what is left: the next behind {@left, @at}.  Return: its index, @nr: none. */
static unsigned next_least(struct migrate *const *set, unsigned nr, uint32_t *left, unsigned *at)
{
	unsigned best = nr;
	uint32_t best_left = 0;

	for (unsigned i = 0; i < nr; i++) {
		const uint32_t n = full_blocks(set[i]) - set[i]->landed;

		if (!has_copy(set[i]) || n < *left || (n == *left && i < *at))
			continue;
		if (best == nr || n < best_left) {
			best = i;
			best_left = n;
		}
	}
	*left = best_left;
	*at = best + 1;
	return best;
}

unsigned migrate_batch(struct migrate *const *set, unsigned nr, struct migrate_piece *pieces, unsigned max_pieces,
		       uint32_t max_blocks)
{
	unsigned n = 0, i, at = 0;
	uint32_t left = 0;

	for (i = 0; i < nr && n < max_pieces && max_blocks; i++)
		if (has_tail(set[i])) {
			pieces[n++] = (struct migrate_piece){ i, migrate_next(set[i], 1) };
			max_blocks--;
		}
	while (n < max_pieces && max_blocks && (i = next_least(set, nr, &left, &at)) < nr) {
		pieces[n] = (struct migrate_piece){ i, migrate_next(set[i], max_blocks) };
		max_blocks -= pieces[n++].step.nr;
	}
	return n;
}

/* ---- is it worth it ------------------------------------------------------------------------------------- */

static double copy_ns(uint64_t bytes, double bytes_per_ns)
{
	if (!bytes)
		return 0;
	return bytes_per_ns > 0 ? (double)bytes / bytes_per_ns : __builtin_inf();
}

enum migrate_how migrate_advise(const struct migrate_cost *c, double ret_ns[MIGRATE_NR_HOWS])
{
	const uint64_t held = min_of(c->arena_bytes, c->bytes);
	const double ns[MIGRATE_NR_HOWS] = {
		[MIGRATE_BY_PEER] = copy_ns(c->bytes, c->peer_bytes_per_ns),
		[MIGRATE_BY_ARENA] = copy_ns(c->bytes - held, c->d2h_bytes_per_ns) + copy_ns(c->bytes, c->h2d_bytes_per_ns),
		[MIGRATE_BY_RECOMPUTE] = c->recompute_ns,
	};
	enum migrate_how best = MIGRATE_BY_PEER;

	for (unsigned i = 0; i < MIGRATE_NR_HOWS; i++) {
		if (ns[i] < ns[best])
			best = (enum migrate_how)i;
		if (ret_ns)
			ret_ns[i] = ns[i];
	}
	return best;
}
