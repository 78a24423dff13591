/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dma_order.h - what stands between the processor's accesses and the device's, by purpose
 *
 * Where a machine needs no instruction the function is still called: it says what the place depends on,
 * and keeps the compiler from moving accesses over it.  On x86 stores become visible in program order and
 * the driver's doorbell write comes after them; streaming stores are fenced by whoever made them (NT-1).
 * On arm the device is an observer outside the inner domain, hence the outer-shareable forms.
 */
#ifndef GPU_DMA_ORDER_H
#define GPU_DMA_ORDER_H

/* What we wrote to host memory is there before a copy submitted after this call reads it. */
static inline void dma_host_writes_visible(void)
{
#if defined(__aarch64__)
	__asm__ __volatile__("dmb oshst" ::: "memory");
#else
	__asm__ __volatile__("" ::: "memory");
#endif
}

/* The copy was seen to be complete: loads after this call see what it wrote to host memory. */
static inline void dma_copy_landed(void)
{
#if defined(__aarch64__)
	__asm__ __volatile__("dmb osh" ::: "memory");
#else
	__asm__ __volatile__("" ::: "memory");
#endif
}

#endif
