/* SPDX-License-Identifier: Apache-2.0 */
/*
 * testpoint.h - named gaps where a test may run code, or kill the process
 *
 * Exists only where KVSHM_TESTPOINTS is defined: a whole build (`make CPPFLAGS=-DKVSHM_TESTPOINTS
 * O=...`), or one test program that defines it and includes the source under test.  In a release
 * it is nothing.
 */
#ifndef KVSHM_BASE_TESTPOINT_H
#define KVSHM_BASE_TESTPOINT_H

#ifdef KVSHM_TESTPOINTS
/* Set by the test before its threads start; called with the gap's name. */
extern void (*testpoint_hook)(const char *name);

#define TESTPOINT(name)                                                                            \
	do {                                                                                       \
		if (testpoint_hook)                                                                \
			testpoint_hook(name);                                                      \
	} while (0)
#else
#define TESTPOINT(name) ((void)0)
#endif

#endif
