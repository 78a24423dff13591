/* SPDX-License-Identifier: Apache-2.0 */
/* places.h - sizes and offsets of structures, held to numbers */
#ifndef TESTS_UNIT_KVSHM_INCLUDE_PLACES_H
#define TESTS_UNIT_KVSHM_INCLUDE_PLACES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SIZE(type, size) assert_int_equal(sizeof(struct type), size)
#define AT(type, field, offset) assert_int_equal(offsetof(struct type, field), offset)

#endif
