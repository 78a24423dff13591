/* SPDX-License-Identifier: Apache-2.0 */
/* sized.c - structs that say their size */
#include <errno.h>
#include <string.h>

#include "kvshm/base/sized.h"

int sized_take(const void *from, size_t least, void *ret, size_t full)
{
	size_t sz = from ? *(const size_t *)from : 0;

	if (!from || sz < least || sz > full)
		return -EINVAL;
	memcpy(ret, from, sz);
	memset((char *)ret + sz, 0, full - sz);
	return 0;
}
