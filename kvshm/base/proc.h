/* SPDX-License-Identifier: Apache-2.0 */
/* proc.h - what /proc says of a process and of this boot (proc(5)) */
#ifndef KVSHM_BASE_PROC_H
#define KVSHM_BASE_PROC_H

#include <stdint.h>
#include <sys/types.h>

struct proc_stat {
	char state;			/* R, S, T, Z, ... */
	uint64_t cpu_ticks;		/* user and system time, in clock ticks */
	uint64_t start_ticks;		/* since boot: together with the pid it names one process */
};

/**
 * proc_stat_read() - fields 3, 14 + 15 and 22 of /proc/PID/stat
 * Thread-safe, no allocation.  @ret is left alone on failure.
 * Return: 0; -errno of open() or read(), -ENOENT or -ESRCH: no such process; -EBADMSG.
 */
int proc_stat_read(pid_t pid, struct proc_stat *ret);

/**
 * proc_boot_id() - the random number of this boot, 16 bytes
 * Return: 0, -errno; -EIO it is not one.  @ret_id is left alone on failure.
 */
int proc_boot_id(uint8_t *ret_id);

/* When CLOCK_MONOTONIC began, in whole seconds since 1970; 0: /proc does not say. */
uint64_t proc_boot_time(void);

#endif
