/* SPDX-License-Identifier: Apache-2.0 */
/* checksum_avx2.c - compiled with -mavx2; called only where the processor has it */
#if defined(__x86_64__)
#include "kvshm/base/checksum_xxh3.h"

const struct checksum_ops checksum_ops_avx2 = CHECKSUM_OPS("avx2");
#endif
