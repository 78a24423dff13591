/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eal.h - DPDK's environment: lcores and rings, no huge pages, no files, no telemetry
 *
 * One per process.  Its memory is ours, registered by extmem_register().
 */
#ifndef KVSHM_DAEMON_EAL_H
#define KVSHM_DAEMON_EAL_H

#include <stddef.h>

/**
 * eal_start() - start EAL on the cpus that this process may use
 * @name: file prefix; @run_dir: the daemon's, in which EAL makes a folder
 * @nr_lcores: main, writer and copy lcores together, floating over the cpu set
 * The calling thread becomes lcore 0, and is the only one there is before.  Return: 0, -errno.
 */
int eal_start(const char *name, const char *run_dir, unsigned nr_lcores);
void eal_stop(void);

/* Tell EAL about an extent (extmem.c).  @base and @len are multiples of 2 MiB.  Return: 0, -errno. */
int extmem_register(void *base, size_t len);
void extmem_unregister(void *base, size_t len);

#endif
