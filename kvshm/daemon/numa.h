/* SPDX-License-Identifier: Apache-2.0 */
/* numa.h - which nodes there are; the only door to libnuma */
#ifndef KVSHM_DAEMON_NUMA_H
#define KVSHM_DAEMON_NUMA_H

/**
 * numa_nodes() - nodes whose memory this process may use
 * Return: number written to @ret_nodes, ascending; 0: no NUMA here, or one node only.
 */
unsigned numa_nodes(int *ret_nodes, unsigned max);

#endif
