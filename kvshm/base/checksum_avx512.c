/* SPDX-License-Identifier: Apache-2.0 */
/* checksum_avx512.c - compiled with -mavx512f; called only where the processor has it */
#if defined(__x86_64__)
#include "kvshm/base/checksum_xxh3.h"

const struct checksum_ops checksum_ops_avx512 = CHECKSUM_OPS("avx512");
#endif
