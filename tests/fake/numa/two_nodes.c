/* SPDX-License-Identifier: Apache-2.0 */
/*
 * two_nodes.c - preloaded: a machine of two NUMA nodes, where memory that is bound to either lies somewhere
 *
 * What libnuma answers about nodes, and mbind(2), which a machine of one node refuses for the second.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>

#define NODES 2

struct bitmask;

int numa_available(void);
int numa_max_node(void);
int numa_bitmask_isbitset(const struct bitmask *mask, unsigned n);
long syscall(long number, ...);

int numa_available(void)
{
	return 0;
}

int numa_max_node(void)
{
	return NODES - 1;
}

int numa_bitmask_isbitset(const struct bitmask *mask, unsigned n)
{
	return n < NODES;
}

static long plain_syscall(long number, const long a[6])
{
	register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
	long ret;

	__asm__ __volatile__("syscall" : "=a"(ret)
			     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			     : "rcx", "r11", "memory");
	return ret;
}

long syscall(long number, ...)
{
	long a[6], ret;
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	ret = number == SYS_mbind ? 0 : plain_syscall(number, a);
	if (ret >= 0 || ret < -4095)
		return ret;
	errno = (int)-ret;
	return -1;
}
