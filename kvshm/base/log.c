/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - levelled log of the programs, on stderr */
#include "kvshm/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"

#define LINE_MAX_BYTES 1024

static const char *prog_name;		/* set before other threads start */
static int to_journal;			/* the same */
static int max_level = LOG_LEVEL_INFO;	/* any thread */

/* The levels in order; syslog's numbers have a gap. */
static const enum log_level levels[] = { LOG_LEVEL_ERR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* JOURNAL_STREAM is "device:inode" of the journal's socket and is inherited, so it is compared. */
static int stderr_is_journal(void)
{
	const char *s = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!s || sscanf(s, "%llu:%llu", &dev, &ino) != 2 || fstat(STDERR_FILENO, &st) < 0)
		return 0;
	return st.st_dev == dev && st.st_ino == ino;
}

void log_init(const char *name)
{
	prog_name = name;
	to_journal = stderr_is_journal();
}

void log_set(enum log_level level)
{
	WRITE_ONCE(max_level, (int)level);
}

void log_adjust(int by)
{
	int now = READ_ONCE(max_level), i = 0;

	while (levels[i] != (enum log_level)now)
		i++;
	i += by;
	i = max_of(i, 0);
	i = min_of(i, (int)ARRAY_SIZE(levels) - 1);
	WRITE_ONCE(max_level, (int)levels[i]);
}

int log_enabled(enum log_level level)
{
	return (int)level <= READ_ONCE(max_level);
}

static const char *level_word(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERR:
		return "error: ";
	case LOG_LEVEL_WARN:
		return "warning: ";
	case LOG_LEVEL_DEBUG:
		return "debug: ";
	case LOG_LEVEL_INFO:
		break;
	}
	return "";
}

/* Append to line[]; what does not fit is cut, one byte is kept for the newline. */
__attribute__((format(printf, 3, 0)))
static size_t append(char *line, size_t len, const char *fmt, va_list ap)
{
	size_t room = LINE_MAX_BYTES - 1 - len;
	int n = vsnprintf(line + len, room, fmt, ap);

	if (n < 0)
		return len;
	return len + min_of((size_t)n, room - 1);
}

__printf(3, 4)
static size_t appendf(char *line, size_t len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	len = append(line, len, fmt, ap);
	va_end(ap);
	return len;
}

__attribute__((format(printf, 3, 0)))
static void write_line(enum log_level level, uint32_t missed, const char *fmt, va_list ap)
{
	const char *name = prog_name ? prog_name : program_invocation_short_name;
	char line[LINE_MAX_BYTES];
	int saved = errno;
	size_t len = 0, i;
	ssize_t n;

	len = to_journal ? appendf(line, len, "<%d>", level)
			 : appendf(line, len, "%s: %s", name, level_word(level));
	errno = saved;				/* %m */
	len = append(line, len, fmt, ap);
	if (missed)
		len = appendf(line, len, " (%u like this left out)", missed);
	for (i = 0; i < len; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[len++] = '\n';
	do {
		n = write(STDERR_FILENO, line, len);
	} while (n < 0 && errno == EINTR);
	errno = saved;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	write_line(level, 0, fmt, ap);
	va_end(ap);
}

/* Of all call sites; each has a lock of its own. */
static pthread_mutex_t suppressed_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t nr_suppressed;

uint64_t log_suppressed(void)
{
	uint64_t nr;

	pthread_mutex_lock(&suppressed_lock);
	nr = nr_suppressed;
	pthread_mutex_unlock(&suppressed_lock);
	return nr;
}

static void count_suppressed(void)
{
	pthread_mutex_lock(&suppressed_lock);
	nr_suppressed++;
	pthread_mutex_unlock(&suppressed_lock);
}

int log_limit_pass(struct log_limit *l, uint64_t now_ns, uint32_t *ret_missed)
{
	int pass;

	pthread_mutex_lock(&l->lock);
	if (!l->start_ns || now_ns - l->start_ns >= LOG_LIMIT_WINDOW_NS) {
		l->start_ns = now_ns;
		l->passed = 0;
	}
	pass = l->passed < LOG_LIMIT_BURST;
	if (pass) {
		l->passed++;
		*ret_missed = l->missed;
		l->missed = 0;
	} else {
		l->missed++;
		count_suppressed();
	}
	pthread_mutex_unlock(&l->lock);
	return pass;
}

void log_write_limited(struct log_limit *l, enum log_level level, const char *fmt, ...)
{
	int saved = errno;
	uint32_t missed;
	va_list ap;

	if (!log_enabled(level) || !log_limit_pass(l, clock_ns(), &missed))
		return;
	errno = saved;
	va_start(ap, fmt);
	write_line(level, missed, fmt, ap);
	va_end(ap);
}
