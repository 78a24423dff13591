/* SPDX-License-Identifier: Apache-2.0 */
/* syscalls.h - count the system calls of a thread, as they are made */
#ifndef UTILS_SYSCALLS_H
#define UTILS_SYSCALLS_H

/**
 * syscalls_trap() - from now on each system call of this thread is counted
 * @calls: grows by one a call; in a thread that ends with it, as there is no way back
 * A call does what it always does, but loses a sixth argument: mmap() of a file fails.  x86-64;
 * elsewhere the count is right and what a call returns is not defined.
 * Return: 0, -errno.
 */
int syscalls_trap(long *calls);

#endif
