/* SPDX-License-Identifier: Apache-2.0 */
/* reader_session.h - which session a request belongs to, from what its line has; one thread */
#ifndef UTILS_READER_SESSION_H
#define UTILS_READER_SESSION_H

#include "utils/reader_form.h"

struct reader_sessions;

struct reader_sessions *reader_sessions_create(void);	/* NULL: out of memory */
void reader_sessions_destroy(struct reader_sessions *s);	/* takes NULL */

/*
 * The session's number, > 0; sets l->turn where it is not known but can be counted.
 * Return: 0 out of memory.
 */
uint64_t reader_session_of(struct reader_sessions *s, struct reader_line *l);

#endif
