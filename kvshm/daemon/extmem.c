/* SPDX-License-Identifier: Apache-2.0 */
/* The arena as EAL's external memory, so that DMA devices may use it. */
#include <rte_errno.h>
#include <rte_memory.h>

#include "kvshm/arena/backing.h"
#include "kvshm/daemon/eal.h"

int extmem_register(void *base, size_t len)
{
	/* 2 MiB whatever the pages are: only the granularity of EAL's books. */
	return rte_extmem_register(base, len, NULL, 0, HUGE_LEN) < 0 ? -rte_errno : 0;
}

void extmem_unregister(void *base, size_t len)
{
	rte_extmem_unregister(base, len);
}
