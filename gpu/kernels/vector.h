/* SPDX-License-Identifier: Apache-2.0 */
/* vector.h - one load and one store of 1 to 16 bytes, on the device and on the CPU */
#ifndef GPU_KERNELS_VECTOR_H
#define GPU_KERNELS_VECTOR_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__CUDA__) || defined(__CUDACC__)
#define KERNEL_INLINE static __attribute__((device)) __attribute__((always_inline)) inline
#define KERNEL_UNROLL _Pragma("unroll")
#else
#define KERNEL_INLINE static inline
#define KERNEL_UNROLL
#endif

/* An address as a pointer; clang is told that it is no shared or local one. */
#if defined(__CUDA__) && defined(__clang__)
#define GLOBAL_PTR(type, address) ((type __attribute__((address_space(1))) *)(uintptr_t)(address))
#else
#define GLOBAL_PTR(type, address) ((type *)(uintptr_t)(address))
#endif

#if defined(__CUDACC__) && !defined(__clang__)
typedef uint4 vector16;
#else
typedef uint32_t vector16 __attribute__((vector_size(16)));
#endif

/* Both addresses are multiples of 1 << @shift; all threads of a launch have the same. */
KERNEL_INLINE void vector_copy(uint64_t dst, uint64_t src, uint32_t shift)
{
	if (shift == 4)
		*GLOBAL_PTR(vector16, dst) = *GLOBAL_PTR(const vector16, src);
	else if (shift == 3)
		*GLOBAL_PTR(uint64_t, dst) = *GLOBAL_PTR(const uint64_t, src);
	else if (shift == 2)
		*GLOBAL_PTR(uint32_t, dst) = *GLOBAL_PTR(const uint32_t, src);
	else if (shift == 1)
		*GLOBAL_PTR(uint16_t, dst) = *GLOBAL_PTR(const uint16_t, src);
	else
		*GLOBAL_PTR(uint8_t, dst) = *GLOBAL_PTR(const uint8_t, src);
}

#endif
