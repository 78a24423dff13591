/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diag.h - why the daemon cannot start: one line for people, one exit status for machines
 */
#ifndef KVSHM_DAEMON_DIAG_H
#define KVSHM_DAEMON_DIAG_H

#include <stdarg.h>
#include <stdio.h>
#include <sysexits.h>

#include "kvshm/base/compiler.h"

struct diag {
	int status; /* EX_* */
	char text[512]; /* what is wrong and what cures it */
};

/* Fill it.  Return: -1, so that a caller can say `return diag_set(...)`. */
__printf(3, 4) static inline int diag_set(struct diag *d, int status, const char *fmt, ...)
{
	va_list ap;

	d->status = status;
	va_start(ap, fmt);
	vsnprintf(d->text, sizeof(d->text), fmt, ap);
	va_end(ap);
	return -1;
}

#endif
