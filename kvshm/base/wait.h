/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wait.h - spin, yield, sleep: a bounded wait that tunes itself
 *
 * Spins up to 20 us while that has paid lately, yields (both sides may share one core), then says
 * that the caller should sleep in the kernel.  Pure spinning costs milliseconds on a shared core.
 */
#ifndef KVSHM_BASE_WAIT_H
#define KVSHM_BASE_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#define WAIT_SPIN_NS 20000		/* no wait spins longer */
#define WAIT_SPINS_MAX 4096
#define WAIT_YIELDS 8

struct wait {				/* one thread's, for one kind of event */
	uint32_t budget;		/* spins worth trying, adapts */
	uint32_t limit;			/* of the current wait: the budget, or more to try anew */
	uint32_t spins;			/* of the current wait */
	uint32_t yields;		/* the same */
	uint32_t nr_waits;
	uint64_t start_ns;		/* of the current wait, 0: clock not read yet */
};

void wait_init(struct wait *w);

/* A new wait begins. */
void wait_begin(struct wait *w);

/**
 * wait_step() - one step of waiting: pause, or yield
 * Return: true: look again; false: spinning no longer pays, sleep in the kernel now.
 */
bool wait_step(struct wait *w);

/* The wait ended while spinning (true) or had to sleep (false): tune the budget. */
void wait_end(struct wait *w, bool spun);

#endif
