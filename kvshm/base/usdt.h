/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usdt.h - static probes for tracers, provider "kvshm"
 *
 * A site is one nop and a note in the program's file that says where the arguments lie; a tracer puts a breakpoint
 * there.  Arguments are whole numbers that are at hand anyway: nothing is computed, no clock is read for a
 * probe.  Without <sys/sdt.h> (package systemtap-sdt-dev) there are no probes.  The list, with the arguments, is in
 * Documentation/admin-guide/probes.rst, and a test holds the programs to it.
 */
#ifndef KVSHM_BASE_USDT_H
#define KVSHM_BASE_USDT_H

#if !defined(KVSHM_NO_USDT) && defined(__has_include)
#if __has_include(<sys/sdt.h>)
#define SDT_USE_VARIADIC
#include <sys/sdt.h>
#define USDT(name, ...) STAP_PROBEV(kvshm, name, __VA_ARGS__)
#endif
#endif

#ifndef USDT
#include <stdint.h>
/* Looked at by the compiler, and left out. */
#define USDT(name, ...)                                                                            \
	do {                                                                                       \
		if (0) {                                                                           \
			const uint64_t usdt_args[] = { __VA_ARGS__ };                              \
			(void)usdt_args;                                                           \
		}                                                                                  \
	} while (0)
#endif

#endif
