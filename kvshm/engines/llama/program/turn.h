/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn.h - one answer at a time
 *
 * The context has one prompt, so requests wait for their turn, each with an eye on its client: whoever hung up
 * is not computed for.
 */
#ifndef KVSHM_ENGINES_LLAMA_PROGRAM_TURN_H
#define KVSHM_ENGINES_LLAMA_PROGRAM_TURN_H

#include <pthread.h>
#include <stdbool.h>

#define TURN_WAITING_MAX 64u

/**
 * struct turn - shared by the threads of all connections
 * @lock: over @is_taken, @nr_waiting and @is_over
 * @client_fd: connection of the one whose turn it is; @looked_ms: when it was last looked at; both are the
 *	holder's alone
 */
struct turn {
	pthread_mutex_t lock;
	pthread_cond_t given;
	bool is_taken, is_over;
	unsigned nr_waiting;
	int client_fd;
	double looked_ms;
};

/**
 * turn_init() - nobody's turn
 */
void turn_init(struct turn *t);

/**
 * turn_fini() - after the last thread that used it
 */
void turn_fini(struct turn *t);

/**
 * turn_take() - wait for the turn; any thread
 * @fd: the client's connection
 * Return: 0: it is the caller's until turn_give(); -EBUSY too many wait; -ECANCELED the client went away, or
 * turn_end() was called.
 */
int turn_take(struct turn *t, int fd);

/**
 * turn_give() - the next, please
 * Any thread, as long as nobody else acts for the holder.
 */
void turn_give(struct turn *t);

/**
 * turn_is_lost() - should the holder stop?  Its client went away, or turn_end() was called
 * For the holder.  A system call now and then only, so it may be asked often.
 */
bool turn_is_lost(struct turn *t);

/**
 * turn_end() - no more turns, and whoever has it shall stop
 */
void turn_end(struct turn *t);

#endif
