/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wait.c - spin, yield, sleep: a bounded wait that tunes itself
 *
 * Spinning pays when the other side runs on another core and answers soon; when both share a core it
 * only keeps the answer from being computed, and a yield is best.  Nobody can tell beforehand, so the
 * outcomes tell: twice the spins that were enough lately are worth trying, a wait that had to yield or
 * sleep halves the budget.  One wait in 64 spins to the bound, or a budget that has shrunk would never
 * learn that the other side has moved to a core of its own.
 */
#include "kvshm/base/wait.h"

#include <sched.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"

#define SPINS_START 256
#define SPINS_MIN 8
#define PROBE_EVERY 64
#define CLOCK_EVERY 32			/* spins between two looks at the clock */

void wait_init(struct wait *w)
{
	*w = (struct wait){ .budget = SPINS_START };
}

void wait_begin(struct wait *w)
{
	w->limit = ++w->nr_waits % PROBE_EVERY ? w->budget : WAIT_SPINS_MAX;
	w->spins = 0;
	w->yields = 0;
	w->start_ns = 0;
}

static bool is_over(struct wait *w)
{
	uint64_t now = clock_ns();

	if (!w->start_ns)
		w->start_ns = now;
	return now - w->start_ns >= WAIT_SPIN_NS;
}

bool wait_step(struct wait *w)
{
	if (w->spins < w->limit) {
		cpu_relax();
		if (++w->spins % CLOCK_EVERY == 0 && is_over(w))
			w->limit = w->spins;
		return true;
	}
	if (w->yields < WAIT_YIELDS) {
		w->yields++;
		sched_yield();
		return true;
	}
	return false;
}

void wait_end(struct wait *w, bool spun)
{
	uint32_t want = 2 * w->spins + SPINS_MIN;

	if (!spun || w->yields)
		w->budget /= 2;
	else if (want > w->budget)
		w->budget = want;
	else
		w->budget -= (w->budget - want) / 8;
	w->budget = max_of(w->budget, SPINS_MIN);
	w->budget = min_of(w->budget, WAIT_SPINS_MAX);
}
