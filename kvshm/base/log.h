/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - levelled log of the programs, on stderr; libraries do not log
 *
 * One write(2) a line, so lines of several threads do not mix.  Control characters (a label chosen
 * by a client) are written as '?', so nobody can forge a line.  errno is left alone and %m works.
 * Text: lowercase, no full stop, value after a space: log_warn("client %d died, %u pins returned").
 */
#ifndef KVSHM_BASE_LOG_H
#define KVSHM_BASE_LOG_H

#include <pthread.h>
#include <stdint.h>

#include "kvshm/base/compiler.h"

enum log_level {			/* numbers of syslog */
	LOG_LEVEL_ERR = 3,
	LOG_LEVEL_WARN = 4,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/**
 * log_init() - name the program and find out who reads stderr
 * @name: prefix of each line, must outlive the log
 * With stderr connected to the journal each line begins with "<N>", otherwise with the name.
 * Called once, before other threads start.  Without it lines carry the program's short name.
 */
void log_init(const char *name);

/* Write this level and what is graver. */
void log_set(enum log_level level);

/**
 * log_adjust() - -v and -q: one level more (@by 1) or less (@by -1), within error .. debug
 * The default is info.
 */
void log_adjust(int by);

/* Would a line of this level be written?  For callers whose arguments are costly. */
int log_enabled(enum log_level level);

void log_write(enum log_level level, const char *fmt, ...) __printf(2, 3);

#define log_err(...) log_write(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#define LOG_LIMIT_BURST 5		/* lines a call site may write in a window */
#define LOG_LIMIT_WINDOW_NS 5000000000ull

struct log_limit {			/* one call site; all fields under .lock */
	pthread_mutex_t lock;
	uint64_t start_ns;		/* of the window, 0: none yet */
	uint32_t passed;
	uint32_t missed;		/* suppressed since the last line that passed */
};

/**
 * log_limit_pass() - may this call site write now?
 * @ret_missed: lines suppressed since the last one that passed, set when the result is 1
 * Return: 1 yes, 0 no (counted).
 */
int log_limit_pass(struct log_limit *l, uint64_t now_ns, uint32_t *ret_missed);

/* Lines left out by all call sites of this process. */
uint64_t log_suppressed(void);

void log_write_limited(struct log_limit *l, enum log_level level, const char *fmt, ...) __printf(3, 4);

/* For lines that a client can cause: a burst per call site, then a count of what was left out. */
#define log_limited(level, ...)                                                                    \
	do {                                                                                       \
		static struct log_limit log_site_ = { .lock = PTHREAD_MUTEX_INITIALIZER };         \
		log_write_limited(&log_site_, level, __VA_ARGS__);                                 \
	} while (0)

#endif
