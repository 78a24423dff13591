/* SPDX-License-Identifier: Apache-2.0 */
/* compiler.h - attributes and small macros */
#ifndef KVSHM_BASE_COMPILER_H
#define KVSHM_BASE_COMPILER_H

#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define __unused __attribute__((unused))
#define __printf(f, a) __attribute__((format(printf, f, a)))
#define __public __attribute__((visibility("default")))
#define __cacheline_aligned __attribute__((aligned(64)))
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))
#define round_up(x, a) (((x) + ((a) - 1)) & ~((__typeof__(x))(a) - 1))
#define round_down(x, a) ((x) & ~((__typeof__(x))(a) - 1))
#define min_of(a, b) ((a) < (b) ? (a) : (b))
#define max_of(a, b) ((a) > (b) ? (a) : (b))
#define prefetch(p) __builtin_prefetch(p)

#endif
