/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atomic.h - the only spellings of an ordered access
 *
 * Shared words are plain fixed-width integers (they lie in files and segments that other languages
 * read too) and are touched only through these.  Each use of store_release(), load_acquire(),
 * smp_mb() and smp_acquire()/smp_release() has a label in a comment just above it, at both ends,
 * and a row in Documentation/design/ordering.rst.  READ_ONCE/WRITE_ONCE order nothing.
 */
#ifndef KVSHM_BASE_ATOMIC_H
#define KVSHM_BASE_ATOMIC_H

#include <stdatomic.h>
#include <stdint.h>

#define READ_ONCE(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)
#define load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

/* Full fence, for a store that must be seen before a later load (store-load pairs only). */
#if defined(__SANITIZE_THREAD__)
/* TSan models no lone fence: an RMW on a shared word orders the same and is understood. */
static inline void smp_mb(void)
{
	static uint64_t word;

	__atomic_fetch_add(&word, 0, __ATOMIC_SEQ_CST);
	atomic_signal_fence(memory_order_seq_cst);
}
#else
static inline void smp_mb(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}
#endif

static inline void smp_acquire(void)
{
#if defined(__SANITIZE_THREAD__)
	atomic_signal_fence(memory_order_acquire);
#else
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
#endif
}

static inline void smp_release(void)
{
#if defined(__SANITIZE_THREAD__)
	atomic_signal_fence(memory_order_release);
#else
	__atomic_thread_fence(__ATOMIC_RELEASE);
#endif
}

/* One pause of a spinning wait. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	__asm__ __volatile__("yield" ::: "memory");
#endif
}

#endif
