/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ntcopy.c - whole cache lines by streaming stores, the rest by memcpy
 *
 * Only a full 64-byte line may be streamed: a part of one costs a read of the line from memory.  Short
 * copies are left to memcpy.
 */
#include "kvshm/base/ntcopy.h"

#include <stdint.h>
#include <string.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/compiler.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define LINE 64u
#define SHORT_LEN 512u

typedef void (*copy_lines_fn)(char *dst, const char *src, size_t nr_lines);

static void copy_lines_sse2(char *dst, const char *src, size_t nr_lines)
{
	for (; nr_lines > 0; nr_lines--, dst += LINE, src += LINE) {
		__m128i a = _mm_loadu_si128((const __m128i *)(const void *)src);
		__m128i b = _mm_loadu_si128((const __m128i *)(const void *)(src + 16));
		__m128i c = _mm_loadu_si128((const __m128i *)(const void *)(src + 32));
		__m128i d = _mm_loadu_si128((const __m128i *)(const void *)(src + 48));

		_mm_stream_si128((__m128i *)(void *)dst, a);
		_mm_stream_si128((__m128i *)(void *)(dst + 16), b);
		_mm_stream_si128((__m128i *)(void *)(dst + 32), c);
		_mm_stream_si128((__m128i *)(void *)(dst + 48), d);
	}
}

__attribute__((target("avx2"))) static void copy_lines_avx2(char *dst, const char *src, size_t nr_lines)
{
	for (; nr_lines > 0; nr_lines--, dst += LINE, src += LINE) {
		__m256i a = _mm256_loadu_si256((const __m256i *)(const void *)src);
		__m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(src + 32));

		_mm256_stream_si256((__m256i *)(void *)dst, a);
		_mm256_stream_si256((__m256i *)(void *)(dst + 32), b);
	}
}

__attribute__((target("avx512f"))) static void copy_lines_avx512(char *dst, const char *src, size_t nr_lines)
{
	for (; nr_lines > 0; nr_lines--, dst += LINE, src += LINE)
		_mm512_stream_si512((__m512i *)(void *)dst, _mm512_loadu_si512((const void *)src));
}

static copy_lines_fn choose(void)
{
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f"))
		return copy_lines_avx512;
	if (__builtin_cpu_supports("avx2"))
		return copy_lines_avx2;
	return copy_lines_sse2;
}

static copy_lines_fn copy_lines(void)
{
	static copy_lines_fn chosen;
	copy_lines_fn f = READ_ONCE(chosen);

	if (unlikely(!f)) {
		f = choose();
		WRITE_ONCE(chosen, f);
	}
	return f;
}

void ntcopy_unfenced(void *dst, const void *src, size_t len)
{
	const char *from = src;
	char *to = dst;
	size_t head, body;

	if (len < SHORT_LEN) {
		memcpy(dst, src, len);
		return;
	}
	head = -(uintptr_t)to & (LINE - 1);
	memcpy(to, from, head);
	body = (len - head) & ~(size_t)(LINE - 1);
	copy_lines()(to + head, from + head, body / LINE);
	memcpy(to + head + body, from + head + body, len - head - body);
}

void ntcopy_fence(void)
{
	/* NT-1: streaming stores before any later store; pairs with the reader's BK-1 in index_find(). */
	_mm_sfence();
}

#else

void ntcopy_unfenced(void *dst, const void *src, size_t len)
{
	memcpy(dst, src, len);
}

void ntcopy_fence(void)
{
	/* NT-1: plain stores before any later store; pairs with the reader's BK-1 in index_find(). */
	smp_release();
}

#endif

void ntcopy(void *dst, const void *src, size_t len)
{
	ntcopy_unfenced(dst, src, len);
	ntcopy_fence();
}
