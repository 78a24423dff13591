/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/numa.h"

#include <numa.h>

unsigned numa_nodes(int *ret_nodes, unsigned max)
{
	unsigned nr = 0;

	if (numa_available() < 0)
		return 0;
	for (int i = 0; i <= numa_max_node() && nr < max; i++)
		if (numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned)i))
			ret_nodes[nr++] = i;
	return nr > 1 ? nr : 0;
}
